//! What a series over repeated rounds says of a leak: the rules for integers and for bytes, pure functions of what was
//! counted before and after each round.
//!
//! ```text
//!  integers: fell back ──► Flat    one jump ──► OneTime    round after round ──► Leak    else Suspicious
//!  bytes:    rises, past the gate, at one pace ──► Leak    slope surely below the gate ──► Clean    else Inconclusive
//! ```
//!
//! What no rule on a series can know: a cache that still fills when the rounds end, or a sawtooth longer than the part
//! that is looked at, rises like a leak; and a leak that comes in batches so large that two thirds of the rounds see
//! one or none looks like a one-time step or like nothing. More rounds tell them apart. A random walk with large steps
//! passes for a leak in up to one of ten cases.

use crate::leak::stats::{Slope, mann_kendall, theil_sen};

/// After how many rounds the bytes may be judged. Looking after every round raises the false alarms from 0.5 % to
/// 9.7 %, since each look is another chance to be wrong (T41).
pub(crate) const LOOKS: [usize; 3] = [18, 30, 60];

/// The p at each of [`LOOKS`]: however the looks hang together, three of them err at most as often as one with
/// [`P_SINGLE`].
pub(crate) const P_PER_LOOK: f64 = 0.003;

/// The p where the bytes are judged once, after a number of rounds that was fixed before.
pub(crate) const P_SINGLE: f64 = 0.01;

/// What counts over rounds say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum IntegerVerdict {
    /// The end is no higher than the start, or it goes up and down around the start.
    Flat,
    /// It rose in one round only, and stayed: something was initialised lazily.
    OneTime,
    /// It grows with the rounds.
    Leak { per_round: f64 },
    /// It rose, but neither once nor with the rounds.
    Suspicious,
}

/// Fewer measured rounds than this say nothing about each round. A prime, so that what happens every second or third
/// round does not divide by it.
const ROUNDS_FOR_INTEGERS: usize = 7;

/// Judges counts: `baseline` after the warm-up, `counts` after each measured round.
///
/// A leak grows in every round, or in nine of ten (what was there before may end meanwhile and take one away); or its total
/// divides by the rounds, as it does if every round leaks the same and one was seen late. Divisibility alone would call one
/// jump of seven in seven rounds a leak, so two thirds of the rounds must have grown, and in any case one of the last two:
/// what has stopped growing was a pool that is full.
pub(crate) fn judge_integers(baseline: i64, counts: &[i64]) -> IntegerVerdict {
    let rounds = counts.len();
    let Some(last) = counts.last() else { return IntegerVerdict::Flat };
    let before = std::iter::once(&baseline).chain(counts);
    let steps: Vec<i64> = counts.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect();
    let total = last.saturating_sub(baseline);
    let grew = steps.iter().filter(|step| **step > 0).count();
    if total <= 0 {
        return IntegerVerdict::Flat;
    }
    if grew == 1 {
        return IntegerVerdict::OneTime;
    }
    let grew_lately = steps.iter().rev().take(2).any(|step| *step > 0);
    let divides = total.unsigned_abs().is_multiple_of(rounds as u64) && grew * 3 >= rounds * 2 && grew_lately;
    if rounds >= ROUNDS_FOR_INTEGERS && (grew == rounds || (grew * 10 >= rounds * 9 && grew_lately) || divides) {
        return IntegerVerdict::Leak { per_round: total as f64 / rounds as f64 };
    }
    // What comes back to the start even near the end keeps nothing.
    let breathes = steps.iter().any(|step| *step < 0);
    let last_third = &counts[rounds - rounds.div_ceil(3)..];
    if breathes && last_third.iter().any(|count| *count <= baseline) {
        return IntegerVerdict::Flat;
    }
    IntegerVerdict::Suspicious
}

/// What bytes over rounds say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ByteVerdict {
    Leak {
        slope: Slope,
        p: f64,
    },
    /// A leak of the gate's size can be excluded, unless its batches are rarer than the rounds. `resolution`, half the
    /// width of the slope's interval, is how large a leak could hide in the noise: 0 where all values are equal.
    Clean {
        resolution: f64,
    },
    /// `None` below the first of [`LOOKS`], which are the rounds needed then.
    Inconclusive {
        rounds_needed: Option<usize>,
    },
}

