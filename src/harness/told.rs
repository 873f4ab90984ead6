//! What the runner says of a call that its body has run, or has not.

use crate::event::{Timeline, warn};
use crate::harness::isolate::Again;
use crate::harness::limits_told::LimitsTold;
use crate::leak::Level;
use crate::ledger::containment::Containment;
use crate::ledger::message::{EndOfRun, Outcome};
use crate::ledger::swept::Swept;
use crate::process::death::{CauseOfDeath, Death, KillReason, ThreadStates};
use crate::process::exit::ExitStatus;
use crate::report::console::uncaptured;
use crate::report::text::duration;
use std::fmt::Write;
use std::panic::resume_unwind;

/// What is known of it: what its body has told, and how that ended.
pub(crate) struct CallResult<'a> {
    pub(crate) name: &'a str,
    pub(crate) again: &'a Again,
    pub(crate) level: Level,
    pub(crate) outcome: Option<Outcome>,
    /// It has come to the call.
    pub(crate) has_reached: bool,
    /// `None` if the body goes on to another call.
    pub(crate) end: Option<Box<EndOfRun>>,
    pub(crate) around: String,
    /// Of what its process has died, once it has by itself.
    pub(crate) death: Option<Death>,
    /// What has happened in it, where the body has not shown that.
    pub(crate) timeline: Option<Timeline>,
    /// A panic would count as success.
    pub(crate) expects_panic: bool,
    pub(crate) containment: Option<Containment>,
    pub(crate) limits: LimitsTold,
}

/// Returns for a test that passed, and panics for one that did not.
#[track_caller]
pub(crate) fn tell_of(call: CallResult<'_>) {
    if let Some(kept) = call.end.as_ref().and_then(|end| end.kept.as_ref()) {
        uncaptured(&format!("termleash: {kept}\n"));
    }
    let beside = call.beside();
    match &call.outcome {
        None => call.fail(&call.crash(&beside)),
        Some(Outcome::Stuck { text }) => call.fail(&call.with_containment(format!("{text}{beside}"))),
        Some(Outcome::Panicked { text }) => {
            // The body has printed it.
            let text = text.clone();
            // Its own panic may be the one that it was to come to: what the limit has done is nobody's success.
            if call.limits.is_breached() && call.expects_panic {
                return call.fail(&call.with_containment(format!("test `{}` failed\n{beside}", call.name)));
            }
            if !beside.is_empty() {
                warn(call.with_containment(format!("test `{}` failed, and did not end cleanly\n{beside}", call.name)));
            } else {
                call.warn_of_limits();
            }
            resume_unwind(Box::new(text))
        }
        Some(Outcome::Passed) => {
            if let Some(how) = call.failed_at_its_end() {
                return call.fail(&call.with_containment(format!("{how}{beside}")));
            }
            if beside.is_empty() {
                call.warn_of_limits();
                return;
            }
            let text = call.with_containment(format!("test `{}` passed, and did not end cleanly\n{beside}", call.name));
            match call.level {
                Level::Off | Level::Warn if !call.is_broken() => warn(text),
                _ if call.limits.is_breached() => call.fail(&text),
                _ => panic!("{text}"),
            }
        }
    }
}

