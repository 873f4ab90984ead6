//! The same work over many rounds: what a single test does not show, because it is small, or not an item.

use crate::error::{BoxError, Error, Result};
use crate::leak::check::LeakCheck;
use crate::leak::hooks::{Hooks, boxed, boxed_told};
use crate::leak::hunt_report::{HuntReport, QuietWindows, Series};
use crate::leak::judging::{Judging, asked, outlives, works};
use crate::leak::long_look::LongLook;
use crate::leak::quiet::cheapest_window;
use crate::leak::rounds::{Gauge, Rounds, Sample};
use crate::leak::verdict::Verdict;
use crate::probe::attribution::Attribution;
use crate::probe::other::Other;
use crate::probe::prime::prime;
use crate::probe::target::Target;
use crate::process::cookie::Cookie;
use crate::process::handle::ProcessHandle;
use crate::process::pump::Pump;
use crate::settings::Level;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    process: Option<ProcessHandle>,
    cookie: Option<Cookie>,
    name: Option<String>,
    warmup: usize,
    rounds: RangeInclusive<usize>,
    gate: u64,
    judges_memory: bool,
    is_exclusive: bool,
    level: Option<Level>,
    quiet_window: Duration,
    settle_within: Option<Duration>,
    sessions_per_round: Option<usize>,
    hooks: Hooks,
}

/// How long what a round has left behind may take to end before it is counted: a thread is listed for some milliseconds
/// after its join.
const ROUND_SETTLES: Duration = Duration::from_millis(20);
/// What nobody cares about in a round: less than the smallest buffer that a session could leave.
const GATE: u64 = 1024;

/// Room for so many rounds is made beforehand.
const MOST_ROOM: usize = 4096;
/// Long enough that a timer of a tenth of a second is in it.
const QUIET_WINDOW: Duration = Duration::from_millis(100);
/// So many quiet windows before the first round.
const WINDOWS_BEFORE: usize = 3;

impl LeakHunt {
    /// Three rounds to warm up, then seven at least and sixty at most.
    #[expect(clippy::new_without_default, reason = "it reads like the other checks")]
    pub fn new() -> Self {
        Self {
            process: None,
            cookie: None,
            name: None,
            warmup: 3,
            rounds: 7..=60,
            gate: GATE,
            judges_memory: true,
            is_exclusive: false,
            level: None,
            quiet_window: QUIET_WINDOW,
            settle_within: None,
            sessions_per_round: None,
            hooks: Hooks::default(),
        }
    }

