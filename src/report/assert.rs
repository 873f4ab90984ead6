//! The assertion, and what a level makes of a report.

use crate::error::Result;
use crate::event::warn;
use crate::leak::{IntoReport, LeakReport, Level};
use crate::report::console::Color;
use std::sync::atomic::{AtomicBool, Ordering};

/// Panics with the report of a [`LeakCheck`](crate::LeakCheck) that found a leak; answers with the report otherwise.
///
/// It takes the check, which then blocks the thread, or what it found: `assert_no_leaks!(check.find().await)`.
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
    ($check:expr $(,)?) => {
        $crate::report::assert($check)
    };
}

/// What [`assert_no_leaks!`](crate::assert_no_leaks) calls.
///
/// # Panics
///
/// With the report, if that is a failure at its level, or with the error if there is none.
#[track_caller]
pub fn assert(found: impl IntoReport) -> LeakReport {
    match enforce(found.into_report()) {
        Ok(report) => report,
        Err(text) => panic!("{text}"),
    }
}

/// The report if it passes; else the text to fail with. What passes and is worth knowing is told as an event.
pub(crate) fn enforce(found: Result<LeakReport>) -> Result<LeakReport, String> {
    let report = found.map_err(|cause| cause.to_string())?;
    if report.is_failure() {
        return Err(report.render(Color::of_stderr()));
    }
    if report.level == Level::Warn && !report.is_clean() || !report.findings.is_empty() {
        warn(report.to_string());
    } else {
        say_unseen_once(&report);
    }
    Ok(report)
}

/// What a system has no probe for is said once in a process.
fn say_unseen_once(report: &LeakReport) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    if !report.not_looked_at.is_empty() && !IS_SAID.swap(true, Ordering::Relaxed) {
        let unseen: Vec<String> = report.not_looked_at.iter().map(|why| why.resource.to_string()).collect();
        warn(format!(
            "leak checks cannot look at {} on this system, and pass without; `TERMLEASH_REQUIRE` makes that a failure",
            unseen.join(", ")
        ));
    }
}
