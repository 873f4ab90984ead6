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
        let mut before = one_window(other, window).await?;
        for _ in 1..WINDOWS_BEFORE {
            before = before.dearest(one_window(other, window).await?);
        }
        Ok(Some(Self { window, before, after: None }))
    }

    /// Looks after the last round, for as long as that says that something works which did not before.
    ///
    /// # Errors
    ///
    /// As a short window has.
    pub(crate) async fn end(mut self, other: &Other, works: impl Fn(&Self) -> bool) -> Result<Self> {
        for _ in 0..MOST_WINDOWS {
            let cost = one_window(other, self.window).await?;
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

    #[test]
    fn a_long_window_is_ten_short_ones_and_a_second_at_most() {
        assert_eq!(longer_than(Duration::from_millis(20)), Duration::from_millis(200));
        assert_eq!(longer_than(Duration::from_millis(600)), LONGEST);
        // The short one is the longer then.
        assert!(longer_than(Duration::from_secs(2)) < Duration::from_secs(2));
        assert!(longer_than(Duration::ZERO).is_zero());
    }
}
