//! What is known of a death before anybody has judged it: data.

use crate::process::death::core_pattern::CorePattern;
use crate::process::death::oom::OomCounters;
use crate::process::death::threads::ThreadStates;
use crate::process::exit::ExitStatus;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// How much of the end of an output is looked at: last words stand there, and older ones were not the last.
const MOST_OUTPUT: usize = 32 << 10;

/// What is known of a death. What is not said is not known, and nothing is concluded from it.
///
/// ```
/// # use termleash::process::{ExitStatus, death::{classify, CauseOfDeath, Facts, OutOfMemory}};
/// let status = ExitStatus::Signaled { signal: 6, core_dumped: false };
/// let death = classify(&Facts::new(status).output("FATAL ERROR: JavaScript heap out of memory\n"));
/// assert_eq!(*death.cause(), CauseOfDeath::OutOfMemory(OutOfMemory::V8Heap));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub(crate) status: ExitStatus,
    pub(crate) pid: Option<u32>,
    pub(crate) output: Option<String>,
    pub(crate) oom: Option<(OomCounters, OomCounters)>,
    pub(crate) kill: Option<Kill>,
    pub(crate) hard_limit: Option<HardLimit>,
    pub(crate) core_pattern: Option<CorePattern>,
    pub(crate) threads: Option<ThreadStates>,
    pub(crate) crash_report: Option<PathBuf>,
}

/// That somebody has ended it, or has had it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) reason: KillReason,
    pub(crate) signals: Vec<i32>,
    /// Who else was to end it, and need not have said by what.
    pub(crate) by: Option<String>,
}

/// Why this crate, or whoever classifies, has signalled a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KillReason {
    /// Its time was over; what it did instead of ending.
    Deadline(String),
    /// It went over this limit.
    Limit(String),
    /// It went over the hard limit on memory.
    HardLimit(HardLimit),
    /// The test process has ended.
    RunnerGone,
    /// Anything else.
    Other(String),
}

/// A limit on memory that a process cannot pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HardLimit {
    /// `RLIMIT_DATA` or `RLIMIT_AS`, in bytes: an allocation fails.
    Allocation(u64),
    /// That of a memory control group of this crate's, in bytes: the kernel kills.
    Group(u64),
}

impl Facts {
    /// Of a process that ended so.
    #[must_use]
    pub fn new(status: ExitStatus) -> Self {
        Self {
            status,
            pid: None,
            output: None,
            oom: None,
            kill: None,
            hard_limit: None,
            core_pattern: None,
            threads: None,
            crash_report: None,
        }
    }

    /// Its number, with which core files are named.
    #[must_use]
    pub fn pid(mut self, pid: u32) -> Self {
        self.pid = Some(pid);
        self
    }

    /// What it has printed last; only the end of it is looked at.
    #[must_use]
    pub fn output(mut self, output: impl AsRef<str>) -> Self {
        let output = output.as_ref();
        let from = (output.len().saturating_sub(MOST_OUTPUT)..).find(|at| output.is_char_boundary(*at));
        self.output = from.and_then(|from| output.get(from..)).map(str::to_owned);
        self
    }

    /// The counters of kills for want of memory, read while it lived and after its end.
    #[must_use]
    pub fn oom(mut self, before: OomCounters, after: OomCounters) -> Self {
        self.oom = Some((before, after));
        self
    }

    /// It was signalled by whoever asks, for this reason, with these signals; with none, it was not.
    #[must_use]
    pub fn killed(mut self, reason: KillReason, signals: impl IntoIterator<Item = i32>) -> Self {
        let signals: Vec<i32> = signals.into_iter().collect();
        self.kill = (!signals.is_empty()).then_some(Kill { reason, signals, by: None });
        self
    }

    /// Somebody else was to end it for this reason, such as `its server`, and need not say by which signal; whoever asks has sent these
    /// beside, if any.
    #[must_use]
    pub fn ended_by(
        mut self,
        by: impl Into<String>,
        reason: KillReason,
        signals: impl IntoIterator<Item = i32>,
    ) -> Self {
        self.kill = Some(Kill { reason, signals: signals.into_iter().collect(), by: Some(by.into()) });
        self
    }

    /// It ran under this limit.
    #[must_use]
    pub fn hard_limit(mut self, limit: HardLimit) -> Self {
        self.hard_limit = Some(limit);
        self
    }

    /// What its threads did when its time was over, before it was signalled.
    #[must_use]
    pub fn threads(mut self, threads: ThreadStates) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Where a crash report about it is, or may be.
    #[must_use]
    pub fn crash_report(mut self, at: impl Into<PathBuf>) -> Self {
        self.crash_report = Some(at.into());
        self
    }

    /// Where this machine's core files go.
    #[must_use]
    pub fn core_pattern(mut self, pattern: Option<CorePattern>) -> Self {
        self.core_pattern = pattern;
        self
    }
}

impl fmt::Display for HardLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Allocation(bytes) | Self::Group(bytes)) = self;
        let kind = if matches!(self, Self::Group(_)) { "of its control group" } else { "on what it may allocate" };
        write!(f, "{} {kind}", ByteSize::b(*bytes).display().iec())
    }
}
