//! What a timeline is made of: moments of sessions' lives, and samples.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Something that happened at one moment, or several reads or writes in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Moment {
    /// Since the test's begin, on a clock that only goes forward.
    pub at: Duration,
    /// The [`number`](crate::event::SessionLine::number) of the session; `None` for what is the whole test's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// What it was.
    pub what: What,
}

/// What can happen. New kinds may come with any release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum What {
    /// The session is in the ledger, and its creation is about to be asked for.
    Announced,
    /// It is there: created, or handed over.
    Created,
    /// The test has typed into it.
    Wrote(Flow),
    /// It has printed.
    Read(Flow),
    /// Its terminal was given another size.
    #[non_exhaustive]
    Resized {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        cols: u16,
    },
    /// One step of its kill.
    #[non_exhaustive]
    Kill {
        /// What was done.
        step: Step,
        /// To which process; `None` for a request to the backend.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
        /// False for a process that had ended before, and for a request that failed.
        was_delivered: bool,
    },
    /// Its end is proven.
    Gone,
    /// A kill has ended without proof.
    #[non_exhaustive]
    Survived {
        /// How many processes are proven to be its own and live.
        processes: usize,
    },
    /// It is out of the books without a kill: nothing came of its creation, or the test has taken it out of its helper's hands.
    Untracked,
    /// A limit was reached.
    #[non_exhaustive]
    Breach {
        /// Which limit.
        limit: String,
        /// How much it was.
        value: String,
    },
}

/// Reads, or writes, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flow {
    /// All together.
    pub bytes: u64,
    /// How many.
    pub times: u64,
    /// When the last one was, since the test's begin.
    pub until: Duration,
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Write,
    Read,
}

/// What is done to end a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// The backend is asked to end it.
    AskedBackend,
    /// HUP, then CONT.
    HungUp,
    /// TERM, then CONT.
    Terminated,
    /// KILL.
    Killed,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced => f.write_str("announced"),
            Self::Created => f.write_str("created"),
            Self::Wrote(flow) => write!(f, "wrote {flow}"),
            Self::Read(flow) => write!(f, "read {flow}"),
            Self::Resized { rows, cols } => write!(f, "resized to {rows} rows and {cols} columns"),
            Self::Kill { step, pid, was_delivered } => {
                write!(f, "{step}")?;
                if let Some(pid) = pid {
                    write!(f, " to process {pid}")?;
                }
                f.write_str(if *was_delivered { "" } else { ", which did not reach it" })
            }
            Self::Gone => f.write_str("gone"),
            Self::Survived { processes } => write!(f, "not proven to be gone; {processes} of its processes live"),
            Self::Untracked => f.write_str("not tracked any more"),
            Self::Breach { limit, value } => write!(f, "over its limit of {limit}: {value}"),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AskedBackend => "the backend was asked to end it",
            Self::HungUp => "HUP",
            Self::Terminated => "TERM",
            Self::Killed => "KILL",
        })
    }
}

/// How much was used at one moment: by the test's process ([`Timeline::samples`](crate::event::Timeline::samples)), or by its sessions
/// together ([`Timeline::sessions_use`](crate::event::Timeline::sessions_use)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sample {
    /// Since the test's begin.
    pub at: Duration,
    /// Resident bytes; of sessions those that belong to no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Open descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u64>,
    /// Child processes; of sessions all of their processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Processor time since the process began; of sessions that of the processes which live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<Duration>,
}
