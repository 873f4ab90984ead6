//! What a probe finds: an item with a kind, as a program and a person read of it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resource {
    /// Sessions that helpers of this process track.
    Sessions,
    /// Open descriptors, pseudo-terminals among them; `fds` in `TERMLEASH_REQUIRE`.
    Descriptors,
    /// Child processes of this process, dead ones that nobody reaped among them.
    Processes,
    /// Threads of this process.
    Threads,
    /// Resident memory, and the heap where the allocator says how big it is.
    Memory,
    /// Objects that the test said must be dropped.
    References,
}

impl Resource {
    /// Those that a probe of the operating system looks at, as `TERMLEASH_REQUIRE` names them.
    pub(crate) const PROBED: [(&str, Self); 4] = [
        ("fds", Self::Descriptors),
        ("processes", Self::Processes),
        ("threads", Self::Threads),
        ("memory", Self::Memory),
    ];
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions",
            Self::Descriptors => "descriptors",
            Self::Processes => "processes",
            Self::Threads => "threads",
            Self::Memory => "memory",
            Self::References => "references",
        })
    }
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// A session that a helper tracks.
    Session,
    /// A file, by path.
    File,
    /// A directory.
    Directory,
    /// A device such as /dev/null.
    Device,
    /// One end of a pipe, named or not.
    Pipe,
    /// A socket of any family.
    Socket,
    /// The side of a pseudo-terminal that a terminal server holds.
    PtyMaster,
    /// The side of a pseudo-terminal that a program holds.
    PtySlave,
    /// An epoll(7).
    Epoll,
    /// An eventfd(2).
    Eventfd,
    /// A timerfd(2).
    Timerfd,
    /// A signalfd(2).
    Signalfd,
    /// An inotify(7).
    Inotify,
    /// A reference to a process, pidfd_open(2).
    Pidfd,
    /// Anonymous memory, memfd_create(2).
    Memfd,
    /// Any other descriptor.
    Descriptor,
    /// A child process that lives.
    Process,
    /// A child process that has ended, and whose status nobody has asked for.
    Zombie,
    /// A thread.
    Thread,
    /// The end of the very process that is looked at.
    Ended,
    /// An object that must have been dropped.
    Reference,
}

impl Kind {
    /// What a probe of which resource finds it.
    pub fn resource(self) -> Resource {
        match self {
            Self::Session => Resource::Sessions,
            Self::Process | Self::Zombie | Self::Ended => Resource::Processes,
            Self::Thread => Resource::Threads,
            Self::Reference => Resource::References,
            _ => Resource::Descriptors,
        }
    }

    /// One, and several.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Session => ("session", "sessions"),
            Self::File => ("file", "files"),
            Self::Directory => ("directory", "directories"),
            Self::Device => ("device", "devices"),
            Self::Pipe => ("pipe", "pipes"),
            Self::Socket => ("socket", "sockets"),
            Self::PtyMaster => ("pty master", "pty masters"),
            Self::PtySlave => ("pty slave", "pty slaves"),
            Self::Epoll => ("epoll", "epolls"),
            Self::Eventfd => ("eventfd", "eventfds"),
            Self::Timerfd => ("timerfd", "timerfds"),
            Self::Signalfd => ("signalfd", "signalfds"),
            Self::Inotify => ("inotify", "inotify descriptors"),
            Self::Pidfd => ("pidfd", "pidfds"),
            Self::Memfd => ("memfd", "memfds"),
            Self::Descriptor => ("descriptor", "descriptors"),
            Self::Process => ("child process", "child processes"),
            Self::Zombie => ("zombie", "zombies"),
            Self::Thread => ("thread", "threads"),
            Self::Ended => ("end of the process", "ends of processes"),
            Self::Reference => ("reference", "references"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words().0)
    }
}

/// One thing that is there and was not there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Which one, for a person: a path, an address, a thread's name, a command line. The same for the same leak made
    /// twice, so that it is shown once with a count.
    pub name: String,
    /// Which of several with that name, such as `of /dev/pts/3`.
    pub which: Option<String>,
    /// Its number: of a descriptor, a process or a thread.
    pub number: Option<u32>,
    /// What state it is in, such as `sleeping in futex_wait_queue`.
    pub state: Option<String>,
    /// How long it has been there, where the kernel or our registry knows.
    pub age: Option<Duration>,
    /// What was at its number before, for a descriptor that was closed and replaced.
    pub replaces: Option<String>,
    /// `file:line:column` that made it, where our registry knows.
    pub made_at: Option<String>,
    /// The stack of its creation, at level paranoid, where our registry knows.
    pub stack: Option<String>,
    /// What else belongs to it, and who else holds it, in sentences.
    pub notes: Vec<String>,
}

impl Item {
    pub(crate) fn new(kind: Kind, name: impl Into<String>, number: Option<u32>) -> Self {
        Self {
            kind,
            name: name.into(),
            which: None,
            number,
            state: None,
            age: None,
            replaces: None,
            made_at: None,
            stack: None,
            notes: Vec::new(),
        }
    }
}

/// A path or a name is chosen by a program: shown in a report it must not move the cursor.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_the_cursor_is_shown_as_what_cannot_be_shown() {
        assert_eq!(printable(b"a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(printable("a \u{e9} /tmp".as_bytes()), "a \u{e9} /tmp");
    }
}
