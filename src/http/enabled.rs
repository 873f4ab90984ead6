//! The client: ureq, which does what it is told and no more. No proxy, no redirect, no connection that is kept.

use crate::http::address::Address;
use crate::http::checked;
use crate::http::message::{Check, LONGEST_BODY, Request, Response};
use crate::process::pump::after;
use std::io;
use std::time::{Duration, Instant};
use ureq::http::header::{CONNECTION, HOST};
use ureq::{Agent, Error};

/// For one request.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
}

impl Client {
    pub(crate) fn new() -> Self {
        let config = Agent::config_builder()
            // Else HTTP_PROXY would send a test's requests, and its secret, elsewhere.
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .allow_non_standard_methods(true)
            .user_agent(concat!("termleash/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent() }
    }

    /// # Errors
    ///
    /// If there is no answer in time, or it is no HTTP, cut short, or too long. None shows a header.
    pub(crate) fn send(&self, request: &Request) -> io::Result<Response> {
        let address = Address::parse(&request.url).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let until = after(request.timeout);
        let mut failed = None;
        for place in &address.places {
            // The name is replaced here: ureq would have it looked up by a thread that may outlive the request.
            let url = format!("http://{place}{}", address.path);
            match self.send_to(&url, &address.authority, request, until.saturating_duration_since(Instant::now())) {
                // Nothing was sent, so that it can be sent elsewhere.
                Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => failed = failed.or(Some(cause)),
                other => return other,
            }
        }
        Err(failed.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    }

    fn send_to(&self, url: &str, host: &str, request: &Request, timeout: Duration) -> io::Result<Response> {
        let mut builder = ureq::http::Request::builder().method(request.method.as_str()).uri(url);
        builder = builder.header(HOST, host).header(CONNECTION, "close");
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        // The cause of a header that cannot be sent would show no value; the text is our own all the same.
        let unsendable =
            |_| io::Error::new(io::ErrorKind::InvalidInput, "a method, header or URL that HTTP cannot send");
        // No time means no limit to ureq.
        let timeout = timeout.max(Duration::from_millis(1));
        let answer = match &request.body {
            Some(body) => {
                let request = builder.body(body.as_slice()).map_err(unsendable)?;
                self.agent.run(self.agent.configure_request(request).timeout_global(Some(timeout)).build())
            }
            None => {
                let request = builder.body(()).map_err(unsendable)?;
                self.agent.run(self.agent.configure_request(request).timeout_global(Some(timeout)).build())
            }
        };
        let mut answer = answer.map_err(cause_of)?;
        let body = answer.body_mut().with_config().limit(LONGEST_BODY).read_to_vec().map_err(cause_of)?;
        Ok(Response { status: answer.status().as_u16(), body })
    }

    /// # Errors
    ///
    /// As [`send`](Self::send), and if `check` refuses.
    pub(crate) fn send_checked(&self, request: &Request, check: Check<'_>) -> io::Result<Response> {
        let address = Address::parse(&request.url).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        checked::send(&address, request, check)
    }

    /// Ends whatever is under way, and whatever would begin.
    pub(crate) fn cut(&self) {
        self.agent.clone().shutdown();
    }
}

fn cause_of(error: Error) -> io::Error {
    match error {
        Error::Io(cause) => cause,
        Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "no full answer in time"),
        Error::ConnectionFailed => io::Error::new(io::ErrorKind::ConnectionRefused, "cannot be connected to"),
        Error::BodyExceedsLimit(limit) => {
            io::Error::new(io::ErrorKind::InvalidData, format!("the answer is longer than {limit} bytes"))
        }
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}