impl CallResult<'_> {
    /// Of what no panic of the test's own is. A crash is not what `#[should_panic]` asks for: then libtest says that there was no
    /// panic, and this says what there was.
    #[track_caller]
    fn fail(&self, text: &str) {
        if self.expects_panic {
            warn(text);
        } else {
            panic!("{text}");
        }
    }

    /// What a process came to that had passed: a destructor of a static, a leak sanitizer, an assertion behind the closure
    /// that the runner's copy has no reason to make.
    fn failed_at_its_end(&self) -> Option<String> {
        let end = self.end.as_deref().filter(|end| end.ended_because.is_none())?;
        let status = end.status?;
        let is_failure = match status {
            ExitStatus::Signaled { .. } => true,
            // libtest's own verdict of a test that was to panic, and has not: the runner's copy comes to the same.
            ExitStatus::Exited(101) if self.expects_panic => false,
            // A `main` of one's own may have more to say than what came of its last call.
            ExitStatus::Exited(code) => code != 0 && self.again.is_by_name,
            ExitStatus::Unknown => false,
        };
        is_failure.then(|| {
            format!(
                "test `{}` passed, and its process was ended by {status} after that: what stands behind the closure in the test \
                 function, or runs at the end of the process, has failed\n{}{}",
                self.name,
                self.died_of(),
                self.printed()
            )
        })
    }

    /// True for what is no leak: something of ours has failed.
    fn is_broken(&self) -> bool {
        self.end
            .as_ref()
            .is_some_and(|end| end.keeper_died || end.ended_because.is_some() || !end.swept.survivors.is_empty())
            || self.limits.is_breached()
    }

    /// Why there is no outcome.
    fn crash(&self, beside: &str) -> String {
        let name = self.name;
        let end = self.end.as_deref();
        let mut text = match end {
            Some(EndOfRun { not_started: Some(why), .. }) => {
                format!("test `{name}` was not run: its process could not be started: {why}")
            }
            Some(EndOfRun { ended_because: Some(why), .. }) => format!("test `{name}` was ended{}", self.ended_by(why)),
            Some(EndOfRun { keeper_died: true, .. }) => {
                format!("test `{name}` was not finished: its keeper was killed, and its process ended itself")
            }
            Some(end) if self.has_reached => {
                let how =
                    end.status.map_or_else(|| "for a reason that is not known".into(), |status| format!("by {status}"));
                format!("test `{name}` crashed: its process was ended {how} before it could report")
            }
            Some(end) => {
                let how = end.status.map(|status| format!(" ({status})")).unwrap_or_default();
                format!(
                    "test `{name}` was not run: its own process ended{how} before it came to `termleash::test`. {}; if it \
                     failed before, what stands outside of the closure runs in both processes, and may not bear that",
                    self.started_with()
                )
            }
            None => format!("test `{name}` made another call than its own process"),
        };
        text.push('\n');
        text += &self.died_of();
        text += &self.printed();
        text += beside;
        self.with_containment(text)
    }

    /// Of what it has died by itself, and how that is known, where that is more than the status.
    fn died_of(&self) -> String {
        let is_by_itself = self.end.as_deref().is_some_and(|end| end.ended_because.is_none());
        let death = self.death.as_ref().filter(|death| is_by_itself && death.says_more_than_its_status());
        death.map(|death| format!("cause of death: {death:#}\n")).unwrap_or_default()
    }

    /// Why its keeper has ended it, behind those words: once, also where that is what it has died of.
    fn ended_by(&self, why: &KillReason) -> String {
        let why = CauseOfDeath::from(why.clone());
        match &self.death {
            Some(death) if *death.cause() == why => format!("; cause of death: {death:#}"),
            // It died on its way out.
            Some(death) => format!(": {why}\ncause of death: {death:#}"),
            None => {
                let threads = self.end.as_ref().and_then(|end| end.threads.as_ref());
                let lines = threads.into_iter().flat_map(ThreadStates::lines);
                lines.fold(format!(": {why}"), |text, line| text + "\n    " + &line)
            }
        }
    }

    /// What it printed around the closure, if that is all there is to read.
    fn printed(&self) -> String {
        if self.around.is_empty() { String::new() } else { format!("its process printed:\n{}", self.around) }
    }

    fn started_with(&self) -> String {
        let arguments = &self.again.arguments;
        match arguments.get(1).filter(|_| self.again.is_by_name) {
            Some(test) => format!(
                "It was started with `--exact {test}`: if that selects no test, the thread that calls is not named after \
                 one, and `options().in_process()` or `rerun_with` help"
            ),
            None => format!(
                "It was started with {arguments:?}, as `rerun_with` says: if these do not lead to this call, it takes others"
            ),
        }
    }

    /// What is to be said beside the body's own outcome.
    fn beside(&self) -> String {
        let mut text = self.limits.describe(&self.told_by_the_body());
        let Some(end) = self.end.as_deref() else { return text };
        if self.outcome.is_some() {
            if end.keeper_died {
                text += "its keeper was killed\n";
            }
            if let Some(why) = &end.ended_because {
                let _ = writeln!(text, "it was ended{}", self.ended_by(why));
            }
        }
        for process in &end.left {
            let _ = writeln!(text, "left behind, and ended now: {process}");
        }
        text += &swept(&end.swept, end.left.is_empty());
        text
    }

    /// Where nothing else is told.
    fn warn_of_limits(&self) {
        if let Some(not_kept) = self.limits.not_kept() {
            warn(format!("test `{}`: {not_kept}", self.name));
        }
    }

    /// What its reader has read of it, or is about to.
    fn told_by_the_body(&self) -> String {
        let reason = match self.end.as_ref().and_then(|end| end.ended_because.as_ref()) {
            Some(KillReason::Limit(what)) => what.as_str(),
            _ => "",
        };
        let outcome = match &self.outcome {
            Some(Outcome::Stuck { text } | Outcome::Panicked { text }) => text.as_str(),
            Some(Outcome::Passed) | None => "",
        };
        format!("{outcome}{reason}")
    }

    fn with_containment(&self, mut text: String) -> String {
        text.truncate(text.trim_end().len());
        if let Some(timeline) = &self.timeline {
            let _ = write!(text, "\n{}", timeline.render().trim_end());
        }
        if let Some(not_kept) = self.limits.not_kept() {
            let _ = write!(text, "\n{not_kept}");
        }
        if let Some(containment) = &self.containment {
            let _ = write!(text, "\ncontainment: {containment}");
        }
        text
    }
}

/// What was done after a crash, and what could not be.
fn swept(swept: &Swept, names_ended: bool) -> String {
    let mut text = String::new();
    if names_ended && !swept.ended.is_empty() {
        let _ = writeln!(text, "ended what it left, {} in {}:", swept.ended.len(), duration(swept.took));
        for process in &swept.ended {
            let _ = writeln!(text, "    {process}");
        }
    }
    for process in &swept.survivors {
        let _ = writeln!(text, "still alive: {process}");
    }
    for suspect in &swept.suspects {
        let _ = writeln!(text, "suspect, not signalled: {suspect}");
    }
    for what in &swept.undone {
        let _ = writeln!(text, "not done: {what}");
    }
    text
}
