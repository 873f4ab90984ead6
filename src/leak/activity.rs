//! What a server costs while nothing runs: the rule, a pure function of what its quiet windows cost before the first session and
//! after each round.
//!
//! A session that is gone and still costs something is a leak that no count shows: a timer that nobody stopped, a thread that spins, a
//! program that is started again and again. Two shapes are told:
//!
//! ```text
//!  step:   the cheapest window of the last third costs far more than the dearest before the first session ──► Leaked
//!  trend:  the windows' cost rises with the rounds, by the rule for bytes                                  ──► Leaked
//! ```
//!
//! The step is judged by the cheapest window, so that what works for a while after a session (a garbage collection, a compiler, a
//! connection that ends) is none, however dear. The trend cannot be seen where it has come to an end already, as that of spinning threads has
//! when all processors are busy; then the step is.

use crate::leak::series::{ByteVerdict, judge_bytes};

/// Fewer rounds say nothing.
pub(crate) const FEWEST_ROUNDS: usize = 7;
/// How many times the dearest window before the first session the cheapest of the last third must cost.
const TIMES: f64 = 4.0;

/// In what steps one kind of cost is of interest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floors {
    /// What a window may cost more than before, for whatever reason.
    pub(crate) step: f64,
    /// What a round may add to each window.
    pub(crate) per_round: f64,
}

/// What the windows say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ActivityVerdict {
    Quiet,
    /// More in each window than before the first session.
    Step {
        more: f64,
    },
    /// More with each round.
    Trend {
        per_round: f64,
        p: f64,
    },
}

/// Judges what quiet windows cost: `before` the first session, and after each round.
pub(crate) fn judge_activity(before: &[f64], costs: &[f64], floors: Floors, p: f64) -> ActivityVerdict {
    let rounds = costs.len();
    if rounds < FEWEST_ROUNDS || before.is_empty() {
        return ActivityVerdict::Quiet;
    }
    let dearest = before.iter().copied().fold(0.0, f64::max);
    let late = &costs[rounds - rounds.div_ceil(3)..];
    let cheapest = late.iter().copied().fold(f64::MAX, f64::min);
    // Whatever rises from below what it cost before has come back to that.
    if let ByteVerdict::Leak { slope, p } = judge_bytes(costs, floors.per_round, p)
        && cheapest > dearest
    {
        return ActivityVerdict::Trend { per_round: slope.median, p };
    }
    match step(dearest, cheapest, floors) {
        Some(more) => ActivityVerdict::Step { more },
        None => ActivityVerdict::Quiet,
    }
}

/// How much more a window costs than before the first session, if that is far more.
pub(crate) fn step(dearest_before: f64, cheapest: f64, floors: Floors) -> Option<f64> {
    (cheapest > dearest_before * TIMES + floors.step).then_some(cheapest - dearest_before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a window of 100 ms, in microseconds.
    const PROCESSOR: Floors = Floors { step: 5_000.0, per_round: 100.0 };

    fn judged(before: &[f64], rounds: usize, cost: impl Fn(usize) -> f64) -> ActivityVerdict {
        judge_activity(before, &(0..rounds).map(cost).collect::<Vec<_>>(), PROCESSOR, 0.003)
    }

    #[test]
    fn a_thread_that_spins_is_a_step_also_where_all_processors_are_busy_soon() {
        for rounds in [7, 18, 30, 60, 200] {
            let verdict = judged(&[0.0; 3], rounds, |round| 100_000.0 * (round + 1).min(2) as f64);
            assert!(matches!(verdict, ActivityVerdict::Step { .. }), "{rounds}: {verdict:?}");
        }
    }

    #[test]
    fn a_timer_more_with_each_round_is_a_trend() {
        let ActivityVerdict::Trend { per_round, .. } = judged(&[50.0; 3], 18, |round| 50.0 + 300.0 * round as f64)
        else {
            panic!("not found")
        };
        assert_eq!(per_round, 300.0);
    }

    #[test]
    fn a_step_is_measured_from_the_dearest_window_before() {
        let step = judged(&[2_000.0, 9_000.0, 1_000.0], 18, |_| 50_000.0);
        assert_eq!(step, ActivityVerdict::Step { more: 41_000.0 });
        // More than four times the last of them, and not the dearest.
        assert_eq!(judged(&[9_000.0, 1_000.0], 18, |_| 30_000.0), ActivityVerdict::Quiet);
    }

    #[test]
    fn what_rises_to_no_more_than_it_cost_before_is_quiet() {
        assert_eq!(judged(&[9_000.0; 3], 18, |round| 300.0 * round as f64), ActivityVerdict::Quiet);
    }

    #[test]
    fn what_works_for_a_while_is_quiet() {
        // A collection of garbage in every other window.
        assert_eq!(
            judged(&[0.0; 3], 200, |round| if round % 2 == 0 { 80_000.0 } else { 40.0 }),
            ActivityVerdict::Quiet
        );
        // A compiler that is done after half of the rounds.
        assert_eq!(judged(&[0.0; 3], 60, |round| if round < 30 { 90_000.0 } else { 40.0 }), ActivityVerdict::Quiet);
        // A heartbeat that begins with the first session.
        assert_eq!(judged(&[0.0; 3], 60, |_| 1_500.0), ActivityVerdict::Quiet);
        // One that was busy before.
        assert_eq!(judged(&[30_000.0; 3], 60, |_| 60_000.0), ActivityVerdict::Quiet);
    }

    #[test]
    fn six_rounds_are_no_proof() {
        assert_eq!(judged(&[0.0; 3], 6, |_| 100_000.0), ActivityVerdict::Quiet);
        assert_eq!(judged(&[], 60, |_| 100_000.0), ActivityVerdict::Quiet);
    }

    #[test]
    fn children_that_are_reaped_in_every_window_are_a_step_from_nothing() {
        let floors = Floors { step: 0.0, per_round: 50.0 };
        let step = judge_activity(&[0.0; 3], &[400.0; 18], floors, 0.003);
        assert_eq!(step, ActivityVerdict::Step { more: 400.0 });
        // In most windows only: what polls once in a second is no leak.
        let costs: Vec<f64> = (0..200).map(|round| if round % 9 == 0 { 0.0 } else { 90.0 }).collect();
        assert_eq!(judge_activity(&[0.0; 3], &costs, floors, 0.003), ActivityVerdict::Quiet);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A server that costs up to 4 % in a window, as chance will have it.
        #[test]
        fn noise_is_quiet(costs in proptest::collection::vec(0.0..4_000.0_f64, 200)) {
            for rounds in [18, 30, 60, 200] {
                prop_assert_eq!(judged(&[2_000.0, 3_500.0, 1_000.0], rounds, |at| costs[at]), ActivityVerdict::Quiet);
            }
        }
    }
}
