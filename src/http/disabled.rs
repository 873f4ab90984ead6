//! In place of the client where the feature `http` is off.

use crate::http::message::{Check, Request, Response};
use std::io;

#[derive(Clone)]
pub(crate) struct Client;

impl Client {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn send(&self, request: &Request) -> io::Result<Response> {
        let text = format!(
            "`{} {}` was not sent: termleash was built without its feature `http`; add it to the dependency's features",
            request.method, request.url
        );
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    pub(crate) fn send_checked(&self, request: &Request, _check: Check<'_>) -> io::Result<Response> {
        self.send(request)
    }

    pub(crate) fn cut(&self) {}
}
