//! A timeline as reports have it: plain data.

use crate::event::moment::{Flow, Moment, Sample};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happened in a test, and when.
///
/// It is recorded of every test, and is bounded: of the newest 128 sessions, 512 steps of their lives and 512 runs of reads or writes; of a
/// name the first 40 bytes. Reads of one session that follow each other within 20 ms are one moment, and so are writes. What was dropped is
/// counted. A session's totals are exact as long as its line is there.
///
/// A failing test shows it as a chart, also one whose process died in the middle: the memory that it is recorded in is shared with the test
/// process, which reads it then, without what was being written at that moment or makes no sense. `TERMLEASH_TIMELINES` names a directory to
/// which that of every test is written as JSON. [`Scope::timeline`](crate::testing::Scope::timeline) and
/// [`SessionTestHelper::timeline`](crate::SessionTestHelper::timeline) give it at any time, and a listener gets it of every test by
/// [`Event::TestEnded`](crate::event::Event::TestEnded).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timeline {
    /// The test's name; `None` for a helper's own, outside of a test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// From its begin until this was made.
    pub lasted: Duration,
    /// The sessions, in the order in which they were announced.
    pub sessions: Vec<SessionLine>,
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// What was not kept.
    pub dropped: Dropped,
    /// How much the process used: at first each tenth of a second, and ever more seldom in a long test.
    pub samples: Vec<Sample>,
    /// How long the parts of a test took; `None` before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durations: Option<Durations>,
    /// True if the test's process died before the test was over, and this was read from what it has left: its times end with that death.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_of_dead: bool,
    /// How much the test's sessions used together with all that they have started, the newest 512 samples; empty unless a keeper has watched
    /// them for a limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sessions_use: Vec<Sample>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionLine {
    /// By which moments name it.
    pub number: u32,
    /// Its id; what it runs, where it has none.
    pub name: String,
    /// When it was announced.
    pub from: Duration,
    /// When it left the books, and how; `None` while it is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<(Duration, End)>,
    /// All that was typed.
    pub wrote: Flow,
    /// All that was printed.
    pub read: Flow,
}

/// How a session left the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum End {
    /// Its end is proven.
    Gone,
    /// Without a kill.
    Untracked,
}

/// What a timeline has counted and not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dropped {
    /// Sessions, the oldest, with what was known of them.
    pub sessions: u64,
    /// Steps of sessions' lives.
    pub steps: u64,
    /// Runs of writes; `until` is the end of the last of them.
    pub wrote: Flow,
    /// Runs of reads.
    pub read: Flow,
    /// Records that could not be read: a process was writing them when it died, or has written over them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub torn: u64,
}

/// How long the parts of a test took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Durations {
    /// Until the body began: its runtime, and the baseline.
    pub set_up: Duration,
    /// The test's own.
    pub body: Duration,
    /// What was deferred, the ends of sessions and servers, and that of the runtime.
    pub clean_up: Duration,
    /// The wait for what was on its way out, and the comparison with the beginning.
    pub settle: Duration,
    /// What went last of all that was waited for; `None` where nothing had to be waited for, or nothing went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_last: Option<String>,
}
