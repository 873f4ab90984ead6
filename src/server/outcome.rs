//! What the end of a server came to: data.

use crate::process::exit::ExitStatus;
use crate::process::policy::{KillStep, Suspect};
use crate::process::summary::ProcessSummary;
use crate::session::terminal::Output;
use std::fmt;
use std::time::Duration;

/// How a server ended, once nothing of it is left; [`ServerGuard::close`](crate::server::ServerGuard::close) gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEnd {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) took: Duration,
    pub(crate) steps: Vec<KillStep>,
    pub(crate) suspects: Vec<Suspect>,
    pub(crate) holders: Vec<Holder>,
    pub(crate) log: Output,
}

/// A process that has something of a server's after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub(crate) process: ProcessSummary,
    pub(crate) what: String,
    pub(crate) is_inherited: bool,
}

impl ServerEnd {
    /// How its first process ended; `None` if that could not be told.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// How long it took to end everything.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What was done to whom, in order.
    pub fn steps(&self) -> &[KillStep] {
        &self.steps
    }

    /// Processes that may be the server's and are not proven to be: never signalled.
    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }

    /// Processes that had its port, a file in its home or a terminal of its open when all of its own were dead: strangers, as
    /// far as can be proven, and never signalled.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// What it has printed.
    pub fn log(&self) -> &Output {
        &self.log
    }
}

impl Holder {
    /// Which process.
    pub fn process(&self) -> &ProcessSummary {
        &self.process
    }

    /// What it has, in words.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {}", self.process, self.what)
    }
}
