//! Ending the keeper's own children: by parenthood, whatever they carry or hide.
//!
//! A keeper adopts what loses its parent below it, so that each process that the body has ever started is its child in
//! the end. It signals its children only, one by one; when one dies its children become the keeper's, and are seen at
//! the next look.
//!
//! ```text
//!  look ─► HUP, TERM, CONT to each new one ─► (a grace) ─► KILL to each ─► look … until there is none
//! ```

use crate::backoff::pause;
use crate::ledger::swept::Swept;
use crate::process::exit::ExitStatus;
use crate::process::handle::{ProcessHandle, reader};
use crate::process::policy::Suspect;
use crate::process::rule::{Mark, Ourselves, Permit, Refusal, may_signal};
use crate::process::scan::examine;
use crate::process::summary::ProcessSummary;
use crate::process::tree;
use crate::sys::{self, ProcReader, Signal};
use once_cell::unsync::OnceCell;
use std::io;
use std::time::{Duration, Instant};

/// From the polite signals to the KILL: nobody waits for what a dead test has left to save its work.
pub(crate) const GRACE: Duration = Duration::from_millis(100);
/// How long after the KILL is waited for what does not die: it sits in the kernel then.
const PROOF: Duration = Duration::from_secs(5);
/// How long one look waits before the next, at most.
const PAUSE: Duration = Duration::from_millis(2);

struct Child {
    handle: ProcessHandle,
    permit: Result<Permit, Refusal>,
    summary: ProcessSummary,
    is_killed: bool,
}

/// The child that this process has started itself, and what becomes of it.
pub(crate) struct Own {
    pub(crate) pid: u32,
    /// How it ended, once it has.
    pub(crate) status: Option<ExitStatus>,
    /// What it was sent while it lived.
    pub(crate) signals: Vec<i32>,
}

/// The living children of this process.
pub(crate) fn living() -> Vec<ProcessSummary> {
    look().0
}

/// With how many children there are that have died since: theirs are ours by now, and not seen yet.
fn look() -> (Vec<ProcessSummary>, usize) {
    while sys::reap_any().is_some() {}
    let Ok(mut reader) = reader() else { return (Vec::new(), 0) };
    let children = tree::children(&mut reader, sys::own_pid()).unwrap_or_default();
    let count = children.len();
    let living = summaries(&mut reader, children);
    let dead = count - living.len();
    (living, dead)
}

/// Waits until this process has no living child, for so long; answers with those that are left.
pub(crate) fn settle(limit: Duration) -> Vec<ProcessSummary> {
    let deadline = Instant::now() + limit;
    loop {
        let (left, dead) = look();
        if (left.is_empty() && dead == 0) || Instant::now() >= deadline {
            return left;
        }
        pause(PAUSE);
    }
}

/// The living processes below a process.
pub(crate) fn living_below(pid: u32) -> Vec<ProcessSummary> {
    let Ok(mut reader) = reader() else { return Vec::new() };
    let below = tree::descendants(&mut reader, pid);
    summaries(&mut reader, below)
}

/// Of those that are there still.
fn summaries(reader: &mut ProcReader, pids: Vec<u32>) -> Vec<ProcessSummary> {
    pids.into_iter().filter_map(|pid| ProcessSummary::of(reader, pid).ok()).collect()
}

