//! What came of a hunt, as data.

use crate::leak::report::LeakReport;
use crate::leak::sample::{Gauge, MemorySource};
use crate::leak::verdict::Verdict;
use crate::ledger::Containment;
use crate::probe::attribution::Attribution;
use crate::probe::heap::top::HeapTop;
use crate::process::summary::ProcessSummary;
use crate::settings::Level;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What came of a hunt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HuntReport {
    /// What was hunted in: what [`named`](crate::leak::LeakHunt::named) was told.
    pub name: Option<String>,
    /// Which process was looked at; `None` for the one that the hunt runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSummary>,
    /// The worst of all series.
    pub verdict: Verdict,
    /// What is done with it.
    pub level: Level,
    /// How sure it is whose growth this is.
    pub attribution: Attribution,
    /// How many rounds were measured.
    pub rounds: usize,
    /// The quiet windows of a server in which its activity was looked at; `None` if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_windows: Option<QuietWindows>,
    /// How many sessions a round has made, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions_per_round: Option<usize>,
    /// Each count and gauge, round by round.
    pub series: Vec<Series>,
    /// What memory is known by; `None` if it was not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySource>,
    /// The call sites that have grown most in the rounds, if this process's memory has, and a [`HeapSampling`](crate::leak::HeapSampling)
    /// looked. If it is a failure, also the file with all of them, or what to do for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_sites: Option<HeapTop>,
    /// What the rounds have left behind, by name, where a count has leaked.
    pub left: Option<LeakReport>,
    /// What would hold the test's processes if it died at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
    /// What [`on_leak`](crate::leak::LeakHunt::on_leak) has answered, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_leak: Option<String>,
}

/// How long a server was watched while nothing ran. What works more seldom than once in the longer of them is not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuietWindows {
    /// After each round.
    pub each: Duration,
    /// Before the first round and after the last, if that was longer and was needed.
    pub last: Option<Duration>,
}

/// One count or gauge over the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Series {
    /// What was counted or measured.
    pub gauge: Gauge,
    /// Its value before the first measured round, and after each.
    pub values: Vec<u64>,
    /// What is thought of it.
    pub verdict: Verdict,
    /// How much it grew in a round; for bytes the median slope.
    pub per_round: f64,
    /// How sure it is that it grows, where it is thought to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// Bytes: the smallest growth in a round that so many rounds could have told from none.
    pub resolution: Option<f64>,
    /// Bytes: after how many rounds it could be told, where that is not known yet.
    pub rounds_needed: Option<usize>,
}

/// How sure it is that a series grows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Confidence {
    /// A count: the share of the rounds after which there was more than before, 0 to 1.
    Grew(f64),
    /// An amount: how likely so clear a rise is by chance (Mann-Kendall).
    ByChance(f64),
    /// Activity: what each window costs more than before the first session.
    More(f64),
    /// Activity: what each longer window after the last round costs more than before the first session.
    MoreInLong {
        /// Microseconds, or page faults.
        more: f64,
        /// How long such a window is.
        window: Duration,
    },
}

impl HuntReport {
    /// True if it fails at its level.
    pub fn is_failure(&self) -> bool {
        self.level.fails(self.verdict)
    }
}
