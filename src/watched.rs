//! A value behind a lock whose changes wake those who wait for it: the one primitive under every await of ours.
//!
//! It needs no runtime: the pump's thread changes values, whoever polls (tokio, a test's own executor, a parked
//! thread) is woken by its own waker.

use parking_lot::Mutex;
use std::future::poll_fn;
use std::task::{Poll, Waker};

pub(crate) struct Watched<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    value: T,
    wakers: Vec<Waker>,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { state: Mutex::new(State { value, wakers: Vec::new() }) }
    }

    /// Looks without waking anybody.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.state.lock().value)
    }

    /// Changes the value and wakes all who wait.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state.value);
        let wakers = std::mem::take(&mut state.wakers);
        // Woken outside of the lock: a waker may run the waiting task at once, on this thread.
        drop(state);
        wakers.into_iter().for_each(|waker| unstopped(|| waker.wake()));
        result
    }

    /// Waits until `look` finds what it looks for. It is called at once, and again after each change.
    pub(crate) async fn wait<R>(&self, mut look: impl FnMut(&mut T) -> Option<R>) -> R {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if let Some(found) = look(&mut state.value) {
                return Poll::Ready(found);
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

/// A waker is somebody else's code. If it panics, the others' waits must not hang for ever.
pub(crate) fn unstopped(act: impl FnOnce()) {
    // The panic itself was told by the panic hook.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_change_on_another_thread_wakes_the_waiter() {
        let watched = Arc::new(Watched::new(0));
        let other = Arc::clone(&watched);
        let thread = std::thread::spawn(move || (1..=3).for_each(|n| other.update(|value| *value = n)));
        let seen = crate::runtime::park_on(watched.wait(|value| (*value == 3).then_some(*value)));
        assert_eq!(seen, 3);
        thread.join().unwrap();
    }

    /// Else whoever waits behind it is woken by its deadline only.
    #[test]
    fn a_waker_that_panics_does_not_keep_the_next_from_being_woken() {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("an executor's own fault");
            }
        }
        struct Counts(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Counts {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let watched = Watched::new(());
        let counts = Arc::new(Counts(std::sync::atomic::AtomicUsize::new(0)));
        for waker in [Waker::from(Arc::new(Panics)), Waker::from(Arc::clone(&counts))] {
            let waiting = std::pin::pin!(watched.wait(|()| None::<()>));
            assert!(waiting.poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
        watched.update(|()| ());
        assert_eq!(counts.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    #[test]
    fn a_waiter_that_is_polled_again_and_again_is_stored_once() {
        let watched = Watched::new(());
        struct Quiet;
        impl std::task::Wake for Quiet {
            fn wake(self: Arc<Self>) {}
        }
        let waker = Waker::from(Arc::new(Quiet));
        let mut waiting = Box::pin(watched.wait(|()| None::<()>));
        for _ in 0..10 {
            assert!(waiting.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(watched.state.lock().wakers.len(), 1);
    }
}
