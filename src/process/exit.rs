//! How a process ended.

use crate::sys::WaitStatus;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a process ended: by itself with a status, or by a signal.
///
/// ```
/// # use termleash::process::ExitStatus;
/// assert!(ExitStatus::Exited(0).success());
/// assert_eq!(ExitStatus::Exited(3).to_string(), "exit status 3");
/// assert_eq!(ExitStatus::Signaled { signal: 9, core_dumped: false }.to_string(), "signal 9 (SIGKILL)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It returned from `main` or called `exit`, with this status, 0 to 255.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel wrote a core file, or handed one to a handler.
        core_dumped: bool,
    },
    /// It has ended, and nobody says how: only the parent of a process is told.
    Unknown,
}

impl ExitStatus {
    /// True for exit status 0 only.
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The exit status, if it ended by itself.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled { .. } | Self::Unknown => None,
        }
    }

    /// The signal's number, if one ended it.
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Exited(_) | Self::Unknown => None,
            Self::Signaled { signal, .. } => Some(signal),
        }
    }
}

impl From<WaitStatus> for ExitStatus {
    fn from(status: WaitStatus) -> Self {
        match status {
            WaitStatus::Exited(code) => Self::Exited(code),
            WaitStatus::Signaled { signal, core_dumped } => Self::Signaled { signal, core_dumped },
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Unknown => f.write_str("unknown exit status"),
            Self::Signaled { signal, core_dumped } => {
                write!(f, "signal {signal}")?;
                if let Some(name) = signal_name(signal) {
                    write!(f, " ({name})")?;
                }
                if core_dumped { f.write_str(", core dumped") } else { Ok(()) }
            }
        }
    }
}

/// The names of the signals that have the same number everywhere (POSIX), and of those that end tests.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}
