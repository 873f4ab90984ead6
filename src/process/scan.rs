//! One pass over /proc for what is left of sessions.
//!
//! Each process costs one getsid(2) and one read of its `environ`; `stat`, user and namespace are read for the hits
//! only. A control group of our own says who is in it, and is asked where a mark has one. Cheaper ways see less:
//! `children` files end with their parents, groups and sessions miss whoever left them.

use crate::error::{Error, Result};
use crate::process::cgroup;
use crate::process::cookie::Cookie;
use crate::process::handle::{ProcessHandle, read_stat, reader};
use crate::process::identity::OurSelf;
use crate::process::rule::{Evidence, Mark, Ourselves, Permit, Refusal, may_signal};
use crate::process::summary::ProcessSummary;
use crate::process::threads::{Shown, shown_by_threads};
use crate::process::tree;
use crate::process::variable::SessionVariable;
use crate::sys::{self, ProcReader};
use once_cell::unsync::OnceCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

/// What was found, for the marks that it was looked for by.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) found: Vec<Found>,
    pub(crate) suspects: Vec<Suspected>,
    /// False if processes came and went faster than they could be looked at: then nothing is proven.
    pub(crate) is_settled: bool,
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

/// How often new processes are looked for because one that was listed had gone before it was looked at: whatever it
/// started in its last moment is not in that list. Each round is short, since it looks at the new ones only.
const MOST_ROUNDS: usize = 200;
/// How long a process may be in the middle of an exec, in which nobody can tell whose it is. It takes microseconds, on a
/// busy machine milliseconds.
const LONGEST_EXEC: Duration = Duration::from_millis(500);

/// How often an environment must be seen empty to be believed: for an instant of an exec every one is.
const LOOKS_AT_EMPTY: u32 = 5;

/// How often the environment of each was seen empty.
#[derive(Default)]
struct Empties(HashMap<u32, u32>);

impl Empties {
    fn look(&mut self, pid: u32) -> Look {
        let seen = self.0.entry(pid).or_default();
        *seen += 1;
        if *seen < LOOKS_AT_EMPTY { Look::Again } else { Look::Done }
    }
}

/// What came of a look at one process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Done,
    /// It had ended before, and may have been listed alive.
    Gone,
    /// It cannot be told yet.
    Again,
}

/// Looks at every process that there is, and at those that come meanwhile; false if that found no end.
fn look_at_all(reader: &mut ProcReader, mut look: impl FnMut(&mut ProcReader, u32) -> Look) -> Result<bool> {
    let mut known = list(reader)?;
    let mut next = known.clone();
    let mut unknown_until = None;
    for _ in 0..MOST_ROUNDS {
        let mut is_any_gone = false;
        while !next.is_empty() {
            let mut again = Vec::new();
            for pid in next {
                match look(reader, pid) {
                    Look::Done => {}
                    Look::Gone => is_any_gone = true,
                    Look::Again => again.push(pid),
                }
            }
            next = again;
            if !next.is_empty() {
                if Instant::now() >= *unknown_until.get_or_insert_with(|| Instant::now() + LONGEST_EXEC) {
                    return Ok(false);
                }
                std::thread::yield_now();
            }
        }
        if !is_any_gone {
            return Ok(true);
        }
        // The kernel lists in ascending order.
        let now = list(reader)?;
        next = now.iter().copied().filter(|pid| known.binary_search(pid).is_err()).collect();
        if next.is_empty() {
            return Ok(true);
        }
        known = now;
    }
    Ok(false)
}

/// Looks for what is left of these sessions.
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
    let by_variable: Vec<(usize, &SessionVariable)> =
        marks.iter().enumerate().filter_map(|(index, mark)| Some((index, mark.variable.as_ref()?))).collect();
    let mark_in = |environ: &[u8]| {
        let by_cookie = Cookie::find_all(environ).find_map(|cookie| by_cookie.get(&cookie).copied());
        by_cookie.or_else(|| by_variable.iter().find(|(_, variable)| variable.is_in(environ)).map(|(index, _)| *index))
    };
    // Read at the first hit: mostly there is none.
    let ourselves = OnceCell::new();
    let mut empties = Empties::default();
    let mut survey = Survey::default();
    let is_settled = look_at_all(&mut reader, |reader, pid| {
        let session = sys::session_of(pid);
        let by_session = session.and_then(|session| by_session.get(&session).copied());
        let carried = mark_of(reader, pid, session, mark_in);
        // The cookie decides which session it belongs to: a session started within a session carries both.
        let index = match (carried, by_session) {
            (Carried::Mark(index), _) | (_, Some(index)) => index,
            (Carried::None, None) => return Look::Done,
            (Carried::Empty, None) => return empties.look(pid),
            (Carried::Gone, None) => return Look::Gone,
            (Carried::Unknown, None) => return Look::Again,
            (Carried::Unreadable, None) => {
                survey.suspects.extend(unreadable(reader, pid, marks));
                return Look::Done;
            }
        };
        match ourselves.get_or_try_init(|| tree::ourselves(reader)) {
            Ok(ourselves) => judge(reader, pid, (index, marks[index]), ourselves, &mut empties, &mut survey),
            Err(_) => Look::Again,
        }
    })?;
    // After the others, so that few are left to be judged; also if those found no end.
    survey.is_settled = look_into_cgroups(&mut reader, marks, &ourselves, &mut empties, &mut survey)? && is_settled;
    Ok(survey)
}

