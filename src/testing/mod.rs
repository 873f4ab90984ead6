//! What a test holds, is told and asserts, and the kit for those who write a backend.
//!
//! [`Scope`] is what a body gets, [`TestOptions`] what [`termleash::options`](crate::options) gives; [`assert()`] is what
//! [`assert_no_leaks!`](crate::assert_no_leaks) calls.
//!
//! Does a backend keep the contract that the helper relies on?
//! [`check_backend`] tries a [`SessionBackend`](crate::SessionBackend) on its real server, one rule after the other,
//! and answers with a [`Conformance`]: each rule with what came of it.
//!
//! ```text
//!  conformance = the sequence ─► rules = what is tried ─► kit = sessions, bounded calls, clean-up     report = data
//! ```

pub(crate) mod assert;
pub(crate) mod conformance;
pub(crate) mod kit;
pub(crate) mod report;
pub(crate) mod rules;

#[doc(inline)]
pub use crate::harness::{Flavor, Scope, TestOptions, test_blocking};
#[doc(inline)]
pub use crate::keeper::{SweepReport, SweptRun};
#[doc(inline)]
pub use crate::ledger::Containment;
#[doc(inline)]
pub use crate::limits::Limits;
#[doc(inline)]
pub use crate::probe::sampler::TreeSampler;
pub use crate::process::usage::Usage;
#[doc(inline)]
pub use crate::report::{AssertNoLeaks, Color};
pub use assert::assert;
pub use conformance::{BackendCheck, check_backend};
pub use report::{Check, Conformance, Outcome};
