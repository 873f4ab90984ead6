//! Work that blocks, done on a thread of its own and awaited: nothing of ours blocks the thread of a runtime, in which the
//! server under test may live.

use crate::probe::own_threads::OwnThread;
use crate::watched::Watched;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs `work` on a thread that ends with it. If the future is dropped before, `give_up` is called, which makes the work end
/// early.
///
/// # Errors
///
/// If no thread can be had, or the work panicked.
pub(crate) async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    give_up: impl FnOnce() + Send,
) -> io::Result<T> {
    let done = Arc::new(Watched::new(None));
    let of_thread = Arc::clone(&done);
    std::thread::Builder::new().name(name.into()).spawn(move || {
        // Until it has ended it is nobody's leak.
        let _note = OwnThread::here();
        let result = catch_unwind(AssertUnwindSafe(work));
        of_thread.update(|slot| *slot = Some(result));
    })?;
    let mut waiting = Waiting(Some(give_up));
    let result = done.wait(Option::take).await;
    waiting.0 = None;
    result.map_err(|_| io::Error::other("the thread that did the work panicked"))
}

struct Waiting<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Waiting<F> {
    fn drop(&mut self) {
        if let Some(give_up) = self.0.take() {
            give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use std::sync::mpsc::channel;
    use std::task::{Context, Waker};

    #[test]
    fn its_output_comes_and_a_panic_is_an_error() {
        let name = park_on(aside("aside", || std::thread::current().name().map(String::from), || ()));
        assert_eq!(name.unwrap().as_deref(), Some("aside"));
        let panicked: io::Result<()> = park_on(aside("aside", || panic!("a fault that this test makes"), || ()));
        assert!(panicked.unwrap_err().to_string().contains("panicked"));
    }

    #[test]
    fn work_that_nobody_awaits_any_more_is_given_up() {
        let ((stop, stopped), (end, ended)) = (channel::<()>(), channel());
        let mut waiting = Box::pin(aside("aside", move || end.send(stopped.recv().is_err()), move || drop(stop)));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(waiting);
        assert!(ended.recv().unwrap(), "the work was not told to end");
    }
}
