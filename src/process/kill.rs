//! Ending the processes of many sessions at once, until their death is proven.
//!
//! ```text
//!             nothing left                nothing left                  nothing left
//!  hang up ───────────────► proven  TERM ──────────────► proven   KILL ──────────────► proven
//!  (and again)
//!     │  at half of the grace  ▲     │  at its end         ▲        │ after 5 s more
//!     └────────────────────────┼─────┘                     │        ▼
//!                              └───────────────────────────┘     survivors
//! ```
//! "Nothing left" is: every leader gone, then one pass over /proc without a hit. What a pass finds gets the signal of
//! the stage and is waited for, and another pass follows, since it may have started something in its last moment.

use crate::error::{Error, Result};
use crate::event::track::Track;
use crate::process::handle::{ProcessHandle, reader};
use crate::process::identity::{OurSelf, ProcessIdentity};
use crate::process::policy::{Ending, KillAction, KillStep, Suspect};
use crate::process::pump::{CENTURY, Pump};
use crate::process::rule::{Evidence, Mark, Ourselves, Permit, Refusal, may_signal};
use crate::process::scan::{self, Survey, examine};
use crate::process::stage::{Stage, Step};
use crate::process::summary::ProcessSummary;
use crate::process::{exit::ExitStatus, tree};
use crate::sys::{self, ProcReader};
use once_cell::unsync::OnceCell;
use std::time::{Duration, Instant};

/// How long after the KILL death is waited for. A process that cannot die by then sits in the kernel (state D).
const PROOF: Duration = Duration::from_secs(5);
/// One session's processes.
pub(crate) struct Target {
    pub(crate) mark: Mark,
    pub(crate) leader: Option<ProcessHandle>,
    pub(crate) ending: Ending,
    /// What descended from the leader before somebody else was asked to end it.
    below: Vec<ProcessSummary>,
    /// Those that get the signals of each stage.
    live: Vec<Live>,
    /// Its leader is asked by TERM, and once: many a daemon takes HUP for "read your configuration again", and a second TERM
    /// for impatience.
    is_server: bool,
    /// Where its steps are recorded as they happen.
    track: Option<Track>,
}

struct Live {
    handle: ProcessHandle,
    /// Refused for a leader that the rule does not let us signal: it is waited for, and asked for again at each stage. In
    /// the middle of an exec a process has no environment, and with it nothing that ties it to the session.
    permit: Result<Permit, Refusal>,
}

impl Target {
    pub(crate) fn new(mark: Mark, leader: Option<ProcessHandle>) -> Self {
        let (below, live) = (Vec::new(), Vec::new());
        Self { mark, leader, ending: Ending::default(), below, live, is_server: false, track: None }
    }

    /// Names these, too, should they live on.
    pub(crate) fn with_below(self, below: Vec<ProcessSummary>) -> Self {
        Self { below, ..self }
    }

    pub(crate) fn tracked_by(self, track: &Track) -> Self {
        Self { track: Some(track.clone()), ..self }
    }

    /// A server, which is given the time until half of the grace to end what it has started by itself.
    pub(crate) fn of_server(mark: Mark, leader: Option<ProcessHandle>) -> Self {
        Self { is_server: true, ..Self::new(mark, leader) }
    }

    /// What this one of its processes gets at this stage; `None` for nothing.
    fn heeded(&self, which: &ProcessHandle, action: KillAction) -> Option<KillAction> {
        let is_leader = self.leader.as_ref().is_some_and(|leader| leader.identity() == which.identity());
        match action {
            KillAction::HungUp | KillAction::Terminated if self.is_server && is_leader => {
                let is_first = self.ending.steps.iter().all(|step| step.pid != Some(which.pid()));
                is_first.then_some(KillAction::Terminated)
            }
            action => Some(action),
        }
    }

    fn send(&mut self, which: usize, action: KillAction, start: Instant) {
        let live = &self.live[which];
        let Ok(permit) = live.permit else { return };
        if live.handle.is_known_dead() {
            // Another of the batch is why this stage came.
            return;
        }
        let Some(action) = self.heeded(&live.handle, action) else { return };
        let mut was_delivered = false;
        for signal in action.signals() {
            // The rule let us, and the kernel does not (a security module): the process is a survivor then.
            was_delivered |= live.handle.signal(&permit, *signal).unwrap_or(false);
        }
        let pid = Some(live.handle.pid());
        self.ending.steps.push(KillStep { at: start.elapsed(), action, pid, was_delivered });
        if let Some(track) = &self.track {
            track.kill(action.step(), pid, was_delivered);
        }
    }

    fn send_all(&mut self, action: KillAction, start: Instant) {
        for which in 0..self.live.len() {
            self.send(which, action, start);
        }
    }

    fn is_over(&self) -> bool {
        self.live.is_empty() && self.leader.as_ref().is_none_or(ProcessHandle::is_known_dead)
    }

    fn leader_exit(&self) -> Option<ExitStatus> {
        self.leader.as_ref()?.exit_status()
    }
}

