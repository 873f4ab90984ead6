//! Ending what grows faster than a sweep looks: its leader is stopped, the members of its kernel session are killed as they are found,
//! and the leader last. A sweep follows, which proves the end and finds what has left that session.
//!
//! The leader lives until then, so that the session's number is nobody else's: that and the rule make each signal safe.

use crate::ledger::replay::Open;
use crate::process::dead::{Held, held};
use crate::process::handle::{ProcessHandle, reader};
use crate::process::rule::{Evidence, Mark, Ourselves, Permit, may_signal};
use crate::process::summary::ProcessSummary;
use crate::process::tree;
use crate::sys::{self, ProcReader, Signal};
use std::collections::BTreeSet;
use std::io;

/// A pass finds what was forked during the one before, by those that had not got their signal; so many are always enough where the
/// keeper gets any time at all.
const MOST_PASSES: usize = 50;

/// Answers with those that were killed.
///
/// # Errors
///
/// If /proc cannot be read.
pub(super) fn kill(open: &Open, mark: &Mark) -> io::Result<Vec<ProcessSummary>> {
    let Some(Held::It(leader)) = open.leader.map(held) else { return Ok(Vec::new()) };
    let mut reader = reader().map_err(io::Error::other)?;
    let ourselves = tree::ourselves(&mut reader).map_err(io::Error::other)?;
    if sys::session_of(leader.pid()) != Some(leader.pid()) {
        return Ok(Vec::new());
    }
    let Some(permit) = send(&mut reader, &leader, mark, &ourselves, Signal::Stop)? else { return Ok(Vec::new()) };
    let mut killed = Vec::new();
    let members = kill_members(&mut reader, &leader, mark, &ourselves, &mut killed);
    let summary = ProcessSummary::of(&mut reader, leader.pid());
    if kill_or_let_go_on(&leader, &permit, || send(&mut reader, &leader, mark, &ourselves, Signal::Kill))? {
        killed.splice(0..0, summary.ok());
    }
    members.map(|()| killed)
}

/// Nobody else knows that it is stopped: where it cannot be killed any more, whoever waits for it would wait for ever.
fn kill_or_let_go_on(
    leader: &ProcessHandle,
    stopped: &Permit,
    kill: impl FnOnce() -> io::Result<Option<Permit>>,
) -> io::Result<bool> {
    let result = kill();
    if !matches!(result, Ok(Some(_))) {
        let _ = leader.signal(stopped, Signal::Cont);
    }
    result.map(|permit| permit.is_some())
}

fn kill_members(
    reader: &mut ProcReader,
    leader: &ProcessHandle,
    mark: &Mark,
    ourselves: &Ourselves,
    killed: &mut Vec<ProcessSummary>,
) -> io::Result<()> {
    let mut known = BTreeSet::from([leader.pid()]);
    for _ in 0..MOST_PASSES {
        let mut is_new = false;
        for pid in reader.pids()? {
            if sys::session_of(pid) != Some(leader.pid()) || !known.insert(pid) {
                continue;
            }
            is_new = true;
            // What ends meanwhile is no trouble.
            let Ok((handle, stat)) = ProcessHandle::open_with(reader, pid) else { continue };
            if let Ok(Some(_)) = send(reader, &handle, mark, ourselves, Signal::Kill) {
                killed.push(ProcessSummary::unnamed(handle.identity(), &stat));
            }
        }
        if !is_new {
            break;
        }
    }
    Ok(())
}

/// Sends a signal if the rule lets us; by the kernel session alone, since that takes two reads. Answers with the right to it.
fn send(
    reader: &mut ProcReader,
    handle: &ProcessHandle,
    mark: &Mark,
    ourselves: &Ourselves,
    signal: Signal,
) -> io::Result<Option<Permit>> {
    // Its effective user, or root for one that may not be looked into: those are left to the sweep.
    let owner = reader.owner(handle.pid())?;
    let session = sys::session_of(handle.pid()).ok_or(io::ErrorKind::NotFound)?;
    let evidence = Evidence::by_session(handle.identity(), owner, session);
    // All of it was of the held process only if that lives still.
    if !handle.is_alive() {
        return Ok(None);
    }
    match may_signal(&evidence, mark, ourselves) {
        Ok(permit) => Ok(handle.signal(&permit, signal)?.then_some(permit)),
        Err(_) => Ok(None),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::keeper::patience::is_stopped;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    #[test]
    fn a_leader_that_may_not_be_killed_any_more_is_not_left_stopped() {
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let leader = ProcessHandle::open(child.id()).unwrap();
        let mut reader = reader().unwrap();
        let ourselves = tree::ourselves(&mut reader).unwrap();
        let evidence = Evidence {
            identity: leader.identity(),
            expected: None,
            is_held: true,
            users: [ourselves.user; 2],
            session: 0,
            cookies: Vec::new(),
            has_variable: false,
            cgroup: None,
            is_keepers_child: true,
            children_started: Vec::new(),
        };
        let permit = may_signal(&evidence, &Mark::of(None, 0), &ourselves).unwrap();
        let kills: [fn() -> io::Result<Option<Permit>>; 2] = [|| Ok(None), || Err(io::Error::other("no /proc"))];
        for kill in kills {
            assert!(leader.signal(&permit, Signal::Stop).unwrap());
            while !is_stopped(child.id()) {
                std::thread::yield_now();
            }
            assert!(!kill_or_let_go_on(&leader, &permit, kill).unwrap_or(false));
            // It is continued before the call returns, if at all.
            assert!(!is_stopped(child.id()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
