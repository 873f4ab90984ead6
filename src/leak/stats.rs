//! Does a series rise, and how fast: the Mann-Kendall test and the Theil-Sen slope, pure functions of its values.
//!
//! The values stand at equal distances, one for each round, and are finite. Both methods compare pairs of values by
//! their order, so that one absurd value (a page cache that another process filled) weighs no more than any other.
//!
//! Both take the values for independent of each other. Where each round starts from what the last one left (a random
//! walk), they see trends that are none.

/// The rise of a series against the null hypothesis that every order of its values is equally likely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MannKendall {
    /// Pairs that rise minus pairs that fall.
    pub(crate) s: i64,
    /// Of `s` under the null hypothesis, corrected for ties.
    pub(crate) variance: f64,
    /// How likely so large an `s` is without a rise; one-sided, so a fall is near 1.
    pub(crate) p_rising: f64,
}

/// A slope per round, and its confidence interval (95 %, two-sided).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slope {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Slope {
    pub(crate) fn width(&self) -> f64 {
        self.high - self.low
    }
}

/// Up to this many values without ties get the exact distribution of S. At seven values the normal approximation is
/// wrong by a factor of 2.5 (0.0034 for 0.0014); beyond ten it errs to the safe side wherever a verdict is near.
const EXACT_UP_TO: usize = 10;

/// 97.5 % of a normal distribution lie below.
const Z_95: f64 = 1.959_963_984_540_054;

/// Mann (1945), Kendall (1975). More than [`EXACT_UP_TO`] values, or ties: normal approximation with a continuity
/// correction. S goes in steps of 2, so "at least s" begins at s - 1, also below 0, where the two-sided test has s + 1.
pub(crate) fn mann_kendall(values: &[f64]) -> MannKendall {
    let s: i64 = pairs(values).map(|(_, earlier, later)| i64::from(later > earlier) - i64::from(later < earlier)).sum();
    let ties = ties(values);
    let variance = variance_of_s(values.len(), &ties);
    let p_rising = if variance == 0.0 {
        1.0
    } else if ties.is_empty() && values.len() <= EXACT_UP_TO {
        exact_upper_tail(values.len(), s)
    } else {
        upper_tail((s - 1) as f64 / variance.sqrt())
    };
    MannKendall { s, variance, p_rising }
}

/// The median of the slopes of all pairs, and the interval of Sen (1968), equation 2.6, as `scipy.stats.theilslopes`
/// has it. Fewer than two values have no slope: 0, and an interval without ends.
pub(crate) fn theil_sen(values: &[f64]) -> Slope {
    let mut slopes: Vec<f64> =
        pairs(values).map(|(distance, earlier, later)| (later - earlier) / distance as f64).collect();
    if slopes.is_empty() {
        return Slope { median: 0.0, low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let count = slopes.len();
    let median = f64::midpoint(slopes[(count - 1) / 2], slopes[count / 2]);
    let reach = Z_95 * variance_of_s(values.len(), &ties(values)).sqrt();
    // numpy rounds to even as well. What lies beyond the ends is cut: `as` makes 0 of a negative number.
    let below = ((count as f64 - reach) / 2.0).round_ties_even() as usize;
    let above = ((count as f64 + reach) / 2.0).round_ties_even() as usize;
    Slope { median, low: slopes[below.saturating_sub(1)], high: slopes[above.min(count - 1)] }
}

/// Distance, earlier value, later value.
fn pairs(values: &[f64]) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
    debug_assert!(values.iter().all(|value| value.is_finite()), "{values:?}");
    values.iter().enumerate().flat_map(move |(at, &earlier)| {
        values[at + 1..].iter().enumerate().map(move |(between, &later)| (between + 1, earlier, later))
    })
}

/// How often each value occurs that occurs more than once.
fn ties(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    // By ==, as the pairs are compared: 0.0 and -0.0 are neighbours in the total order, and the same value.
    sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).filter(|times| *times > 1).collect()
}