    /// Looks at another process, the server under test, with its whole tree, instead of at this one. A round is what the test does to it;
    /// whatever it breaks of this process is not seen.
    ///
    /// Beside the counts and memory of [`LeakCheck::of`] it judges *activity*: what the server costs in a window after each round in which
    /// nothing runs, in processor time and in programs that it starts. See `docs/leaks.md`, "The server under test", for the rules.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))] {
    /// use std::process::{Command, Stdio};
    /// use termleash::leak::{LeakHunt, Verdict};
    /// use termleash::process::ProcessHandle;
    ///
    /// let mut server = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    /// let handle = ProcessHandle::open(server.id())?;
    /// # let window = std::time::Duration::from_millis(5);
    /// let hunt = LeakHunt::on(&handle).exclusive().rounds(18..=18).sessions_per_round(1);
    /// # let hunt = hunt.quiet_window(window);
    /// let report = termleash::block_on(hunt.run(async |_round| Ok(()))).expect("the server lives");
    /// assert_eq!(report.verdict, Verdict::Clean);
    /// drop(server.stdin.take());
    /// server.wait()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on(process: &ProcessHandle) -> Self {
        Self { process: Some(process.clone()), ..Self::new() }
    }

    /// Counts what carries this mark in its environment, too, for a process that was started with it.
    pub fn marked(mut self, cookie: Cookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// How many sessions a round makes, so that the report says what is left of each.
    pub fn sessions_per_round(mut self, sessions: usize) -> Self {
        self.sessions_per_round = Some(sessions);
        self
    }

    /// Of another process: how long it is watched after each round while nothing runs; default 100 ms, and up to three times that where
    /// it costs anything. Before the first round and after the last it is watched ten times as long, one second at most: what works more seldom
    /// than that is seen with a longer window only. Zero does not watch.
    pub fn quiet_window(mut self, window: Duration) -> Self {
        self.quiet_window = window;
        self
    }

    /// Of another process: how long what a count has grown by may take to go by itself; default `TERMLEASH_SETTLE`. Waited for only
    /// where a count would be called a leak.
    pub fn settle_within(mut self, limit: Duration) -> Self {
        self.settle_within = Some(limit);
        self
    }

    /// Asks after each round how many records the server has in its own list: of sessions, of buffers, of whatever it keeps. They are a count
    /// like the others. An error of it ends the hunt.
    pub fn records(mut self, count: impl AsyncFn() -> Result<u64, BoxError> + Send + Sync + 'static) -> Self {
        self.hooks.records = Some(boxed(count));
        self
    }

    /// Runs before each measurement: have a server in another language collect its garbage, say. An error of it ends the hunt.
    pub fn before_sample(mut self, prepare: impl AsyncFn() -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.hooks.before_sample = Some(boxed(prepare));
        self
    }

    /// Runs once, if the verdict is a failure: have the server write a snapshot of its heap, say. The text that it gives, such as a
    /// path, stands in the report; so does its error.
    pub fn on_leak(
        mut self,
        tell: impl AsyncFn(&HuntReport) -> Result<String, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_leak = Some(boxed_told(tell));
        self
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

    /// Says that nothing else runs in this process; of another process that nobody else uses it.
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
    /// The error of a round or of a hook; a range without a number in it; a gauge that cannot be read; that another process that is looked
    /// at has ended, with how, if anybody was told; a malformed `TERMLEASH_…` variable.
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
        let target = self.target()?;
        let mut judging = self.judging();
        let mut run = async |number: usize| match round(number).await {
            // Whatever the round says of it, the end of the server is the cause.
            answer if target.ended().is_some() => Err(ended(&target, number, answer.err())),
            Ok(()) => Ok(()),
            Err(cause) => Err(Error::backend(format!("round {number} of a leak hunt failed"), cause)),
        };
        // First uses of the measurement itself, and of the buffers that it needs.
        let mut samples = Rounds::with_capacity(most.min(MOST_ROOM).saturating_add(1));
        if let Target::Other(other) = &target {
            samples = samples.of_other();
            for _ in 0..if self.quiet_window.is_zero() { 0 } else { WINDOWS_BEFORE } {
                judging.before.push(cheapest_window(other, self.quiet_window).await?);
            }
            judging.long = LongLook::begin(other, self.quiet_window).await?;
        }
        for number in 0..self.warmup {
            run(number).await?;
            Sample::take(&target).map_err(|cause| blamed(&target, number, cause))?;
        }
        let attribution = if target.is_own() { Attribution::find() } else { Attribution::Shared };
        let mut check = LeakCheck::on(target.clone(), attribution);
        let settle = self.settle_within.unwrap_or_else(|| check.settle_limit());
        check = check.settle_within(Duration::ZERO);
        if self.is_exclusive {
            check = check.exclusive();
        }
        if let Some(level) = self.level {
            check = check.level(level);
        }
        samples.push(self.sample(&target, None, self.warmup).await?);
        for done in 1..=most {
            let number = self.warmup + done - 1;
            run(number).await?;
            samples.push(self.sample(&target, samples.last(), number).await?);
            if judging.is_decided(&samples, done) {
                break;
            }
        }
        let last = number_of_last(self.warmup, &samples);
        if let (Target::Other(other), Some(long)) = (&target, judging.long)
            && judging.wants_long_look(&samples)
        {
            let look = long.end(other, works).await;
            judging.long = Some(look.map_err(|cause| blamed(&target, last, cause))?);
        }
        let mut series = judging.series(&samples);
        if !target.is_own() {
            wait_for_leaked(&target, last, &mut series, settle).await?;
        }
        let report = self.report(samples.len() - 1, series, judging.quiet_windows(), &check).await?;
        // Of one that has ended since its last sample the report would say that nothing is left.
        match target.ended() {
            Some(_) => Err(ended(&target, report.rounds - 1, None)),
            None => Ok(report),
        }
    }

    fn target(&self) -> Result<Target> {
        let Some(process) = &self.process else { return Ok(Target::Own) };
        let other = Other::open(process)?;
        Ok(Target::Other(Arc::new(match self.cookie {
            Some(cookie) => other.marked(cookie),
            None => other,
        })))
    }

    fn judging(&self) -> Judging {
        Judging {
            rounds: self.rounds.clone(),
            gate: self.gate,
            judges_memory: self.judges_memory,
            window: self.quiet_window,
            before: Vec::new(),
            long: None,
            is_own: self.process.is_none(),
        }
    }

    /// Measures, with what the caller wants to be done and asked; of another process after a quiet window.
    async fn sample(&self, target: &Target, before: Option<&Sample>, round: usize) -> Result<Sample> {
        if let Some(prepare) = &self.hooks.before_sample {
            let told =
                |cause| Error::backend(format!("`before_sample` of a leak hunt failed after round {round}"), cause);
            prepare().await.map_err(told)?;
        }
        let mut more = Vec::new();
        if let Target::Other(other) = target
            && !self.quiet_window.is_zero()
        {
            let cost = cheapest_window(other, self.quiet_window).await;
            more.extend(asked(&cost.map_err(|cause| blamed(target, round, cause))?));
        }
        if let Some(records) = &self.hooks.records {
            let told = |cause| Error::backend(format!("`records` of a leak hunt failed after round {round}"), cause);
            more.push((Gauge::Records, records().await.map_err(told)?));
        }
        let sample = settled_sample(target, before).await.map_err(|cause| blamed(target, round, cause))?;
        match target.ended() {
            Some(_) => Err(ended(target, round, None)),
            None => Ok(sample.with(&more)),
        }
    }

    async fn report(
        self,
        rounds: usize,
        mut series: Vec<Series>,
        quiet_windows: Option<QuietWindows>,
        check: &LeakCheck,
    ) -> Result<HuntReport> {
        let mut found = check.find().await?;
        if !found.attribution.is_exact() {
            for one in series.iter_mut().filter(|series| series.verdict == Verdict::Leaked) {
                one.verdict = Verdict::Suspicious;
            }
        }
        let verdict = series.iter().map(|series| series.verdict).max().unwrap_or(Verdict::Clean);
        let counts_leak = series.iter().any(|one| one.gauge.is_count() && one.verdict != Verdict::Clean);
        let mut report = HuntReport {
            name: self.name,
            process: found.process.clone(),
            verdict,
            level: found.level,
            attribution: found.attribution,
            rounds,
            quiet_windows,
            sessions_per_round: self.sessions_per_round,
            series,
            containment: found.containment.take(),
            left: counts_leak.then_some(found),
            on_leak: None,
        };
        if let Some(tell) = self.hooks.on_leak.filter(|_| report.is_failure()) {
            let answer = tell(&report).await;
            report.on_leak = Some(answer.unwrap_or_else(|cause| format!("it failed: {cause}")));
        }
        Ok(report)
    }
}

