//! What server is wanted: program, port, environment, and when it is ready.

use crate::error::{Error, Result};
use crate::limits::{MAX_OUTPUT, MIN_OUTPUT};
use crate::session::spec::SessionSpec;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A server has connections to close and sessions to end.
const GRACE: Duration = Duration::from_secs(2);
/// From one test of a run to the next that uses the same server.
const IDLE: Duration = Duration::from_secs(2);

/// A server that is to be started; made by [`ServerGuard::command`](crate::server::ServerGuard::command).
///
/// In arguments, in values of variables and in the names of sockets these are replaced: `{port}`, `{home}`, `{config}`,
/// `{runtime}`, `{state}`, `{data}`, `{cache}`, `{tmp}`, each by what the server is given. What else stands in braces stays.
///
/// ```
/// use std::time::Duration;
/// use termleash::server::ServerGuard;
///
/// let spec = ServerGuard::command("my-server")
///     .args(["--bind", "127.0.0.1:{port}", "--data", "{state}/db"])
///     .env("LOG", "debug")
///     .ready_line("listening")
///     .ready_within(Duration::from_secs(20));
/// assert_eq!(spec.command_line(), "my-server --bind 127.0.0.1:{port} --data {state}/db");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a specification starts nothing until `start`"]
pub struct ServerSpec {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// In the order in which they apply, `None` for a removal.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) clears_environment: bool,
    /// Not as a path, which cannot be passed on unless it is text.
    directory: Option<OsString>,
    pub(crate) has_port: bool,
    pub(crate) port_flags: Vec<String>,
    pub(crate) port_variables: Vec<String>,
    conditions: Vec<Condition>,
    ready_within: Option<Duration>,
    log_cap: Option<usize>,
    pub(crate) grace: Duration,
    pub(crate) idle: Duration,
}

/// What must be true of a server that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Condition {
    Tcp,
    Http(String),
    Line(String),
    Socket(String),
}

impl ServerSpec {
    pub(crate) fn new(program: OsString) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            clears_environment: false,
            directory: None,
            has_port: true,
            port_flags: Vec::new(),
            port_variables: Vec::new(),
            conditions: Vec::new(),
            ready_within: None,
            log_cap: None,
            grace: GRACE,
            idle: IDLE,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable; also one of those that lead to its own home.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// Inherits nothing, and forgets the variables said before this call. Those of its own home stay, as does its cookie.
    pub fn env_clear(mut self) -> Self {
        self.clears_environment = true;
        self.environment.clear();
        self
    }

