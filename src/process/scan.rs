//! One pass over /proc for what is left of sessions.
//!
//! Each process costs one getsid(2) and one read of its `environ`; `stat`, user and namespace are read for the hits
//! only. Cheaper ways see less: `children` files end with their parents, groups and sessions miss whoever left them.

use crate::error::{Error, Result};
use crate::process::cookie::Cookie;
use crate::process::handle::{ProcessHandle, read_stat, reader};
use crate::process::rule::{Evidence, Mark, Ourselves, Permit, Refusal, may_signal};
use crate::process::summary::ProcessSummary;
use crate::process::tree;
use crate::sys::{self, ProcReader};
use std::collections::{HashMap, HashSet};
use std::io;

/// What a pass found, for the marks that it was given.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) found: Vec<Found>,
    pub(crate) suspects: Vec<Suspected>,
}

/// A living process that is proven to be a session's.
#[derive(Debug)]
pub(crate) struct Found {
    /// Which of the marks.
    pub(crate) mark: usize,
    pub(crate) handle: ProcessHandle,
    pub(crate) permit: Permit,
    pub(crate) summary: ProcessSummary,
}

/// A living process that may be a session's and is not proven to be.
#[derive(Debug)]
pub(crate) struct Suspected {
    pub(crate) mark: usize,
    pub(crate) summary: ProcessSummary,
    pub(crate) why: Refusal,
}

/// How often a pass is repeated because a process of interest vanished while it was looked at, and whatever it started
/// in its last moment may have been passed over, or because one was in the middle of an exec: on a busy machine that
/// takes milliseconds, a few passes.
const MOST_PASSES: usize = 20;

/// Looks at every process once.
///
/// # Errors
///
/// If /proc cannot be listed: then nothing is known, and nothing counts as gone.
pub(crate) fn survey(marks: &[&Mark]) -> Result<Survey> {
    let mut reader = reader()?;
    let by_cookie: HashMap<Cookie, usize> =
        marks.iter().enumerate().filter_map(|(index, mark)| Some((mark.cookie?, index))).collect();
    let by_session: HashMap<u32, usize> =
        marks.iter().enumerate().filter_map(|(index, mark)| Some((mark.leader?.pid, index))).collect();
    // Read at the first hit: most passes have none.
    let mut ourselves = None;
    let mut survey = Survey::default();
    for _ in 0..MOST_PASSES {
        let mut is_settled = true;
        survey = Survey::default();
        for pid in list(&reader)? {
            let session = sys::session_of(pid);
            let by_session = session.and_then(|session| by_session.get(&session).copied());
            let by_cookie = match cookie_of(&mut reader, pid, session, |cookie| by_cookie.get(&cookie).copied()) {
                Carried::Cookie(mark) => Some(mark),
                Carried::None => None,
                Carried::Unknown => {
                    is_settled = false;
                    None
                }
            };
            // The cookie decides which session it belongs to: a session started within a session carries both.
            let Some(mark) = by_cookie.or(by_session) else { continue };
            if ourselves.is_none() {
                ourselves = Some(tree::ourselves(&mut reader)?);
            }
            let Some(ourselves) = &ourselves else { continue };
            is_settled &= judge(&mut reader, pid, (mark, marks[mark]), ourselves, &mut survey);
        }
        if is_settled {
            break;
        }
    }
    Ok(survey)
}

/// What a look at a process's environment found.
enum Carried<T> {
    Cookie(T),
    None,
    /// It is in the middle of an exec: its old environment is gone and its new one not there yet.
    Unknown,
}

/// The first cookie that is wanted, from one read.
fn cookie_of<T>(
    reader: &mut ProcReader,
    pid: u32,
    session: Option<u32>,
    wanted: impl Fn(Cookie) -> Option<T>,
) -> Carried<T> {
    match reader.read(pid, "environ") {
        Ok([]) => {}
        Ok(environ) => return Cookie::find_all(environ).find_map(wanted).map_or(Carried::None, Carried::Cookie),
        // Gone, or another user's, which the rule refuses anyway.
        Err(_) => return Carried::None,
    }
    // Empty: a kernel thread's (most of them, and they are in no session), a zombie's, one that was cleared, or none yet.
    if session.is_none() && sys::session_of(sys::own_pid()).is_some() {
        return Carried::None;
    }
    match read_stat(reader, pid) {
        Ok(stat) if !stat.is_dead() && stat.environment_at == 0 => Carried::Unknown,
        _ => Carried::None,
    }
}

fn list(reader: &ProcReader) -> Result<Vec<u32>> {
    reader.pids().map_err(|cause| Error::os("list /proc", "without it nothing can be proven to be gone", cause))
}

