//! When to look again: often enough to see a limit gone over soon, and no more often than that is worth.

use std::time::Duration;

/// What a session may cost in time to be looked at, and what all together may that idle: half of the hundredth that everything may.
const SHARE: u32 = 200;
pub(crate) const SHORTEST: Duration = Duration::from_millis(2);
pub(crate) const LONGEST: Duration = Duration::from_millis(500);

/// What grows by less than this part of its limit each second idles.
const AT_REST: f64 = 0.02;

/// Something that grows towards a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growing {
    pub(crate) used: u64,
    pub(crate) limit: u64,
    /// By how much each second, as it was seen.
    pub(crate) rate: f64,
    /// At least so fast it may turn out to grow.
    pub(crate) fastest: f64,
}

impl Growing {
    /// Until it could be over its limit by a quarter.
    pub(crate) fn period(&self) -> Duration {
        let rest = self.limit.saturating_add(self.limit / 4).saturating_sub(self.used);
        let rate = self.fastest.max(2.0 * self.rate);
        Duration::try_from_secs_f64(rest as f64 / rate).unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
    }

    fn is_at_rest(&self) -> bool {
        self.rate < AT_REST * self.limit as f64
    }

    /// However little it grew: until what grows half as fast as the fastest could be over its limit by two fifths.
    pub(crate) fn longest(&self) -> Duration {
        let rest = self.limit.saturating_add(self.limit / 5 * 2).saturating_sub(self.used);
        Duration::try_from_secs_f64(2.0 * rest as f64 / self.fastest).unwrap_or(LONGEST_AT_REST).max(SHORTEST)
    }
}

/// The longest period of what idles.
const LONGEST_AT_REST: Duration = Duration::from_secs(2);

/// The period of one that idles, where so many are looked at, which takes so long each: together they cost no more than half of a
/// hundredth of a core, as far as two seconds permit.
pub(crate) fn at_rest(period: Duration, cost: Duration, sessions: usize) -> Duration {
    let least = cost * SHARE * u32::try_from(sessions).unwrap_or(u32::MAX);
    period.max(least.min(LONGEST_AT_REST))
}

/// When to look again at what grows in these ways; `cost` is how long a look takes, of so many that are looked at.
pub(crate) fn next(growing: &[Growing], is_first: bool, cost: Duration, sessions: usize) -> Duration {
    let period = growing.iter().map(Growing::period).min().unwrap_or(LONGEST);
    if is_first || !growing.iter().all(Growing::is_at_rest) {
        return period;
    }
    let longest = growing.iter().map(Growing::longest).min().unwrap_or(LONGEST);
    at_rest(period, cost, sessions).min(longest)
}

/// By how much each second something grew, in so much time.
pub(crate) fn rate(before: u64, now: u64, time: Duration) -> f64 {
    now.saturating_sub(before) as f64 / time.as_secs_f64().max(1e-6)
}

/// At which of the kernel's last numbers something was looked for. Who has his number is not seen at once: fork(2) shows a child a moment
/// later, so that only a second look at one number finds all that were born until then.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Looks {
    number: Option<u32>,
    is_second: bool,
}

impl Looks {
    /// True if another look would find nobody.
    pub(crate) fn are_done(&self, last_pid: u32) -> bool {
        self.is_second && self.number == Some(last_pid)
    }

    pub(crate) fn note(&mut self, last_pid: u32) {
        self.is_second = self.number == Some(last_pid);
        self.number = Some(last_pid);
    }
}

/// How many processes have begun between two looks at the kernel's last number, at most: numbers wrap at an end that varies, after
/// which nobody knows.
pub(crate) fn births(before: u32, now: u32) -> u64 {
    now.checked_sub(before).map_or(u64::MAX, u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(used: u64, limit: u64, rate: f64) -> Duration {
        Growing { used, limit, rate, fastest: 200.0 }.period()
    }

    #[test]
    fn a_look_comes_before_a_quarter_more_than_the_limit_is_used() {
        // 125 at most: 100 more, at 200 each second.
        assert_eq!(growing(25, 100, 0.0), Duration::from_millis(500));
        assert_eq!(growing(105, 100, 0.0), Duration::from_millis(100));
        // What grows fast may grow faster soon.
        assert_eq!(growing(25, 100, 1000.0), Duration::from_millis(50));
        assert_eq!((growing(200, 100, 0.0), growing(0, u64::MAX, 0.0)), (SHORTEST, LONGEST));
        let no_limit = Growing { used: 0, limit: u64::MAX, rate: 0.0, fastest: 200.0 };
        assert!(no_limit.longest() > LONGEST);
        assert_eq!(growing(0, 100, f64::INFINITY), SHORTEST);
    }

    #[test]
    fn what_idles_costs_half_a_hundredth_together() {
        let cost = Duration::from_micros(20);
        assert_eq!(at_rest(Duration::from_millis(30), cost, 1), Duration::from_millis(30));
        assert_eq!(at_rest(Duration::from_millis(30), cost, 100), Duration::from_millis(400));
        assert_eq!(at_rest(Duration::from_millis(30), cost, 10_000), LONGEST_AT_REST);
        // 140 at most: 40 more, at half of 200 each second.
        let growing = Growing { used: 100, limit: 100, rate: 0.0, fastest: 200.0 };
        assert_eq!(growing.longest(), Duration::from_millis(400));
    }

    #[test]
    fn a_number_is_done_with_the_second_look() {
        let mut looks = Looks::default();
        assert!(!looks.are_done(0));
        for (number, is_done) in [(7, false), (7, true), (7, true), (8, false), (8, true)] {
            looks.note(number);
            assert_eq!(looks.are_done(number), is_done, "{looks:?}");
            assert!(!looks.are_done(9));
        }
    }

    #[test]
    fn births_are_counted_until_numbers_wrap() {
        assert_eq!((births(5, 5), births(5, 9), births(9, 5)), (0, 4, u64::MAX));
    }
}
