//! Step 4, settle: what is on its way out gets time; what is still there after that is a leak.

use crate::backoff::Backoff;
use crate::leak::diff::Diff;
use crate::probe::item::Item;
use crate::process::pump::Pump;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// However loaded the machine is, and however long one look takes, so many are taken before something counts as staying.
const FEWEST_LOOKS: u32 = 10;

/// Between two looks, however little time there is.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Of more than so many that are waited for the last to go is not sought.
const MOST_NAMED: usize = 64;

/// How long it took, and how often it was looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Settled {
    /// From the first look to the last; next to nothing if the first was clean.
    pub took: Duration,
    /// How many looks.
    pub looks: u32,
    /// What was the last to go of what was waited for; `None` if nothing went, or the first look was clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

impl Settled {
    /// One after the other.
    pub(crate) fn both(one: Self, other: Self) -> Self {
        let last = other.last.or(one.last);
        Self { took: one.took + other.took, looks: one.looks + other.looks, last }
    }
}

/// Looks again and again until there is no difference, at most for so long, and at least ten times. The pauses begin with
/// 1 ms and double up to 50 ms, or to a tenth of the time, so what is clean at once costs one look.
///
/// Threads are listed for milliseconds after their join, sockets close in the background, a killed process needs its turn
/// to die: a single look would blame them.
pub async fn settle(within: Duration, mut look: impl FnMut() -> Diff) -> (Diff, Settled) {
    let start = Instant::now();
    let mut looks = 0;
    let mut pauses = pauses(within);
    let (mut waited_for, mut last): (Vec<String>, _) = (Vec::new(), None);
    loop {
        let diff = look();
        let now: Vec<String> = diff.items().take(MOST_NAMED).map(called).collect();
        last = waited_for.into_iter().find(|name| !now.contains(name)).or(last);
        waited_for = now;
        looks += 1;
        let is_over = start.elapsed() >= within && looks >= FEWEST_LOOKS;
        if diff.is_empty() || is_over || diff.is_final() {
            return (diff, Settled { took: start.elapsed(), looks, last });
        }
        let pause = pauses.next().unwrap_or_default();
        // Without a descriptor left for the pump nothing can wait; the looks are taken all the same.
        if let Ok(pump) = Pump::get() {
            pump.sleep(pause).await;
        }
    }
}

fn called(item: &Item) -> String {
    format!("{} `{}`", item.kind, item.name)
}

/// None is so long that the looks that there must be take longer than the time that there is.
fn pauses(within: Duration) -> impl Iterator<Item = Duration> {
    let longest = (within / FEWEST_LOOKS).max(SHORTEST_PAUSE);
    Backoff::new().map(move |pause| pause.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leak::difference::{Difference, Identity};
    use crate::probe::item::{Item, Kind};
    use crate::runtime::park_on;

    fn something() -> Diff {
        let found =
            Difference { identity: Identity::Booked, item: Item::new(Kind::File, "/x", None), is_booked: false };
        Diff { found: vec![found], ..Diff::default() }
    }

    #[test]
    fn what_is_clean_at_once_costs_one_look() {
        let (diff, settled) = park_on(settle(Duration::from_secs(60), Diff::default));
        assert!(diff.is_empty());
        assert_eq!((settled.looks, settled.last), (1, None));
    }

    #[test]
    fn what_goes_meanwhile_is_no_leak() {
        let mut looks = 0;
        let (diff, settled) = park_on(settle(Duration::from_secs(60), || {
            looks += 1;
            if looks < 14 { something() } else { Diff::default() }
        }));
        assert!(diff.is_empty());
        assert_eq!(settled.looks, 14, "more than the fewest, for as long as there is time");
        assert_eq!(settled.last.as_deref(), Some("file `/x`"));
    }

    #[test]
    fn what_stays_is_looked_at_ten_times_even_without_time() {
        let (diff, settled) = park_on(settle(Duration::ZERO, something));
        assert!(!diff.is_empty());
        assert_eq!(settled.looks, FEWEST_LOOKS);
    }

    /// What every test beside others pays, whose neighbours differ.
    #[test]
    fn ten_looks_fit_into_the_time_that_is_given() {
        for within in [20, 100, 500].map(Duration::from_millis) {
            assert!(pauses(within).take(FEWEST_LOOKS as usize).sum::<Duration>() <= within, "{within:?}");
        }
        assert!(
            pauses(Duration::from_secs(2)).take(100).eq(Backoff::new().take(100)),
            "of the usual time nothing changes"
        );
    }
}