    /// Where it starts; the test's working directory if not said. A program given by a relative path is looked for from here.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into().into_os_string());
        self
    }

    /// Passes the port as two arguments behind the others: this one, and the number.
    pub fn port_flag(mut self, flag: impl Into<String>) -> Self {
        self.port_flags.push(flag.into());
        self
    }

    /// Passes the port in this variable.
    pub fn port_variable(mut self, name: impl Into<String>) -> Self {
        self.port_variables.push(name.into());
        self
    }

    /// It has no port: it listens on a socket's file, or not at all.
    pub fn without_port(mut self) -> Self {
        self.has_port = false;
        self
    }

    /// It is ready when it, or what it has started, accepts connections at its port, on 127.0.0.1 or, if not there, on `[::1]`;
    /// its URL names that one. The default for a server with a port; without one it is ready once it is started. The connection that tries this is closed at once.
    ///
    /// Where several conditions are said, all of them must have come true, one after the other.
    pub fn ready_tcp(mut self) -> Self {
        self.conditions.push(Condition::Tcp);
        self
    }

    /// It is ready when a GET of this path answers with a status from 200 to 399. Needs the feature `http`.
    pub fn ready_http(mut self, path: impl Into<String>) -> Self {
        self.conditions.push(Condition::Http(path.into()));
        self
    }

    /// It is ready when this text has been printed, on standard output or standard error.
    pub fn ready_line(mut self, text: impl Into<String>) -> Self {
        self.conditions.push(Condition::Line(text.into()));
        self
    }

    /// It is ready when it accepts connections at this socket: a name in its runtime directory, or a path such as
    /// `{home}/.x/socket`. At one outside of its home, be it by a link in it, somebody may have listened before: there it must be
    /// the server, or what it has started, that does. Where the process that began to listen is dead, that cannot be told while
    /// somebody's older socket of that name is open.
    pub fn ready_socket(mut self, path: impl Into<String>) -> Self {
        self.conditions.push(Condition::Socket(path.into()));
        self
    }

    /// How long it may take to become ready; default 10 s (`TERMLEASH_WAIT`).
    pub fn ready_within(mut self, limit: Duration) -> Self {
        self.ready_within = Some(limit);
        self
    }

    /// How many bytes of its log are kept, the newest ones; default 1 MiB (`TERMLEASH_MAX_OUTPUT`), at least 4 KiB and at most
    /// 1 GiB.
    pub fn log_cap(mut self, bytes: usize) -> Self {
        self.log_cap = Some(bytes);
        self
    }

    /// From the TERM at its end to the KILL; default 2 s. What it has started gets TERM at half of that, if it is still there.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a [shared](crate::server::ServerGuard::shared) server stays when nobody uses it; default 2 s.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// The program and its arguments as they were given, on one line and at most 160 characters long, for messages.
    pub fn command_line(&self) -> String {
        SessionSpec::new(&self.program).args(&self.arguments).command_line()
    }

    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.directory.clone().map(PathBuf::from)
    }

    pub(crate) fn conditions(&self) -> Vec<Condition> {
        match &self.conditions[..] {
            [] if self.has_port => vec![Condition::Tcp],
            conditions => conditions.to_vec(),
        }
    }

    pub(crate) fn limit(&self, settings: &Settings) -> Duration {
        self.ready_within.unwrap_or(settings.wait)
    }

    pub(crate) fn cap(&self, settings: &Settings) -> usize {
        self.log_cap.unwrap_or(settings.max_output)
    }

    /// What no server can be started with.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("the server `{}`: {what}", self.command_line())));
        let texts = self.arguments.iter().chain(self.environment.iter().filter_map(|(_, value)| value.as_ref()));
        let is_named = texts.clone().any(|text| text.to_string_lossy().contains("{port}"));
        let learns_port = is_named || !self.port_flags.is_empty() || !self.port_variables.is_empty();
        let needs_port = |condition: &Condition| matches!(condition, Condition::Tcp | Condition::Http(_));
        if self.has_port && !learns_port {
            return refuse(
                "nothing tells it its port: write `{port}` in an argument, or `.port_flag(\"--port\")`, or \
                 `.port_variable(\"PORT\")`, or say `.without_port()`",
            );
        }
        if !self.has_port && (learns_port || self.conditions.iter().any(needs_port)) {
            return refuse("it is to be without a port, and yet its port is asked for: take out one of both");
        }
        if self.log_cap.is_some_and(|cap| !(MIN_OUTPUT..=MAX_OUTPUT).contains(&cap)) {
            return refuse("its log's cap must be from 4 KiB to 1 GiB");
        }
        for condition in &self.conditions {
            match condition {
                Condition::Line(text) if text.is_empty() => return refuse("it is to print the empty text"),
                Condition::Http(path) if !path.starts_with('/') => return refuse("a path of HTTP begins with `/`"),
                Condition::Socket(path) if path.is_empty() => return refuse("the name of its socket is empty"),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ServerSpec {
        ServerSpec::new("x".into())
    }

    #[test]
    fn a_specification_that_contradicts_itself_is_refused_with_what_to_write() {
        for (spec, what) in [
            (spec(), "nothing tells it its port"),
            (spec().without_port().port_flag("-p"), "to be without a port"),
            (spec().without_port().ready_tcp(), "to be without a port"),
            (spec().without_port().env("A", "{port}"), "to be without a port"),
            (spec().port_flag("-p").log_cap(5), "log's cap"),
            (spec().port_flag("-p").ready_line(""), "empty text"),
            (spec().port_flag("-p").ready_http("health"), "begins with `/`"),
            (spec().without_port().ready_socket(""), "socket is empty"),
        ] {
            let error = spec.check().unwrap_err();
            assert!(error.is_invalid_input() && error.to_string().contains(what), "{error}");
        }
        for spec in [spec().arg("{port}"), spec().env("A", "{port}"), spec().port_variable("P"), spec().without_port()]
        {
            spec.check().unwrap();
        }
    }

    #[test]
    fn it_can_be_passed_on_as_text() {
        let spec = spec().arg("a").env("N", "v").env_remove("M").current_dir("/tmp").port_flag("-p").ready_socket("s");
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ServerSpec>(&text).unwrap(), spec);
    }
}
