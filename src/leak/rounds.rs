//! What a hunt measures after each round, and what a series of it is judged to be.

use crate::error::{Error, Result};
use crate::leak::series::{ByteVerdict, IntegerVerdict, judge_bytes, judge_integers};
use crate::leak::stats::theil_sen;
use crate::leak::verdict::Verdict;
use crate::probe::children::Children;
use crate::probe::descriptors::Descriptors;
use crate::probe::origins;
use crate::probe::own_threads;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// What is counted or measured after each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Gauge {
    /// Sessions that are tracked.
    Sessions,
    /// Open descriptors.
    Descriptors,
    /// Threads.
    Threads,
    /// Child processes, zombies among them.
    Processes,
    /// Bytes that the C allocator has handed out.
    Heap,
    /// Resident bytes.
    Resident,
}

impl Gauge {
    /// Those that are whole things.
    pub(crate) const COUNTS: [Self; 4] = [Self::Sessions, Self::Descriptors, Self::Threads, Self::Processes];
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::Heap => "heap",
            Self::Resident => "resident",
        })
    }
}

/// One measurement: some microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    sessions: u64,
    descriptors: u64,
    threads: u64,
    processes: u64,
    heap: Option<u64>,
    resident: u64,
}

impl Sample {
    pub(crate) fn take() -> Result<Self> {
        Self::read().map_err(|cause| Error::os("measure a round of a leak hunt", "it needs Linux with /proc", cause))
    }

    fn read() -> io::Result<Self> {
        Ok(Self {
            sessions: origins::since(0).len() as u64,
            descriptors: Descriptors::count()? as u64,
            threads: sys::count_threads()?.saturating_sub(own_threads::count()) as u64,
            processes: Children::capture()?.len() as u64,
            heap: sys::heap_bytes(),
            resident: sys::resident_bytes()?,
        })
    }

    fn value(&self, gauge: Gauge) -> Option<u64> {
        match gauge {
            Gauge::Sessions => Some(self.sessions),
            Gauge::Descriptors => Some(self.descriptors),
            Gauge::Threads => Some(self.threads),
            Gauge::Processes => Some(self.processes),
            Gauge::Heap => self.heap,
            Gauge::Resident => Some(self.resident),
        }
    }

    pub(crate) fn has_more_items_than(&self, other: &Self) -> bool {
        Gauge::COUNTS.iter().any(|gauge| self.value(*gauge) > other.value(*gauge))
    }
}

#[cfg(test)]
impl Sample {
    /// Counts that stay, and such memory.
    pub(crate) fn of_memory(heap: Option<u64>, resident: u64) -> Self {
        Self { sessions: 0, descriptors: 9, threads: 2, processes: 0, heap, resident }
    }
}

/// What is thought of a series of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) gauge: Gauge,
    pub(crate) verdict: Verdict,
    pub(crate) per_round: f64,
    pub(crate) resolution: Option<f64>,
    pub(crate) rounds_needed: Option<usize>,
}

/// The measurement before the first round, and that after each.
#[derive(Debug)]
pub(crate) struct Rounds {
    samples: Vec<Sample>,
}

impl Rounds {
    /// Room for all: a buffer that grows would be measured.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { samples: Vec::with_capacity(count) }
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    pub(crate) fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    pub(crate) fn values(&self, gauge: Gauge) -> Vec<u64> {
        self.samples.iter().filter_map(|sample| sample.value(gauge)).collect()
    }

    pub(crate) fn judge_count(&self, gauge: Gauge) -> (Verdict, f64) {
        let values: Vec<i64> =
            self.values(gauge).into_iter().map(|value| i64::try_from(value).unwrap_or(i64::MAX)).collect();
        let Some((baseline, counts)) = values.split_first() else { return (Verdict::Clean, 0.0) };
        let growth = counts.last().map_or(0, |last| last - baseline);
        let mean = growth as f64 / counts.len().max(1) as f64;
        match judge_integers(*baseline, counts) {
            IntegerVerdict::Flat => (Verdict::Clean, mean),
            IntegerVerdict::OneTime => (Verdict::OneTimeInit, mean),
            IntegerVerdict::Suspicious => (Verdict::Suspicious, mean),
            IntegerVerdict::Leak { per_round } => (Verdict::Leaked, per_round),
        }
    }