/// Adds a hit to the survey; false if it ended meanwhile. A zombie is dead, and not a hit.
fn judge(
    reader: &mut ProcReader,
    pid: u32,
    (index, mark): (usize, &Mark),
    ourselves: &Ourselves,
    survey: &mut Survey,
) -> bool {
    match examine(reader, pid, mark) {
        Ok((handle, evidence, summary)) => {
            match may_signal(&evidence, mark, ourselves) {
                Ok(permit) => survey.found.push(Found { mark: index, handle, permit, summary }),
                Err(Refusal::OurOwnAncestor) => {}
                Err(why) => survey.suspects.push(Suspected { mark: index, summary, why }),
            }
            true
        }
        Err(cause) => match read_stat(reader, pid) {
            // A zombie is dead, and stays listed for as long as its parent likes.
            Ok(stat) if stat.is_dead() => true,
            // It lives, it may be ours, and it could not be looked at: a suspect, never "gone".
            Ok(_) => {
                let summary = ProcessSummary::unreadable(pid, &cause);
                survey.suspects.push(Suspected { mark: index, summary, why: Refusal::NotHeld });
                true
            }
            Err(_) => false,
        },
    }
}

/// Takes hold of a process and reads what the rule asks for; an error if it is dead.
pub(crate) fn examine(
    reader: &mut ProcReader,
    pid: u32,
    mark: &Mark,
) -> io::Result<(ProcessHandle, Evidence, ProcessSummary)> {
    let (handle, stat) = ProcessHandle::open_with(reader, pid)?;
    // Not readable for another user's process, which the rule refuses anyway.
    let cookies = reader.read(pid, "environ").map(|environ| Cookie::find_all(environ).collect()).unwrap_or_default();
    let users = users(reader.read(pid, "status")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its `status` is malformed"))?;
    // Asked only by the clause on daemons, which needs an end of time.
    let children_started = match mark.until {
        None => Vec::new(),
        Some(_) => {
            let children = tree::children(reader, pid)?;
            children.into_iter().filter_map(|child| Some(read_stat(reader, child).ok()?.started)).collect()
        }
    };
    let summary = ProcessSummary::read(reader, handle.identity(), &stat);
    let evidence = Evidence {
        identity: handle.identity(),
        expected: None,
        is_held: true,
        users,
        session: stat.session,
        cookies,
        cgroup: None,
        is_keepers_child: false,
        children_started,
    };
    // All of it was read of the process that is held only if that one has not been reaped meanwhile.
    if handle.is_alive() { Ok((handle, evidence, summary)) } else { Err(io::Error::other("it has exited")) }
}

/// Real and effective user, from the line `Uid:` of `/proc/PID/status` (proc_pid_status(5)).
fn users(status: &[u8]) -> Option<[u32; 2]> {
    let text = String::from_utf8_lossy(status);
    let mut ids = text.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace();
    Some([ids.next()?.parse().ok()?, ids.next()?.parse().ok()?])
}

/// The living processes, other than ourselves, that hold one of these terminals open, with which: suspects all.
pub(crate) fn holders_of(terminals: &[Vec<u8>]) -> Result<Vec<(usize, ProcessSummary)>> {
    let mut reader = reader()?;
    let mut holders = Vec::new();
    for pid in list(&reader)? {
        if pid == sys::own_pid() {
            continue;
        }
        // Unreadable for another user's process, which nothing could be done about anyway.
        let Ok(targets) = reader.descriptor_targets(pid) else { continue };
        for (index, terminal) in terminals.iter().enumerate() {
            if targets.contains(terminal)
                && let Ok((handle, stat)) = ProcessHandle::open_with(&mut reader, pid)
            {
                holders.push((index, ProcessSummary::read(&mut reader, handle.identity(), &stat)));
            }
        }
    }
    Ok(holders)
}

/// The living processes that carry one of these cookies, from one pass; nothing is judged or signalled.
///
/// # Errors
///
/// If /proc cannot be listed.
pub fn marked_by(cookies: &[Cookie]) -> Result<Vec<ProcessSummary>> {
    let mut reader = reader()?;
    let wanted: HashSet<Cookie> = cookies.iter().copied().collect();
    let mut found = Vec::new();
    for _ in 0..MOST_PASSES {
        let mut is_settled = true;
        found.clear();
        for pid in list(&reader)? {
            let carried = cookie_of(&mut reader, pid, sys::session_of(pid), |cookie| wanted.get(&cookie).copied());
            is_settled &= !matches!(carried, Carried::Unknown);
            if matches!(carried, Carried::Cookie(_))
                && let Ok((handle, stat)) = ProcessHandle::open_with(&mut reader, pid)
            {
                found.push(ProcessSummary::read(&mut reader, handle.identity(), &stat));
            }
        }
        if is_settled {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_user_ids_are_read() {
        assert_eq!(users(b"Name:\tsudo\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n"), Some([1000, 0]));
        assert_eq!(users(b"Name:\tUid:\t1\n"), None);
    }
}
