//! A hunt: rounds, a sample after each, and what they come to.

use crate::backoff::Backoff;
use crate::error::{BoxError, Error, Result};
use crate::leak::check::LeakCheck;
use crate::leak::hunt::LeakHunt;
use crate::leak::hunt_report::{HuntReport, QuietWindows, Series};
use crate::leak::judging::{Judging, outlives, works};
use crate::leak::long_look::LongLook;
use crate::leak::quiet::{Cost, cheapest_window};
use crate::leak::rounds::Rounds;
use crate::leak::sample::{Gauge, MemorySource, Sample};
use crate::leak::verdict::Verdict;
use crate::probe::attribution::Attribution;
use crate::probe::heap::named::HeapProfile;
use crate::probe::heap::sampling::profile_so_far;
use crate::probe::heap::top::{HeapTop, top_sites};
use crate::probe::other::Other;
use crate::probe::prime::prime;
use crate::probe::target::Target;
use crate::process::pump::Pump;
use crate::settings::Settings;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long what a round has left behind may take to end before it is counted: a thread is listed for some milliseconds
/// after its join.
const ROUND_SETTLES: Duration = Duration::from_millis(20);
/// Our own thread may still hold a waker of a runtime that has ended by now, and with that the runtime's descriptors, until it comes to
/// its next deadline.
const WAKERS_ARE_DROPPED: Duration = Duration::from_millis(1);
/// Room for so many rounds is made beforehand.
const MOST_ROOM: usize = 4096;
/// So many quiet windows before the first round.
const WINDOWS_BEFORE: usize = 3;

impl LeakHunt {
    /// Runs the rounds, numbered from 0 with those that warm up, and judges.
    ///
    /// Its future is not `Send`, since nothing can be said of those of async closures: await it where it is made, in a test's body or
    /// in [`block_on`](crate::block_on), and not in a task that may move to another thread.
    ///
    /// # Errors
    ///
    /// The error of a round or of a hook; a hook that takes [too long](Self::hooks_within); a range without a number in it; a gauge that
    /// cannot be read; that another process that is looked at has ended, with how, if anybody was told; a malformed `TERMLEASH_…`
    /// variable.
    pub async fn run<F>(mut self, mut round: F) -> Result<HuntReport>
    where
        F: AsyncFnMut(usize) -> Result<(), BoxError>,
    {
        let most = self.most_rounds()?;
        self.hooks.keep_to(Settings::from_env()?.wait);
        // Before the first round: it starts threads that are listed for a while after their end.
        prime();
        let target = self.target()?;
        let mut run = async |number: usize| match round(number).await {
            // Whatever the round says of it, the end of the server is the cause.
            answer if target.ended().is_some() => Err(ended(&target, number, answer.err())),
            Ok(()) => Ok(()),
            Err(cause) => Err(Error::backend(format!("round {number} of a leak hunt failed"), cause)),
        };
        // First uses of the measurement itself, and of the buffers that it needs.
        let mut samples = Rounds::with_capacity(most.min(MOST_ROOM).saturating_add(1));
        if !target.is_own() {
            samples = samples.of_other();
        }
        let mut judging = self.judging(self.windows_before(&target).await?);
        if let Target::Other(other) = &target {
            judging.long = LongLook::begin(other, self.quiet_window).await?;
        }
        for number in 0..self.warmup {
            run(number).await?;
            Sample::take(&target).map_err(|cause| blamed(&target, number, cause))?;
        }
        let (check, settle) = self.check(&target);
        Pump::get()?.sleep(WAKERS_ARE_DROPPED).await;
        let held = profile_so_far();
        samples.push(self.sample(&target, None, self.warmup).await?);
        samples.note_private();
        for done in 1..=most {
            let number = self.warmup + done - 1;
            run(number).await?;
            samples.push(self.sample(&target, samples.last(), number).await?);
            if judging.is_decided(&samples, done) {
                break;
            }
        }
        let last = self.warmup + samples.len() - 2;
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
        let report = self.report(samples.len() - 1, series, judging.quiet_windows(), &check, held).await?;
        // Of one that has ended since its last sample the report would say that nothing is left.
        match target.ended() {
            Some(_) => Err(ended(&target, report.rounds - 1, None)),
            None => Ok(report),
        }
    }

    fn most_rounds(&self) -> Result<usize> {
        let (fewest, most) = (self.rounds.start(), *self.rounds.end());
        if self.rounds.is_empty() || most == 0 {
            return Err(Error::invalid(format!(
                "`rounds({fewest}..={most})` of a leak hunt is empty: the first number is the fewest rounds, the last the most, and \
                 at least one"
            )));
        }
        Ok(most)
    }

