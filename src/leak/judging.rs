//! What the samples of a hunt are judged by, and when they say enough: pure functions of them.

use crate::leak::activity::{ActivityVerdict, FEWEST_ROUNDS, Floors, step};
use crate::leak::hunt_report::{Confidence, QuietWindows, Series};
use crate::leak::long_look::LongLook;
use crate::leak::quiet::Cost;
use crate::leak::rounds::Rounds;
use crate::leak::sample::{Gauge, Sample};
use crate::leak::series::{LOOKS, P_PER_LOOK, P_SINGLE};
use crate::leak::verdict::Verdict;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What the caller wants to have judged, and how.
#[derive(Debug, Clone)]
pub(crate) struct Judging {
    pub(crate) rounds: RangeInclusive<usize>,
    pub(crate) gate: u64,
    pub(crate) judges_memory: bool,
    /// How long a quiet window is; of none nothing is known.
    pub(crate) window: Duration,
    /// What the quiet windows before the first round have cost.
    pub(crate) before: Vec<Cost>,
    /// What longer ones have cost before the first round and after the last.
    pub(crate) long: Option<LongLook>,
    pub(crate) is_own: bool,
}

/// In microseconds, a twentieth of the window, and of each round a thousandth.
const STEP_OF_WINDOW: f64 = 0.05;
const ROUND_OF_WINDOW: f64 = 0.001;
/// A program that is started and ends costs some dozens of page faults.
const FAULTS_OF_ROUND: f64 = 20.0;

impl Judging {
    /// The error that one look may make: the smaller, the more looks there may be.
    pub(crate) fn p(&self) -> f64 {
        let looks = LOOKS.iter().filter(|look| *look <= self.rounds.end()).count();
        if looks > 1 { P_PER_LOOK } else { P_SINGLE }
    }

