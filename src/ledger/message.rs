//! What runner, keeper and body tell each other.
//!
//! ```text
//!  runner ──Start, Order──► keeper ──Welcome, Word──► body
//!  runner ◄──────News────── keeper ◄─────Told──────── body
//! ```
//! One message is one JSON text: whoever debugs a run can read along with strace.

use crate::event::seen::Seen;
use crate::ledger::breach::Breach;
use crate::ledger::containment::Containment;
use crate::ledger::swept::Swept;
use crate::limits::Limits;
use crate::process::death::{KillReason, ThreadStates};
use crate::process::exit::ExitStatus;
use crate::process::identity::ProcessIdentity;
use crate::process::summary::ProcessSummary;
use crate::sys::Channel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// The variable by which a keeper knows that it is one, and the number of its channel.
pub(crate) const KEEPER: &str = "TERMLEASH_KEEPER";
/// The same for a body.
pub(crate) const BODY: &str = "TERMLEASH_BODY";

/// The same for the steward of a shared server.
pub(crate) const STEWARD: &str = "TERMLEASH_STEWARD";

/// The first message to a keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) run: Uuid,
    /// What the test, or the program, is called.
    pub(crate) name: String,
    pub(crate) ledger: LedgerAt,
    /// The test process.
    pub(crate) runner: ProcessIdentity,
    /// From the polite signal to the KILL.
    pub(crate) grace: Duration,
    /// How long a server may take to create a session.
    pub(crate) create_within: Duration,
    /// Nothing is ended before somebody asks for it.
    pub(crate) keeps: bool,
    /// What the test process itself was started with; everything else is closed.
    pub(crate) inherited: Vec<i32>,
    /// `None` for a keeper beside a test process.
    pub(crate) body: Option<BodyStart>,
}

/// Where the run's ledger is, or why there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum LedgerAt {
    File {
        #[serde(with = "crate::ledger::path")]
        directory: PathBuf,
        name: String,
    },
    Nowhere {
        why: String,
    },
}

/// What a steward is told first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StewardStart {
    /// Where its users find it.
    pub(crate) name: String,
    /// The key, for people.
    pub(crate) key: String,
    /// The server's specification, as the floors above know it.
    pub(crate) spec: serde_json::Value,
    /// Where in a test's source.
    pub(crate) made_at: String,
    /// Whose end is the server's end.
    pub(crate) owner: ProcessIdentity,
    /// How long it stays without a user.
    pub(crate) idle: Duration,
}

/// How the body is started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BodyStart {
    /// What the program is called, byte by byte, and its arguments.
    pub(crate) program: Vec<u8>,
    pub(crate) arguments: Vec<String>,
    pub(crate) outputs: Outputs,
    /// How long what the body lost may take to end by itself.
    pub(crate) settle: Duration,
}

/// Where a body prints: descriptors of the runner's that the keeper passes on, at their own numbers.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Outputs {
    /// What the closure prints.
    pub(crate) output: i32,
    pub(crate) errors: i32,
    /// What is printed before and after it.
    pub(crate) around: i32,
    /// The test process's own standard error, which nobody captures.
    pub(crate) uncaptured: i32,
    /// No output: memory that the timeline is written into, so that the runner has it if the body dies.
    pub(crate) timeline: i32,
}

impl Outputs {
    pub(crate) fn all(self) -> [i32; 5] {
        [self.output, self.errors, self.around, self.uncaptured, self.timeline]
    }
}

/// What a runner asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The body's call with this number, counted from 1, may run, for so long, within these limits.
    Call { number: u32, timeout: Duration, limits: Limits },
    /// There are no more calls: everything is to be ended.
    End { why: String },
}

