//! Servers under test: looked at before a run begins.

pub(crate) mod preflight;

pub use preflight::{Check, CheckItem, CheckOutcome, Checklist, Preflight, SessionRecord};
