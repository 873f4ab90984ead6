//! A future whose panic is an answer, so that clean-up follows it.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs it to its end or its panic. Whatever the panic left half done is the test's own, and the test has failed.
pub(crate) async fn caught<'a, T>(make: impl FnOnce() -> Pin<Box<dyn Future<Output = T> + 'a>>) -> Result<T, Payload> {
    let mut future = catch_unwind(AssertUnwindSafe(make))?;
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
pub(crate) fn message(payload: &Payload) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(a panic without a text)")
}
