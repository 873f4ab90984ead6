//! What a test sees of processes by their numbers, and waits for.

// Each binary uses a part of this.
#![allow(dead_code, reason = "shared by binaries that each need another part")]

use std::time::{Duration, Instant};

/// Polls until it holds; the deadline is only for a test that fails.
#[track_caller]
pub(crate) fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What follows the name in `/proc/PID/stat`: state, parent, …
pub(crate) fn stat(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

/// Whether there is a process of this id that is no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.starts_with(['Z', 'X']))
}

/// For a process that the test has started, or that a server of its own has.
pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
}
