//! The assertion, and what a level makes of a report.

use crate::error::Result;
use crate::event::warn;
use crate::leak::{HuntReport, LeakCheck, LeakReport, Level, Verdict};
use crate::report::console::Color;
use std::sync::atomic::{AtomicBool, Ordering};

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
        $crate::report::assert($found)
    };
}

/// What [`assert_no_leaks!`](crate::assert_no_leaks) takes: a check, or what a check or a hunt has found.
pub trait Findings {
    /// What is answered if nothing is wrong.
    type Report;

    /// The report, or the text to panic with.
    ///
    /// # Errors
    ///
    /// If it is a failure at its level, or there is none.
    fn passing(self) -> Result<Self::Report, String>;
}

impl Findings for LeakReport {
    type Report = Self;

    fn passing(self) -> Result<Self, String> {
        enforce(self)
    }
}

impl Findings for Result<LeakReport> {
    type Report = LeakReport;

    fn passing(self) -> Result<LeakReport, String> {
        enforce(self.map_err(|cause| cause.to_string())?)
    }
}

impl Findings for LeakCheck {
    type Report = LeakReport;

    fn passing(self) -> Result<LeakReport, String> {
        self.find_blocking().passing()
    }
}

impl Findings for &LeakCheck {
    type Report = LeakReport;

    fn passing(self) -> Result<LeakReport, String> {
        self.find_blocking().passing()
    }
}

impl Findings for HuntReport {
    type Report = Self;

    fn passing(self) -> Result<Self, String> {
        if self.is_failure() {
            return Err(self.render(Color::of_stderr()));
        }
        if !matches!(self.verdict, Verdict::Clean | Verdict::SettledLate) {
            warn(self.to_string());
        }
        Ok(self)
    }
}

impl Findings for Result<HuntReport> {
    type Report = HuntReport;

    fn passing(self) -> Result<HuntReport, String> {
        self.map_err(|cause| cause.to_string())?.passing()
    }
}

/// What [`assert_no_leaks!`](crate::assert_no_leaks) calls.
///
/// # Panics
///
/// With the report, if that is a failure at its level, or with the error if there is none.
#[track_caller]
pub fn assert<F: Findings>(found: F) -> F::Report {
    match found.passing() {
        Ok(report) => report,
        Err(text) => panic!("{text}"),
    }
}

/// The report if it passes; else the text to fail with. What passes and is worth knowing is told as an event.
fn enforce(report: LeakReport) -> Result<LeakReport, String> {
    if report.is_failure() {
        return Err(report.render(Color::of_stderr()));
    }
    if report.level == Level::Off {
        return Ok(report);
    }
    if !report.findings.is_empty() || report.verdict.is_failure() {
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
