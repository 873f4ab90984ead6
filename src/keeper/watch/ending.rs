//! The ends of sessions, each on a thread of its own: one that does not die keeps nobody from being looked at, nor the next one from being
//! ended.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Those that are under way.
#[derive(Clone, Default)]
pub(super) struct Endings {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    count: Mutex<usize>,
    changed: Condvar,
}

/// One of them, until it is dropped: also by a panic.
struct Ending(Arc<State>);

impl Endings {
    /// Has this done; where there is no thread to be had, as beside a session that forks without end, by the caller itself.
    pub(super) fn begin(&self, end: impl FnOnce() + Send + 'static) {
        *self.state.count.lock() += 1;
        let ending = Ending(Arc::clone(&self.state));
        // A thread that cannot be had takes with it what it was to do.
        let end = Arc::new(Mutex::new(Some((end, ending))));
        let of_thread = Arc::clone(&end);
        if thread::Builder::new().name("termleash-end".into()).spawn(move || run(&of_thread)).is_err() {
            run(&end);
        }
    }

    /// Waits until none is under way.
    pub(super) fn wait(&self) {
        let mut count = self.state.count.lock();
        while *count > 0 {
            self.state.changed.wait(&mut count);
        }
    }

    /// The same, at most so long.
    pub(super) fn wait_within(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut count = self.state.count.lock();
        while *count > 0 && !self.state.changed.wait_until(&mut count, until).timed_out() {}
    }
}

fn run<F: FnOnce()>(end: &Mutex<Option<(F, Ending)>>) {
    let taken = end.lock().take();
    if let Some((end, _ending)) = taken {
        end();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        *self.0.count.lock() -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn one_that_takes_long_does_not_hold_up_the_next_and_is_waited_for() {
        let endings = Endings::default();
        let ((go, gone), (tell, told)) = (channel(), channel());
        let first = tell.clone();
        endings.begin(move || first.send(gone.recv_timeout(LONG).is_ok()).unwrap());
        endings.wait_within(Duration::from_millis(1));
        assert!(told.try_recv().is_err(), "it has ended before its time");
        endings.begin(move || go.send(()).unwrap());
        endings.wait();
        assert_eq!(told.try_recv(), Ok(true), "the second one came only after the first, or was not waited for");
    }

    #[test]
    fn one_that_panics_is_waited_for_no_more() {
        let endings = Endings::default();
        endings.begin(|| panic!("a fault that this test makes"));
        endings.wait();
        endings.wait_within(LONG);
    }
}