/// What a keeper tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum News {
    Started {
        keeper: ProcessIdentity,
        body: ProcessIdentity,
        containment: Containment,
    },
    /// The body waits to be let into this call.
    Reached {
        number: u32,
    },
    Outcome {
        number: u32,
        outcome: Outcome,
    },
    /// The body asks for the steward of a shared server.
    Wants(StewardStart),
    /// A session went over a limit, and was ended.
    Breach(Box<Breach>),
    /// The test as a whole went over its limit of memory.
    Over {
        why: String,
    },
    /// Limits that cannot be kept, and why.
    NotKept {
        why: String,
    },
    /// The hard limit on the body's memory in force from now on, in bytes.
    HardLimit {
        bytes: Option<u64>,
    },
    /// The last one.
    Ended(Box<EndOfRun>),
}

/// The first message to a body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) run: Uuid,
    pub(crate) ledger: LedgerAt,
    pub(crate) keeper: ProcessIdentity,
    pub(crate) runner: ProcessIdentity,
    pub(crate) containment: Containment,
    pub(crate) outputs: Outputs,
    pub(crate) grace: Duration,
    pub(crate) keeps: bool,
}

/// What a body is told after that.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It is let into its call.
    Go { number: u32 },
    /// The running call is to fail, and to clean up; whether most of what it has too much of is its own process's.
    Fail { why: String, is_its_own: bool },
}

/// What a body tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Reached {
        number: u32,
    },
    /// A steward is to be started by the test process.
    Wants(StewardStart),
    /// The hard limit on its memory from now on, in bytes.
    HardLimit {
        bytes: Option<u64>,
    },
    /// The test's own part is over, and clean-up begins, which has deadlines of its own.
    CleansUp,
    /// Clean-up is over, and what is left is compared and told.
    Judges,
    Outcome {
        number: u32,
        outcome: Outcome,
    },
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Passed,
    /// It blocks its thread, and ends now; that is printed by nobody yet.
    Stuck {
        text: String,
    },
    /// With what the panic said; it has been printed by the body.
    Panicked {
        text: String,
    },
}

impl Outcome {
    /// With at most so many bytes of text.
    pub(crate) fn cut(mut self, most: usize) -> Self {
        if let Self::Stuck { text } | Self::Panicked { text } = &mut self
            && text.len() > most
        {
            // Not within a character.
            let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or(0));
            text.push('…');
        }
        self
    }
}

/// How a run ended, and what was done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EndOfRun {
    /// How the body ended; `None` if it could not be started, is kept, or does not die.
    pub(crate) status: Option<ExitStatus>,
    /// Why nothing could be started.
    pub(crate) not_started: Option<String>,
    /// The keeper has died, and the runner has swept: nothing else is known.
    pub(crate) keeper_died: bool,
    /// Why the keeper has ended the body, if it has.
    pub(crate) ended_because: Option<KillReason>,
    /// What the body's threads did then, if its time was over.
    pub(crate) threads: Option<ThreadStates>,
    /// The signals that the keeper has sent to the body.
    pub(crate) signals: Vec<i32>,
    /// What was alive after a body that had reported, when it had had time to end.
    pub(crate) left: Vec<ProcessSummary>,
    pub(crate) swept: Swept,
    /// When there was nothing more to wait for: the body had ended, or was to be ended. On the system's monotonic clock.
    pub(crate) ended_at: Option<Duration>,
    /// What the keeper has seen of the sessions meanwhile.
    pub(crate) seen: Seen,
    /// How everything can be looked at, and ended later.
    pub(crate) kept: Option<String>,
}

/// # Errors
///
/// Those of [`Channel::send`].
pub(crate) fn tell(channel: &Channel, message: &impl Serialize) -> io::Result<()> {
    channel.send(&serde_json::to_vec(message)?)
}

/// # Errors
///
/// Those of [`Channel::receive`], and if it is no such message.
pub(crate) fn hear<T: DeserializeOwned>(channel: &mut Channel, limit: Option<Duration>) -> io::Result<Option<T>> {
    match channel.receive(limit)? {
        Some(message) => Ok(Some(serde_json::from_slice(&message)?)),
        None => Ok(None),
    }
}
