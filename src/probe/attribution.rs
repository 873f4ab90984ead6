//! Whether this process is known to run one test at a time.
//!
//! If it is not, what differs may be another test's: a plain `#[test]` beside ours is invisible.

use crate::ledger::client;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How sure it is whose leak a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Attribution {
    /// The process is known to run one test: what differs is this test's.
    Exact(Reason),
    /// Other tests may run beside it: what differs is suspicious, and never called leaked.
    Shared,
}

/// Why a process is known to run one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The caller said so.
    Said,
    /// cargo-nextest runs each test in a process of its own.
    Nextest,
    /// libtest was told to use one thread.
    OneTestThread,
    /// It is the process of one test, below a keeper.
    Isolated,
    /// It was asked on the process's first thread, where a program runs and not one test of many.
    MainThread,
}

impl Attribution {
    /// What the environment, the arguments and the calling thread say.
    pub(crate) fn find() -> Self {
        if client::body().is_some() {
            return Self::Exact(Reason::Isolated);
        }
        if std::env::var_os("NEXTEST_EXECUTION_MODE").is_some_and(|mode| mode == "process-per-test") {
            return Self::Exact(Reason::Nextest);
        }
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        if uses_one_thread(arguments, std::env::var("RUST_TEST_THREADS").ok()) {
            return Self::Exact(Reason::OneTestThread);
        }
        if sys::is_main_thread() {
            return Self::Exact(Reason::MainThread);
        }
        Self::Shared
    }

    /// True if what differs is this test's.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

/// libtest's own rule: the argument counts more than the variable.
fn uses_one_thread(arguments: impl Iterator<Item = String>, variable: Option<String>) -> bool {
    let mut arguments = arguments.skip(1);
    let mut threads = variable;
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--test-threads") {
            Some("") => threads = arguments.next(),
            Some(value) => threads = value.strip_prefix('=').map(str::to_owned),
            None if argument == "--" => break,
            None => {}
        }
    }
    threads.is_some_and(|threads| threads == "1")
}

impl fmt::Display for Attribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact(Reason::Said) => "this process runs one test, as the check was told",
            Self::Exact(Reason::Nextest) => "this process runs one test (cargo-nextest)",
            Self::Exact(Reason::Isolated) => "this process runs one test",
            Self::Exact(Reason::OneTestThread) => "this process runs one test at a time (--test-threads=1)",
            Self::Exact(Reason::MainThread) => "checked on the process's first thread",
            Self::Shared => "other tests may run in this process",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_test_thread_is_read_as_libtest_reads_it() {
        let one = |line: &str, variable: Option<&str>| {
            uses_one_thread(line.split(' ').map(str::to_owned), variable.map(str::to_owned))
        };
        assert!(one("it --test-threads=1", None) && one("it name --test-threads 1", None) && one("it", Some("1")));
        assert!(!one("it", None) && !one("it --test-threads=12", None) && !one("it --test-threads 2", Some("1")));
        assert!(!one("--test-threads=1 name", None) && !one("it --test-threads", None));
    }
}
