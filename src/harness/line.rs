//! A line of threads, in the order in which they came.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(crate) struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<u64>,
    next: u64,
}

/// A place in it, until it is dropped.
pub(crate) struct InLine<'a> {
    line: &'a Line,
    number: u64,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), next: 0 }), changed: Condvar::new() }
    }

    /// At its end.
    pub(crate) fn join(&self) -> InLine<'_> {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        InLine { line: self, number }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

impl InLine<'_> {
    pub(crate) fn is_first(&self) -> bool {
        self.line.state.lock().waiting.front() == Some(&self.number)
    }

    /// Waits for that, at most so long.
    pub(crate) fn is_first_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut state = self.line.state.lock();
        while state.waiting.front() != Some(&self.number) {
            if self.line.changed.wait_until(&mut state, until).timed_out() {
                return state.waiting.front() == Some(&self.number);
            }
        }
        true
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.line.state.lock();
        state.waiting.retain(|number| *number != self.number);
        drop(state);
        self.line.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_whoever_came_first_of_those_that_are_there() {
        let line = Line::new();
        let (mut first, mut second, mut third) = (line.join(), line.join(), line.join());
        assert!(first.is_first_within(Duration::ZERO) && !second.is_first_within(Duration::ZERO));
        drop(second);
        assert!(!third.is_first_within(Duration::ZERO));
        drop(first);
        assert!(third.is_first() && third.is_first_within(Duration::ZERO));
    }

    #[test]
    fn who_becomes_the_first_hears_of_it() {
        let line = Line::new();
        let first = line.join();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| line.join().is_first_within(Duration::from_secs(60)));
            crate::backoff::soon("the second's place", || line.len() == 2);
            drop(first);
            assert!(waits.join().unwrap());
        });
    }
}
