//! Whether whoever reads can see colours; and the one way past a test's captured output.

use crate::ledger::client;
use crate::sys;
use std::io::{IsTerminal, Write};

/// Whether to mark words with colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// ANSI colours.
    Always,
}

impl Color {
    /// As the ecosystem means it: colours on a terminal, unless `NO_COLOR` is set to something (no-color.org) or `TERM` is
    /// `dumb`.
    pub fn of_stderr() -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        // A body's own goes through a pipe to its runner's.
        let is_terminal = match client::body() {
            Some(welcome) => sys::is_terminal(welcome.outputs.uncaptured),
            None => std::io::stderr().is_terminal(),
        };
        if !is_plain && is_terminal { Self::Always } else { Self::Never }
    }
}

/// Writes to standard error itself: what a test prints is captured and thrown away when the process aborts.
pub(crate) fn uncaptured(text: &str) {
    // There is nobody to tell that standard error is closed.
    let _ = match client::body() {
        Some(welcome) => sys::write_to(welcome.outputs.uncaptured, text.as_bytes()),
        None => std::io::stderr().write_all(text.as_bytes()),
    };
}