/// Judges what the marks' control groups hold besides what was found already: what has cleared its environment and left the
/// kernel session. False if that found no end. Nothing is asked of the kernel where no mark has a group.
fn look_into_cgroups(
    reader: &mut ProcReader,
    marks: &[&Mark],
    ourselves: &OnceCell<Ourselves>,
    empties: &mut Empties,
    survey: &mut Survey,
) -> Result<bool> {
    // Of several marks with one group the first has the longest time, and one look for them all is enough.
    let mut groups: Vec<_> =
        marks.iter().enumerate().filter_map(|(index, mark)| Some((index, mark.cgroup.as_ref()?))).collect();
    groups.sort_by_key(|(index, _)| marks[*index].since);
    let mut seen = HashSet::new();
    groups.retain(|(_, group)| seen.insert(&group.path));
    if groups.is_empty() {
        return Ok(true);
    }
    // Who shows its environment to nobody may be proven by the group.
    let is_judged = |suspect: &&Suspected| suspect.why != Refusal::Unreadable;
    let mut judged: HashSet<u32> = survey.found.iter().map(|found| found.handle.pid()).collect();
    judged.extend(survey.suspects.iter().filter(is_judged).map(|suspect| suspect.summary.identity.pid));
    for _ in 0..MOST_ROUNDS {
        let mut is_any_missed = false;
        for (index, group) in &groups {
            let members = match cgroup::members(&group.path) {
                Ok(members) => members,
                // Only an empty one can be taken away.
                Err(cause) if cgroup::is_gone(&cause) => continue,
                Err(cause) => {
                    let what = format!("list the processes in the control group {}", group.path.display());
                    return Err(Error::os(what, "without it nothing can be proven to be gone", cause));
                }
            };
            for pid in members {
                if judged.contains(&pid) {
                    continue;
                }
                let Ok(ourselves) = ourselves.get_or_try_init(|| tree::ourselves(reader)) else { return Ok(false) };
                match judge(reader, pid, (*index, marks[*index]), ourselves, empties, survey) {
                    Look::Done => {
                        judged.insert(pid);
                        survey.suspects.retain(|one| one.why != Refusal::Unreadable || one.summary.identity.pid != pid);
                    }
                    // It has ended or left the group, and may have started another one before.
                    Look::Gone | Look::Again => is_any_missed = true,
                }
            }
        }
        if !is_any_missed {
            return Ok(true);
        }
        std::thread::yield_now();
    }
    Ok(false)
}

/// A process of our own user that shows its environment to nobody, as an ssh-agent: it may carry a cookie, if it started
/// in a session's time.
fn unreadable(reader: &mut ProcReader, pid: u32, marks: &[&Mark]) -> Option<Suspected> {
    let ourself = OurSelf::get().ok()?;
    // Cheap, and enough for most: root's and other users'.
    if reader.owner(pid).ok()? != ourself.uid {
        return None;
    }
    if users(reader.read(pid, "status").ok()?)? != [ourself.uid; 2] {
        return None;
    }
    let (handle, stat) = ProcessHandle::open_with(reader, pid).ok()?;
    let mark = marks.iter().position(|mark| mark.is_carried() && stat.started >= mark.since)?;
    let summary = ProcessSummary::read(reader, handle.identity(), &stat);
    Some(Suspected { mark, summary, why: Refusal::Unreadable })
}

// Error numbers that are the same on every Unix.
const NOT_PERMITTED: i32 = 1;
const NO_ENTRY: i32 = 2;
const NO_PROCESS: i32 = 3;
const NO_ACCESS: i32 = 13;

