//! One long quiet window before the first round and one after the last, beside the short ones after each: what works twice in a second
//! falls between short windows, and a long one after each round would make a hunt long.
//!
//! The cheapest of up to five in a row counts in the end, so that what is on its way out, or works now and then, is none.

use crate::error::Result;
use crate::leak::quiet::{Cost, one_window};
use crate::probe::other::Other;
use std::time::Duration;

/// So many times as long as a short one,
const TIMES: u32 = 10;
/// and this long at most: a server's timers mostly beat once in a second or faster.
const LONGEST: Duration = Duration::from_secs(1);
/// The dearest of so many counts as what was before.
const WINDOWS_BEFORE: usize = 2;
/// So many are tried in the end, as long as there is anything to see.
const MOST_WINDOWS: usize = 5;

/// What long windows have cost before the first round, and after the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongLook {
    pub(crate) window: Duration,
    pub(crate) before: Cost,
    pub(crate) after: Option<Cost>,
}

impl LongLook {
    /// Looks before the first round; `None` if the short windows are as long.
    ///
    /// # Errors
    ///
    /// As a short window has.
    pub(crate) async fn begin(other: &Other, short: Duration) -> Result<Option<Self>> {
        let window = longer_than(short);
        if window <= short {
            return Ok(None);
        }
        Ok(Some(Self::begin_with(window, async || one_window(other, window).await).await?))
    }

    async fn begin_with(window: Duration, mut measure: impl AsyncFnMut() -> Result<Cost>) -> Result<Self> {
        let mut before = measure().await?;
        for _ in 1..WINDOWS_BEFORE {
            before = before.dearest(measure().await?);
        }
        Ok(Self { window, before, after: None })
    }

    /// Looks after the last round, for as long as that says that something works which did not before.
    ///
    /// # Errors
    ///
    /// As a short window has.
    pub(crate) async fn end(self, other: &Other, works: impl Fn(&Self) -> bool) -> Result<Self> {
        let window = self.window;
        self.end_with(async || one_window(other, window).await, works).await
    }

    async fn end_with(
        mut self,
        mut measure: impl AsyncFnMut() -> Result<Cost>,
        works: impl Fn(&Self) -> bool,
    ) -> Result<Self> {
        for _ in 0..MOST_WINDOWS {
            let cost = measure().await?;
            self.after = Some(self.after.map_or(cost, |after| after.cheapest(cost)));
            if !works(&self) {
                break;
            }
        }
        Ok(self)
    }
}

fn longer_than(short: Duration) -> Duration {
    short.saturating_mul(TIMES).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;

    /// Windows that cost so many microseconds, one after the other.
    fn costs(micros: &[u64]) -> impl Iterator<Item = Cost> + '_ {
        micros.iter().map(|micros| Cost { processor: Duration::from_micros(*micros), faults_of_reaped: 0 })
    }

    #[test]
    fn the_dearest_of_two_counts_before_and_the_cheapest_of_five_after() {
        let processor = |cost: Cost| cost.processor.as_micros();
        let mut before = costs(&[900, 30]);
        let look = LongLook::begin_with(LONGEST, async || Ok(before.next().unwrap()));
        let look = park_on(look).unwrap();
        assert_eq!((processor(look.before), before.count()), (900, 0));
        let works = |look: &LongLook| look.after.is_some_and(|after| processor(after) > 100);
        for (windows, cheapest, left) in [
            // It works in each of them.
            (&[700, 500, 600, 800, 900, 20][..], 500, 1),
            // It has ended meanwhile.
            (&[700, 50, 20], 50, 1),
        ] {
            let mut after = costs(windows);
            let look = park_on(look.end_with(async || Ok(after.next().unwrap()), works)).unwrap();
            assert_eq!((look.after.map(processor), after.count()), (Some(cheapest), left));
        }
    }

    #[test]
    fn a_long_window_is_ten_short_ones_and_a_second_at_most() {
        assert_eq!(longer_than(Duration::from_millis(20)), Duration::from_millis(200));
        assert_eq!(longer_than(Duration::from_millis(600)), LONGEST);
        // The short one is the longer then.
        assert!(longer_than(Duration::from_secs(2)) < Duration::from_secs(2));
        assert!(longer_than(Duration::ZERO).is_zero());
    }
}
