//! The causes of a death.

use crate::process::death::facts::{HardLimit, KillReason};
use crate::process::exit::ExitStatus;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Of what a process has died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CauseOfDeath {
    /// For want of memory, in one of several ways.
    OutOfMemory(OutOfMemory),
    /// It aborted, by SIGABRT.
    Abort {
        /// As far as its output says.
        reason: AbortReason,
        /// The name of the thread that did, if its output says it.
        thread: Option<String>,
        /// What a panic, an assertion or the allocator said.
        message: Option<String>,
    },
    /// A thread has used up its stack, by the word of Rust's handler. Of a program without one there is a SIGSEGV, and no word.
    StackOverflow {
        /// The thread's name.
        thread: Option<String>,
    },
    /// SIGILL: an instruction that the processor does not have, or one that a compiler puts where nothing may come.
    IllegalInstruction,
    /// Another signal, and who sent it is not known.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// It ended by itself.
    Exit {
        /// 0 to 255.
        status: i32,
    },
    /// It was killed when its time was over.
    Deadline {
        /// Which, and what it did instead of ending.
        why: String,
    },
    /// It was killed because it went over a limit.
    Limit {
        /// Which limit, and by how much.
        what: String,
    },
    /// It was killed because the test process has ended.
    RunnerGone,
    /// It was killed by this crate for another reason, such as the end of its test.
    Ended {
        /// Which.
        why: String,
    },
    /// It has ended, and nobody says how.
    Unknown,
}

/// Which memory was at its end, and who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OutOfMemory {
    /// The kernel has killed it: its control group had a limit, or the machine was full.
    Kernel {
        /// True if the counter of its own control group says so; false where only the machine's could be read.
        in_its_group: bool,
    },
    /// An allocator got none, and the program aborted: Rust's, or C++'s with a `std::bad_alloc` that nobody caught.
    Allocation {
        /// How much it had asked for, which Rust says.
        bytes: Option<u64>,
    },
    /// The heap of V8 (node) was at its limit.
    V8Heap,
    /// It came to the hard limit on memory that it was given by this crate.
    HardLimit(HardLimit),
}

/// Why a process aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AbortReason {
    /// A panic where panics abort.
    Panic,
    /// A panic while another one unwound or was told.
    DoublePanic,
    /// A panic in a function that cannot unwind, such as an `extern "C" fn`.
    CannotUnwind,
    /// `assert` of C.
    Assertion,
    /// C's allocator found its heap damaged: a double free, or a write behind the end of a block.
    HeapCorruption,
    /// A C program wrote over its stack or behind a buffer, and was stopped.
    Overrun,
    /// C++'s `terminate`: an exception that nobody caught.
    Exception,
    /// A runtime's own word, after `fatal runtime error: `.
    Runtime,
    /// Its output says nothing: it called `abort`, or somebody sent SIGABRT.
    Unsaid,
}

/// What whoever was killed for it has died of.
impl From<KillReason> for CauseOfDeath {
    fn from(reason: KillReason) -> Self {
        match reason {
            KillReason::Deadline(why) => Self::Deadline { why },
            KillReason::Limit(what) => Self::Limit { what },
            KillReason::HardLimit(limit) => Self::OutOfMemory(OutOfMemory::HardLimit(limit)),
            KillReason::RunnerGone => Self::RunnerGone,
            KillReason::Other(why) => Self::Ended { why },
        }
    }
}

impl fmt::Display for CauseOfDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(how) => write!(f, "out of memory: {how}"),
            Self::Abort { reason, thread, message } => {
                write!(f, "{reason}")?;
                thread.iter().try_for_each(|thread| write!(f, " in thread `{thread}`"))?;
                message.iter().try_for_each(|message| write!(f, ": {message}"))
            }
            Self::StackOverflow { thread: Some(thread) } => write!(f, "stack overflow in thread `{thread}`"),
            Self::StackOverflow { thread: None } => f.write_str("stack overflow"),
            Self::IllegalInstruction => f.write_str("an illegal instruction"),
            Self::Signal { signal } => {
                let shown = ExitStatus::Signaled { signal: *signal, core_dumped: false };
                match signal {
                    // The faults that have the same number everywhere.
                    5 | 8 | 11 => write!(f, "{shown}: a fault of its own, unless somebody sent it"),
                    _ => write!(f, "{shown} by somebody unknown"),
                }
            }
            Self::Exit { status } => write!(f, "it ended by itself with {}", ExitStatus::Exited(*status)),
            Self::Deadline { why } => write!(f, "deadline: {why}"),
            Self::Limit { what } => write!(f, "killed for a limit: {what}"),
            Self::RunnerGone => f.write_str("its test process was gone, and it was ended"),
            Self::Ended { why } => write!(f, "ended: {why}"),
            Self::Unknown => f.write_str("nobody was told how it ended"),
        }
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { in_its_group: true } => f.write_str("the kernel killed it within its control group"),
            Self::Kernel { in_its_group: false } => {
                f.write_str("the kernel killed it, as far as the machine's counter says")
            }
            Self::Allocation { bytes: Some(bytes) } => {
                write!(f, "an allocation of {} failed", ByteSize::b(*bytes).display().iec())
            }
            Self::Allocation { bytes: None } => f.write_str("an allocation failed"),
            Self::V8Heap => f.write_str("V8's heap was at its limit, which `node --max-old-space-size=MB` sets"),
            Self::HardLimit(limit) => write!(f, "it came to its hard limit, {limit}"),
        }
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "abort by a panic",
            Self::DoublePanic => "abort by a panic during another one",
            Self::CannotUnwind => "abort by a panic in a function that cannot unwind",
            Self::Assertion => "abort by a failed assertion",
            Self::HeapCorruption => "abort by a damaged heap",
            Self::Overrun => "abort by a write beyond a buffer",
            Self::Exception => "abort by an exception that nobody caught",
            Self::Runtime => "abort by its runtime",
            Self::Unsaid => "abort, by itself or by somebody's SIGABRT; it printed no reason",
        })
    }
}
