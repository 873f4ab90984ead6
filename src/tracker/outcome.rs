//! What came of a kill, for a program and for a person.

use crate::error::Error;
use crate::process::death::Death;
use crate::process::exit::ExitStatus;
use crate::process::policy::{Ending, KillStep, Suspect};
use crate::process::summary::ProcessSummary;
use crate::session::id::SessionId;
use crate::tracker::interference::Interference;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What came of ending one session.
///
/// It is *proven* if its leader is reaped or gone, no process is left that is ours by the rule of marks, its backend
/// says that it is dead, or is proven dead itself, and our end of its terminal is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillOutcome {
    pub(crate) id: Option<SessionId>,
    /// Its id, or its command where it has none.
    pub(crate) label: String,
    /// Where in the test it was made.
    pub(crate) made_at: String,
    #[serde(default)]
    pub(crate) death: Option<Death>,
    pub(crate) ending: Ending,
    pub(crate) notes: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) took: Duration,
}

impl KillOutcome {
    /// Its id; `None` for a creation that was asked for and not answered with one.
    pub fn id(&self) -> Option<&SessionId> {
        self.id.as_ref()
    }

    /// True if its end is proven.
    pub fn is_proven(&self) -> bool {
        self.failures.is_empty() && self.ending.survivors.is_empty()
    }

    /// True if there was nothing to do: no request to its backend and no signal reached anybody.
    pub fn was_already_gone(&self) -> bool {
        !self.ending.steps.iter().any(|step| step.was_delivered)
    }

    /// How its leader ended, if that is known.
    pub fn exit(&self) -> Option<ExitStatus> {
        self.ending.exit
    }

    /// Of what it had died before this kill, where a signal had ended it and that is known.
    pub fn death(&self) -> Option<&Death> {
        self.death.as_ref()
    }

    /// What was done, in order.
    pub fn steps(&self) -> &[KillStep] {
        &self.ending.steps
    }

    /// Processes that are proven to be its own and still alive.
    pub fn survivors(&self) -> &[ProcessSummary] {
        &self.ending.survivors
    }

    /// Processes that may be its own and are not proven to be: never signalled.
    pub fn suspects(&self) -> &[Suspect] {
        &self.ending.suspects
    }

    /// What is worth knowing and no failure, in sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Why its end is not proven, beside survivors, in sentences.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// From the beginning of the kill to the proof; nearly the same for all sessions of one kill, since the proof is one
    /// look for all.
    pub fn took(&self) -> Duration {
        self.took
    }
}

impl fmt::Display for KillOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session `{}` (made at {}): ", self.label, self.made_at)?;
        let how = match (self.is_proven(), self.was_already_gone()) {
            (false, _) => "NOT proven gone",
            (true, true) => "was gone already",
            (true, false) => "ended",
        };
        f.write_str(how)?;
        match (self.death(), self.exit()) {
            (Some(death), _) => write!(f, "; cause of death: {death}")?,
            (None, Some(exit)) => write!(f, ", {exit}")?,
            (None, None) => {}
        }
        for survivor in self.survivors() {
            write!(f, "\n  still alive: {survivor}")?;
        }
        for failure in self.failures() {
            write!(f, "\n  {failure}")?;
        }
        for suspect in self.suspects() {
            write!(f, "\n  suspect, not signalled: {suspect}")?;
        }
        for note in self.notes() {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

/// What came of ending all tracked sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillReport {
    pub(crate) outcomes: Vec<KillOutcome>,
    pub(crate) cleared: Vec<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interference: Option<Interference>,
    pub(crate) took: Duration,
}

impl KillReport {
    /// One for each session, in the order in which they were tracked.
    pub fn outcomes(&self) -> &[KillOutcome] {
        &self.outcomes
    }

    /// The sessions that [`clear_tracked`](crate::SessionTestHelper::clear_tracked) has taken out of this helper's
    /// hands so far: nobody ends them.
    pub fn cleared(&self) -> &[SessionId] {
        &self.cleared
    }

    /// What the last look at the sentinels has found, if the helper
    /// [watched](crate::SessionTestHelper::watch_for_interference).
    pub fn interference(&self) -> Option<&Interference> {
        self.interference.as_ref()
    }

    /// From the beginning to the proof of the last.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// True if the end of each is proven.
    pub fn is_proven(&self) -> bool {
        self.outcomes.iter().all(KillOutcome::is_proven)
    }
}

/// The failed ones first, then those with something to say; the rest is counted.
impl fmt::Display for KillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.outcomes.iter().filter(|outcome| !outcome.is_proven());
        let others = self.outcomes.iter().filter(|outcome| outcome.is_proven());
        let telling = others.filter(|outcome| !outcome.suspects().is_empty() || !outcome.notes().is_empty());
        let proven = self.outcomes.iter().filter(|outcome| outcome.is_proven()).count();
        write!(f, "{proven} of {} sessions are proven to be gone", self.outcomes.len())?;
        for outcome in failed.chain(telling) {
            write!(f, "\n{outcome}")?;
        }
        if let Some(interference) = self.interference.as_ref().filter(|found| !found.is_clean()) {
            write!(f, "\n{interference}")?;
        }
        if !self.cleared.is_empty() {
            let ids: Vec<&str> = self.cleared.iter().map(SessionId::as_str).collect();
            write!(f, "\nnot tracked any more, and left alone: {}", ids.join(", "))?;
        }
        Ok(())
    }
}

/// The kill that failed, with all that was found.
impl Error {
    /// The report of a kill that ended with something not proven to be gone, see
    /// [`is_survived`](Error::is_survived), or with [interference](Error::is_interfered).
    pub fn kill_report(&self) -> Option<&KillReport> {
        self.survivors()
    }
}

impl KillReport {
    /// The report, or the error that carries it.
    pub(crate) fn into_result(self) -> Result<Self, Error> {
        let is_interfered = self.interference.as_ref().is_some_and(|found| found.verdict().is_failure());
        if self.is_proven() {
            return if is_interfered { Err(Error::interfered(self.to_string(), self)) } else { Ok(self) };
        }
        let mut text = format!("{self}\nThey stay tracked: the kill can be called again.");
        if self.outcomes.iter().any(|outcome| !outcome.survivors().is_empty()) {
            text += " What ignores KILL waits in the kernel; see /proc/<pid>/wchan";
        }
        Err(Error::survived(text, Some(self)))
    }
}