    fn target(&self) -> Result<Target> {
        let Some(process) = &self.process else { return Ok(Target::Own) };
        let other = Other::open(process)?;
        Ok(Target::Other(Arc::new(match self.cookie {
            Some(cookie) => other.marked(cookie),
            None => other,
        })))
    }

    /// What another process costs before anything is done to it.
    async fn windows_before(&self, target: &Target) -> Result<Vec<Cost>> {
        let mut windows = Vec::new();
        if let Target::Other(other) = target
            && !self.quiet_window.is_zero()
        {
            for _ in 0..WINDOWS_BEFORE {
                windows.push(cheapest_window(other, self.quiet_window).await?);
            }
        }
        Ok(windows)
    }

    fn judging(&self, before: Vec<Cost>) -> Judging {
        Judging {
            rounds: self.rounds.clone(),
            gate: self.gate,
            judges_memory: self.judges_memory,
            window: self.quiet_window,
            before,
            long: None,
            is_own: self.process.is_none(),
        }
    }

    /// The look for what the rounds have left, which waits for nothing, and how long that may take to go.
    fn check(&self, target: &Target) -> (LeakCheck, Duration) {
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
        (check, settle)
    }

    /// Measures, with what the caller wants to be done and asked; of another process after a quiet window.
    async fn sample(&self, target: &Target, before: Option<&Sample>, round: usize) -> Result<Sample> {
        self.hooks.prepare(round).await?;
        let mut more = Vec::new();
        if let Target::Other(other) = target
            && !self.quiet_window.is_zero()
        {
            let cost = cheapest_window(other, self.quiet_window).await;
            more.extend(cost.map_err(|cause| blamed(target, round, cause))?.gauges());
        }
        more.extend(self.hooks.count(round).await?.map(|records| (Gauge::Records, records)));
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
        held: Option<HeapProfile>,
    ) -> Result<HuntReport> {
        let mut found = check.find().await?;
        if !found.attribution.is_exact() {
            for one in series.iter_mut().filter(|series| series.verdict == Verdict::Leaked) {
                one.verdict = Verdict::Suspicious;
            }
        }
        let verdict = series.iter().map(|series| series.verdict).max().unwrap_or(Verdict::Clean);
        let counts_leak = series.iter().any(|one| one.gauge.is_count() && one.verdict != Verdict::Clean);
        let own_memory = if self.process.is_none() { MemorySource::own() } else { MemorySource::Resident };
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
            memory: self.judges_memory.then_some(own_memory),
            top_sites: None,
            containment: found.containment.take(),
            left: counts_leak.then_some(found),
            on_leak: None,
        };
        if report.process.is_none() {
            report.top_sites = where_memory_grew(&report, held.as_ref());
        }
        if report.is_failure() {
            report.on_leak = self.hooks.tell(&report).await;
        }
        Ok(report)
    }
}

/// Where it grew by what was asked for, and not by pages. For a failure with a file, by the name of the test if its thread has one.
fn where_memory_grew(report: &HuntReport, held: Option<&HeapProfile>) -> Option<HeapTop> {
    let judged = if report.memory == Some(MemorySource::Private) { Gauge::Resident } else { Gauge::Heap };
    let worst = report.series.iter().filter(|one| one.gauge == judged).map(|one| one.verdict).max()?;
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").or(report.name.as_deref()).unwrap_or("test");
    match worst {
        Verdict::Leaked => Some(top_sites(held, report.is_failure().then_some(test))),
        Verdict::Suspicious => Some(top_sites(held, None)),
        _ => None,
    }
    .filter(|top| !top.sites.is_empty() || top.file.is_some())
}

/// What a server has left is waited for, if it would be a leak: a connection that is kept for a second is none.
async fn wait_for_leaked(target: &Target, round: usize, series: &mut [Series], limit: Duration) -> Result<()> {
    let (start, mut pauses) = (Instant::now(), Backoff::new());
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
    let mut pauses = Backoff::new();
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
        let series = hunt.judging(Vec::new()).series(&flat);
        let report = crate::runtime::park_on(hunt.report(18, series, None, &check, None)).unwrap();
        let resident = report.series.iter().find(|series| series.gauge == Gauge::Resident).unwrap();
        assert_eq!((resident.verdict, report.verdict), (Verdict::Suspicious, Verdict::Suspicious), "{report}");
    }
}
