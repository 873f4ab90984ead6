//! The hard limit on what a body may allocate: in force while its closure runs, in a process of its own.
//!
//! ```text
//!  turn ─► baseline, runtime ─► set, told ─► closure ─► lifted, told ─► clean-up, leak check, report
//! ```
//! The clean-up runs without it: whoever is at the limit could end nothing and tell nothing.

use crate::event::warn;
use crate::harness::body::tell_limit;
use crate::ledger::client;
use crate::limits::Limits;
use crate::process::limit::{DataLimit, Unlimited};
use bytesize::ByteSize;

/// It is lifted when this is dropped.
pub(crate) struct HardLimit {
    set: Option<DataLimit>,
}

impl HardLimit {
    /// Sets it, if one is said and this is a body's process. If it is not kept, that is said, and why is answered for the report.
    ///
    /// # Panics
    ///
    /// If the process has more already.
    #[track_caller]
    pub(crate) fn set(test: &str, limits: &Limits) -> (Self, Option<String>) {
        let unset = Self { set: None };
        let Some(wanted) = limits.body_memory else { return (unset, None) };
        let not_kept = |why: &str| {
            let wanted = ByteSize::b(wanted);
            let text = format!("the hard limit of {wanted} on what the test may allocate is not kept: {why}");
            warn(format!("test `{test}`: {text}"));
            text
        };
        if client::body().is_none() {
            let why = "the test runs in the test process, all of which would be held to it";
            return (unset, Some(not_kept(why)));
        }
        match DataLimit::set(wanted) {
            Ok(set) => {
                tell_limit(Some(set.bytes()));
                (Self { set: Some(set) }, None)
            }
            Err(Unlimited::Exceeded(what)) => panic!(
                "test `{test}` was not run: {what}: give it more by `Limits::max_body_memory` or TERMLEASH_BODY_MEMORY, or have it \
                 begin with less"
            ),
            Err(Unlimited::Unenforceable(why)) => (unset, Some(not_kept(&why))),
        }
    }
}

impl Drop for HardLimit {
    fn drop(&mut self) {
        // A copy that the closure has forked lifts its own, and tells nothing.
        if self.set.take().is_some_and(|set| set.is_ours()) {
            tell_limit(None);
        }
    }
}