    /// The heap where it is known, since it is exact, and resident memory.
    pub(crate) fn memory_gauges(&self) -> impl Iterator<Item = Gauge> {
        let knows_heap = self.samples.iter().all(|sample| sample.heap.is_some());
        [Gauge::Heap, Gauge::Resident].into_iter().filter(move |gauge| knows_heap || *gauge == Gauge::Resident)
    }

    /// Judges by the best gauge that there is.
    pub(crate) fn judge_memory(&self, gate: u64, p: f64) -> Judged {
        let gauge = self.memory_gauges().next().unwrap_or(Gauge::Resident);
        let mut judged = self.judge_bytes(gauge, gate, p);
        if gauge == Gauge::Resident && judged.verdict == Verdict::Leaked && !self.outlives_a_trim(&judged) {
            judged.verdict = Verdict::Suspicious;
        }
        judged
    }

    /// Whether most of what resident memory grew by stays when the allocator gives free pages back.
    fn outlives_a_trim(&self, judged: &Judged) -> bool {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else { return true };
        if !sys::trim_heap() {
            return true;
        }
        let after = sys::resident_bytes().unwrap_or(last.resident);
        let claimed = judged.per_round * (self.samples.len() - 1) as f64;
        after.saturating_sub(first.resident) as f64 > claimed / 2.0
    }

    pub(crate) fn judge_bytes(&self, gauge: Gauge, gate: u64, p: f64) -> Judged {
        let values: Vec<f64> = self.values(gauge).into_iter().skip(1).map(|value| value as f64).collect();
        // Resident memory comes in pages.
        let gate = if gauge == Gauge::Resident { gate.max(PAGE) } else { gate } as f64;
        let slope = if values.len() > 1 { theil_sen(&values).median } else { 0.0 };
        let judged = Judged { gauge, verdict: Verdict::Clean, per_round: slope, resolution: None, rounds_needed: None };
        match judge_bytes(&values, gate, p) {
            ByteVerdict::Clean { resolution } => Judged { resolution: Some(resolution), ..judged },
            ByteVerdict::Leak { slope, .. } => Judged { verdict: Verdict::Leaked, per_round: slope.median, ..judged },
            ByteVerdict::Inconclusive { rounds_needed } => {
                Judged { verdict: Verdict::Inconclusive, rounds_needed, ..judged }
            }
        }
    }
}

/// The usual size of a page; where it is larger, so is the noise.
const PAGE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(count: u64, sample: impl Fn(u64) -> Sample) -> Rounds {
        let mut rounds = Rounds::with_capacity(count as usize + 1);
        (0..=count).for_each(|round| rounds.push(sample(round)));
        rounds
    }

    /// Noise that no trend is found in.
    fn noise(round: u64) -> u64 {
        [0, 300, 100, 200][round as usize % 4]
    }

    #[test]
    fn a_heap_that_is_known_is_what_memory_is_judged_by() {
        let flat = rounds(18, |round| Sample::of_memory(Some((5 << 20) + noise(round)), round << 20));
        let judged = flat.judge_memory(1024, 0.01);
        assert_eq!((judged.gauge, judged.verdict), (Gauge::Heap, Verdict::Clean), "{judged:?}");
        let growing = rounds(18, |round| Sample::of_memory(Some(round << 20), 5 << 20));
        assert_eq!(growing.judge_memory(1024, 0.01).verdict, Verdict::Leaked);
    }

    #[test]
    fn less_than_a_page_of_resident_memory_is_no_leak_and_of_the_heap_it_is() {
        let growing = rounds(30, |round| Sample::of_memory(Some(round * 2048), round * 2048));
        assert_eq!(growing.judge_bytes(Gauge::Heap, 1024, 0.01).verdict, Verdict::Leaked);
        assert_ne!(growing.judge_bytes(Gauge::Resident, 1024, 0.01).verdict, Verdict::Leaked);
    }
}