/// Judges bytes after each round. Less than `gate` bytes a round, a positive number, is of no interest; `p` is one of
/// [`P_PER_LOOK`] and [`P_SINGLE`].
///
/// The first third is dropped: caches and pools fill there. The rest is a leak if it rises (Mann-Kendall), faster than
/// the gate (Theil-Sen), *and keeps its pace*: the slower of its halves is past the gate and at least half as fast as
/// the other and as the whole. A leak has one pace. A late step has all of its rise in one half, and a filling cache
/// most of it in the first.
///
/// That both halves rise at all, a slope above 0, would not do: the flat half of a late step does so by chance every
/// other time, which made 20 to 30 % false alarms at 30 and 60 rounds. A significant rise in each half would, but finds
/// only 27 % of the leaks of 4 KiB under 16 KiB of noise at 30 rounds, where this finds 62 %.
pub(crate) fn judge_bytes(values: &[f64], gate: f64, p: f64) -> ByteVerdict {
    debug_assert!(gate > 0.0, "a gate of {gate}");
    let rounds = values.len();
    if rounds < LOOKS[0] {
        return ByteVerdict::Inconclusive { rounds_needed: None };
    }
    let settled = &values[rounds / 3..];
    let slope = theil_sen(settled);
    let p_rising = mann_kendall(settled).p_rising;
    if p_rising < p && slope.median > gate && keeps_its_pace(settled, slope.median, gate) {
        ByteVerdict::Leak { slope, p: p_rising }
    } else if slope.high < gate && rise(settled) < gate {
        ByteVerdict::Clean { resolution: slope.width() / 2.0 }
    } else {
        ByteVerdict::Inconclusive { rounds_needed: Some(rounds_needed(rounds, slope, gate)) }
    }
}

fn keeps_its_pace(settled: &[f64], whole: f64, gate: f64) -> bool {
    let half = settled.len() / 2;
    let early = theil_sen(&settled[..half]).median;
    let late = theil_sen(&settled[settled.len() - half..]).median;
    // The whole is the fastest where a step stands between the halves.
    let (slower, fastest) = (early.min(late), early.max(late).max(whole));
    slower > gate && slower >= fastest / 2.0
}

/// From the median of the first quarter to that of the last, per round. The slopes of pairs do not see a step near one
/// end, since most pairs lie on one side of it: without this, a leak that comes in batches of ten rounds was called
/// clean in 30 % of the runs of 18 rounds. Of the first and last eighth this does not see it either.
fn rise(settled: &[f64]) -> f64 {
    let quarter = settled.len() / 4;
    let median = |part: &[f64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        f64::midpoint(sorted[(quarter - 1) / 2], sorted[quarter / 2])
    };
    let rise = median(&settled[settled.len() - quarter..]) - median(&settled[..quarter]);
    rise / (settled.len() - quarter) as f64
}

/// After how many rounds the slope's interval would be narrower than the gate. The standard error of a slope falls with
/// the count to the power of 1.5.
fn rounds_needed(rounds: usize, slope: Slope, gate: f64) -> usize {
    let times = (slope.width() / gate).powf(2.0 / 3.0);
    // Where it is narrow already, not noise stands in the way but the shape, such as a step. Of twice the rounds, the
    // third that is dropped holds all of the first half that was looked at now.
    if times < 1.0 { rounds * 2 } else { ((rounds as f64 * times).ceil() as usize).max(rounds + 1) }
}

/// At most this many characters, so that a line with a name still fits a terminal.
const SPARKS: usize = 60;

