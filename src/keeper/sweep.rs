//! Ending what a dead run has left, by the marks in its ledger.

use crate::backoff::{Backoff, pause};
use crate::error::Error;
use crate::keeper::recipes;
use crate::ledger::recipe::Recipe;
use crate::ledger::replay::{Open, Replayed};
use crate::ledger::swept::Swept;
use crate::process::cgroup::Leaf;
use crate::process::dead::{Held, held};
use crate::process::handle::{ProcessHandle, reader};
use crate::process::identity::Ticks;
use crate::process::kill::{Target, end_all};
use crate::process::policy::{Ending, Suspect};
use crate::process::rule::{Mark, may_signal};
use crate::process::scan::examine;
use crate::process::summary::ProcessSummary;
use crate::process::tree;
use crate::runtime::park_on;
use crate::sys;
use std::time::{Duration, Instant};

/// Until when a process of this run may have started: its owner's death, and the time that a late creation gets.
pub(crate) fn until(replayed: &Replayed, death: Ticks) -> Ticks {
    death + sys::ticks_in(replayed.create_within)
}

/// Looks for what is left of the sessions that the ledger has open, and ends it.
///
/// Where a server was asked for a session and its answer has not come, it is looked for until it can not be born any more.
pub(crate) fn sweep(replayed: &Replayed, death: Ticks, grace: Duration) -> Swept {
    let start = Instant::now();
    let until = until(replayed, death);
    let mut swept = Swept::default();
    let mut targets: Vec<(&Open, Target)> = Vec::new();
    let mut named: Vec<(ProcessHandle, Suspect)> = Vec::new();
    // As this process sees it: what was written down is relative to the writer's namespace. Once for them all.
    let cgroup = group_of(replayed).map(|leaf| leaf.mark().clone());
    for open in replayed.open.values() {
        let mark = Mark { cgroup: cgroup.clone(), ..replayed.mark(open, Some(until)) };
        let (target, refused) = target(mark);
        targets.push((open, target));
        named.extend(refused);
    }
    if targets.is_empty() {
        return swept;
    }
    let unborn_until = replayed.open.values().any(is_unborn).then_some(until);
    let (opens, mut targets): (Vec<&Open>, Vec<Target>) = targets.into_iter().unzip();
    let mut result = park_on(end_all(&mut targets, grace, start));
    for time in Backoff::new() {
        if result.is_err() || unborn_until.is_none_or(|until| sys::now_ticks() > until) {
            break;
        }
        pause(time);
        result = park_on(end_all(&mut targets, grace, start));
    }
    // Processes first: a server that polls notices their end at once then, and what it was asked in vain is over all the same.
    let asked = recipes::follow(&opens);
    if result.is_ok() && asked.iter().any(Option::is_some) {
        // Whatever a server has started meanwhile in place of what had ended.
        result = park_on(end_all(&mut targets, grace, start));
    }
    if let Err(cause) = result {
        swept.undone.push(format!("nothing is proven to be gone: {cause}"));
        swept.is_unproven = true;
    }
    for ((open, target), asked) in opens.into_iter().zip(targets).zip(asked) {
        if !swept.is_unproven
            && let Err(cause) = remove_home(open, &target.ending)
        {
            swept.undone.push(cause.to_string());
        }
        take_down(open, target, asked, &mut swept);
    }
    // Those that have ended by themselves meanwhile are nobody's trouble.
    let lives = |(handle, suspect): (ProcessHandle, Suspect)| handle.is_alive().then_some(suspect);
    swept.suspects.extend(named.into_iter().filter_map(lives));
    swept.took = start.elapsed();
    swept
}

/// While somebody of it lives, it is used, and the record leads to it.
fn remove_home(open: &Open, ending: &Ending) -> Result<(), Error> {
    match &open.home {
        Some(home) if ending.survivors.is_empty() => home.remove(open.cookie),
        _ => Ok(()),
    }
}

/// Whether a server was asked for it, and its answer has not come.
fn is_unborn(open: &Open) -> bool {
    !open.is_identified && !matches!(open.recipe, Recipe::Own)
}

/// What is looked for, and a leader that may not be signalled.
fn target(mut mark: Mark) -> (Target, Option<(ProcessHandle, Suspect)>) {
    let mut refused = None;
    let leader = mark.leader.and_then(|leader| match held(leader) {
        Held::It(handle) => match refusal(&handle, &mark) {
            None => Some(handle),
            // Not waited for either, nor are its children named, which may be everybody's: process 1 is such a leader.
            Some(suspect) => {
                refused = Some((handle, suspect));
                mark.leader = None;
                None
            }
        },
        // When it ended nobody has written down, and from then on its kernel session's number marks nothing by itself. Who
        // carries the cookie is found all the same.
        Held::Nobody => {
            mark.leader_ended = Some(0);
            None
        }
        // The number is free for others only when the session's last member is gone, so that whoever is in a session of
        // this number now is not of ours.
        Held::Another => {
            mark.leader = None;
            None
        }
    });
    (Target::new(mark, leader), refused)
}

/// The control group of a run, if it is one: whatever else its ledger names holds others' processes.
pub(crate) fn group_of(replayed: &Replayed) -> Option<Leaf> {
    let leaf = Leaf::open(&replayed.cgroup.as_ref()?.path).ok()?;
    leaf.is_named(&replayed.run.simple().to_string()).then_some(leaf)
}

/// Why the rule does not let this leader be signalled; `None` if it does, and for one that has ended.
fn refusal(leader: &ProcessHandle, mark: &Mark) -> Option<Suspect> {
    let mut reader = reader().ok()?;
    let (_, mut evidence, process) = examine(&mut reader, leader.pid(), mark).ok()?;
    evidence.expected = Some(leader.identity());
    let why = may_signal(&evidence, mark, &tree::ourselves(&mut reader).ok()?).err()?;
    Some(Suspect { process, why })
}

fn take_down(open: &Open, target: Target, asked: Option<Result<(), String>>, swept: &mut Swept) {
    let ending = target.ending;
    let kind = if open.home.is_some() { "server" } else { "session" };
    let what = format!("{kind} `{}` (made at {})", open.label, open.made_at);
    let is_known = open.leader.is_some() || open.cookie.is_some();
    if let Some(asked) = asked {
        if let Err(why) = asked {
            swept.undone.push(format!("{what}: its server could not be made to end it, by {}: {why}", open.recipe));
        }
    } else if !is_known || (open.is_identified && open.leader.is_none() && !matches!(open.recipe, Recipe::Own)) {
        swept.undone.push(format!("{what}: its server was not asked to end it: {}", open.recipe));
    } else if is_unborn(open) && ending.signalled.is_empty() {
        swept.undone.push(format!(
            "{what}: it was being created, and nothing with its mark came in time; should its server make it yet, it is ended \
             by {}",
            open.recipe
        ));
    }
    for process in ending.signalled {
        if swept.ended.iter().all(|known: &ProcessSummary| known.identity != process.identity) {
            swept.ended.push(process);
        }
    }
    swept.survivors.extend(ending.survivors);
    swept.suspects.extend(ending.suspects);
}

#[cfg(all(test, target_os = "linux"))]
#[path = "sweep_tests.rs"]
mod tests;
