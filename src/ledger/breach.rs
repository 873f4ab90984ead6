//! A limit that was gone over, as the keeper tells it.

use crate::event::What;
use crate::ledger::swept::Swept;
use crate::process::usage::Usage;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What was over which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Exceeded {
    WallTime { limit: Duration, was: Duration },
    Memory { limit: u64, was: u64 },
    Processes { limit: usize, was: usize },
    Descriptors { limit: u64, was: u64 },
}

/// A session that was ended because it went over a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breach {
    /// When that was seen, on the system's monotonic clock.
    pub(crate) at: Duration,
    /// The id of the session, where its server has said it.
    pub(crate) id: Option<String>,
    /// What the session runs, and where in the test's source it was made.
    pub(crate) label: String,
    pub(crate) made_at: String,
    /// Its leader's number.
    pub(crate) pid: u32,
    pub(crate) exceeded: Exceeded,
    /// What it used before, the last one last, each with its time since it was first looked at.
    pub(crate) samples: Vec<(Duration, Usage)>,
    pub(crate) swept: Swept,
}

impl Breach {
    /// As it stands in a timeline.
    pub(crate) fn moment(&self) -> What {
        What::Breach { limit: self.exceeded.limit(), value: self.exceeded.value() }
    }
}

impl Exceeded {
    /// The limit, with who sets it.
    pub(crate) fn limit(&self) -> String {
        match self {
            Self::WallTime { limit, .. } => format!("{} of wall time", humantime::format_duration(*limit)),
            Self::Memory { limit, .. } => format!("{} of memory", ByteSize(*limit)),
            Self::Processes { limit: 1, .. } => "one process".to_owned(),
            Self::Processes { limit, .. } => format!("{limit} processes"),
            Self::Descriptors { limit, .. } => format!("{limit} descriptors"),
        }
    }

    /// How much it was.
    pub(crate) fn value(&self) -> String {
        match self {
            Self::WallTime { was, .. } => {
                format!("{}", humantime::format_duration(Duration::from_millis(was.as_millis() as u64)))
            }
            Self::Memory { was, .. } => ByteSize(*was).to_string(),
            Self::Processes { was, .. } => was.to_string(),
            Self::Descriptors { was, .. } => was.to_string(),
        }
    }

    fn raised_by(&self) -> &'static str {
        match self {
            Self::WallTime { .. } => "`Limits::wall_time`, or TERMLEASH_WALL_TIME for a run",
            Self::Memory { .. } => "`Limits::max_memory`, or TERMLEASH_SESSION_MEMORY for a run",
            Self::Processes { .. } => "`Limits::max_processes`, or TERMLEASH_PROCESSES for a run",
            Self::Descriptors { .. } => "`Limits::max_descriptors`, or TERMLEASH_DESCRIPTORS for a run",
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its limit of {}: it had {}", self.limit(), self.value())
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, made_at, pid, exceeded, samples, swept, .. } = self;
        writeln!(f, "session `{label}` (made at {made_at}, pid {pid}) went over {exceeded}")?;
        for (at, usage) in samples {
            writeln!(f, "    after {:>8.3} s: {usage}", at.as_secs_f64())?;
        }
        let is_sure = swept.undone.is_empty() && swept.suspects.is_empty();
        match (swept.ended.len(), swept.survivors.len()) {
            (0, 0) if is_sure => writeln!(f, "    it has ended by itself meanwhile")?,
            (0, 0) => writeln!(f, "    nothing of it could be ended")?,
            (ended, 0) => writeln!(f, "    it alone was ended, {ended} of its processes")?,
            (_, left) => writeln!(f, "    it alone was ended, and {left} of its processes are still alive")?,
        }
        for suspect in &swept.suspects {
            writeln!(f, "    suspect, not signalled: {suspect}")?;
        }
        for what in &swept.undone {
            writeln!(f, "    not done: {what}")?;
        }
        writeln!(f, "    to do: find what it does, or raise the limit: {}", exceeded.raised_by())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn a_breach_names_session_limit_and_the_last_samples() {
        let usage = |memory, processes| Usage { memory, processes, descriptors: 3, ..Usage::default() };
        let mut breach = Breach {
            at: Duration::ZERO,
            id: None,
            label: "yes".into(),
            made_at: "tests/x.rs:3:9".into(),
            pid: 77,
            exceeded: Exceeded::Memory { limit: 64 << 20, was: 65 << 20 },
            samples: vec![(Duration::ZERO, usage(1 << 20, 1)), (Duration::from_millis(1234), usage(65 << 20, 2))],
            swept: Swept::default(),
        };
        assert_snapshot!(breach.to_string(), @r"
        session `yes` (made at tests/x.rs:3:9, pid 77) went over its limit of 64.0 MiB of memory: it had 65.0 MiB
            after    0.000 s: 1.0 MiB in 1 process, 3 descriptors, 0ns run
            after    1.234 s: 65.0 MiB in 2 processes, 3 descriptors, 0ns run
            it has ended by itself meanwhile
            to do: find what it does, or raise the limit: `Limits::max_memory`, or TERMLEASH_SESSION_MEMORY for a run
        ");
        breach.samples.clear();
        breach.swept.undone.push("nothing is proven to be gone: why".into());
        let text = breach.to_string();
        assert!(
            text.contains("nothing of it could be ended\n    not done: nothing is proven to be gone: why\n"),
            "{text}"
        );
        for (exceeded, text) in [
            (
                Exceeded::WallTime { limit: Duration::from_secs(2), was: Duration::from_nanos(2_100_000_001) },
                "its limit of 2s of wall time: it had 2s 100ms",
            ),
            (Exceeded::Processes { limit: 20, was: 22 }, "its limit of 20 processes: it had 22"),
            (Exceeded::Descriptors { limit: 100, was: 104 }, "its limit of 100 descriptors: it had 104"),
        ] {
            breach.exceeded = exceeded;
            assert!(breach.to_string().contains(text), "{breach}");
        }
    }
}