    /// True if more rounds would tell nothing more. Memory is looked at after certain rounds only, and so is a server, whose pools
    /// fill in the first ones.
    pub(crate) fn is_decided(&self, samples: &Rounds, done: usize) -> bool {
        if done < *self.rounds.start() {
            return false;
        }
        let counts: Vec<Verdict> = samples.counts().map(|gauge| samples.judge_count(gauge).verdict).collect();
        let is_look = LOOKS.contains(&done);
        if self.is_own {
            if counts.contains(&Verdict::Leaked) {
                return true;
            }
        } else {
            let is_active = self.activities().any(|(gauge, _)| self.activity(samples, gauge) != ActivityVerdict::Quiet);
            if !is_look {
                return !self.judges_memory && !is_active && counts.iter().all(|verdict| *verdict == Verdict::Clean);
            }
            if is_active || counts.contains(&Verdict::Leaked) {
                return true;
            }
            if counts.contains(&Verdict::Suspicious) {
                return false;
            }
        }
        if !self.judges_memory {
            return true;
        }
        if !is_look {
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

    /// Each gauge as a series with its verdict.
    pub(crate) fn series(&self, samples: &Rounds) -> Vec<Series> {
        let mut series: Vec<Series> = samples.counts().map(|gauge| count(samples, gauge)).collect();
        series.extend(self.memory(samples));
        series.extend(self.activities().map(|(gauge, _)| self.active(samples, gauge)));
        series
    }

    fn memory(&self, samples: &Rounds) -> Vec<Series> {
        let judged = samples.judge_memory(self.gate, self.p());
        let one = |gauge| {
            let own = samples.judge_bytes(gauge, self.gate, self.p());
            let verdict = match (gauge == judged.gauge, own.verdict) {
                (true, _) if self.judges_memory => judged.verdict,
                // Resident memory beside an exact heap: growth of it alone may be the allocator's, or mapped by others.
                (_, Verdict::Leaked) => Verdict::Suspicious,
                (_, _) => Verdict::Clean,
            };
            Series {
                gauge,
                values: samples.values(gauge),
                verdict,
                per_round: own.per_round,
                confidence: own.p.map(Confidence::ByChance),
                resolution: own.resolution,
                rounds_needed: own.rounds_needed.filter(|_| self.judges_memory),
            }
        };
        samples.memory_gauges().map(one).collect()
    }

    /// Those that are measured, with what they have cost before the first round.
    fn activities(&self) -> impl Iterator<Item = (Gauge, Vec<u64>)> {
        let gauges = self.before.first().map(Cost::gauges).into_iter().flatten().map(|(gauge, _)| gauge);
        gauges.enumerate().map(|(at, gauge)| (gauge, self.before.iter().map(|cost| cost.gauges()[at].1).collect()))
    }

    fn activity(&self, samples: &Rounds, gauge: Gauge) -> ActivityVerdict {
        let floors = floors(gauge, self.window);
        let before = self.activities().find(|(known, _)| *known == gauge).map(|(_, before)| before);
        samples.judge_activity(gauge, &before.unwrap_or_default(), floors, self.p())
    }

    /// Which windows have said what the series say.
    pub(crate) fn quiet_windows(&self) -> Option<QuietWindows> {
        let last = self.long.filter(|long| long.after.is_some()).map(|long| long.window);
        (!self.before.is_empty()).then_some(QuietWindows { each: self.window, last })
    }

    /// True if a long look is worth its time: the short windows have not found everything, and there were enough rounds to say anything.
    pub(crate) fn wants_long_look(&self, samples: &Rounds) -> bool {
        let is_quiet = |gauge| self.activity(samples, gauge) == ActivityVerdict::Quiet;
        samples.len() > FEWEST_ROUNDS && self.activities().any(|(gauge, _)| is_quiet(gauge))
    }

    fn active(&self, samples: &Rounds, gauge: Gauge) -> Series {
        let (verdict, per_round, confidence) = match self.activity(samples, gauge) {
            ActivityVerdict::Quiet => match self.long.and_then(|long| more_in_long(&long, gauge)) {
                Some(confidence) => (Verdict::Leaked, 0.0, Some(confidence)),
                None => (Verdict::Clean, 0.0, None),
            },
            ActivityVerdict::Step { more } => (Verdict::Leaked, 0.0, Some(Confidence::More(more))),
            ActivityVerdict::Trend { per_round, p } => (Verdict::Leaked, per_round, Some(Confidence::ByChance(p))),
        };
        let values = samples.values(gauge);
        Series { gauge, values, verdict, per_round, confidence, resolution: None, rounds_needed: None }
    }
}

fn floors(gauge: Gauge, window: Duration) -> Floors {
    let window = window.as_micros() as f64;
    match gauge {
        Gauge::Processor => Floors { step: window * STEP_OF_WINDOW, per_round: window * ROUND_OF_WINDOW },
        _ => Floors { step: 0.0, per_round: FAULTS_OF_ROUND },
    }
}

/// What a long window costs more in the end than before the first round, if that is far more.
fn more_in_long(look: &LongLook, gauge: Gauge) -> Option<Confidence> {
    let cost = |of: &Cost| of.gauges().into_iter().find(|(known, _)| *known == gauge).map(|(_, value)| value as f64);
    let more = step(cost(&look.before)?, cost(look.after.as_ref()?)?, floors(gauge, look.window))?;
    Some(Confidence::MoreInLong { more, window: look.window })
}

/// True if a long look has found anything so far.
pub(crate) fn works(look: &LongLook) -> bool {
    [Gauge::Processor, Gauge::Forks].into_iter().any(|gauge| more_in_long(look, gauge).is_some())
}

fn count(samples: &Rounds, gauge: Gauge) -> Series {
    let judged = samples.judge_count(gauge);
    Series {
        gauge,
        values: samples.values(gauge),
        verdict: judged.verdict,
        per_round: judged.per_round,
        confidence: (judged.verdict == Verdict::Leaked).then_some(Confidence::Grew(judged.share_that_grew)),
        resolution: None,
        rounds_needed: None,
    }
}

/// Whether a count that has leaked is still there in a later sample, or the most of it has gone: what a server keeps for a while,
/// such as a connection that nobody uses, ends by itself.
pub(crate) fn outlives(leaked: &Series, later: &Sample) -> bool {
    let (Some(first), Some(now)) = (leaked.values.first(), later.value(leaked.gauge)) else { return true };
    let claimed = leaked.per_round * (leaked.values.len() - 1) as f64;
    now.saturating_sub(*first) as f64 > claimed / 2.0
}

#[cfg(test)]
#[path = "judging_tests.rs"]
mod tests;
