//! What a body that died has left of its timeline: its recorder's memory is shared with the runner, which reads it then.
//!
//! ```text
//!  runner: file made ──► keeper: passes it on ──► body: mapped before main, closed ──► recorder writes
//!     └── body dead: read, decoded, joined with what the keeper has seen ──► told, kept as JSON
//! ```
//! A wild body may have written anything there: what cannot have been is left out, and counted.

use crate::event::memory::{Memory, WORDS};
use crate::event::{Timeline, decode};
use crate::harness::timelines;
use crate::ledger::message::{EndOfRun, Outcome};
use crate::process::exit::ExitStatus;
use crate::sys::{self, AsFd as _, AsRawFd as _, OwnedFd};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The runner's hold on it.
pub(crate) struct Remains {
    memory: OwnedFd,
    /// When it was made: nothing of a body's is older.
    since: Duration,
}

/// What is known of a call of which the body may have died.
pub(crate) struct Died<'a> {
    pub(crate) name: &'a str,
    /// The number of the call.
    pub(crate) number: u32,
    /// Where to keep it.
    pub(crate) timelines: Option<&'a Path>,
    /// The body's process id.
    pub(crate) pid: Option<u32>,
    pub(crate) outcome: Option<&'a Outcome>,
    pub(crate) end: Option<&'a EndOfRun>,
}

impl Remains {
    /// Where no memory can be shared, a body that dies leaves nothing, and everything else is as it is.
    pub(crate) fn new() -> io::Result<Self> {
        let memory = sys::create_shared(WORDS).or_else(|_| sys::null())?;
        Ok(Self { memory, since: sys::monotonic() })
    }

    /// The number that it is passed on at.
    pub(crate) fn number(&self) -> i32 {
        self.memory.as_raw_fd()
    }

    /// The timeline of a call that its body has not shown, or that there is more to show of; kept and told to a listener if the body has
    /// not done that.
    pub(crate) fn of(&self, died: &Died<'_>) -> Option<Timeline> {
        let end = died.end?;
        let has_more = !end.seen.moments.is_empty();
        let is_shown = match died.outcome {
            None => true,
            Some(Outcome::Passed) => !matches!(end.status, None | Some(ExitStatus::Exited(0) | ExitStatus::Unknown)),
            // The body has shown its own.
            Some(Outcome::Stuck { .. } | Outcome::Panicked { .. }) => false,
        } || has_more;
        if !is_shown && !matches!(died.outcome, Some(Outcome::Stuck { .. })) {
            return None;
        }
        let memory = Memory::of(&sys::read_shared(self.memory.as_fd(), WORDS));
        let (call, begun) = decode::head(&memory)?;
        let ended = end.ended_at.unwrap_or_else(sys::monotonic);
        if call != died.number || begun < self.since || begun > ended {
            return None;
        }
        let lasted = ended - begun;
        let mut timeline = decode::timeline(&memory, Some(died.name.to_owned()), lasted);
        timeline.durations = Some(decode::durations(&memory, lasted, Duration::ZERO, None));
        timeline.is_of_dead = !decode::is_told(&memory);
        timeline.add_seen(&end.seen, begun);
        if timeline.is_of_dead {
            timelines::tell(&timeline, died.timelines, died.pid.unwrap_or_default());
        }
        is_shown.then_some(timeline)
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "remains_tests.rs"]
mod tests;
