//! The assertion.

use crate::report::AssertNoLeaks;

/// Panics with the report of a [`LeakCheck`](crate::LeakCheck) or a [`LeakHunt`](crate::leak::LeakHunt) that found a leak; answers with
/// the report otherwise.
///
/// It takes the check, which then blocks the thread, or what was found: `assert_no_leaks!(check.find().await)`.
///
/// ```
/// use termleash::{LeakCheck, assert_no_leaks};
///
/// let check = LeakCheck::new();
/// let report = assert_no_leaks!(check);
/// println!("{report}");
/// ```
///
/// ```compile_fail
/// termleash::assert_no_leaks!("a text is neither a check nor a report");
/// ```
#[macro_export]
macro_rules! assert_no_leaks {
    ($found:expr $(,)?) => {
        $crate::testing::assert($found)
    };
}

/// What [`assert_no_leaks!`](crate::assert_no_leaks) calls.
///
/// # Panics
///
/// With the report, if that is a failure at its level, or with the error if there is none.
#[track_caller]
pub fn assert<F: AssertNoLeaks>(found: F) -> F::Report {
    match found.passing() {
        Ok(report) => report,
        Err(text) => panic!("{text}"),
    }
}