/// What a look at a process's environment found.
enum Carried<T> {
    Mark(T),
    None,
    /// It is in the middle of an exec: its old environment is gone and its new one not there yet.
    Unknown,
    /// There is nothing in it: it was cleared, or an exec is about to fill it.
    Empty,
    /// It may not be read.
    Unreadable,
    Gone,
}

/// The first mark that is wanted, from one read; `wanted` is asked about the whole environment.
fn mark_of<T>(
    reader: &mut ProcReader,
    pid: u32,
    session: Option<u32>,
    wanted: impl Fn(&[u8]) -> Option<T>,
) -> Carried<T> {
    match reader.read(pid, "environ") {
        Ok([]) => {}
        Ok(environ) => return wanted(environ).map_or(Carried::None, Carried::Mark),
        Err(cause) => match cause.raw_os_error() {
            Some(NO_ENTRY) => return Carried::Gone,
            Some(NOT_PERMITTED | NO_ACCESS) if session.is_some() => return Carried::Unreadable,
            Some(NOT_PERMITTED | NO_ACCESS) => return Carried::None,
            // Gone, or its main thread is and others are not.
            Some(NO_PROCESS) => {}
            _ => return Carried::Unknown,
        },
    }
    // Empty: a kernel thread's (most of them, and they are in no session), a zombie's, one that was cleared, or none yet.
    if session.is_none() && sys::session_of(sys::own_pid()).is_some() {
        return Carried::None;
    }
    match read_stat(reader, pid) {
        // Most zombies, of which a machine may have many: its threads need not be listed.
        Ok(stat) if stat.is_all_dead() => Carried::Gone,
        // Its main thread has ended, and others may run: the memory is theirs then.
        Ok(stat) if stat.is_dead() => match shown_by_threads(reader, pid) {
            Shown::Environ(environ) => wanted(&environ).map_or(Carried::Gone, Carried::Mark),
            // One of them has become its main thread by an exec.
            Shown::Nothing if read_stat(reader, pid).is_ok_and(|stat| !stat.is_dead()) => Carried::Unknown,
            Shown::Nothing => Carried::Gone,
            Shown::Unknown => Carried::Unknown,
        },
        // Where our own session has no number here either, the look above could not tell.
        Ok(stat) if stat.is_of_kernel() => Carried::None,
        // In the middle of an exec, or past it since the look above.
        Ok(stat) if stat.environment_at == 0 || stat.environment_at != stat.environment_to => Carried::Unknown,
        Ok(_) => Carried::Empty,
        Err(_) => Carried::Gone,
    }
}

fn list(reader: &ProcReader) -> Result<Vec<u32>> {
    reader.pids().map_err(|cause| Error::os("list /proc", "without it nothing can be proven to be gone", cause))
}

/// Adds a hit to the survey. A zombie is dead, and not a hit.
fn judge(
    reader: &mut ProcReader,
    pid: u32,
    (index, mark): (usize, &Mark),
    ourselves: &Ourselves,
    empties: &mut Empties,
    survey: &mut Survey,
) -> Look {
    match examine(reader, pid, mark) {
        Ok((handle, evidence, summary)) => {
            match may_signal(&evidence, mark, ourselves) {
                Ok(permit) => survey.found.push(Found { mark: index, handle, permit, summary }),
                Err(Refusal::OurOwnAncestor) => {}
                // It was marked a moment ago: in the middle of an exec now.
                Err(Refusal::NotMarked) => return Look::Again,
                Err(why @ Refusal::AfterLeader) => match unmarked(reader, pid, mark, empties) {
                    Look::Done => survey.suspects.push(Suspected { mark: index, summary, why }),
                    look => return look,
                },
                Err(why) => survey.suspects.push(Suspected { mark: index, summary, why }),
            }
            Look::Done
        }
        Err(cause) => match read_stat(reader, pid) {
            // A zombie is dead, and stays listed for as long as its parent likes; it may have died a moment ago.
            Ok(stat) if stat.is_dead() => Look::Gone,
            // It lives, it may be ours, and it could not be looked at: a suspect, never "gone".
            Ok(_) => {
                let summary = ProcessSummary::unreadable(pid, &cause);
                survey.suspects.push(Suspected { mark: index, summary, why: Refusal::NotHeld });
                Look::Done
            }
            Err(_) => Look::Gone,
        },
    }
}

