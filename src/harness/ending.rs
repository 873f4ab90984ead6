//! How a test ends: its own failure first, the rest beside it.

use crate::catch::{Payload, text_of};
use crate::event::{Timeline, warn};
use crate::harness::watchdog::Expired;
use crate::ledger::client::containment;
use crate::ledger::containment::Containment;
use crate::ledger::message::Outcome;
use crate::report::text::duration;
use std::panic::resume_unwind;
use std::time::Duration;

const MORE_TIME: &str = "    to do: end what it waits for, or give it more time: `termleash::options().timeout(…)`, or \
                         `TERMLEASH_TIMEOUT` for all tests";

/// How the body ended.
pub(crate) enum BodyEnd {
    Passed,
    /// With the error's text: the error itself may hold what would be taken for a leak.
    Failed(String),
    /// With why it was to end, if it was: what the watchdog did then may be why.
    Panicked(Payload, Option<(Duration, Expired)>),
    /// It was to end, and with its own error if it came to that too late.
    Expired {
        after: Duration,
        expired: Expired,
        error: Option<String>,
    },
}

/// Everything that is known at the end.
pub(crate) struct Ending {
    pub(crate) name: String,
    pub(crate) body: BodyEnd,
    /// What went wrong after it, in sentences.
    pub(crate) clean_up: Vec<String>,
    /// The text of a leak check that failed.
    pub(crate) leaks: Option<String>,
    /// The ends of its servers' logs, for one that failed.
    pub(crate) logs: Vec<String>,
    /// What happened in it, for one that failed.
    pub(crate) timeline: Option<Timeline>,
    /// Which limit was not kept, and why.
    pub(crate) not_kept: Option<String>,
    pub(crate) containment: Containment,
}

impl Ending {
    /// Of a body after which nothing is cleaned up or judged.
    pub(crate) fn of_body_alone(name: String, body: BodyEnd) -> Self {
        Self {
            name,
            body,
            clean_up: Vec::new(),
            leaks: None,
            logs: Vec::new(),
            timeline: None,
            not_kept: None,
            containment: containment("it was left as it is"),
        }
    }

    /// The same for the runner of an isolated test.
    pub(crate) fn outcome(&self) -> Outcome {
        match (&self.body, self.text()) {
            (BodyEnd::Panicked(payload, _), _) => Outcome::Panicked { text: text_of(payload) },
            (_, Some(text)) => Outcome::Panicked { text },
            (_, None) => Outcome::Passed,
        }
    }

    /// Returns for a test that passed, and panics for one that did not; a panic of the body's goes on, so that
    /// `#[should_panic]` sees what it expects.
    #[track_caller]
    pub(crate) fn tell(self) {
        match (self.text(), self.body) {
            (None, BodyEnd::Panicked(payload, _)) => {
                let timeline = self.timeline.as_ref().filter(|timeline| !timeline.sessions.is_empty());
                let mut beside = self.logs.clone();
                beside.extend(timeline.map(|timeline| timeline.render().trim_end().to_owned()));
                if !beside.is_empty() {
                    warn(format!("test `{}` panicked; {}", self.name, beside.join("\n")));
                }
                resume_unwind(payload)
            }
            (Some(text), BodyEnd::Panicked(payload, _)) => {
                // The panic itself was told by the panic hook.
                warn(text);
                resume_unwind(payload)
            }
            (Some(text), _) => panic!("{text}"),
            (None, _) => {}
        }
    }

