//! Counts that breathe: pools that shrink when they are idle, connections that are kept for a while, timers. A server has some
//! always, so what it holds at one moment says little, and the least that it holds over a window says much.
//!
//! ```text
//!  six windows of equal length, the least of each:   rises in every one, and past all of the first ──► Leak
//!                                                    does not rise in the later three, or not past the first half ──► Flat (it breathes, or is full)
//!                                                    else                                          ──► Suspicious
//! ```
//!
//! Six values in a rising order come by chance once in 720; that the least of the last window is not below the greatest of the first
//! makes that rarer by orders of magnitude. What leaks once in up to a sixth of the rounds is told: one in three of 18, in five of 30, in ten of 60.
//! A pool that still fills when the rounds end looks like a leak: more rounds tell.

use crate::leak::series::{IntegerVerdict, judge_integers};

/// From so many rounds on each window has three.
const ROUNDS_FOR_WINDOWS: usize = 18;
const WINDOWS: usize = 6;

/// Judges the counts of a server: `baseline` after the warm-up, `counts` after each measured round. Fewer than 18 are judged by each
/// round, as a process's own are.
pub(crate) fn judge_breathing(baseline: i64, counts: &[i64]) -> IntegerVerdict {
    let by_rounds = judge_integers(baseline, counts);
    if counts.len() < ROUNDS_FOR_WINDOWS {
        return by_rounds;
    }
    let windows = Windows::of(counts);
    if windows.is_rising() {
        return IntegerVerdict::Leak { per_round: windows.per_round() };
    }
    match by_rounds {
        IntegerVerdict::Leak { .. } | IntegerVerdict::Suspicious if windows.rises_lately() => {
            IntegerVerdict::Suspicious
        }
        IntegerVerdict::Leak { .. } | IntegerVerdict::Suspicious => IntegerVerdict::Flat,
        told => told,
    }
}

/// The share of the rounds after which there was more than before: how sure a leak of a count is.
pub(crate) fn share_that_grew(baseline: i64, counts: &[i64]) -> f64 {
    let before = std::iter::once(&baseline).chain(counts);
    let grew = counts.iter().zip(before).filter(|(after, before)| after > before).count();
    grew as f64 / counts.len().max(1) as f64
}

struct Windows {
    least: [i64; WINDOWS],
    greatest_of_first: i64,
    greatest_of_first_half: i64,
    rounds_of_each: usize,
}

impl Windows {
    /// The rounds that do not fill a window are left out at the beginning, where things are initialised.
    fn of(counts: &[i64]) -> Self {
        let rounds_of_each = counts.len() / WINDOWS;
        let windows = counts[counts.len() - rounds_of_each * WINDOWS..].chunks_exact(rounds_of_each);
        let mut least = [0; WINDOWS];
        let mut greatest_of_first = None;
        for (least, window) in least.iter_mut().zip(windows) {
            *least = window.iter().copied().min().unwrap_or_default();
            greatest_of_first = greatest_of_first.or(window.iter().copied().max());
        }
        let greatest_of_first_half = counts[..counts.len() / 2].iter().copied().max().unwrap_or_default();
        let greatest_of_first = greatest_of_first.unwrap_or_default();
        Self { least, greatest_of_first, greatest_of_first_half, rounds_of_each }
    }

    fn is_rising(&self) -> bool {
        self.least.is_sorted_by(|one, next| one < next) && self.least[WINDOWS - 1] >= self.greatest_of_first
    }

    /// What is no more than it was before at times is breathing, though it may breathe otherwise than it did: rounds are faster
    /// when a busy machine has less to do, and then more of what is kept for a time is there.
    fn rises_lately(&self) -> bool {
        let last = self.least[WINDOWS - 1];
        last > self.least[WINDOWS / 2] && last > self.greatest_of_first_half
    }

