//! The same work over many rounds: what a single test does not show, because it is small, or not an item.

use crate::error::{BoxError, Error, Result};
use crate::leak::check::LeakCheck;
use crate::leak::report::LeakReport;
use crate::leak::rounds::{Gauge, Rounds, Sample};
use crate::leak::series::{LOOKS, P_PER_LOOK, P_SINGLE};
use crate::leak::verdict::Verdict;
use crate::ledger::Containment;
use crate::probe::attribution::Attribution;
use crate::probe::prime::prime;
use crate::process::pump::Pump;
use crate::settings::Level;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Runs the same work again and again, and judges how counts and memory grow.
///
/// - *Counts* (descriptors, threads, child processes, tracked sessions) leak if they grow in every round, or in most of them
///   evenly. Seven rounds are enough.
/// - *Bytes* (the heap where the allocator says how big it is, else resident memory) leak if a rank test for a trend (Mann-Kendall)
///   and the median slope (Theil-Sen) and both halves of the series say so, the first third being left out, where caches fill
///   and things are initialised. At least 18 rounds; it is looked at after 18, 30 and 60 only, since looking after every
///   round would raise false alarms (measured: from 0.5 % to 9.7 %), and a leak at the first look must be one at the second,
///   where the rounds go as far: what fills ever more slowly looks like one after 18. What they do not tell is
///   [`Inconclusive`](Verdict::Inconclusive), with the number of rounds that would.
///
/// ```
/// # #[cfg(all(target_os = "linux", feature = "tokio"))] {
/// use termleash::{assert_no_leaks, leak::LeakHunt};
///
/// # termleash::block_on(async {
/// let report = LeakHunt::new().warmup(3).rounds(7..=18).run(async |round| {
///     let text = "x".repeat(round);
///     assert_eq!(text.len(), round);
///     Ok(())
/// }).await;
/// let report = assert_no_leaks!(report);
/// assert_eq!(report.rounds, 18);
/// # });
/// # }
/// ```
///
/// # Limits
///
/// - What else runs in the process is measured with it: where other tests may run, growth is suspicious at most. Use
///   cargo-nextest, or [`exclusive`](Self::exclusive).
/// - The heap is what malloc(3) of glibc 2.33 or later has handed out, and what its threads have put aside to hand out again:
///   that grows over some dozens of rounds by tens of KiB. With another global allocator, or musl, resident memory
///   stands in, which sees no less than a page and is judged after a trim.
/// - A leak of less than the [gate](Self::gate) in a round is not one.
#[derive(Debug, Clone)]
#[must_use = "a hunt does nothing until `run`"]
pub struct LeakHunt {
    name: Option<String>,
    warmup: usize,
    rounds: RangeInclusive<usize>,
    gate: u64,
    judges_memory: bool,
    is_exclusive: bool,
    level: Option<Level>,
}

/// How long what a round has left behind may take to end before it is counted: a thread is listed for some milliseconds
/// after its join.
const ROUND_SETTLES: Duration = Duration::from_millis(20);
/// What nobody cares about in a round: less than the smallest buffer that a session could leave.
const GATE: u64 = 1024;

/// Room for so many rounds is made beforehand.
const MOST_ROOM: usize = 4096;

/// What came of a hunt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HuntReport {
    /// What was hunted in: what [`named`](LeakHunt::named) was told.
    pub name: Option<String>,
    /// The worst of all series.
    pub verdict: Verdict,
    /// What is done with it.
    pub level: Level,
    /// How sure it is whose growth this is.
    pub attribution: Attribution,
    /// How many rounds were measured.
    pub rounds: usize,
    /// Each count and gauge, round by round.
    pub series: Vec<Series>,
    /// What the rounds have left behind, by name, where a count has leaked.
    pub left: Option<LeakReport>,
    /// What would hold the test's processes if it died at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
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
    /// Bytes: the smallest growth in a round that so many rounds could have told from none.
    pub resolution: Option<f64>,
    /// Bytes: after how many rounds it could be told, where that is not known yet.
    pub rounds_needed: Option<usize>,
}

impl HuntReport {
    /// True if it fails at its level.
    pub fn is_failure(&self) -> bool {
        self.level.fails(self.verdict)
    }
}

