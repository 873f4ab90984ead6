//! What a server may be told: by its command line, or by a test in whose process it runs.

use std::ffi::OsString;

/// How a server is to run. The default is an honest one on a free port.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The port on 127.0.0.1; 0 for any that is free.
    pub(crate) port: u16,
    /// Bytes of output that are kept of each session.
    pub(crate) max_output: usize,
    /// What is left behind by each session that ends.
    pub(crate) leak: Option<Leak>,
    /// How it fails its clients.
    pub(crate) fault: Option<Fault>,
    /// Requests that are answered well before the fault begins. Those for `/health` do not count.
    pub(crate) fault_after: usize,
    /// The command that this process becomes for [`Fault::Restart`]: a program and its arguments. Without any, as in a
    /// test's own process, the server forgets what it knew, and goes on.
    pub(crate) restart: Vec<OsString>,
}

impl Default for Options {
    fn default() -> Self {
        let max_output = 256 * 1024;
        Self { port: 0, max_output, leak: None, fault: None, fault_after: 0, restart: Vec::new() }
    }
}

/// What each session that has ended leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leak {
    Descriptor,
    Pty,
    Process,
    Zombie,
    Thread,
    Memory,
    Record,
    Buffer,
    Activity,
}

impl Leak {
    /// Each with its name and what it does.
    pub(crate) const ALL: [(&'static str, Self, &'static str); 9] = [
        ("descriptor", Self::Descriptor, "an open file"),
        ("pty", Self::Pty, "the master of its pseudo-terminal"),
        ("process", Self::Process, "a living child in a kernel session of its own"),
        ("zombie", Self::Zombie, "its first process, dead and never waited for"),
        ("thread", Self::Thread, "a thread that waits for nothing"),
        ("memory", Self::Memory, "64 KiB of heap"),
        ("record", Self::Record, "its line in the list, which no DELETE removes"),
        ("buffer", Self::Buffer, "its output, which grows to the cap and outlives its record"),
        ("activity", Self::Activity, "a timer that works and starts `/bin/true` now and then"),
    ];
}

/// How the server fails its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Slow,
    Refuse,
    Cut,
    Lie,
    Forget,
    WrongId,
    ReuseId,
    Restart,
    Hang,
}

impl Fault {
    /// Each with its name and what it does.
    pub(crate) const ALL: [(&'static str, Self, &'static str); 9] = [
        ("slow", Self::Slow, "each answer comes 300 ms late"),
        ("refuse", Self::Refuse, "no session is created: 503"),
        ("cut", Self::Cut, "the connection ends in the middle of each answer (but for /health)"),
        ("lie", Self::Lie, "a kill is answered with success, and the session called exited: it lives"),
        ("forget", Self::Forget, "a kill only drops the record: the session lives"),
        ("wrong-id", Self::WrongId, "a creation is answered with an id that nobody has"),
        ("reuse-id", Self::ReuseId, "a new session gets the id of the one that ended last"),
        ("restart", Self::Restart, "the first kill makes the server start anew, with an empty list"),
        ("hang", Self::Hang, "a kill is never answered, and does nothing"),
    ];
}

/// The value of this name, or a text that lists the good ones.
pub(crate) fn named<T: Copy>(all: &[(&str, T, &str)], option: &str, name: &str) -> Result<T, String> {
    let found = all.iter().find(|entry| entry.0 == name).map(|entry| entry.1);
    let names = || all.iter().map(|entry| entry.0).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("{option} {name:?}: give one of {}", names()))
}