/// Whether it is without the cookie for good, as a stranger with the session's number: in the middle of an exec ours is, too.
fn unmarked(reader: &mut ProcReader, pid: u32, mark: &Mark, empties: &mut Empties) -> Look {
    let is_its_own = |environ: &[u8]| Cookie::find_all(environ).any(|cookie| mark.cookie == Some(cookie)).then_some(());
    match mark_of(reader, pid, sys::session_of(pid), is_its_own) {
        Carried::Mark(()) | Carried::Unknown => Look::Again,
        Carried::Empty => empties.look(pid),
        Carried::None | Carried::Unreadable => Look::Done,
        Carried::Gone => Look::Gone,
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
    let mut environs: Vec<Vec<u8>> = reader.read(pid, "environ").map(<[u8]>::to_vec).into_iter().collect();
    if stat.is_dead() {
        // Of what is not known nothing is a mark, so that it is looked at again.
        if let Shown::Environ(environ) = shown_by_threads(reader, pid) {
            environs.push(environ);
        }
    }
    let cookies = environs.iter().flat_map(|environ| Cookie::find_all(environ)).collect();
    let has_variable =
        mark.variable.as_ref().is_some_and(|variable| environs.iter().any(|environ| variable.is_in(environ)));
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
    let cgroup = match mark.cgroup {
        None => None,
        Some(_) => cgroup::parse_kernel_path(reader.read(pid, "cgroup")?).map(str::to_owned),
    };
    let summary = ProcessSummary::read(reader, handle.identity(), &stat);
    let evidence = Evidence {
        identity: handle.identity(),
        expected: None,
        is_held: true,
        users,
        session: stat.session,
        cookies,
        has_variable,
        cgroup,
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

/// Which side of a terminal a process holds open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Program,
    Master,
}

/// The living processes, other than ourselves, that hold one of these terminals open, with which and how: suspects all.
pub(crate) fn holders_of(terminals: &[Vec<u8>]) -> Result<Vec<(usize, Side, ProcessSummary)>> {
    let mut reader = reader()?;
    let mut holders = Vec::new();
    for pid in list(&reader)? {
        if pid == sys::own_pid() {
            continue;
        }
        // Unreadable for another user's process, which nothing could be done about anyway.
        let Ok(targets) = reader.descriptor_targets(pid) else { continue };
        let has_master = targets.iter().any(|target| target.ends_with(b"/ptmx"));
        let masters = if has_master { masters_of(pid) } else { Vec::new() };
        for (index, terminal) in terminals.iter().enumerate() {
            for (side, held) in [(Side::Program, &targets), (Side::Master, &masters)] {
                if held.contains(terminal)
                    && let Ok(summary) = ProcessSummary::of(&mut reader, pid)
                {
                    holders.push((index, side, summary));
                }
            }
        }
    }
    Ok(holders)
}

/// The paths of the terminals whose masters it has.
fn masters_of(pid: u32) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    let visit = |_, found: sys::FileStat| {
        paths.extend(found.terminal.map(|number| format!("/dev/pts/{number}").into_bytes()));
    };
    // One that has ended holds nothing.
    let _ = sys::ProcDir::open(pid).and_then(|directory| directory.each_descriptor(visit));
    paths
}

/// The living processes that carry one of these cookies, from one pass; nothing is judged or signalled.
///
/// # Errors
///
/// If /proc cannot be listed.
pub fn marked_by(cookies: &[Cookie]) -> Result<Vec<ProcessSummary>> {
    marked_by_any(cookies, &[])
}

/// The same for cookies and servers' own variables.
pub(crate) fn marked_by_any(cookies: &[Cookie], variables: &[SessionVariable]) -> Result<Vec<ProcessSummary>> {
    let mut reader = reader()?;
    let wanted: HashSet<Cookie> = cookies.iter().copied().collect();
    let mut empties = Empties::default();
    let mut found = Vec::new();
    let is_settled = look_at_all(&mut reader, |reader, pid| {
        let session = sys::session_of(pid);
        let is_wanted = |environ: &[u8]| {
            let by_cookie = Cookie::find_all(environ).any(|cookie| wanted.contains(&cookie));
            (by_cookie || variables.iter().any(|variable| variable.is_in(environ))).then_some(())
        };
        match mark_of(reader, pid, session, is_wanted) {
            Carried::Unknown => Look::Again,
            Carried::Empty => empties.look(pid),
            Carried::None | Carried::Unreadable => Look::Done,
            Carried::Gone => Look::Gone,
            Carried::Mark(()) => match ProcessSummary::of(reader, pid) {
                Ok(summary) => {
                    found.push(summary);
                    Look::Done
                }
                Err(_) => Look::Gone,
            },
        }
    })?;
    if !is_settled {
        return Err(Error::timeout("looking at all processes, which came and went faster than that", LONGEST_EXEC));
    }
    Ok(found)
}

#[cfg(all(test, target_os = "linux"))]
#[path = "scan_tests.rs"]
mod tests;