/// Ends all of them together; `began` is what the times of steps count from. Afterwards each target's ending says what
/// was done and what is left.
///
/// # Errors
///
/// If /proc could not be read, so that nothing is proven.
pub(crate) async fn end_all(targets: &mut [Target], grace: Duration, began: Instant) -> Result<()> {
    let start = Instant::now();
    let grace = grace.min(CENTURY);
    let pump = Pump::get()?;
    let give_up = start + grace + PROOF;

    let mut below = hang_up(targets, began)?;
    let mut stage = Stage::first(start, grace);
    loop {
        // Nothing can be proven while a leader lives, so the first pass waits for them.
        let are_gone = pump.until(stage.ends, all_gone(targets)).await.transpose()?.is_some();
        // By the clock, also if all are gone: what brings forth new processes as fast as they die must not hold it back.
        let now = Instant::now();
        if now >= stage.ends {
            let next = stage.next(now, start, grace);
            let is_new = next.step != stage.step;
            stage = next;
            if is_new && !are_gone {
                ask_again(targets)?;
                targets.iter_mut().for_each(|target| target.send_all(stage.action(), began));
                // After TERM a pass finds who else is to get one before the end; otherwise there is death to wait for first.
                if stage.step != Step::Terminate {
                    continue;
                }
            }
        }
        let survey = survey(targets)?;
        let is_settled = survey.is_settled;
        let found_any = !survey.found.is_empty() || !is_settled;
        take_in(targets, survey, &mut below, stage.action(), began);
        let is_unread = |target: &Target| target.ending.suspects.iter().any(|suspect| suspect.why == Refusal::NotHeld);
        let is_proven = !found_any && targets.iter().all(|target| target.is_over() && !is_unread(target));
        if is_proven {
            break;
        }
        if Instant::now() >= give_up {
            if !is_settled {
                return Err(Error::timeout("looking at processes that come and go, or cannot be looked at", PROOF));
            }
            break;
        }
    }
    finish(targets, below);
    Ok(())
}

/// Signals the leaders, and names what descends from them: after their end it descends from nobody we know.
fn hang_up(targets: &mut [Target], start: Instant) -> Result<Vec<(usize, ProcessSummary)>> {
    let mut reader = reader()?;
    let mut below = Vec::new();
    let ourselves = OnceCell::new();
    for (index, target) in targets.iter_mut().enumerate() {
        below.extend(std::mem::take(&mut target.below).into_iter().map(|summary| (index, summary)));
        let Some(leader) = target.leader.clone() else { continue };
        if !leader.is_alive() {
            continue;
        }
        below.extend(descendants(&mut reader, &leader).into_iter().map(|summary| (index, summary)));
        let permit = permit_for(&mut reader, &leader, &target.mark, &ourselves)?;
        target.live.push(Live { handle: leader, permit });
        target.send(target.live.len() - 1, KillAction::HungUp, start);
    }
    Ok(below)
}

/// What descends from a leader now; a server that ends it leaves nobody to know that by.
pub(crate) fn below(leader: &ProcessHandle) -> Vec<ProcessSummary> {
    match reader() {
        Ok(mut reader) if leader.is_alive() => descendants(&mut reader, leader),
        _ => Vec::new(),
    }
}

fn descendants(reader: &mut ProcReader, leader: &ProcessHandle) -> Vec<ProcessSummary> {
    let pids = tree::descendants(reader, leader.pid());
    pids.into_iter().filter_map(|pid| ProcessSummary::of(reader, pid).ok()).collect()
}

/// Asks the rule again for those that it has refused.
fn ask_again(targets: &mut [Target]) -> Result<()> {
    let mut reader = reader()?;
    let ourselves = OnceCell::new();
    for target in targets {
        for live in target.live.iter_mut().filter(|live| live.permit.is_err()) {
            live.permit = permit_for(&mut reader, &live.handle, &target.mark, &ourselves)?;
        }
    }
    Ok(())
}

/// The rule, asked for a leader; who we are is read for the first one that is not our own child.
fn permit_for(
    reader: &mut ProcReader,
    leader: &ProcessHandle,
    mark: &Mark,
    ourselves: &OnceCell<Ourselves>,
) -> Result<Result<Permit, Refusal>> {
    if leader.is_child() {
        return permit_for_child(reader, leader, mark);
    }
    let ourselves = ourselves.get_or_try_init(|| tree::ourselves(reader))?;
    Ok(permit_for_leader(reader, leader, mark, ourselves))
}

/// The rule, asked for a server's child.
fn permit_for_leader(
    reader: &mut ProcReader,
    leader: &ProcessHandle,
    mark: &Mark,
    ourselves: &Ourselves,
) -> Result<Permit, Refusal> {
    let (_, mut evidence, _) = examine(reader, leader.pid(), mark).map_err(|_| Refusal::NotHeld)?;
    evidence.expected = Some(leader.identity());
    may_signal(&evidence, mark, ourselves)
}

