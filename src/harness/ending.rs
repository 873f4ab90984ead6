//! How a test ends: its own failure first, the rest beside it.

use crate::error::BoxError;
use crate::event::warn;
use crate::harness::catch::Payload;
use crate::report::text::duration;
use std::panic::resume_unwind;
use std::time::Duration;

/// How the body ended.
pub(crate) enum BodyEnd {
    Passed,
    Failed(BoxError),
    Panicked(Payload),
    TimedOut { after: Duration, alive: String },
}

/// Everything that is known at the end.
pub(crate) struct Ending {
    pub(crate) name: String,
    pub(crate) body: BodyEnd,
    /// What went wrong after it, in sentences.
    pub(crate) clean_up: Vec<String>,
    /// The text of a leak check that failed.
    pub(crate) leaks: Option<String>,
}

impl Ending {
    /// Returns for a test that passed, and panics for one that did not; a panic of the body's goes on, so that
    /// `#[should_panic]` sees what it expects.
    #[track_caller]
    pub(crate) fn tell(self) {
        let beside = self.beside();
        let name = &self.name;
        let own = match self.body {
            BodyEnd::Passed if beside.is_empty() => return,
            BodyEnd::Passed => format!("test `{name}` passed, and did not end cleanly"),
            BodyEnd::Failed(cause) => format!("test `{name}` failed: {}", with_causes(&cause)),
            BodyEnd::TimedOut { after, alive } => {
                format!("test `{name}` timed out after {}\n{}", duration(after), alive.trim_end())
            }
            BodyEnd::Panicked(payload) => {
                if !beside.is_empty() {
                    warn(format!("test `{name}` panicked, and did not end cleanly\n{beside}"));
                }
                resume_unwind(payload)
            }
        };
        panic!("{}", format!("{own}\n{beside}").trim_end());
    }

    fn beside(&self) -> String {
        let mut lines: Vec<&str> = self.clean_up.iter().map(String::as_str).collect();
        lines.extend(self.leaks.as_deref());
        lines.join("\n")
    }
}

/// An error and what caused it, where that says something that it does not say itself.
fn with_causes(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}
