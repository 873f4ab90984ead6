//! How long to wait before looking again, for the few things that announce no event.
//!
//! 1 ms doubling to 50 ms: short enough that what ends at once costs nothing, long enough that a minute of waiting
//! costs a thousandth of a core.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// The series 1, 2, 4, 8, 16, 32, 50, 50 … milliseconds.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }
}

/// Keeps this thread waiting: for one that has nothing else to do, and no runtime.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// For tests: polls until it holds. The deadline is only for a test that fails.
#[cfg(test)]
#[track_caller]
pub(crate) fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come true");
        std::thread::yield_now();
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = self.next;
        self.next = (now * 2).min(LONGEST);
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_and_stays_at_fifty() {
        let series: Vec<u128> = Backoff::new().take(8).map(|pause| pause.as_millis()).collect();
        assert_eq!(series, [1, 2, 4, 8, 16, 32, 50, 50]);
    }
}