    /// What there is to say; `None` if the test passed, or its panic has said it all.
    fn text(&self) -> Option<String> {
        let beside = self.beside();
        let name = &self.name;
        let own = match &self.body {
            BodyEnd::Passed | BodyEnd::Panicked(_, None) if beside.is_empty() => return None,
            BodyEnd::Passed => format!("test `{name}` passed, and did not end cleanly"),
            BodyEnd::Panicked(_, None) => format!("test `{name}` panicked, and did not end cleanly"),
            BodyEnd::Panicked(_, Some((after, Expired { why, alive }))) => {
                let what = match why {
                    None => format!("its deadline of {}, at which its sessions may have been ended", duration(*after)),
                    Some(why) => format!("it was told to end, since {why}"),
                };
                format!("test `{name}` panicked after {what}\n{}", alive.trim_end())
            }
            BodyEnd::Failed(cause) => format!("test `{name}` failed: {cause}"),
            BodyEnd::Expired { after, expired: Expired { why, alive }, error } => {
                let own = error.as_ref().map(|cause| format!("\nand failed then: {cause}"));
                let own = own.unwrap_or_default();
                match why {
                    None => format!("test `{name}` timed out after {}{own}\n{alive}{MORE_TIME}", duration(*after)),
                    Some(why) => format!("test `{name}` failed: {why}{own}\n{alive}"),
                }
            }
        };
        let logs = self.logs();
        let timeline = self.timeline.as_ref().map(|timeline| format!("\n{}", timeline.render().trim_end()));
        let timeline = timeline.unwrap_or_default();
        let not_kept = self.not_kept.as_ref().map(|text| format!("\n{text}")).unwrap_or_default();
        let text = format!("{own}\n{beside}");
        Some(format!("{}{logs}{timeline}{not_kept}\ncontainment: {}", text.trim_end(), self.containment))
    }

    fn beside(&self) -> String {
        let mut lines: Vec<&str> = self.clean_up.iter().map(String::as_str).collect();
        lines.extend(self.leaks.as_deref());
        lines.join("\n")
    }

    /// A test that passed shows none.
    fn logs(&self) -> String {
        self.logs.iter().map(|log| format!("\n{log}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn text(body: BodyEnd, clean_up: &[&str], leaks: Option<&str>) -> String {
        let clean_up = clean_up.iter().map(|line| (*line).to_owned()).collect();
        let containment = Containment::InProcess { why: "asked for".into(), ledger: Ok(()) };
        let leaks = leaks.map(str::to_owned);
        let ending = Ending {
            name: "a_test".into(),
            body,
            clean_up,
            leaks,
            logs: Vec::new(),
            timeline: None,
            not_kept: None,
            containment,
        };
        ending.text().unwrap_or_default()
    }

    const LEAK: &str = "leak check of `a_test`: 1 leaked\nleaked: file `/x`, descriptor 9\n    to do: drop it\n";

    #[test]
    fn a_test_that_failed_and_leaked_says_first_why_it_failed() {
        let deferred = "the clean-up deferred at tests/x.rs:3:5 failed: no route";
        assert_snapshot!(text(BodyEnd::Failed("no such session".into()), &[deferred], Some(LEAK)), @r"
        test `a_test` failed: no such session
        the clean-up deferred at tests/x.rs:3:5 failed: no route
        leak check of `a_test`: 1 leaked
        leaked: file `/x`, descriptor 9
            to do: drop it
        containment: in the test process (asked for), a keeper beside it with a ledger of its sessions
        ");
    }

    #[test]
    fn a_timeout_names_what_was_alive() {
        let alive = "still alive: session `pty-1` (`sh`), made at tests/x.rs:2:9\nthread `a_test` (tid 7): sleeping\n";
        let expired = Expired { why: None, alive: alive.into() };
        let body = BodyEnd::Expired { after: Duration::from_secs(30), expired, error: Some("no route".into()) };
        assert_snapshot!(text(body, &[], None), @r"
        test `a_test` timed out after 30s
        and failed then: no route
        still alive: session `pty-1` (`sh`), made at tests/x.rs:2:9
        thread `a_test` (tid 7): sleeping
            to do: end what it waits for, or give it more time: `termleash::options().timeout(…)`, or `TERMLEASH_TIMEOUT` for all tests
        containment: in the test process (asked for), a keeper beside it with a ledger of its sessions
        ");
    }

    #[test]
    fn a_test_that_passed_and_leaked_has_not_passed_and_a_panic_alone_is_left_alone() {
        assert!(
            text(BodyEnd::Passed, &[], Some(LEAK)).starts_with("test `a_test` passed, and did not end cleanly\nleak")
        );
        let panicked = || BodyEnd::Panicked(Box::new("own"), None);
        assert!(text(panicked(), &[], Some(LEAK)).starts_with("test `a_test` panicked, and did not end cleanly\nleak"));
        assert_eq!(text(panicked(), &[], None), "");
        assert_eq!(text(BodyEnd::Passed, &[], None), "");
    }
}
