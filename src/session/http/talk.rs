//! One request to a server, and its answer as JSON; or an error that says which request, without a secret.

use crate::error::{BoxError, Unanswered};
use crate::http::{Check, Request, Response, send_aside, send_checked};
use crate::session::http::auth::Auth;
use crate::session::id::SessionId;
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// How many characters of an answer an error shows.
const MOST_BODY: usize = 200;

/// An answer whose status is no failure.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// 2xx, with the body if that is JSON.
    Found(Option<Value>),
    /// 404 or 410: the server has nothing of this id.
    Missing,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) body: Option<Value>,
    pub(crate) auth: Auth,
    pub(crate) timeout: Duration,
}

impl Question {
    /// Asks without blocking this thread.
    ///
    /// # Errors
    ///
    /// If there is no answer, or its status is a failure.
    pub(crate) async fn ask(&self) -> Result<Answer, BoxError> {
        let request = self.request()?;
        let response = send_aside(request).await;
        self.read(response)
    }

    /// Asks and waits on this thread, for a keeper, by a connection that `check` has looked at: until then nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub(crate) fn ask_now(&self, check: Check<'_>) -> Result<Answer, BoxError> {
        let request = self.request()?;
        self.read(send_checked(&request, check))
    }

    fn request(&self) -> Result<Request, BoxError> {
        let mut request = Request::new(&self.method, &self.url, self.timeout);
        if let Some((name, value)) = self.auth.header()? {
            request = request.header(name, value);
        }
        Ok(match &self.body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    fn read(&self, response: io::Result<Response>) -> Result<Answer, BoxError> {
        let response = response.map_err(|cause| self.no_answer(&cause))?;
        match response.status {
            404 | 410 => Ok(Answer::Missing),
            _ if response.is_success() => Ok(Answer::Found(serde_json::from_slice(&response.body).ok())),
            status => {
                let hint = match status {
                    401 | 403 => "; is the secret right, and does the server take it in this header?",
                    300..=399 => "; no redirect is followed: give the URL that it leads to",
                    _ => "",
                };
                Err(format!("{self} was answered with status {status}{}{hint}", beginning(&response.body)).into())
            }
        }
    }

    fn no_answer(&self, cause: &io::Error) -> BoxError {
        let text = format!("{self}: {cause}");
        match cause.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => text.into(),
            _ => Unanswered(text).into(),
        }
    }

    /// The body of an answer that must have one.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub(crate) fn json(&self, answer: Answer) -> Result<Value, BoxError> {
        match answer {
            Answer::Found(Some(body)) => Ok(body),
            Answer::Found(None) => Err(format!("{self} was answered, but not with JSON").into()),
            Answer::Missing => Err(format!("{self} was answered with status 404: is the path right?").into()),
        }
    }

    /// What is there in an answer.
    ///
    /// # Errors
    ///
    /// If nothing is.
    pub(crate) fn field<'a>(&self, body: &'a Value, pointer: &str) -> Result<&'a Value, BoxError> {
        body.pointer(pointer).ok_or_else(|| {
            format!("{self}: the answer has no field `{pointer}`{}", beginning(body.to_string().as_bytes())).into()
        })
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{} {}`", self.method.escape_debug(), self.url.escape_debug())
    }
}

/// For a person: the first characters of a body, without what would move a cursor.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let shown: String = text.chars().take(MOST_BODY).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if shown.trim().is_empty() { String::new() } else { format!(": {}", shown.trim()) }
}

/// The path with the session's id, encoded so that it is one segment of it or one value of a query and nothing else.
pub(crate) fn with_id(path: &str, id: &SessionId) -> String {
    let mut encoded = String::new();
    for byte in id.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    path.replace("{id}", &encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment() {
        for (id, encoded) in [
            ("9b2e6a1c-4f0d", "9b2e6a1c-4f0d"),
            ("$1", "%241"),
            ("a?b=c&d#e", "a%3Fb%3Dc%26d%23e"),
            ("ö", "%C3%B6"),
            ("a+b;c", "a%2Bb%3Bc"),
        ] {
            let id = SessionId::new(id).unwrap();
            assert_eq!(with_id("/s/{id}/kill", &id), format!("/s/{encoded}/kill"));
        }
    }

    #[test]
    fn a_body_in_an_error_is_short_and_moves_no_cursor() {
        let body = format!("\u{1b}[2J\n{}", "x".repeat(500));
        let shown = beginning(body.as_bytes());
        assert!(!shown.contains(['\u{1b}', '\n']) && shown.chars().count() <= MOST_BODY + 2, "{shown:?}");
        assert_eq!(beginning(b" \n"), "");
    }
}
