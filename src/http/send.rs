//! A request, sent on this thread or aside of it.

use crate::aside::aside;
use crate::http::client::Client;
use crate::http::message::{Check, Request, Response};
use std::io;

/// Sends one without a body by a connection that `check` has looked at, and waits on this thread: never on a runtime's, since
/// the server may live in that runtime.
///
/// # Errors
///
/// If there is no answer in time, or none that can be read; a status is no error. Without the feature `http`:
/// [`Unsupported`](io::ErrorKind::Unsupported). If the connection is refused, so that nothing was sent:
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied).
pub(crate) fn send_checked(request: &Request, check: Check<'_>) -> io::Result<Response> {
    Client::new().send_checked(request, check)
}

/// Sends any on a thread of its own that ends with the answer, or when the future is dropped.
///
/// # Errors
///
/// As [`send_checked`], and if no thread can be had.
pub(crate) async fn send_aside(request: Request) -> io::Result<Response> {
    let client = Client::new();
    let cut = client.clone();
    aside("termleash-http", move || client.send(&request), move || cut.cut()).await?
}
