//! How sessions are ended, and what came of it: data.

use crate::event::Step;
use crate::process::exit::ExitStatus;
use crate::process::rule::Refusal;
use crate::process::summary::ProcessSummary;
use crate::sys::Signal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How sessions are ended: politely, then not.
///
/// At once each session is hung up on, as a terminal does when its window is closed (HUP, and CONT so that a stopped
/// program sees it); interactive shells ignore TERM and heed this; once
/// more after 50 ms, or an eighth of the grace, as a shell may miss the first. At half of the grace what still lives gets TERM,
/// at its end KILL. The grace runs *once*, for all sessions of a kill together. Then death is waited for, at most 5 s: what still
/// lives is a survivor, and the kill an error.
///
/// ```
/// # use {std::time::Duration, termleash::process::KillPolicy};
/// let patient = KillPolicy::default().grace(Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a policy does nothing until it is given to a helper by `with_policy`"]
pub struct KillPolicy {
    grace: Option<Duration>,
}

impl KillPolicy {
    /// From the hang-up to the KILL; 500 ms unless `TERMLEASH_GRACE` says otherwise. Zero kills at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    pub(crate) fn grace_or(&self, default: Duration) -> Duration {
        self.grace.unwrap_or(default)
    }
}

/// One thing that was done to end a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillStep {
    /// Time since the kill began, of all sessions together.
    pub at: Duration,
    /// What was done.
    pub action: KillAction,
    /// The process that it was done to; `None` for a request to the backend.
    pub pid: Option<u32>,
    /// True if it reached somebody: false for a process that had ended before, and for a request that failed.
    pub was_delivered: bool,
}

/// What can be done to end a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KillAction {
    /// The backend was asked to kill the session.
    AskedBackend,
    /// HUP, then CONT.
    HungUp,
    /// TERM, then CONT.
    Terminated,
    /// KILL.
    Killed,
}

impl KillAction {
    /// In a timeline.
    pub(crate) fn step(self) -> Step {
        match self {
            Self::AskedBackend => Step::AskedBackend,
            Self::HungUp => Step::HungUp,
            Self::Terminated => Step::Terminated,
            Self::Killed => Step::Killed,
        }
    }

    pub(crate) fn signals(self) -> &'static [Signal] {
        match self {
            Self::AskedBackend => &[],
            Self::HungUp => &[Signal::Hup, Signal::Cont],
            Self::Terminated => &[Signal::Term, Signal::Cont],
            Self::Killed => &[Signal::Kill],
        }
    }
}

impl fmt::Display for KillAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AskedBackend => "asked the backend",
            Self::HungUp => "HUP",
            Self::Terminated => "TERM",
            Self::Killed => "KILL",
        })
    }
}

/// A process that may be a session's and is not proven to be: named, and never signalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// Which process.
    pub process: ProcessSummary,
    /// Why it got no signal.
    pub why: Refusal,
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.process, self.why)
    }
}

/// What ending the processes of one session came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) steps: Vec<KillStep>,
    /// Proven to be the session's, and still alive after everything.
    pub(crate) survivors: Vec<ProcessSummary>,
    pub(crate) suspects: Vec<Suspect>,
    /// Those that were found and got a signal, the leader not among them.
    #[serde(skip)]
    pub(crate) signalled: Vec<ProcessSummary>,
    pub(crate) exit: Option<ExitStatus>,
}