fn variance_of_s(count: usize, ties: &[usize]) -> f64 {
    // In integers, so that a series of equals has exactly 0; and n - 1 stays away from n = 0.
    let term = |n: usize| n * n.saturating_sub(1) * (2 * n + 5);
    (term(count) - ties.iter().map(|times| term(*times)).sum::<usize>()) as f64 / 18.0
}

/// The share of all orders of `count` different values that have at least this `s`.
fn exact_upper_tail(count: usize, s: i64) -> f64 {
    // orders[k]: how many have k pairs that fall. A further value, larger than all others, makes 0 to `size` such
    // pairs, as it stands last, last but one and so on.
    let mut orders = vec![1_u64];
    for size in 1..count {
        let mut wider = vec![0; orders.len() + size];
        for (falling, times) in orders.iter().enumerate() {
            for more in 0..=size {
                wider[falling + more] += times;
            }
        }
        orders = wider;
    }
    let pairs = count as i64 * (count as i64 - 1) / 2;
    let at_most_falling = usize::try_from((pairs - s) / 2).unwrap_or(0);
    orders.iter().take(at_most_falling + 1).sum::<u64>() as f64 / orders.iter().sum::<u64>() as f64
}

/// 1 - Φ(z) by the series of Marsaglia, "Evaluating the Normal Distribution", Journal of Statistical Software 11(4),
/// 2004 (Abramowitz and Stegun 26.2.11); its absolute error is below 1e-14, which is as small as a p gets here.
fn upper_tail(z: f64) -> f64 {
    // Further out the answer is below the error, and the series would only grow longer.
    if z.abs() > 8.0 {
        return if z > 0.0 { 0.0 } else { 1.0 };
    }
    let (mut term, mut sum, mut odd) = (z, z, 1.0);
    loop {
        odd += 2.0;
        term *= z * z / odd;
        if sum + term == sum {
            break;
        }
        sum += term;
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (0.5 - density * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values; median, low, high; S, its variance, p.
    type Vector = (&'static [f64], [f64; 3], (i64, f64, f64));

    /// Of scipy 1.17.1 and Python 3: `theilslopes(y, range(n), alpha=0.95)`; p is `kendalltau(range(n), y,
    /// alternative='greater', method='exact')` up to ten values without ties, and otherwise `norm.sf((s - 1) /
    /// sqrt(variance))`, which is the formula of pymannkendall where s > 0.
    const BY_SCIPY: &[Vector] = &[
        (
            &[1., 3., 2., 5., 4., 8., 7., 9., 12., 10., 14., 13.],
            [1.2, 1.0, 1.4],
            (56, 212.66666666666666, 8.113778323802151e-05),
        ),
        (
            &[5., 5., 5., 7., 7., 6., 7., 9., 9., 9., 9., 12., 12., 11.],
            [0.5454545454545454, 0.4, 0.6666666666666666],
            (70, 316.6666666666667, 5.2775196663553005e-05),
        ),
        (
            &[0., 0., 0., 0., 0., 4096., 4096., 4096., 4096., 4096., 8192., 8192., 8192., 8192.],
            [744.7272727272727, 512.0, 910.2222222222222],
            (65, 291.6666666666667, 8.931848027099665e-05),
        ),
        (
            &[10., 9.5, 9.75, 7., 6., 6.5, 3., 2., -1., -4., -3.],
            [-1.5, -1.8333333333333333, -1.1428571428571428],
            (-49, 165.0, 0.9999503906703375),
        ),
        (
            &[100., 101., 99., 102., 5000., 103., 101., 104., 102., 105., 103., 106.],
            [0.5, 0.14285714285714285, 0.5714285714285714],
            (33, 209.66666666666666, 0.013553815629580196),
        ),
        (
            &[1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.],
            [1.0, 1.0, 1.0],
            (66, 212.66666666666666, 4.151553676782359e-06),
        ),
        (&[1., 1., 2., 2., 3., 5.], [0.6666666666666666, 0.0, 1.5], (13, 26.333333333333332, 0.009681924882731719)),
        (&[2., 1., 4., 3., 6.], [1.0, -1.0, 3.0], (6, 16.666666666666668, 0.11666666666666667)),
        (&[3., 2.5, 2.75, -1.], [-0.9166666666666666, -3.75, 0.25], (-4, 8.666666666666666, 0.9583333333333334)),
        (&[1., 2., 3., 4., 5., 7., 6.], [1.0, 0.75, 1.25], (19, 44.333333333333336, 0.001388888888888889)),
        (&[3., 8.], [5.0, 5.0, 5.0], (1, 1.0, 0.5)),
    ];

    #[track_caller]
    fn assert_near(actual: f64, expected: f64, values: &[f64]) {
        let close = (actual - expected).abs() <= 1e-12 * expected.abs().max(1e-3);
        assert!(close, "{actual} instead of {expected} for {values:?}");
    }

    #[test]
    fn agrees_with_scipy() {
        for (values, [median, low, high], (s, variance, p)) in BY_SCIPY {
            let slope = theil_sen(values);
            assert_near(slope.median, *median, values);
            assert_near(slope.low, *low, values);
            assert_near(slope.high, *high, values);
            let test = mann_kendall(values);
            assert_eq!(test.s, *s, "{values:?}");
            assert_near(test.variance, *variance, values);
            assert_near(test.p_rising, *p, values);
        }
    }

    #[test]
    fn equal_values_do_not_rise() {
        for count in 0..20 {
            let values = vec![7.5; count];
            assert_eq!(mann_kendall(&values), MannKendall { s: 0, variance: 0.0, p_rising: 1.0 });
            if count > 1 {
                assert_eq!(theil_sen(&values), Slope { median: 0.0, low: 0.0, high: 0.0 });
            }
        }
        assert_eq!(mann_kendall(&[0.0, -0.0, 0.0]).p_rising, 1.0);
    }

    #[test]
    fn too_few_values_have_any_slope() {
        for values in [&[][..], &[4.0]] {
            assert_eq!(theil_sen(values), Slope { median: 0.0, low: f64::NEG_INFINITY, high: f64::INFINITY });
            assert_eq!(theil_sen(values).width(), f64::INFINITY);
        }
    }

    /// By `scipy.stats.norm.sf`, 1.17.1.
    #[test]
    fn the_normal_distribution_is_that_of_scipy() {
        let points = [
            (0.0, 0.5),
            (0.5, 0.3085375387259869),
            (1.0, 0.15865525393145707),
            (1.6448536269514722, 0.05),
            (3.0, 0.0013498980316300933),
            (5.0, 2.866515718791933e-07),
            (7.0, 1.279812543885835e-12),
            (-2.0, 0.9772498680518208),
            (-9.0, 1.0),
            (9.0, 0.0),
        ];
        for (z, expected) in points {
            assert!((upper_tail(z) - expected).abs() < 1e-14, "{z}: {}", upper_tail(z));
        }
    }

    /// S from the number of neighbours that an insertion sort swaps.
    fn s_by_sorting(values: &[f64]) -> i64 {
        let (mut sorted, mut falling) = (values.to_vec(), 0);
        for end in 1..sorted.len() {
            for at in (0..end).rev() {
                if sorted[at] <= sorted[at + 1] {
                    break;
                }
                sorted.swap(at, at + 1);
                falling += 1;
            }
        }
        let equal: i64 = values.iter().map(|a| values.iter().filter(|b| a == *b).count() as i64 - 1).sum();
        let count = values.len() as i64;
        count * (count - 1) / 2 - equal / 2 - 2 * falling
    }

    /// Every order of the values, by Heap's algorithm.
    fn orders(values: &mut Vec<f64>, size: usize, seen: &mut impl FnMut(&[f64])) {
        if size <= 1 {
            return seen(values);
        }
        for at in 0..size {
            orders(values, size - 1, seen);
            values.swap(if size.is_multiple_of(2) { at } else { 0 }, size - 1);
        }
    }

    /// The value that exactly `rank` others come before, found by counting.
    fn at_rank(slopes: &[f64], rank: usize) -> f64 {
        let before = |slope: f64| slopes.iter().filter(|other| **other < slope).count();
        let up_to = |slope: f64| slopes.iter().filter(|other| **other <= slope).count();
        *slopes.iter().find(|slope| before(**slope) <= rank && rank < up_to(**slope)).unwrap()
    }

    fn values(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
        // Small integers for ties, others for none.
        prop_oneof![
            proptest::collection::vec((0..6_i32).prop_map(f64::from), count.clone()),
            proptest::collection::vec(-1e6..1e6_f64, count),
        ]
    }

    proptest! {
        /// The variance and p are statements about all orders, so asking all orders is the other way to know.
        #[test]
        fn is_what_all_orders_say(values in values(2..7)) {
            let test = mann_kendall(&values);
            prop_assert_eq!(test.s, s_by_sorting(&values));
            let (mut count, mut squares, mut as_large) = (0.0, 0.0, 0.0);
            orders(&mut values.clone(), values.len(), &mut |order| {
                let s = s_by_sorting(order);
                count += 1.0;
                squares += (s * s) as f64;
                as_large += f64::from(u8::from(s >= test.s));
            });
            prop_assert!((test.variance - squares / count).abs() < 1e-9, "{} {}", test.variance, squares / count);
            if ties(&values).is_empty() {
                prop_assert!((test.p_rising - as_large / count).abs() < 1e-12);
            } else {
                // The approximation, with its correction, is not far off even here.
                prop_assert!((test.p_rising - as_large / count).abs() < 0.4);
            }
        }

        #[test]
        fn approximation_and_exact_distribution_meet(values in proptest::collection::vec(-1e6..1e6_f64, 10)) {
            prop_assume!(ties(&values).is_empty());
            let test = mann_kendall(&values);
            let approximate = upper_tail((test.s - 1) as f64 / test.variance.sqrt());
            prop_assert!((test.p_rising - approximate).abs() < 0.01, "{:?} {}", test, approximate);
        }

        #[test]
        fn slopes_stand_at_their_ranks(values in values(2..30)) {
            let mut slopes = Vec::new();
            for later in 0..values.len() {
                for earlier in 0..later {
                    slopes.push((values[later] - values[earlier]) / (later as f64 - earlier as f64));
                }
            }
            let (count, slope) = (slopes.len(), theil_sen(&values));
            let middle = (at_rank(&slopes, (count - 1) / 2) + at_rank(&slopes, count / 2)) / 2.0;
            prop_assert!((slope.median - middle).abs() <= 1e-9 * middle.abs());
            let half = 1.959_963_984_540_054 * mann_kendall(&values).variance.sqrt() / 2.0;
            let low = ((count as f64 / 2.0 - half).round_ties_even() - 1.0).max(0.0);
            let high = (count as f64 / 2.0 + half).round_ties_even().min(count as f64 - 1.0);
            prop_assert_eq!(slope.low, at_rank(&slopes, low as usize));
            prop_assert_eq!(slope.high, at_rank(&slopes, high as usize));
        }

        /// A series that runs backwards falls as it rose, and one with a ramp added rises by the ramp.
        #[test]
        fn mirrors_and_ramps(values in values(2..30), ramp in -1000..1000_i32) {
            let backwards: Vec<f64> = values.iter().rev().copied().collect();
            prop_assert_eq!(mann_kendall(&backwards).s, -mann_kendall(&values).s);
            prop_assert_eq!(theil_sen(&backwards).median, -theil_sen(&values).median);
            let ramp = f64::from(ramp);
            let ramped: Vec<f64> = values.iter().enumerate().map(|(at, value)| value + ramp * at as f64).collect();
            prop_assert!((theil_sen(&ramped).median - theil_sen(&values).median - ramp).abs() < 1e-6);
            let slope = theil_sen(&values);
            prop_assert!(slope.low <= slope.median && slope.median <= slope.high);
        }
    }
}
