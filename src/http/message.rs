//! What is asked of a server, and what it answers.

use std::fmt;
use std::net::TcpStream;
use std::time::Duration;

/// A longer answer is an error: nothing that a terminal server says about a session is longer.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "only a client reads bodies"))]
pub(crate) const LONGEST_BODY: u64 = 1 << 20;

/// One request. Its headers may hold a secret, so that nothing shows their values.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// `http://host:port/path`, where the host is an address or `localhost`.
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// For all of it, from the first step to the last byte of the answer.
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "only a client has deadlines"))]
    pub(crate) timeout: Duration,
}

impl Request {
    pub(crate) fn new(method: impl Into<String>, url: impl Into<String>, timeout: Duration) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: None, timeout }
    }

    pub(crate) fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With its type, as servers ask for it.
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        let mut request = self.header("Content-Type", "application/json");
        request.body = Some(body.to_string().into_bytes());
        request
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("headers", &names)
            .finish()
    }
}

/// Looks at a connection before anything is sent by it; what it refuses is told in its words.
pub(crate) type Check<'a> = &'a dyn Fn(&TcpStream) -> Result<(), String>;

/// An answer, whatever its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
