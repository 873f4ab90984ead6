//! Running a future on the calling thread, for tests without a runtime and for clean-up threads.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Runs a future to its end on this thread, for a test that is not async.
///
/// With the feature `tokio` (the default) it runs in a current-thread tokio runtime with everything enabled that the
/// test's tokio has, so a backend may use timers and sockets. Without it the thread parks between wake-ups, which is
/// all that this crate's own futures need.
///
/// # Panics
///
/// When called inside of a tokio runtime, where it would block a thread that others need: write `.await` there.
///
/// ```
/// assert_eq!(termleash::block_on(async { 6 * 7 }), 42);
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    assert!(
        !is_inside(),
        "termleash::block_on was called inside of a tokio runtime, whose thread it would block: write `.await` instead"
    );
    match Runtime::new() {
        Ok(runtime) => runtime.run(future),
        Err(cause) => panic!("termleash::block_on could not start a runtime: {cause}"),
    }
}

/// True on a thread that a tokio runtime is running on.
#[cfg(feature = "tokio")]
pub(crate) fn is_inside() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

#[cfg(not(feature = "tokio"))]
pub(crate) fn is_inside() -> bool {
    false
}

/// A runtime for one thread: tokio's where the feature is on, else none is needed.
pub(crate) struct Runtime {
    #[cfg(feature = "tokio")]
    tokio: tokio::runtime::Runtime,
}

impl Runtime {
    #[cfg(feature = "tokio")]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { tokio: tokio::runtime::Builder::new_current_thread().enable_all().build()? })
    }

    /// With so many threads beside the one that runs it.
    #[cfg(feature = "tokio")]
    pub(crate) fn with_workers(workers: usize) -> std::io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Ok(Self { tokio: builder.worker_threads(workers.max(1)).enable_all().build()? })
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn with_workers(_workers: usize) -> std::io::Result<Self> {
        Err(std::io::Error::other("a runtime with several threads needs the feature `tokio`"))
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.tokio.block_on(future)
    }

    /// Ends it with all its tasks; its blocking threads get so long to end.
    #[cfg(feature = "tokio")]
    pub(crate) fn shutdown(self, limit: std::time::Duration) {
        self.tokio.shutdown_timeout(limit);
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn shutdown(self, _limit: std::time::Duration) {}

    /// For a copy in a child that was forked without exec, where its threads are not.
    #[cfg(feature = "tokio")]
    pub(crate) fn forget(self) {
        std::mem::forget(self.tokio);
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn forget(self) {}

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        park_on(future)
    }
}

/// Polls on this thread and parks in between: all that futures of our own need.
pub(crate) fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parks_until_woken_from_another_thread() {
        let watched = Arc::new(crate::watched::Watched::new(false));
        let other = Arc::clone(&watched);
        let thread = thread::spawn(move || other.update(|done| *done = true));
        park_on(watched.wait(|done| done.then_some(())));
        thread.join().unwrap();
    }

    #[cfg(feature = "tokio")]
    #[test]
    #[should_panic(expected = "inside of a tokio runtime")]
    fn refuses_to_block_a_runtime() {
        block_on(async { block_on(async {}) });
    }
}