/// A series as bars of eight heights from its least to its greatest value. A longer one than [`SPARKS`] is grouped,
/// and each group shows its greatest value, lest a peak vanish.
pub(crate) fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let group = values.len().div_ceil(SPARKS).max(1);
    let shown: Vec<f64> = values.chunks(group).map(|group| group.iter().copied().fold(f64::MIN, f64::max)).collect();
    let least = shown.iter().copied().fold(f64::MAX, f64::min);
    let range = shown.iter().copied().fold(f64::MIN, f64::max) - least;
    let bar = |value: f64| {
        let height = if range > 0.0 { (value - least) / range } else { 0.0 };
        BARS[(height * 7.0).round() as usize]
    };
    shown.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIB: f64 = 1024.0;

    /// The counts that these steps lead to, from a baseline of 40.
    fn after(steps: &[i64]) -> IntegerVerdict {
        let mut count = 40;
        let step_up = |step: &i64| {
            count += step;
            count
        };
        let counts: Vec<i64> = steps.iter().map(step_up).collect();
        judge_integers(40, &counts)
    }

    #[test]
    fn growth_in_every_round_is_a_leak() {
        assert_eq!(after(&[1; 7]), IntegerVerdict::Leak { per_round: 1.0 });
        assert_eq!(after(&[2, 1, 2, 1, 2, 1, 1]), IntegerVerdict::Leak { per_round: 10.0 / 7.0 });
    }

    #[test]
    fn a_leak_that_is_seen_late_is_one() {
        assert_eq!(after(&[1, 1, 0, 2, 1, 1, 1]), IntegerVerdict::Leak { per_round: 1.0 });
        assert_eq!(after(&[3, 3, 3, 3, 0, 6, 3]), IntegerVerdict::Leak { per_round: 3.0 });
        // The last round's is not there yet, so that the total does not divide: suspicious, not clean.
        assert_eq!(after(&[1, 1, 1, 1, 1, 1, 0]), IntegerVerdict::Suspicious);
        assert_eq!(after(&[2, 0, 2, 0, 1, 1, 1]), IntegerVerdict::Leak { per_round: 1.0 });
    }

    #[test]
    fn totals_that_divide_by_chance_are_no_leak() {
        assert_eq!(after(&[0, 0, 7, 0, 0, 0, 0]), IntegerVerdict::OneTime);
        assert_eq!(after(&[7, 0, 0, 0, 0, 0, 7]), IntegerVerdict::Suspicious);
        assert_eq!(after(&[3, 0, 2, -1, 0, 2, 1]), IntegerVerdict::Suspicious);
        // It has just begun to rise, and never came back.
        assert_eq!(after(&[0, 0, 0, 0, 0, 1, 1]), IntegerVerdict::Suspicious);
        // A pool that is full after five rounds.
        assert_eq!(after(&[2, 1, 1, 2, 1, 0, 0]), IntegerVerdict::Suspicious);
    }

    #[test]
    fn what_rose_once_was_initialised() {
        assert_eq!(after(&[6, 0, 0, 0, 0, 0, 0]), IntegerVerdict::OneTime);
        assert_eq!(after(&[0, 0, 0, 0, 0, 0, 1]), IntegerVerdict::OneTime);
        assert_eq!(after(&[0, 6, 0, -2, 0, 0, 0]), IntegerVerdict::OneTime);
        assert_eq!(after(&[1]), IntegerVerdict::OneTime);
    }

    #[test]
    fn what_comes_back_is_flat() {
        assert_eq!(judge_integers(5, &[]), IntegerVerdict::Flat);
        assert_eq!(after(&[0; 7]), IntegerVerdict::Flat);
        assert_eq!(after(&[-1, 0, 0, 0, -3, 0, 0]), IntegerVerdict::Flat);
        assert_eq!(after(&[1, 1, 1, 1, 1, 1, -6]), IntegerVerdict::Flat);
        assert_eq!(after(&[1, -1, 1, -1, 1, -1, 1]), IntegerVerdict::Flat);
        assert_eq!(after(&[1, 0, -1, 1, -1, 1, 0]), IntegerVerdict::Flat);
        // It breathes, but around a level that is higher than at the start.
        assert_eq!(after(&[3, -1, 1, -1, 1, -1, 1]), IntegerVerdict::Suspicious);
    }

    #[test]
    fn six_rounds_are_no_proof() {
        assert_eq!(after(&[1; 6]), IntegerVerdict::Suspicious);
        assert_eq!(after(&[1, 1]), IntegerVerdict::Suspicious);
    }

    /// Small, fast and the same everywhere: xorshift64*.
    struct Random(u64);

    impl Random {
        fn unit(&mut self) -> f64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn between(&mut self, low: f64, high: f64) -> f64 {
            low + self.unit() * (high - low)
        }

        /// A normal distribution, by Box and Muller.
        fn noise(&mut self, deviation: f64) -> f64 {
            let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
            deviation * radius * (std::f64::consts::TAU * self.unit()).cos()
        }
    }

    const RUNS: usize = 300;

    /// The verdicts on [`RUNS`] series of `rounds` values, with noise of this deviation; `signal` makes the function from
    /// round to bytes.
    fn simulate<S: Fn(f64) -> f64>(rounds: usize, noise: f64, signal: impl Fn(&mut Random) -> S) -> Vec<ByteVerdict> {
        let mut random = Random(0x5EED_0F5E_7135 + rounds as u64);
        let mut run = || {
            let signal = signal(&mut random);
            let values: Vec<f64> = (0..rounds).map(|at| signal(at as f64) + random.noise(noise)).collect();
            judge_bytes(&values, KIB, P_PER_LOOK)
        };
        (0..RUNS).map(|_| run()).collect()
    }

    fn percent(verdicts: &[ByteVerdict], wanted: fn(&ByteVerdict) -> bool) -> f64 {
        100.0 * verdicts.iter().filter(|verdict| wanted(verdict)).count() as f64 / verdicts.len() as f64
    }

    fn is_leak(verdict: &ByteVerdict) -> bool {
        matches!(verdict, ByteVerdict::Leak { .. })
    }

    fn is_clean(verdict: &ByteVerdict) -> bool {
        matches!(verdict, ByteVerdict::Clean { .. })
    }

    #[track_caller]
    fn assert_quiet<S: Fn(f64) -> f64>(looks: &[usize], noises: &[f64], signal: impl Fn(&mut Random, f64) -> S) {
        for rounds in looks {
            for noise in noises {
                let verdicts = simulate(*rounds, noise * KIB, |random| signal(random, *rounds as f64));
                let alarms = percent(&verdicts, is_leak);
                assert!(alarms <= 3.0, "{alarms} % false alarms at {rounds} rounds, {noise} KiB of noise");
            }
        }
    }

    #[test]
    fn noise_is_no_leak() {
        assert_quiet(&LOOKS, &[0.0, 4.0, 16.0, 64.0], |_, _| |_| 5000.0 * KIB);
    }

    #[test]
    fn a_sawtooth_is_no_leak() {
        assert_quiet(&LOOKS, &[4.0, 16.0], |random, _| {
            let (period, from) = (random.between(3.0, 12.0).round(), random.between(0.0, 12.0).round());
            move |at| (at + from) % period / period * 64.0 * KIB
        });
    }

    #[test]
    fn a_late_step_is_no_leak() {
        assert_quiet(&LOOKS, &[0.0, 4.0, 16.0], |random, rounds| {
            let (at, height) = (random.between(rounds / 3.0, rounds), random.between(4.0, 1024.0) * KIB);
            move |round| if round < at { 0.0 } else { height }
        });
    }

    /// Each half rises by 2 KiB a round, but the whole by less than the gate.
    #[test]
    fn two_teeth_are_no_leak() {
        let teeth = |at: i32| KIB * (2.0 * f64::from(at) - if at < 20 { 0.0 } else { 20.0 });
        let values: Vec<f64> = (0..30).map(teeth).collect();
        assert!(matches!(judge_bytes(&values, KIB, P_PER_LOOK), ByteVerdict::Inconclusive { .. }));
    }

    /// Half a mebibyte, of which each round adds the same share of what is missing. At 18 rounds it still rises faster
    /// than the gate, so only the later looks are asked.
    #[test]
    fn a_cache_that_fills_is_no_leak() {
        assert_quiet(&LOOKS[1..], &[1.0, 4.0, 16.0], |random, _| {
            let rounds = random.between(1.0, 4.0);
            move |at| 512.0 * KIB * (1.0 - (-at / rounds).exp())
        });
        // One that keeps filling shows it by its pace, where the noise lets the pace be seen.
        assert_quiet(&LOOKS[1..], &[1.0, 4.0], |_, _| |at| 512.0 * KIB * (1.0 - (-at / 8.0).exp()));
    }

    #[test]
    fn one_page_more_is_no_leak() {
        for at in 0..18 {
            let values: Vec<f64> = (0..18).map(|round| if round < at { 0.0 } else { 4.0 * KIB }).collect();
            assert!(is_clean(&judge_bytes(&values, KIB, P_SINGLE)), "at {at}");
        }
        assert_eq!(judge_bytes(&[7.0; 18], KIB, P_SINGLE), ByteVerdict::Clean { resolution: 0.0 });
    }

    #[test]
    fn a_step_that_is_worth_the_gate_is_not_clean() {
        for rounds in LOOKS.map(|rounds| rounds as i32) {
            for at in rounds / 3 + rounds / 12 + 1..rounds - rounds / 12 - 1 {
                let values: Vec<f64> = (0..rounds).map(|round| if round < at { 0.0 } else { 64.0 * KIB }).collect();
                let verdict = judge_bytes(&values, KIB, P_SINGLE);
                assert!(matches!(verdict, ByteVerdict::Inconclusive { .. }), "{rounds} rounds, at {at}: {verdict:?}");
            }
        }
    }

    #[track_caller]
    fn assert_found<S: Fn(f64) -> f64>(rounds: usize, noise: f64, signal: impl Fn(&mut Random) -> S) {
        let verdicts = simulate(rounds, noise * KIB, signal);
        let found = percent(&verdicts, is_leak);
        assert!(found >= 97.0, "{found} % found at {rounds} rounds, {noise} KiB of noise");
    }

    #[test]
    fn leaks_are_found() {
        for rounds in LOOKS {
            assert_found(rounds, 16.0, |_| |at| 32.0 * KIB * at);
            assert_found(rounds, 0.0, |_| |at| 1.5 * KIB * at);
        }
        assert_found(30, 4.0, |_| |at| 4.0 * KIB * at);
        assert_found(60, 16.0, |_| |at| 4.0 * KIB * at);
    }

    #[test]
    fn leaks_in_batches_are_found() {
        let batches = |every: f64| {
            move |random: &mut Random| {
                let from = random.between(0.0, every).floor();
                move |at: f64| ((at + from) / every).floor() * every * 4.0 * KIB
            }
        };
        assert_found(18, 0.0, batches(4.0));
        assert_found(60, 0.0, batches(8.0));
        // Too few batches to tell from a step or two; but nothing that says clean.
        for (rounds, every) in [(18, 8.0), (30, 8.0), (60, 16.0)] {
            assert_eq!(percent(&simulate(rounds, 0.0, batches(every)), is_clean), 0.0, "{rounds} rounds");
        }
        // Under the sawtooth of work that comes in batches itself.
        assert_found(60, 4.0, |random| {
            let (period, from) = (random.between(3.0, 12.0).round(), random.between(0.0, 12.0).round());
            move |at| at * 4.0 * KIB + (at + from) % period / period * 64.0 * KIB
        });
    }

    #[test]
    fn a_leak_is_seldom_called_clean() {
        for rounds in LOOKS {
            for noise in [0.0, 1.0, 4.0, 16.0] {
                let clean = percent(&simulate(rounds, noise * KIB, |_| |at| 2.0 * KIB * at), is_clean);
                assert!(clean <= 3.0, "{clean} % at {rounds} rounds, {noise} KiB of noise");
            }
        }
    }

    #[test]
    fn a_leak_says_its_size_and_a_clean_series_its_resolution() {
        let leak: Vec<f64> = (0..18).map(|at| 3.0 * KIB * f64::from(at)).collect();
        let ByteVerdict::Leak { slope, p } = judge_bytes(&leak, KIB, P_PER_LOOK) else { panic!("not found") };
        assert_eq!((slope.low, slope.median, slope.high), (3.0 * KIB, 3.0 * KIB, 3.0 * KIB));
        assert!(p < 1e-5, "{p}");
        // Less than the gate a round, or downwards, is clean; and a leak for a lower gate.
        let slow: Vec<f64> = (0..18).map(|at| 300.0 * f64::from(at)).collect();
        assert_eq!(judge_bytes(&slow, KIB, P_SINGLE), ByteVerdict::Clean { resolution: 0.0 });
        assert!(is_leak(&judge_bytes(&slow, 200.0, P_SINGLE)));
        let down: Vec<f64> = leak.iter().map(|value| -value).collect();
        assert!(is_clean(&judge_bytes(&down, KIB, P_SINGLE)));
        let noisy: Vec<f64> = (0..18).map(|at| if at % 2 == 0 { 0.0 } else { 4.0 * KIB }).collect();
        let ByteVerdict::Clean { resolution } = judge_bytes(&noisy, KIB, P_SINGLE) else { panic!("not clean") };
        assert!((100.0..KIB).contains(&resolution), "{resolution}");
    }

    #[test]
    fn fewer_than_18_rounds_say_nothing() {
        for rounds in 0..18_i32 {
            let values: Vec<f64> = (0..rounds).map(|at| 1e6 * f64::from(at)).collect();
            assert_eq!(judge_bytes(&values, KIB, P_SINGLE), ByteVerdict::Inconclusive { rounds_needed: None });
        }
    }

    /// As many rounds as asked for, rarely more, give the same noise a verdict.
    #[test]
    fn the_rounds_asked_for_are_enough() {
        let needed = |verdict: &ByteVerdict| match verdict {
            ByteVerdict::Inconclusive { rounds_needed: Some(rounds) } => *rounds,
            other => panic!("{other:?}"),
        };
        let mut asked: Vec<usize> =
            simulate(18, 32.0 * KIB, |_| |_| 0.0).iter().filter(|verdict| !is_clean(verdict)).map(needed).collect();
        asked.sort_unstable();
        let usual = asked[asked.len() / 2];
        let verdicts = simulate(usual, 32.0 * KIB, |_| |_| 0.0);
        assert!(percent(&verdicts, is_clean) >= 90.0, "{usual} rounds: {} %", percent(&verdicts, is_clean));
        // Not three times as many as needed, either.
        assert!(percent(&simulate(usual / 3, 32.0 * KIB, |_| |_| 0.0), is_clean) < 50.0, "{usual} rounds");
        // No noise, and between the gate and a leak: twice the rounds drop the half that was faster.
        let slowing = |at: i32| KIB * (0.9 * f64::from(at) + 0.2 * f64::from(at.min(20)));
        let values: Vec<f64> = (0..30).map(slowing).collect();
        assert_eq!(needed(&judge_bytes(&values, KIB, P_PER_LOOK)), 60);
        assert!(is_clean(&judge_bytes(&(0..60).map(slowing).collect::<Vec<_>>(), KIB, P_PER_LOOK)));
    }

    #[test]
    fn draws_a_series() {
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[3.0; 4]), "▁▁▁▁");
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[-1e9, 1e9]), "▁█");
        let mut long = vec![0.0; 600];
        long[314] = 1.0;
        let line: Vec<char> = sparkline(&long).chars().collect();
        assert_eq!((line.len(), line.iter().position(|bar| *bar == '█')), (60, Some(31)));
    }

    proptest! {
        #[test]
        fn a_line_fits_and_shows_the_peak(values in proptest::collection::vec(-1e9..1e9_f64, 2..400)) {
            let line = sparkline(&values);
            prop_assert!(line.chars().count() <= SPARKS);
            prop_assert!(line.contains('█') && line.contains('▁'));
        }

        #[test]
        fn a_leak_of_integers_needs_growth(start in -50..50_i64, counts in proptest::collection::vec(-50..50_i64, 0..20)) {
            let total = counts.last().map_or(0, |last| last - start);
            match judge_integers(start, &counts) {
                IntegerVerdict::Leak { per_round } => {
                    prop_assert!(counts.len() >= 7 && total > 0);
                    prop_assert!((per_round * counts.len() as f64 - total as f64).abs() < 1e-9);
                }
                IntegerVerdict::OneTime | IntegerVerdict::Suspicious => prop_assert!(total > 0),
                IntegerVerdict::Flat => {}
            }
        }

        /// The level itself says nothing; only its change does.
        #[test]
        fn a_level_is_no_leak(values in proptest::collection::vec(0..64_u32, 18..40), level in 0..1_000_000_u32) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let raised: Vec<f64> = values.iter().map(|value| value + f64::from(level)).collect();
            prop_assert_eq!(judge_bytes(&values, 1.0, P_SINGLE), judge_bytes(&raised, 1.0, P_SINGLE));
        }
    }
}
