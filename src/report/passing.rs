//! What passes: what a level makes of a report.

use crate::error::Result;
use crate::event::{Event, emit, emit_to_listener, warn};
use crate::leak::{HuntReport, LeakCheck, LeakReport, Level, Verdict};
use crate::report::console::{Color, uncaptured};
use std::sync::atomic::{AtomicBool, Ordering};

/// What [`assert_no_leaks!`](crate::assert_no_leaks) takes: a check, or what a check or a hunt has found.
pub trait AssertNoLeaks {
    /// What is answered if nothing is wrong.
    type Report;

    /// The report, or the text to panic with.
    ///
    /// # Errors
    ///
    /// If it is a failure at its level, or there is none.
    fn passing(self) -> Result<Self::Report, String>;
}

impl AssertNoLeaks for LeakReport {
    type Report = Self;

    fn passing(self) -> Result<Self, String> {
        let is_telling = !self.findings.is_empty() || self.verdict.is_failure();
        enforce(self.level, self.verdict, is_telling, |color| self.render(color))?;
        if self.level != Level::Off && !is_telling {
            say_unseen_once(&self);
        }
        Ok(self)
    }
}

impl AssertNoLeaks for Result<LeakReport> {
    type Report = LeakReport;

    fn passing(self) -> Result<LeakReport, String> {
        self.map_err(|cause| cause.to_string())?.passing()
    }
}

impl AssertNoLeaks for LeakCheck {
    type Report = LeakReport;

    fn passing(self) -> Result<LeakReport, String> {
        self.find_blocking().passing()
    }
}

impl AssertNoLeaks for &LeakCheck {
    type Report = LeakReport;

    fn passing(self) -> Result<LeakReport, String> {
        self.find_blocking().passing()
    }
}

impl AssertNoLeaks for HuntReport {
    type Report = Self;

    fn passing(self) -> Result<Self, String> {
        let is_telling = !matches!(self.verdict, Verdict::Clean | Verdict::SettledLate);
        enforce(self.level, self.verdict, is_telling, |color| self.render(color))?;
        Ok(self)
    }
}

impl AssertNoLeaks for Result<HuntReport> {
    type Report = HuntReport;

    fn passing(self) -> Result<HuntReport, String> {
        self.map_err(|cause| cause.to_string())?.passing()
    }
}

/// What a level makes of a verdict: the text to fail with, or a warning if there is something to tell.
///
/// At level warn somebody wants to see what an old suite leaves, and libtest throws away what a passing test prints; so that goes
/// to standard error itself. What is suspicious, which beside other tests is nearly everything, is printed as usual.
fn enforce(level: Level, verdict: Verdict, is_telling: bool, text: impl Fn(Color) -> String) -> Result<(), String> {
    if level == Level::Off || !is_telling {
        return Ok(());
    }
    if level.fails(verdict) {
        return Err(text(Color::of_stderr()));
    }
    let event = Event::Warning { text: text(Color::Never) };
    if level == Level::Warn && verdict.is_failure() {
        if !emit_to_listener(&event) {
            uncaptured(&format!("termleash: {}", text(Color::of_stderr())));
        }
    } else {
        emit(event);
    }
    Ok(())
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