impl LeakHunt {
    /// Three rounds to warm up, then seven at least and sixty at most.
    #[expect(clippy::new_without_default, reason = "it reads like the other checks")]
    pub fn new() -> Self {
        Self {
            name: None,
            warmup: 3,
            rounds: 7..=60,
            gate: GATE,
            judges_memory: true,
            is_exclusive: false,
            level: None,
        }
    }

    /// What the report calls it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many rounds are run before it is measured: for what is initialised at first use.
    pub fn warmup(mut self, rounds: usize) -> Self {
        self.warmup = rounds;
        self
    }

    /// How many rounds are measured: at least the first, and at most the last number, for as long as memory is not told. Below
    /// seven no count is ever called a leak, below 18 no memory.
    pub fn rounds(mut self, rounds: RangeInclusive<usize>) -> Self {
        self.rounds = rounds;
        self
    }

    /// How many bytes in a round nobody cares about; default 1 KiB.
    pub fn gate(mut self, bytes: u64) -> Self {
        self.gate = bytes;
        self
    }

    /// Counts only: memory is shown and not judged, and the smallest number of rounds is enough.
    pub fn counts_only(mut self) -> Self {
        self.judges_memory = false;
        self
    }

    /// Says that nothing else runs in this process.
    pub fn exclusive(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// What to do with what is found; default `TERMLEASH_LEAKS`, else [`Level::Fail`].
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Runs the rounds, numbered from 0 with those that warm up, and judges.
    ///
    /// # Errors
    ///
    /// The error of a round; a range without a number in it; a gauge that cannot be read; a malformed `TERMLEASH_…` variable.
    pub async fn run<F>(self, mut round: F) -> Result<HuntReport>
    where
        F: AsyncFnMut(usize) -> Result<(), BoxError>,
    {
        let most = *self.rounds.end();
        if self.rounds.is_empty() || most == 0 {
            return Err(Error::invalid(format!(
                "`rounds({}..={most})` of a leak hunt is empty: the first number is the fewest rounds, the last the most, and \
                 at least one",
                self.rounds.start()
            )));
        }
        // Before the first round: it starts threads that are listed for a while after their end.
        prime();
        let mut run = async |number: usize| match round(number).await {
            Ok(()) => Ok(()),
            Err(cause) => Err(Error::backend(format!("round {number} of a leak hunt failed"), cause)),
        };
        // First uses of the measurement itself, and of the buffers that it needs.
        let mut samples = Rounds::with_capacity(most.min(MOST_ROOM).saturating_add(1));
        for number in 0..self.warmup {
            run(number).await?;
            Sample::take()?;
        }
        let mut check = LeakCheck::new().settle_within(Duration::ZERO);
        if self.is_exclusive {
            check = check.exclusive();
        }
        if let Some(level) = self.level {
            check = check.level(level);
        }
        samples.push(Sample::take()?);
        for done in 1..=most {
            run(self.warmup + done - 1).await?;
            samples.push(settled_sample(samples.last()).await?);
            if self.is_decided(&samples, done) {
                break;
            }
        }
        self.report(samples, &check).await
    }

    /// True if more rounds would tell nothing more. Memory is looked at after certain rounds only.
    fn is_decided(&self, samples: &Rounds, done: usize) -> bool {
        if done < *self.rounds.start() {
            return false;
        }
        if Gauge::COUNTS.iter().any(|gauge| samples.judge_count(*gauge).0 == Verdict::Leaked) {
            return true;
        }
        if !self.judges_memory {
            return true;
        }
        if !LOOKS.contains(&done) {
            return false;
        }
        match samples.judge_memory(self.gate, self.p()).verdict {
            Verdict::Inconclusive => false,
            // Twelve rounds behind the dropped third do not tell a leak from what fills ever more slowly, as malloc's caches
            // for each thread do (measured: 20 to 30 KiB in 18 rounds of a session each).
            Verdict::Leaked => done > LOOKS[0] || *self.rounds.end() < LOOKS[1],
            _ => true,
        }
    }

    /// The error that one look may make: the smaller, the more looks there may be.
    fn p(&self) -> f64 {
        let looks = LOOKS.iter().filter(|look| *look <= self.rounds.end()).count();
        if looks > 1 { P_PER_LOOK } else { P_SINGLE }
    }

    async fn report(self, samples: Rounds, check: &LeakCheck) -> Result<HuntReport> {
        let mut series: Vec<Series> = Vec::new();
        for gauge in Gauge::COUNTS {
            let (verdict, per_round) = samples.judge_count(gauge);
            let values = samples.values(gauge);
            series.push(Series { gauge, values, verdict, per_round, resolution: None, rounds_needed: None });
        }
        let judged = samples.judge_memory(self.gate, self.p());
        for gauge in samples.memory_gauges() {
            let own = samples.judge_bytes(gauge, self.gate, self.p());
            let verdict = match (gauge == judged.gauge, own.verdict) {
                (true, _) if self.judges_memory => judged.verdict,
                // Resident memory beside an exact heap: growth of it alone may be the allocator's, or mapped by others.
                (_, Verdict::Leaked) => Verdict::Suspicious,
                (_, _) => Verdict::Clean,
            };
            let values = samples.values(gauge);
            let (resolution, rounds_needed) = (own.resolution, own.rounds_needed.filter(|_| self.judges_memory));
            series.push(Series { gauge, values, verdict, per_round: own.per_round, resolution, rounds_needed });
        }
        let mut found = check.find().await?;
        if !found.attribution.is_exact() {
            for one in series.iter_mut().filter(|series| series.verdict == Verdict::Leaked) {
                one.verdict = Verdict::Suspicious;
            }
        }
        let verdict = series.iter().map(|series| series.verdict).max().unwrap_or(Verdict::Clean);
        let counts_leak = series.iter().any(|one| Gauge::COUNTS.contains(&one.gauge) && one.verdict != Verdict::Clean);
        Ok(HuntReport {
            name: self.name,
            verdict,
            level: found.level,
            attribution: found.attribution,
            rounds: samples.len() - 1,
            series,
            containment: found.containment.take(),
            left: counts_leak.then_some(found),
        })
    }
}

/// Measures once what a round has left on its way out is gone, or has had its time.
async fn settled_sample(before: Option<&Sample>) -> Result<Sample> {
    let mut sample = Sample::take()?;
    let start = std::time::Instant::now();
    let mut pauses = crate::backoff::Backoff::new();
    while before.is_some_and(|before| sample.has_more_items_than(before)) && start.elapsed() < ROUND_SETTLES {
        Pump::get()?.sleep(pauses.next().unwrap_or_default()).await;
        sample = Sample::take()?;
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: u64, sample: impl Fn(u64) -> Sample) -> Rounds {
        let mut rounds = Rounds::with_capacity(count as usize + 1);
        (0..=count).for_each(|round| rounds.push(sample(round)));
        rounds
    }

    #[test]
    fn memory_is_looked_at_after_certain_rounds_only() {
        let growing = |count| samples(count, |round| Sample::of_memory(Some(round << 20), round << 20));
        let is_decided = |count: usize| LeakHunt::new().is_decided(&growing(count as u64), count);
        // What looks like a leak after 18 rounds is looked at again, where there may be as many.
        assert!(is_decided(30) && !is_decided(18));
        assert!(!is_decided(29) && !is_decided(31));
        let no_more = |count: usize| LeakHunt::new().rounds(7..=20).is_decided(&growing(count as u64), count);
        assert!(no_more(18) && !no_more(17) && !no_more(19));
    }

    #[test]
    fn the_more_looks_there_may_be_the_less_may_each_err() {
        assert_eq!(LeakHunt::new().rounds(7..=18).p(), P_SINGLE);
        assert_eq!(LeakHunt::new().rounds(7..=30).p(), P_PER_LOOK);
    }

    /// It may be the allocator's, or mapped by others.
    #[test]
    fn resident_memory_that_grows_beside_a_flat_heap_is_suspicious() {
        let flat = samples(18, |round| Sample::of_memory(Some(5 << 20), (5 << 20) + (round << 16)));
        let check = LeakCheck::new().exclusive().only([]);
        let report = crate::runtime::park_on(LeakHunt::new().rounds(18..=18).report(flat, &check)).unwrap();
        let resident = report.series.iter().find(|series| series.gauge == Gauge::Resident).unwrap();
        assert_eq!((resident.verdict, report.verdict), (Verdict::Suspicious, Verdict::Suspicious), "{report}");
    }
}
