//! The operating system: every `unsafe`, every `cfg` that names a system (but for `session/pty.rs`), and no decisions.
//!
//! `linux/` is complete. `other/` has the same names with types that cannot be made: asking for one answers
//! "unsupported", and what is written on top compiles everywhere. `counting` and `stack` are the same for all.

pub(crate) mod counting;
pub(crate) mod stack;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::*;

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    ReadWrite,
}

/// What a wait found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    /// There is something to read, or the other end is gone, or an error to fetch: a read says which.
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// How a child ended, as the kernel's wait status says it.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is reaped there"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    Exited(i32),
    Signaled { signal: i32, core_dumped: bool },
}

/// The signals that this crate sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    Hup,
    Cont,
    Term,
    Stop,
    Kill,
}

impl Signal {
    /// Its number, the same on every system; `None` for one that ends nobody, whose number is not.
    pub(crate) fn deadly(self) -> Option<i32> {
        match self {
            Self::Hup => Some(1),
            Self::Kill => Some(9),
            Self::Term => Some(15),
            Self::Cont | Self::Stop => None,
        }
    }
}

/// What is open at a descriptor's number, as far as one call says it: enough to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileStat {
    pub(crate) device: u64,
    /// Anonymous files of one kind (eventfd, epoll) share one.
    pub(crate) inode: u64,
    /// The type bits of `st_mode`.
    pub(crate) mode: u32,
    /// The device that a special file stands for, `st_rdev`.
    pub(crate) special: u64,
    /// The number of the terminal that a pseudo-terminal's master belongs to.
    pub(crate) terminal: Option<u32>,
}

/// What is open, as far as it must be known before it is trusted with our own records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) is_directory: bool,
    pub(crate) is_regular: bool,
    /// The user's id.
    pub(crate) owner: u32,
    /// The lower twelve bits of `st_mode`.
    pub(crate) permissions: u32,
    /// How many names it has.
    pub(crate) links: usize,
}

/// Whom a socket talks to, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketNames {
    /// `tcp`, `udp`, `unix` and so on.
    pub(crate) kind: &'static str,
    pub(crate) local: Option<String>,
    pub(crate) remote: Option<String>,
    pub(crate) state: Option<&'static str>,
}

/// The states of net/tcp_states.h that a person knows by name, from 1 on.
pub(crate) const TCP_STATES: [&str; 11] = [
    "connected",
    "connecting",
    "being accepted",
    "closed by us, the other side not yet (FIN_WAIT1)",
    "closed by us, the other side not yet (FIN_WAIT2)",
    "closed on both sides (TIME_WAIT)",
    "closed",
    "closed by the other side, not by us (CLOSE_WAIT)",
    "closing (LAST_ACK)",
    "listening",
    "closing",
];

/// A TCP socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) address: std::net::IpAddr,
    pub(crate) port: u16,
    pub(crate) owner: SocketOwner,
}

/// Whose a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketOwner {
    /// The user's id.
    pub(crate) user: u32,
    /// By which a process's descriptor is known to be this socket; 0 for a connection that waits to be accepted: then it is in
    /// the queue of a socket that listens, and the user means nothing.
    pub(crate) inode: u64,
}

/// Something that is open, for a check that tries itself.
pub(crate) struct Specimen {
    /// What a check must call it, or the beginning of that.
    pub(crate) kind: &'static str,
    pub(crate) number: i32,
    /// Closed when it is dropped.
    pub(crate) _open: Box<dyn std::any::Any>,
}

/// Rows and columns in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) rows: u16,
    pub(crate) cols: u16,
}