/// Ends them all, in at most `grace` and what a KILL takes.
pub(crate) fn end_all(grace: Duration, mut own: Option<&mut Own>) -> Swept {
    let start = Instant::now();
    let mut swept = Swept::default();
    let mut held: Vec<Child> = Vec::new();
    let (mut unread, mut gone): (Vec<ProcessSummary>, Vec<u32>) = (Vec::new(), Vec::new());
    let is_blind = |mut swept: Swept| {
        swept.undone.push("/proc could not be opened, so that no descendant was looked for".into());
        swept
    };
    let Ok(mut reader) = reader() else { return is_blind(swept) };
    // Read for the first one: mostly there is none.
    let ourselves = OnceCell::new();
    loop {
        while let Some((pid, status)) = sys::reap_any() {
            if let Some(own) = own.as_deref_mut().filter(|own| own.pid == pid) {
                // Its number is free for others from now on.
                own.status.get_or_insert(status.into());
            }
        }
        forget_the_dead(&mut held, &mut swept);
        let children = tree::children(&mut reader, sys::own_pid()).unwrap_or_default();
        // One that has died since has left its children to us, which need not be in this list, but are in the next.
        let gone_before = std::mem::take(&mut gone);
        unread.clear();
        for pid in children {
            if held.iter().all(|child| child.handle.pid() != pid) {
                let Ok(ourselves) = ourselves.get_or_try_init(|| tree::ourselves(&mut reader)) else {
                    return is_blind(swept);
                };
                match take_hold(&mut reader, pid, ourselves) {
                    Ok(child) => held.push(child),
                    Err(cause) if lives(pid) => unread.push(ProcessSummary::unreadable(pid, &cause)),
                    Err(_) => gone.push(pid),
                }
            }
        }
        // One that is there again is a zombie that a debugger keeps from us.
        let is_any_gone = gone.iter().any(|pid| !gone_before.contains(pid));
        if held.is_empty() && unread.is_empty() && !is_any_gone {
            break;
        }
        let is_time = start.elapsed() >= grace;
        for child in &mut held {
            send(child, is_time);
            if let Some(own) = own.as_deref_mut().filter(|own| own.pid == child.handle.pid() && own.status.is_none()) {
                own.signals = child.handle.sent();
            }
        }
        let is_refused = is_time && !is_any_gone && held.iter().all(|child| child.permit.is_err());
        if is_refused || start.elapsed() >= grace + PROOF {
            break;
        }
        // What goes on as its own child has a new number as soon as somebody waits.
        if !is_any_gone {
            wait(&held, if is_time { PAUSE } else { PAUSE.min(grace.saturating_sub(start.elapsed())) });
        }
    }
    swept.suspects.extend(unread.into_iter().map(|process| Suspect { process, why: Refusal::NotHeld }));
    for child in held {
        match child.permit {
            Ok(_) => swept.survivors.push(child.summary),
            Err(why) => swept.suspects.push(Suspect { process: child.summary, why }),
        }
    }
    swept.took = start.elapsed();
    swept
}

/// A child with the right to signal it, which the kernel itself vouches for: only our own child can be waited for.
fn take_hold(reader: &mut ProcReader, pid: u32, ourselves: &Ourselves) -> io::Result<Child> {
    let unmarked = Mark::of(None, 0);
    let (handle, mut evidence, summary) = examine(reader, pid, &unmarked)?;
    evidence.is_keepers_child = handle.is_our_child();
    let permit = may_signal(&evidence, &unmarked, ourselves);
    let mut child = Child { handle, permit, summary, is_killed: false };
    // The polite signals, once: as a terminal does, and as a service manager does.
    for signal in [Signal::Hup, Signal::Term, Signal::Cont] {
        signal_one(&mut child, signal);
    }
    Ok(child)
}

/// Of a child that nobody has reaped since it was listed, so that its number is its own.
fn lives(pid: u32) -> bool {
    sys::Pidfd::open(pid).is_ok_and(|child| !child.has_exited().unwrap_or(true))
}

fn send(child: &mut Child, is_time: bool) {
    if is_time && !child.is_killed {
        signal_one(child, Signal::Kill);
        child.is_killed = true;
    }
}

fn signal_one(child: &mut Child, signal: Signal) {
    if let Ok(permit) = child.permit {
        // One that has ended meanwhile is what is wanted.
        let _ = child.handle.signal(&permit, signal);
    }
}

fn forget_the_dead(held: &mut Vec<Child>, swept: &mut Swept) {
    held.retain(|child| {
        let is_alive = child.handle.is_alive();
        if !is_alive {
            swept.ended.push(child.summary.clone());
        }
        is_alive
    });
}

/// For the last one, which was signalled after the others: who wakes at each death of a hundred takes the time that they
/// need for dying.
fn wait(held: &[Child], limit: Duration) {
    let pidfd = held.last().and_then(|child| sys::Pidfd::open(child.handle.pid()).ok());
    let fds: Vec<_> = pidfd.iter().map(sys::Pidfd::fd).collect();
    let _ = sys::wait_for(&fds, Some(limit));
}