/// The rule, asked for our own child, of which little need be read: it cannot have been replaced, as only we can reap
/// it, it is none of our ancestors, and its number, free when it started, is the kernel session of none of them. Its
/// user and its kernel session can have changed.
fn permit_for_child(reader: &mut ProcReader, leader: &ProcessHandle, mark: &Mark) -> Result<Result<Permit, Refusal>> {
    let ourself = OurSelf::get()?;
    let identity =
        ProcessIdentity { pid: ourself.pid, started: 0, boot: ourself.boot, pid_namespace: ourself.pid_namespace };
    let sessions = sys::session_of(ourself.pid).into_iter().collect();
    let ourselves = Ourselves { identity, user: ourself.uid, ancestors: Vec::new(), sessions };
    let (Ok(owner), Some(session)) = (reader.owner(leader.pid()), sys::session_of(leader.pid())) else {
        return Ok(Err(Refusal::NotHeld));
    };
    let evidence = Evidence::by_session(leader.identity(), owner, session);
    Ok(may_signal(&evidence, mark, &ourselves))
}

/// The last one first: it got its signal last, and when it is gone most of the others are. In the order of the signals each
/// death would wake whoever waits.
async fn all_gone(targets: &[Target]) -> Result<()> {
    for target in targets.iter().rev() {
        // A leader that had ended before the kill began may still have to be reaped.
        if let Some(leader) = &target.leader {
            leader.wait_gone().await?;
        }
        for live in &target.live {
            live.handle.wait_gone().await?;
        }
    }
    Ok(())
}

fn survey(targets: &mut [Target]) -> Result<Survey> {
    for target in targets.iter_mut() {
        target.live.retain(|live| !live.handle.is_known_dead());
        target.mark.leader_ended =
            target.mark.leader_ended.or(target.leader.as_ref().and_then(ProcessHandle::end_noticed));
    }
    let marks: Vec<&Mark> = targets.iter().map(|target| &target.mark).collect();
    scan::survey(&marks)
}

/// Takes what a pass found among those that get signals, and gives the new ones that of the stage.
fn take_in(
    targets: &mut [Target],
    survey: Survey,
    below: &mut Vec<(usize, ProcessSummary)>,
    action: KillAction,
    start: Instant,
) {
    for target in targets.iter_mut() {
        target.ending.suspects.clear();
    }
    for suspect in survey.suspects {
        let target = &mut targets[suspect.mark];
        // A leader that we may not signal is waited for, and named at the end if it stays.
        if target.live.iter().all(|live| live.handle.identity() != suspect.summary.identity) {
            target.ending.suspects.push(Suspect { process: suspect.summary, why: suspect.why });
        }
    }
    for found in survey.found {
        below.retain(|(_, summary)| summary.identity != found.summary.identity);
        let target = &mut targets[found.mark];
        let known = target.live.iter().position(|live| live.handle.identity() == found.summary.identity);
        if let Some(known) = known {
            // A leader that was refused, and is proven by now.
            if target.live[known].permit.is_err() {
                target.live[known].permit = Ok(found.permit);
                target.send(known, action, start);
            }
            continue;
        }
        target.ending.signalled.push(found.summary);
        target.live.push(Live { handle: found.handle, permit: Ok(found.permit) });
        target.send(target.live.len() - 1, action, start);
    }
}

/// Writes down who is left.
fn finish(targets: &mut [Target], below: Vec<(usize, ProcessSummary)>) {
    let mut reader = reader().ok();
    for target in targets.iter_mut() {
        target.ending.exit = target.leader_exit();
        // It lives, it is marked, and it could not be held: not proven to be gone.
        let unread = target.ending.suspects.iter().filter(|suspect| suspect.why == Refusal::NotHeld);
        let unread: Vec<_> = unread.map(|suspect| suspect.process.clone()).collect();
        target.ending.survivors.extend(unread);
        for live in target.live.drain(..) {
            let pid = live.handle.pid();
            let read = reader.as_mut().and_then(|reader| ProcessSummary::of(reader, pid).ok());
            let summary = match read.filter(|summary| summary.identity == live.handle.identity()) {
                Some(summary) => summary,
                None if live.handle.is_alive() => {
                    let mut summary = ProcessSummary::unreadable(pid, &std::io::Error::other("it lives"));
                    summary.identity = live.handle.identity();
                    summary
                }
                None => continue,
            };
            if let Err(why) = live.permit {
                target.ending.suspects.push(Suspect { process: summary.clone(), why });
            }
            target.ending.survivors.push(summary);
        }
    }
    for (index, summary) in below {
        let lives = ProcessHandle::open(summary.identity.pid).is_ok_and(|handle| handle.identity() == summary.identity);
        let ending = &mut targets[index].ending;
        let is_named = ending.suspects.iter().map(|suspect| &suspect.process).chain(&ending.survivors);
        if lives && is_named.clone().all(|named| named.identity != summary.identity) {
            ending.suspects.push(Suspect { process: summary, why: Refusal::UnmarkedDescendant });
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "kill_tests.rs"]
mod tests;
