//! Reading a client's answer: the same for a backend and for a keeper that follows its recipe.

use crate::error::{BoxError, Error, Unanswered};
use crate::invocation::{Invocation, Ran};
use crate::process::exit::ExitStatus;
use crate::session::id::SessionId;
use std::ffi::OsString;
use std::io;

/// How many characters of what a client printed an error shows.
const MOST_OUTPUT: usize = 200;
/// How many words of its call. What a session runs may hold a secret, and stands behind them.
const MOST_WORDS: usize = 5;

/// How a client's answer is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) gone_texts: &'a [String],
    pub(crate) refused_text: Option<&'a str>,
}

/// What a client has answered, if it did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    /// The session, or its whole server, is not there.
    Gone,
}

impl Reading<'_> {
    /// # Errors
    ///
    /// If it could not be run, or has failed.
    pub(crate) fn read(&self, invocation: &Invocation, ran: io::Result<Ran>) -> Result<Said, BoxError> {
        let what = shown(invocation);
        let ran = ran.map_err(|cause| match cause.kind() {
            // Killed in the middle of its work, which its server may go on with.
            io::ErrorKind::TimedOut => BoxError::from(Unanswered(format!("{what}: {cause}"))),
            io::ErrorKind::NotFound => format!("{what}: {cause}; is it installed?").into(),
            _ => format!("{what}: {cause}").into(),
        })?;
        if self.refused_text.is_some_and(|text| ran.stdout.contains(text) || ran.stderr.contains(text)) {
            let text = format!("{what}: the server is another one than that which made the session: nothing was done");
            return Err(Error::refused(text).into());
        }
        let is_gone = self.gone_texts.iter().any(|text| ran.stderr.contains(text.as_str()));
        match ran.status {
            ExitStatus::Exited(0) => Ok(Said::Text(ran.stdout)),
            // Somebody else in this process has waited for it: what it printed tells no less.
            ExitStatus::Unknown if ran.stderr.is_empty() => Ok(Said::Text(ran.stdout)),
            _ if is_gone => Ok(Said::Gone),
            status => {
                let said = ran.stderr.trim().chars().take(MOST_OUTPUT);
                let said: String = said.map(|char| if char.is_control() { ' ' } else { char }).collect();
                Err(format!("{what} ended with {status}: {said}").into())
            }
        }
    }
}

/// # Errors
///
/// If the client would read this id as something else than an id.
pub(crate) fn accepted<'a>(id: &'a SessionId, prefix: Option<&str>) -> Result<&'a SessionId, Error> {
    let Some(prefix) = prefix else { return Ok(id) };
    let digits = id.as_str().strip_prefix(prefix);
    if digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Ok(id);
    }
    Err(Error::invalid(format!(
        "`{id}` is no id such as `{prefix}3`, so that it could mean another session: give the id that the creation was \
         answered with"
    )))
}

/// In what a client's environment differs from ours: it does not see what may lead it to another server, and finds the id where
/// it looks for that.
pub(crate) fn variables(
    removed: &[String],
    id_variable: Option<&str>,
    id: Option<&OsString>,
) -> Vec<(OsString, Option<OsString>)> {
    let removed = removed.iter().map(|name| (name.into(), None));
    let id = id_variable.zip(id).map(|(name, id)| (name.into(), Some(id.clone())));
    removed.chain(id).collect()
}

fn shown(invocation: &Invocation) -> String {
    let words = std::iter::once(&invocation.program).chain(&invocation.arguments).take(MOST_WORDS);
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    format!("`{}`", line.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn read(status: ExitStatus, stdout: &str, stderr: &str) -> Result<Said, String> {
        let gone_texts = ["no server".to_owned()];
        let arguments = ["kill", "-t", "a\u{1b}", "4", "5", "a secret"].map(Into::into).to_vec();
        let timeout = Duration::ZERO;
        let invocation = Invocation { program: "client".into(), arguments, variables: Vec::new(), timeout };
        let ran = Ran { status, stdout: stdout.into(), stderr: stderr.into() };
        let reading = Reading { gone_texts: &gone_texts, refused_text: Some("another server") };
        reading.read(&invocation, Ok(ran)).map_err(|cause| cause.to_string())
    }

    #[test]
    fn a_client_that_failed_says_that_it_is_gone_or_why() {
        let (well, ill) = (ExitStatus::Exited(0), ExitStatus::Exited(1));
        let text = |text: &str| Ok(Said::Text(text.to_owned()));
        assert_eq!(read(well, "s-1", "no server is a name"), text("s-1"));
        assert_eq!(read(ill, "", "x: no server running"), Ok(Said::Gone));
        assert_eq!(
            read(ill, "no server", "other").unwrap_err(),
            r"`client kill -t a\u{1b} 4` ended with exit status 1: other"
        );
        assert!(read(ill, "", "a\u{1b}[2Jb").unwrap_err().ends_with(": a [2Jb"));
        for (stdout, stderr) in [("another server", ""), ("", "this is another server")] {
            assert!(read(well, stdout, stderr).unwrap_err().contains("nothing was done"));
        }
    }

    /// Somebody else in this process has waited for it.
    #[test]
    fn a_client_whose_status_is_not_known_has_failed_if_it_says_so() {
        assert_eq!(read(ExitStatus::Unknown, "s-1", ""), Ok(Said::Text("s-1".into())));
        assert_eq!(read(ExitStatus::Unknown, "s-1", "no server"), Ok(Said::Gone));
        assert!(read(ExitStatus::Unknown, "s-1", "other").is_err());
    }

    #[test]
    fn an_id_is_its_prefix_and_digits_where_it_must_be() {
        let is_accepted = |id: &str, prefix| accepted(&SessionId::new(id).unwrap(), prefix).is_ok();
        assert!(is_accepted("$12", Some("$")) && is_accepted("any", None));
        for id in ["$", "12", "$1x", "=1"] {
            assert!(!is_accepted(id, Some("$")), "{id}");
        }
    }
}
