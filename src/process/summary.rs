//! A process as a person reads of it in a report.

use crate::process::handle::ProcessHandle;
use crate::process::identity::{OurSelf, ProcessIdentity};
use crate::process::stat::Stat;
use crate::sys::ProcReader;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// How much of a command line is shown.
const MOST_COMMAND: usize = 120;

/// A process as it was when it was looked at: which one, and what it was running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSummary {
    /// Which process. The start time is 0 for one that could not be read.
    pub identity: ProcessIdentity,
    /// The kernel session that it was in.
    pub session: u32,
    /// Its command line, arguments separated by blanks and control characters replaced, at most 120 characters;
    /// its name in brackets where there is none.
    pub command: String,
}

impl ProcessSummary {
    pub(crate) fn read(reader: &mut ProcReader, identity: ProcessIdentity, stat: &Stat) -> Self {
        let command = match reader.read(identity.pid, "cmdline") {
            Ok(line) if !line.is_empty() => printable(line),
            _ => format!("[{}]", printable(stat.name.as_bytes())),
        };
        Self { identity, session: stat.session, command }
    }

    /// Of the living process with this id.
    ///
    /// # Errors
    ///
    /// Those of [`ProcessHandle::open_with`].
    pub(crate) fn of(reader: &mut ProcReader, pid: u32) -> io::Result<Self> {
        let (handle, stat) = ProcessHandle::open_with(reader, pid)?;
        Ok(Self::read(reader, handle.identity(), &stat))
    }

    /// With its name only: one read less.
    pub(crate) fn unnamed(identity: ProcessIdentity, stat: &Stat) -> Self {
        Self { identity, session: stat.session, command: format!("[{}]", printable(stat.name.as_bytes())) }
    }

    pub(crate) fn unreadable(pid: u32, cause: &io::Error) -> Self {
        let (boot, pid_namespace) = OurSelf::get()
            .map_or((crate::process::identity::BootId(0), 0), |ourself| (ourself.boot, ourself.pid_namespace));
        let identity = ProcessIdentity { pid, started: 0, boot, pid_namespace };
        Self { identity, session: 0, command: format!("[could not be read: {cause}]") }
    }
}

impl fmt::Display for ProcessSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} `{}`", self.identity.pid, self.command)
    }
}

/// A command line is chosen by the program: shown in a report it must not move the cursor.
pub(crate) fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let mut shown: String =
        text.chars().take(MOST_COMMAND).map(|char| if char.is_control() { ' ' } else { char }).collect();
    if text.chars().nth(MOST_COMMAND).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_one_short_harmless_line() {
        assert_eq!(printable(b"sh\0-c\0echo \x1b[2J\n\0"), "sh -c echo  [2J ");
        assert_eq!(printable(&[b'x'; 500]).chars().count(), MOST_COMMAND + 1);
        assert_eq!(printable(b"\xff\0"), "\u{fffd}");
    }
}
