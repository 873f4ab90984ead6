//! The environment that a session of ours starts with.

use crate::process::cookie::is_cookie_name;
use crate::session::spec::SessionSpec;
use std::ffi::{OsStr, OsString};

/// Every program knows it, and what a test sees must not depend on the terminal that the test was started from.
const TERM: &str = "xterm-256color";

/// The test's own environment, less what is ours or describes another terminal, with the specification's changes.
pub(crate) fn for_session(spec: &SessionSpec) -> Environment {
    build(spec, std::env::vars_os())
}

/// Names and values, each name once. No map: there are few changes to many variables, and building one for every
/// session would cost more than it saves.
pub(crate) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    pub(crate) fn remove(&mut self, name: &OsStr) {
        self.0.retain(|(other, _)| other != name);
    }

    fn set(&mut self, name: &OsStr, value: &OsStr) {
        self.remove(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

fn build(spec: &SessionSpec, own: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    let mut environment = Environment(Vec::new());
    if !spec.env_is_cleared() {
        environment.0.extend(own.filter(|(name, _)| !is_withheld(name)));
        environment.set(OsStr::new("TERM"), OsStr::new(TERM));
    }
    for (name, value) in spec.environment() {
        match value {
            Some(value) => environment.set(name, value),
            None => environment.remove(name),
        }
    }
    environment
}

/// Our own settings and the runner's are not the session's business; the mark of an outer suite, whose test may be
/// running in a session itself, must pass. `LINES` and `COLUMNS` tell of the terminal that the test was started from,
/// and programs believe them before they ask their own.
fn is_withheld(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let is_ours = bytes.starts_with(b"TERMLEASH_") || bytes.starts_with(b"NEXTEST_");
    (is_ours && !is_cookie_name(name)) || bytes == b"LINES" || bytes == b"COLUMNS"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::cookie::Cookie;

    fn own() -> impl Iterator<Item = (OsString, OsString)> {
        let outer = "TERMLEASH_S_0123456789abcdef";
        ["PATH", "TERM", "LINES", "COLUMNS", "TERMLEASH_GRACE", "NEXTEST_RUN_ID", outer]
            .into_iter()
            .map(|name| (name.into(), "own".into()))
    }

    fn names(spec: SessionSpec) -> Vec<String> {
        let environment = build(&spec, own());
        let mut names: Vec<String> =
            environment.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
        names.sort();
        names
    }

    #[test]
    fn ours_is_withheld_and_an_outer_suites_mark_passes() {
        let expected = ["PATH=own", "TERM=xterm-256color", "TERMLEASH_S_0123456789abcdef=own"];
        assert_eq!(names(SessionSpec::new("x")), expected);
    }

    #[test]
    fn the_test_has_the_last_word_but_for_the_cookie() {
        let cookie = Cookie::new();
        let spec = SessionSpec::new("x").env("TERM", "dumb").env_remove("PATH").env("LINES", "5");
        assert_eq!(names(spec), ["LINES=5", "TERM=dumb", "TERMLEASH_S_0123456789abcdef=own"]);
        let spec = SessionSpec::new("x").env("A", "b").env_clear().with_cookie(cookie);
        assert_eq!(names(spec), [cookie.to_string()]);
    }
}
