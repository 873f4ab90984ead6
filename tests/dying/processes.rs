//! Other processes, seen without termleash: what a test of it believes must not come from it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A process that is held, so that its number means no other.
pub(crate) struct Pinned {
    pub(crate) pid: u32,
    fd: OwnedFd,
}

impl Pinned {
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let fd = pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, fd })
    }

    /// One that has ended meanwhile gets nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.fd, signal);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
        poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    /// Alive, and stopped by nobody.
    pub(crate) fn is_well(&self) -> bool {
        !self.has_ended() && state_of(self.pid).is_some_and(|state| !b"TtZX".contains(&state))
    }
}

/// A process that carries a mark in its arguments or its environment.
#[derive(Clone)]
pub(crate) struct Carrier {
    pub(crate) pid: u32,
    pub(crate) command: String,
    /// Its environment was cleared.
    pub(crate) is_cleared: bool,
    /// What it carries of termleash's.
    cookies: Vec<String>,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cleared = if self.is_cleared { ", its environment cleared" } else { "" };
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        write!(f, "{} `{}`{cleared}, {}, {}", self.pid, self.command, self.cookies.join(" "), stat.trim_end())
    }
}

/// The living processes that carry it. For an instant of its exec a process shows neither arguments nor environment.
pub(crate) fn carriers(mark: &str) -> Vec<Carrier> {
    let all = std::fs::read_dir("/proc").expect("/proc can be listed");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| carrier(pid, mark)).collect()
}

fn carrier(pid: u32, mark: &str) -> Option<Carrier> {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let has_it = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    let is_dead = || state_of(pid).is_none_or(|state| b"ZX".contains(&state));
    if !(has_it(&command) || has_it(&environment)) || is_dead() {
        return None;
    }
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
    let variables = String::from_utf8_lossy(&environment).into_owned();
    let cookies = variables.split('\0').filter(|variable| variable.starts_with("TERMLEASH_S_")).map(str::to_owned);
    // A shell that was started without an environment gives what it starts some variables again.
    Some(Carrier { pid, command, is_cleared: !has_it(&environment), cookies: cookies.collect() })
}

/// Waits until nobody carries it, and says how long after `start` that was; else who does. Those that `is_excused` do not
/// count.
pub(crate) fn until_none(
    mark: &str,
    start: Instant,
    limit: Duration,
    is_excused: impl Fn(&Carrier) -> bool,
) -> Result<Duration, Vec<Carrier>> {
    const LOOKS: u32 = 3;
    let mut clean = None;
    let mut looks = 0;
    loop {
        let mut left = carriers(mark);
        left.retain(|carrier| !is_excused(carrier));
        if left.is_empty() {
            let since = *clean.get_or_insert_with(|| start.elapsed());
            looks += 1;
            // One of them may have been in the middle of an exec.
            if looks == LOOKS {
                return Ok(since);
            }
        } else {
            (clean, looks) = (None, 0);
            if start.elapsed() > limit {
                return Err(left);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ends by the number what carries the mark, looked at again once it is held.
pub(crate) fn end_carriers(mark: &str) {
    for _ in 0..100 {
        let found = carriers(mark);
        for carrier in &found {
            if let Some(pinned) = Pinned::open(carrier.pid)
                && self::carrier(carrier.pid, mark).is_some()
            {
                pinned.signal(Signal::KILL);
                pinned.ends_within(Duration::from_secs(1));
            }
        }
        if found.is_empty() {
            return;
        }
    }
}

/// The letter that /proc shows.
pub(crate) fn state_of(pid: u32) -> Option<u8> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.bytes().next()
}

/// Those of every thread.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

fn command_of(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// A runner's keeper, once it is there.
pub(crate) fn keeper_of(runner: u32) -> Option<Pinned> {
    child_of(runner, |command| command.starts_with("termleash-keeper"))
}

/// A keeper's body, once it is there.
pub(crate) fn body_of(keeper: u32) -> Option<Pinned> {
    child_of(keeper, |command| command.contains("--include-ignored"))
}

fn child_of(parent: u32, is_it: impl Fn(&str) -> bool) -> Option<Pinned> {
    for pid in children_of(parent) {
        let pinned = Pinned::open(pid)?;
        // Asked for after it is held.
        if children_of(parent).contains(&pid) && is_it(&command_of(pid)) {
            return Some(pinned);
        }
    }
    None
}