    fn per_round(&self) -> f64 {
        (self.least[WINDOWS - 1] - self.least[0]) as f64 / ((WINDOWS - 1) * self.rounds_of_each) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(rounds: i64, count: impl Fn(i64) -> i64) -> IntegerVerdict {
        judge_breathing(count(0), &(1..=rounds).map(count).collect::<Vec<_>>())
    }

    const LOOKS: [i64; 4] = [18, 30, 60, 200];

    #[test]
    fn what_grows_in_every_round_is_a_leak_of_just_that() {
        for rounds in LOOKS {
            assert_eq!(judged(rounds, |round| 7 + round), IntegerVerdict::Leak { per_round: 1.0 });
            assert_eq!(judged(rounds, |round| 7 + 3 * round), IntegerVerdict::Leak { per_round: 3.0 });
        }
        assert_eq!(judged(7, |round| round), IntegerVerdict::Leak { per_round: 1.0 });
    }

    #[test]
    fn one_in_two_rounds_is_a_leak_and_one_in_ten_with_sixty() {
        for rounds in LOOKS {
            let IntegerVerdict::Leak { per_round } = judged(rounds, |round| 7 + round / 2) else { panic!("{rounds}") };
            assert!((per_round - 0.5).abs() < 0.1, "{per_round}");
        }
        assert!(matches!(judged(60, |round| round / 10), IntegerVerdict::Leak { .. }));
        assert_eq!(judged(18, |round| round / 10), IntegerVerdict::OneTime);
    }

    #[test]
    fn a_leak_under_a_pool_that_breathes_is_found() {
        for rounds in LOOKS {
            let verdict = judged(rounds, |round| 7 + round + [0, 3, 1, 4, 2][round as usize % 5]);
            assert!(matches!(verdict, IntegerVerdict::Leak { .. }), "{rounds}: {verdict:?}");
        }
    }

    #[test]
    fn a_sawtooth_is_none() {
        for rounds in LOOKS {
            for period in 2..=6 {
                assert_eq!(judged(rounds, |round| 7 + round % period), IntegerVerdict::Flat, "{rounds}, {period}");
            }
        }
        assert_eq!(judged(200, |round| 7 + round % 30), IntegerVerdict::Flat);
    }

    #[test]
    fn a_pool_that_grows_and_is_full_is_none() {
        for rounds in LOOKS {
            for size in [4, 8] {
                assert_eq!(judged(rounds, |round| 7 + round.min(size)), IntegerVerdict::Flat, "{rounds}, {size}");
            }
        }
        // One that fills all the while is not told from a leak, but with more rounds.
        assert_eq!(judged(200, |round| 7 + (round / 6).min(10)), IntegerVerdict::Flat);
    }

    /// The least of each window rises, and the last is no more than the first had at times.
    #[test]
    fn what_was_there_at_times_before_is_no_leak() {
        let verdict = judged(18, |round| if round == 3 { 50 } else { 7 + (round - 1) / 3 });
        assert!(!matches!(verdict, IntegerVerdict::Leak { .. }), "{verdict:?}");
        // And one that the last has reached is one.
        let verdict = judged(18, |round| if round == 3 { 12 } else { 7 + (round - 1) / 3 });
        assert!(matches!(verdict, IntegerVerdict::Leak { .. }), "{verdict:?}");
    }

    #[test]
    fn rounds_that_fill_no_window_are_left_out_at_the_beginning() {
        let verdict = judged(20, |round| if round <= 2 { 50 } else { 7 + round });
        assert_eq!(verdict, IntegerVerdict::Leak { per_round: 1.0 });
    }

    #[test]
    fn what_rose_half_way_and_breathes_since_is_none() {
        assert_eq!(judged(18, |round| if round < 10 { 7 } else { 12 + round % 2 }), IntegerVerdict::Flat);
    }

    /// Where it is as high as it was once in the first half.
    #[test]
    fn what_rises_in_the_end_to_no_more_than_it_was_before_is_none() {
        for peak in [5, 25] {
            let rising = |round: i64| 7 + (round - 20).max(0) / 3;
            let verdict = judged(60, |round| if round == peak { rising(51) } else { rising(round) });
            assert_eq!(verdict, IntegerVerdict::Flat, "{peak}");
        }
    }

    #[test]
    fn what_rises_in_the_end_and_not_all_the_while_is_suspicious() {
        let verdict = judged(60, |round| 7 + (round - 20).max(0) / 3);
        assert_eq!(verdict, IntegerVerdict::Suspicious);
    }

    /// Two rounds are no window.
    #[test]
    fn fewer_rounds_than_fill_windows_are_judged_by_each() {
        for rounds in 7..18 {
            let count = |round: i64| 7 + round / 2;
            let counts: Vec<i64> = (1..=rounds).map(count).collect();
            assert_eq!(judge_breathing(7, &counts), judge_integers(7, &counts), "{rounds}");
        }
        let slow: Vec<i64> = (0..17).map(|round| round / 2).collect();
        assert!(!matches!(judge_breathing(0, &slow), IntegerVerdict::Leak { .. }));
    }

    /// A busy machine has less to do from some round on.
    #[test]
    fn what_breathes_faster_in_the_end_is_none() {
        let verdict = judged(60, |round| 7 + if round < 40 { [1, 3, 2, 4][round as usize % 4] } else { 3 + round % 3 });
        assert_eq!(verdict, IntegerVerdict::Flat);
    }

    #[test]
    fn a_late_step_is_no_leak() {
        for rounds in LOOKS {
            for at in 1..rounds {
                let verdict = judged(rounds, |round| if round < at { 7 } else { 12 });
                assert_eq!(verdict, IntegerVerdict::OneTime, "{rounds}, at {at}");
            }
        }
        // Two steps: suspicious while both are late, and never a leak.
        for at in 1..60 {
            let verdict = judged(60, |round| 7 + i64::from(round >= at) + i64::from(round >= at + 3));
            assert!(!matches!(verdict, IntegerVerdict::Leak { .. }), "at {at}: {verdict:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A pool of up to eight that is as large as chance will have it: 256 series at each look.
        #[test]
        fn noise_is_no_leak(counts in proptest::collection::vec(0..8_i64, 200), first in 0..8_i64) {
            for rounds in LOOKS {
                let verdict = judge_breathing(first, &counts[..rounds as usize]);
                let is_leak = matches!(verdict, IntegerVerdict::Leak { .. });
                prop_assert!(!is_leak, "{} rounds: {:?}", rounds, &counts[..rounds as usize]);
            }
        }

        #[test]
        fn a_leak_of_one_is_found_under_any_noise_of_four(noise in proptest::collection::vec(0..4_i64, 61)) {
            let verdict = judged(60, |round| round + noise[round as usize]);
            let is_leak = matches!(verdict, IntegerVerdict::Leak { .. });
            prop_assert!(is_leak, "{:?}", verdict);
        }
    }

    #[test]
    fn how_often_it_grew_is_a_share() {
        assert_eq!(share_that_grew(1, &[2, 3, 3, 4]), 0.75);
        assert_eq!(share_that_grew(1, &[]), 0.0);
    }
}
