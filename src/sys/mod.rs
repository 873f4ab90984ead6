//! The operating system: every `unsafe`, every `cfg` that names a system (but for `session/pty.rs`), and no decisions.
//!
//! `linux/` is complete. `other.rs` has the same names with types that cannot be made: asking for one answers
//! "unsupported", and what is written on top compiles everywhere.

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
    Kill,
}

/// Rows and columns in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) rows: u16,
    pub(crate) cols: u16,
}