fn number_of_last(warmup: usize, samples: &Rounds) -> usize {
    warmup + samples.len() - 2
}

/// What a server has left is waited for, if it would be a leak: a connection that is kept for a second is none.
async fn wait_for_leaked(target: &Target, round: usize, series: &mut [Series], limit: Duration) -> Result<()> {
    let (start, mut pauses) = (Instant::now(), crate::backoff::Backoff::new());
    let is_leaked =
        |one: &Series| one.gauge.is_count() && one.gauge != Gauge::Records && one.verdict == Verdict::Leaked;
    while series.iter().any(is_leaked) && start.elapsed() < limit {
        Pump::get()?.sleep(pauses.next().unwrap_or_default()).await;
        let now = Sample::take(target).map_err(|cause| blamed(target, round, cause))?;
        for one in series.iter_mut().filter(|one| is_leaked(one)) {
            if !outlives(one, &now) {
                (one.verdict, one.confidence) = (Verdict::Clean, None);
            }
        }
    }
    Ok(())
}

fn ended(target: &Target, round: usize, answer: Option<BoxError>) -> Error {
    let process = target.process().map(ToString::to_string).unwrap_or_default();
    let how = target.ended().map(|ended| ended.to_string()).unwrap_or_default();
    let answer = answer.map(|answer| format!("; the round itself says: {answer}")).unwrap_or_default();
    Error::backend(format!("{process} has ended in round {round} of a leak hunt"), format!("{how}{answer}").into())
}

/// The end of the process is what it is about, if that is why it cannot be read.
fn blamed(target: &Target, round: usize, cause: Error) -> Error {
    if target.ended().is_some() { ended(target, round, None) } else { cause }
}

/// Measures once what a round has left on its way out is gone, or has had its time.
async fn settled_sample(target: &Target, before: Option<&Sample>) -> Result<Sample> {
    let mut sample = Sample::take(target)?;
    let start = Instant::now();
    let mut pauses = crate::backoff::Backoff::new();
    while before.is_some_and(|before| sample.has_more_items_than(before)) && start.elapsed() < ROUND_SETTLES {
        Pump::get()?.sleep(pauses.next().unwrap_or_default()).await;
        sample = Sample::take(target)?;
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It may be the allocator's, or mapped by others.
    #[test]
    fn resident_memory_that_grows_beside_a_flat_heap_is_suspicious() {
        let mut flat = Rounds::with_capacity(19);
        (0..=18).for_each(|round| flat.push(Sample::of_memory(Some(5 << 20), (5 << 20) + (round << 16))));
        let check = LeakCheck::new().exclusive().only([]);
        let hunt = LeakHunt::new().rounds(18..=18);
        let series = hunt.judging().series(&flat);
        let report = crate::runtime::park_on(hunt.report(18, series, None, &check)).unwrap();
        let resident = report.series.iter().find(|series| series.gauge == Gauge::Resident).unwrap();
        assert_eq!((resident.verdict, report.verdict), (Verdict::Suspicious, Verdict::Suspicious), "{report}");
    }
}
