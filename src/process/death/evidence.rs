//! What a cause of death was concluded from.

use crate::process::death::threads::{ThreadState, ThreadStates};
use crate::process::exit::ExitStatus;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// One thing that was looked at, and what was seen there: also what did not decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Evidence {
    /// How it ended.
    Status(ExitStatus),
    /// A line out of the last that it printed.
    Printed(String),
    /// Its output was looked at, and has no last words.
    NoLastWords,
    /// Nobody had its output.
    NoOutput,
    /// How many processes of its control group the kernel had killed for want of memory.
    GroupKills {
        /// The file that counts.
        file: PathBuf,
        /// While it lived.
        before: u64,
        /// After its end.
        after: u64,
    },
    /// The same of the whole machine, `oom_kill` of `/proc/vmstat`.
    MachineKills {
        /// While it lived.
        before: u64,
        /// After its end.
        after: u64,
    },
    /// That a counter rose is all that says so, and it names nobody.
    NamesNobody,
    /// A counter has gone back, so that nothing follows from it: its group was made anew, or what reads it was moved.
    WentBack {
        /// The file that counts.
        file: PathBuf,
        /// While it lived.
        before: u64,
        /// After its end.
        after: u64,
    },
    /// Its own words are all that says why; its status fits them.
    ItsOwnWords,
    /// No counter of its control group could be read, or none that decides.
    NoGroupCounter,
    /// No counter at all was read.
    NoCounters,
    /// These signals were sent by whoever asks.
    Sent(Vec<i32>),
    /// None were.
    NotSent,
    /// Somebody else was to end it, such as a session's server.
    LeftTo(String),
    /// What one of its threads did when its time was over.
    Thread(ThreadState),
    /// Something more of its threads, such as why no stacks are known.
    Threads(String),
    /// The status is what a shell answers with when its child was ended by this signal.
    ShellStatus(i32),
    /// Where a core file or a crash report was left, or who has it.
    Core(String),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = |signal: i32| ExitStatus::Signaled { signal, core_dumped: false };
        match self {
            Self::Status(status) => write!(f, "it ended by {status}"),
            Self::Printed(line) => write!(f, "it printed `{line}`"),
            Self::NoLastWords => f.write_str("what it printed last gives no reason"),
            Self::NoOutput => f.write_str("its output was not looked at"),
            Self::GroupKills { file, before, after } if before == after => {
                write!(
                    f,
                    "the kernel killed none of its control group for want of memory ({} says {after})",
                    file.display()
                )
            }
            Self::GroupKills { file, before, after } => {
                let count = after.saturating_sub(*before);
                let file = file.display();
                write!(
                    f,
                    "the kernel killed {count} of its control group for want of memory ({file} says {after}, before {before})"
                )
            }
            Self::MachineKills { before, after } if before == after => {
                write!(f, "the kernel killed nobody on this machine for want of memory (/proc/vmstat says {after})")
            }
            Self::MachineKills { before, after } => {
                let count = after.saturating_sub(*before);
                write!(
                    f,
                    "the kernel killed {count} on this machine for want of memory (/proc/vmstat says {after}, before {before})"
                )
            }
            Self::NamesNobody => f.write_str(
                "such a counter names nobody: this is certain only if no other process was killed like that meanwhile",
            ),
            Self::WentBack { file, before, after } => {
                write!(f, "{} has gone back from {before} to {after}, so that nothing follows from it", file.display())
            }
            Self::ItsOwnWords => f.write_str("its own words are all that says why, and its status fits them"),
            Self::NoGroupCounter => f.write_str("its control group has no counter of such kills that decides"),
            Self::NoCounters => f.write_str("the kernel's counters of kills for want of memory were not looked at"),
            Self::Sent(signals) => {
                f.write_str("we had sent it ")?;
                for (at, number) in signals.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, signal(*number))?;
                }
                Ok(())
            }
            Self::LeftTo(whom) => write!(f, "{whom} was to end it"),
            Self::NotSent => f.write_str("we had sent it nothing"),
            Self::ShellStatus(number) => {
                write!(f, "a shell answers so when its child was ended by {}", signal(*number))
            }
            Self::Thread(thread) => write!(f, "{thread}"),
            Self::Core(text) | Self::Threads(text) => f.write_str(text),
        }
    }
}

/// More threads than this are counted.
const MOST_THREADS: usize = 20;

impl ThreadStates {
    /// As what is said of a death, or of one that does not die.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = Evidence> {
        let more = self.threads.len().checked_sub(MOST_THREADS).filter(|more| *more > 0);
        let more = more.map(|more| format!("and {more} more threads"));
        let no_stacks = self.no_stacks.iter().map(|why| format!("stacks in the kernel are not available: {why}"));
        let shown = self.threads.iter().take(MOST_THREADS).cloned().map(Evidence::Thread);
        shown.chain(more.into_iter().chain(no_stacks).map(Evidence::Threads))
    }

    /// The same as lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.evidence().map(|evidence| evidence.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_are_counted_and_stacks_that_are_not_known_are_told_once() {
        let thread = ThreadState {
            name: "main".into(),
            id: 7,
            state: "running".into(),
            waits_in: None,
            call: None,
            stack: Vec::new(),
        };
        let all = ThreadStates { threads: vec![thread; MOST_THREADS + 3], no_stacks: Some("a secret".into()) };
        let lines: Vec<String> = all.lines().collect();
        assert_eq!((lines.len(), lines[0].as_str()), (MOST_THREADS + 2, "thread `main` (tid 7): running"));
        assert_eq!(lines[MOST_THREADS..], ["and 3 more threads", "stacks in the kernel are not available: a secret"]);
    }
}
