//! Preflight: what must be so before a run begins, as a checklist. Everything is read, nothing is ended or changed.
//!
//! ```text
//!  builder ─► pass: one look at every process, for all items ─► port, instances, state, sessions, leftovers, headroom
//!                     parse, programs                                   └─► checklist: data, and its text
//! ```

pub(crate) mod builder;
pub(crate) mod checklist;
pub(crate) mod headroom;
pub(crate) mod instances;
pub(crate) mod leftovers;
pub(crate) mod parse;
pub(crate) mod pass;
pub(crate) mod port;
pub(crate) mod programs;
pub(crate) mod sessions;
pub(crate) mod state;

pub use builder::Preflight;
pub use checklist::{Check, CheckItem, CheckOutcome, Checklist};
pub use sessions::SessionRecord;
