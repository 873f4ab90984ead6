//! The samples of a hunt, and what the rule that fits a gauge says of its series.

use crate::leak::activity::{ActivityVerdict, Floors, judge_activity};
use crate::leak::breathing::{judge_breathing, share_that_grew};
use crate::leak::sample::{Gauge, Sample};
use crate::leak::series::{ByteVerdict, IntegerVerdict, judge_bytes, judge_integers};
use crate::leak::stats::theil_sen;
use crate::leak::verdict::Verdict;
use crate::probe::memory::anonymous_bytes;
use crate::sys;

/// What is thought of a series of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) gauge: Gauge,
    pub(crate) verdict: Verdict,
    pub(crate) per_round: f64,
    /// Of the rise, where it is one.
    pub(crate) p: Option<f64>,
    pub(crate) resolution: Option<f64>,
    pub(crate) rounds_needed: Option<usize>,
}

/// What is thought of a series of counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) verdict: Verdict,
    pub(crate) per_round: f64,
    pub(crate) share_that_grew: f64,
}

/// The measurement before the first round, and that after each.
#[derive(Debug)]
pub(crate) struct Rounds {
    samples: Vec<Sample>,
    is_own: bool,
    /// What no file is behind, before the first round and after a trim.
    private_before: Option<u64>,
}

impl Rounds {
    /// Room for all: a buffer that grows would be measured.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { samples: Vec::with_capacity(count), is_own: true, private_before: None }
    }

    /// Of another process.
    pub(crate) fn of_other(mut self) -> Self {
        self.is_own = false;
        self
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Where nobody says how big the heap is, what stays of private memory decides: so it is measured before the first round, too.
    pub(crate) fn note_private(&mut self) {
        let knows_heap = self.memory_gauges().any(|gauge| gauge == Gauge::Heap);
        self.private_before = if self.is_own && !knows_heap { trimmed() } else { None };
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

    /// The counts that all samples have.
    pub(crate) fn counts(&self) -> impl Iterator<Item = Gauge> {
        let knows = |gauge: &Gauge| self.samples.iter().all(|sample| sample.value(*gauge).is_some());
        Gauge::COUNTS.into_iter().filter(knows)
    }

    pub(crate) fn judge_count(&self, gauge: Gauge) -> Count {
        let values: Vec<i64> =
            self.values(gauge).into_iter().map(|value| i64::try_from(value).unwrap_or(i64::MAX)).collect();
        let Some((baseline, counts)) = values.split_first() else {
            return Count { verdict: Verdict::Clean, per_round: 0.0, share_that_grew: 0.0 };
        };
        let growth = counts.last().map_or(0, |last| last - baseline);
        let mean = growth as f64 / counts.len().max(1) as f64;
        // Of this process all that there is was made by the rounds; a server has pools and timers of its own.
        let judge = if self.is_own { judge_integers } else { judge_breathing };
        let (verdict, per_round) = match judge(*baseline, counts) {
            IntegerVerdict::Flat => (Verdict::Clean, mean),
            IntegerVerdict::OneTime => (Verdict::OneTimeInit, mean),
            IntegerVerdict::Suspicious => (Verdict::Suspicious, mean),
            IntegerVerdict::Leak { per_round } => (Verdict::Leaked, per_round),
        };
        Count { verdict, per_round, share_that_grew: share_that_grew(*baseline, counts) }
    }

    /// What the quiet windows say, `before` the first session and after each round.
    pub(crate) fn judge_activity(&self, gauge: Gauge, before: &[u64], floors: Floors, p: f64) -> ActivityVerdict {
        let costs: Vec<f64> = self.values(gauge).into_iter().skip(1).map(|value| value as f64).collect();
        let before: Vec<f64> = before.iter().map(|value| *value as f64).collect();
        judge_activity(&before, &costs, floors, p)
    }

    /// The heap where it is known, since it is exact, and resident memory.
    pub(crate) fn memory_gauges(&self) -> impl Iterator<Item = Gauge> {
        let knows_heap = self.samples.iter().all(|sample| sample.value(Gauge::Heap).is_some());
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

    /// Whether most of what resident memory grew by stays when the allocator gives free pages back, and is its own: not code that was
    /// used for the first time. Nobody trims another's.
    fn outlives_a_trim(&self, judged: &Judged) -> bool {
        let Some((before, now)) = self.private_before.and_then(|before| Some((before, trimmed()?))) else {
            return true;
        };
        let claimed = judged.per_round * (self.samples.len() - 1) as f64;
        now.saturating_sub(before) as f64 > claimed / 2.0
    }

    pub(crate) fn judge_bytes(&self, gauge: Gauge, gate: u64, p: f64) -> Judged {
        let values: Vec<f64> = self.values(gauge).into_iter().skip(1).map(|value| value as f64).collect();
        // Resident memory comes in pages.
        let gate = if gauge == Gauge::Resident { gate.max(PAGE) } else { gate } as f64;
        let slope = if values.len() > 1 { theil_sen(&values).median } else { 0.0 };
        let verdict = Verdict::Clean;
        let judged = Judged { gauge, verdict, per_round: slope, p: None, resolution: None, rounds_needed: None };
        match judge_bytes(&values, gate, p) {
            ByteVerdict::Clean { resolution } => Judged { resolution: Some(resolution), ..judged },
            ByteVerdict::Leak { slope, p } => {
                Judged { verdict: Verdict::Leaked, per_round: slope.median, p: Some(p), ..judged }
            }
            ByteVerdict::Inconclusive { rounds_needed } => {
                Judged { verdict: Verdict::Inconclusive, rounds_needed, ..judged }
            }
        }
    }
}

/// The process's own memory once what is free has been given back, where the allocator does that.
fn trimmed() -> Option<u64> {
    sys::trim_heap();
    anonymous_bytes().ok()
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

    /// Twice 64 MiB in each round is more than the tests beside this one take.
    #[test]
    #[cfg(all(test, target_os = "linux"))]
    fn what_does_not_stay_in_private_memory_is_suspicious_at_most() {
        let mut growing = rounds(30, |round| Sample::of_memory(None, round << 27));
        assert_eq!(growing.judge_memory(1024, 0.01).verdict, Verdict::Leaked, "nobody knows what was private before");
        growing.note_private();
        assert_eq!(growing.judge_memory(1024, 0.01).verdict, Verdict::Suspicious);
        let mut known = rounds(30, |round| Sample::of_memory(Some(round << 27), round << 27));
        known.note_private();
        assert_eq!(known.judge_memory(1024, 0.01).verdict, Verdict::Leaked, "the heap is known");
    }

    #[test]
    fn less_than_a_page_of_resident_memory_is_no_leak_and_of_the_heap_it_is() {
        let growing = rounds(30, |round| Sample::of_memory(Some(round * 2048), round * 2048));
        assert_eq!(growing.judge_bytes(Gauge::Heap, 1024, 0.01).verdict, Verdict::Leaked);
        assert_ne!(growing.judge_bytes(Gauge::Resident, 1024, 0.01).verdict, Verdict::Leaked);
    }
}
