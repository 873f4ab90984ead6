//! A future whose panic is an answer, so that clean-up follows it.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs it to its end or its panic. Whatever the panic left half done is the test's own, and the test has failed.
pub(crate) async fn caught<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, Payload> {
    let mut future = Box::pin(catch_unwind(AssertUnwindSafe(make))?);
    let output = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(payload) => Poll::Ready(Err(payload)),
    })
    .await;
    // What it still holds is dropped here, and that may panic, too.
    match catch_unwind(AssertUnwindSafe(|| drop(future))) {
        Ok(()) => output,
        Err(payload) => output.and(Err(payload)),
    }
}

/// What a panic said, for a report.
pub(crate) fn message(payload: Payload) -> String {
    let text = text_of(&payload);
    // It is whatever somebody panicked with, and its drop may panic, too.
    std::mem::forget(payload);
    text
}

/// The same of a panic that goes on.
pub(crate) fn text_of(payload: &Payload) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "with a payload that is no text".into())
}

/// Does it, and answers with what it panicked with, if it did.
pub(crate) fn panic_of(act: impl FnOnce()) -> Option<String> {
    catch_unwind(AssertUnwindSafe(act)).err().map(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use std::pin::Pin;

    /// Panics when it is dropped.
    struct Mine;

    impl Drop for Mine {
        fn drop(&mut self) {
            panic!("of the drop");
        }
    }

    /// Dropped with its future, not with its frame.
    struct Held(Mine, bool);

    impl Future for Held {
        type Output = u8;

        fn poll(self: Pin<&mut Self>, _context: &mut std::task::Context<'_>) -> Poll<u8> {
            assert!(self.1, "of the body");
            Poll::Ready(7)
        }
    }

    #[test]
    fn a_panic_of_what_a_body_still_holds_is_an_answer_too_and_its_own_comes_first() {
        let answer = |passes| match park_on(caught(|| Held(Mine, passes))) {
            Ok(value) => value.to_string(),
            Err(payload) => message(payload),
        };
        assert_eq!(answer(true), "of the drop");
        assert_eq!(answer(false), "of the body");
    }
}
