//! The memory of a test as a whole: what descends from its keeper.

use crate::keeper::watch::notice::{Excess, Notice};
use crate::keeper::watch::pace::{Growing, LONGEST, Looks, next, rate};
use crate::ledger::replay::Replayed;
use crate::probe::living::Tree;
use crate::process::handle::reader;
use crate::process::identity::ProcessIdentity;
use crate::report::largest::{largest, named};
use crate::report::text::bytes;
use crate::sys::ProcReader;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Instant;

/// What one thread fills in a second, about (1.1 and 1.2 GB measured, with `tail /dev/zero` and a string of perl's).
const FASTEST: f64 = 1e9;
/// A look at all processes costs as much as one at so many sessions may.
const AS_SESSIONS: usize = 5;
/// So much more than the limit, and the test is not waited for any more: half of it, and at least what a body may need to name the call
/// sites of its heap, whose debug information is read for that.
const FAR: f64 = 0.5;
const LEAST_FAR: u64 = 256 << 20;
/// So many sessions are named, and so many processes.
const MOST: usize = 10;

pub(crate) struct Whole {
    tree: Tree,
    body: ProcessIdentity,
    last: Option<(Instant, u64)>,
    /// The kernel's last number when the tree was walked.
    walked: Looks,
    pub(crate) due: Instant,
    /// It was over its limit once.
    pub(crate) is_over: bool,
}

impl Whole {
    pub(crate) fn of(body: ProcessIdentity, now: Instant) -> Self {
        Self { tree: Tree::below_us(), body, last: None, walked: Looks::default(), due: now, is_over: false }
    }

    /// # Errors
    ///
    /// If /proc cannot be read.
    pub(crate) fn look(
        &mut self,
        reader: &mut ProcReader,
        limit: u64,
        run: Option<&Replayed>,
        last_pid: u32,
    ) -> std::io::Result<Option<Notice>> {
        let begin = Instant::now();
        if !self.walked.are_done(last_pid) {
            self.tree.walk(reader, usize::MAX)?;
            self.walked.note(last_pid);
        }
        let used = self.tree.memory_known();
        let rate = self.last.map_or(0.0, |(at, before)| rate(before, used, begin.duration_since(at)));
        let over = self.over(used, limit, run);
        let growing = Growing { used, limit, rate, fastest: FASTEST };
        self.due = begin + next(&[growing], self.last.is_none(), begin.elapsed(), AS_SESSIONS);
        if self.is_over {
            // It is told, and only whether it goes far beyond is of interest: each exact look takes long.
            self.due = self.due.max(begin + LONGEST / 5);
        }
        self.last = Some((begin, used));
        Ok(over)
    }

    fn over(&mut self, used: u64, limit: u64, run: Option<&Replayed>) -> Option<Notice> {
        if used <= limit {
            return None;
        }
        let was = self.tree.exact_memory();
        if self.is_over {
            let more = ((FAR * limit as f64) as u64).max(LEAST_FAR);
            return (was > limit.saturating_add(more)).then_some(Notice::Far);
        }
        if was <= limit {
            return None;
        }
        self.is_over = true;
        Some(Notice::Over(self.describe(was, limit, run)))
    }

    /// What lives, and how big it is.
    fn describe(&self, was: u64, limit: u64, run: Option<&Replayed>) -> Excess {
        let mut parts = self.tree.parts();
        let mut text = format!("the test went over its limit of {} of memory: it had {}", bytes(limit), bytes(was));
        // What is not told apart yet; each process is told once.
        let mut take = |pids: &BTreeSet<u32>| {
            let (of_it, rest): (Vec<_>, Vec<_>) = parts.iter().copied().partition(|(pid, _)| pids.contains(pid));
            parts = rest;
            (of_it.iter().map(|(_, memory)| memory).sum::<u64>(), of_it.len())
        };
        // Writing to a string does not fail.
        let (own, _) = take(&BTreeSet::from([self.body.pid()]));
        let _ = write!(text, "\n    {:>10}  its own process, pid {}", bytes(own), self.body.pid());
        let mut sessions = Vec::new();
        for open in run.into_iter().flat_map(|run| run.open.values()) {
            let Some(leader) = open.leader.filter(|leader| leader.pid() != self.body.pid()) else { continue };
            let Some(pids) = members(leader) else { continue };
            let (memory, count) = take(&pids);
            let kind = if open.home.is_some() { "server" } else { "session" };
            let what = format!("{kind} `{}` (made at {}, pid {})", open.label, open.made_at, leader.pid());
            sessions.push((memory, format!("{what} with {count} process{}", if count == 1 { "" } else { "es" })));
        }
        text += &largest(sessions, MOST, String::clone);
        let others = parts.iter().map(|(pid, memory)| (*memory, *pid)).collect();
        text += &largest(others, MOST, named);
        text += "\n    to do: find what grows, or raise the limit: `Limits::max_test_memory`, or TERMLEASH_MEMORY for a run";
        Excess { why: text, is_its_own: own > was / 2, limit: bytes(limit), was: bytes(was) }
    }
}

/// The processes of a session's tree.
fn members(leader: ProcessIdentity) -> Option<BTreeSet<u32>> {
    let mut reader = reader().ok()?;
    let mut tree = Tree::of(leader).ok()?;
    tree.find_lost(&mut reader).ok()?;
    tree.sample(&mut reader).ok()?;
    Some(tree.parts().into_iter().map(|(pid, _)| pid).collect())
}
