//! Ending what grows faster than a sweep looks: its leader is stopped, the members of its kernel session are killed as they are found,
//! and the leader last. A sweep follows, which proves the end and finds what has left that session.
//!
//! The leader lives until then, so that the session's number is nobody else's: that and the rule make each signal safe.

use crate::ledger::replay::Open;
use crate::process::dead::{Held, held};
use crate::process::handle::{ProcessHandle, reader};
use crate::process::rule::{Evidence, Mark, Ourselves, may_signal};
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
    if sys::session_of(leader.pid()) != Some(leader.pid())
        || !send(&mut reader, &leader, mark, &ourselves, Signal::Stop)?
    {
        return Ok(Vec::new());
    }
    let mut known = BTreeSet::from([leader.pid()]);
    let mut killed = Vec::new();
    for _ in 0..MOST_PASSES {
        let mut is_new = false;
        for pid in reader.pids()? {
            if sys::session_of(pid) != Some(leader.pid()) || !known.insert(pid) {
                continue;
            }
            is_new = true;
            // What ends meanwhile is no trouble.
            let Ok((handle, stat)) = ProcessHandle::open_with(&mut reader, pid) else { continue };
            if send(&mut reader, &handle, mark, &ourselves, Signal::Kill).unwrap_or(false) {
                killed.push(ProcessSummary::unnamed(handle.identity(), &stat));
            }
        }
        if !is_new {
            break;
        }
    }
    let summary = ProcessSummary::of(&mut reader, leader.pid());
    if send(&mut reader, &leader, mark, &ourselves, Signal::Kill)? {
        killed.splice(0..0, summary.ok());
    }
    Ok(killed)
}

/// Sends a signal if the rule lets us; by the kernel session alone, since that takes two reads.
fn send(
    reader: &mut ProcReader,
    handle: &ProcessHandle,
    mark: &Mark,
    ourselves: &Ourselves,
    signal: Signal,
) -> io::Result<bool> {
    // Its effective user, or root for one that may not be looked into: those are left to the sweep.
    let owner = reader.owner(handle.pid())?;
    let session = sys::session_of(handle.pid()).ok_or(io::ErrorKind::NotFound)?;
    let evidence = Evidence {
        identity: handle.identity(),
        expected: None,
        is_held: true,
        users: [owner; 2],
        session,
        cookies: Vec::new(),
        has_variable: false,
        cgroup: None,
        is_keepers_child: false,
        children_started: Vec::new(),
    };
    // All of it was of the held process only if that lives still.
    if !handle.is_alive() {
        return Ok(false);
    }
    match may_signal(&evidence, mark, ourselves) {
        Ok(permit) => handle.signal(&permit, signal),
        Err(_) => Ok(false),
    }
}
