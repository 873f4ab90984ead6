//! One session that is watched: its tree, what that used last, and when to look again.

use crate::keeper::patience::TICK;
use crate::keeper::watch::pace::{Growing, LONGEST, Looks, next, rate};
use crate::ledger::breach::{Breach, Exceeded};
use crate::ledger::replay::Open;
use crate::ledger::swept::Swept;
use crate::limits::SessionLimits;
use crate::probe::living::Tree;
use crate::process::handle::read_stat;
use crate::process::identity::ProcessIdentity;
use crate::process::usage::Usage;
use crate::sys::ProcReader;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a session is taken to be able to grow by each second, before it was seen to: twice the 100 MB of which it is promised that it is
/// ended within one and a half of its limit. What fills memory as fast as it can, by 1.1 GB (measured with `tail /dev/zero`), is known by
/// its second look.
const FASTEST_MEMORY: f64 = 200e6;
const FASTEST_DESCRIPTORS: f64 = 2000.0;
/// So many samples stand in a breach.
const SAMPLES: usize = 5;

pub(crate) struct Session {
    leader: ProcessIdentity,
    tree: Tree,
    /// On the watcher's clock, which stands still while the test is stopped.
    began: Duration,
    first: Instant,
    samples: VecDeque<(Instant, Usage)>,
    pub(crate) due: Instant,
    /// From here on it may be looked at along with others.
    pub(crate) soon: Instant,
    /// The kernel's last number at the last look.
    pub(crate) last_pid: u32,
    /// The same when its tree was walked last.
    walked: Looks,
}

impl Session {
    /// Of a session whose leader lives and can be looked at.
    ///
    /// # Errors
    ///
    /// If it does not live, or cannot be looked at.
    pub(crate) fn of(leader: ProcessIdentity, clock: Duration, now: Instant) -> std::io::Result<Self> {
        let (tree, samples) = (Tree::of(leader)?, VecDeque::new());
        Ok(Self {
            leader,
            tree,
            began: clock,
            first: now,
            samples,
            due: now,
            soon: now,
            last_pid: 0,
            walked: Looks::default(),
        })
    }

    pub(crate) fn leader(&self) -> ProcessIdentity {
        self.leader
    }

    /// The number of the kernel session that its leader leads.
    pub(crate) fn leads(&self) -> Option<u32> {
        self.tree.leader().map(|(leader, _)| leader)
    }

    /// These are in its kernel session now.
    ///
    /// # Errors
    ///
    /// If /proc cannot be read.
    pub(crate) fn take_in(&mut self, members: Option<&Vec<u32>>) -> std::io::Result<()> {
        match (members, self.tree.leader()) {
            (Some(members), Some((_, since))) => self.tree.take_in_lost(since, members),
            _ => Ok(()),
        }
    }

    /// Whether these members of its kernel session are too many. Nobody else has the session's number as long as it has one, and one
    /// that has none left has ended.
    pub(crate) fn too_many(
        &self,
        reader: &mut ProcReader,
        limits: &SessionLimits,
        members: &[u32],
    ) -> Option<Exceeded> {
        let limit = limits.processes.filter(|limit| members.len() > *limit && self.tree.lives())?;
        // Those that nobody has asked for their status yet are in it, too. One more than the limit is enough to know: where they are
        // as many, they fork while they are looked at.
        let lives = |pid: &&u32| read_stat(reader, **pid).is_ok_and(|stat| !stat.is_dead());
        (members.iter().filter(lives).take(limit.saturating_add(1)).count() > limit)
            .then_some(Exceeded::Processes { limit, was: members.len() })
    }

    pub(crate) fn usage(&self) -> Option<&Usage> {
        self.samples.back().map(|(_, usage)| usage)
    }

    /// How many processes may be born anywhere before it must be looked at.
    pub(crate) fn spare_births(&self, limits: &SessionLimits) -> u64 {
        let Some(limit) = limits.processes else { return u64::MAX };
        let used = self.usage().map_or(0, |usage| usage.processes);
        (limit.saturating_sub(used) as u64 / 2).max(1)
    }

    /// Looks at it; answers with what is over a limit, and says when to look again.
    ///
    /// # Errors
    ///
    /// If /proc cannot be read.
    pub(crate) fn look(
        &mut self,
        reader: &mut ProcReader,
        limits: &SessionLimits,
        clock: Duration,
        (sessions, last_pid): (usize, u32),
    ) -> std::io::Result<Option<Exceeded>> {
        let begin = Instant::now();
        let usage = if self.walked.are_done(last_pid) {
            self.tree.sample_known()?
        } else {
            self.tree.sample_up_to(reader, limits.processes.unwrap_or(usize::MAX))?
        };
        self.walked.note(last_pid);
        let exceeded = self.exceeded(&usage, limits, clock);
        let period = self.period(&usage, limits, begin, sessions);
        // Its time may be over before.
        let left = limits.wall_time.map(|limit| limit.saturating_sub(clock.saturating_sub(self.began)).max(TICK));
        let period = left.map_or(period, |left| period.min(left));
        (self.soon, self.due) = (begin + period / 8 * 7, begin + period);
        self.samples.push_back((begin, usage));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        Ok(exceeded)
    }

    /// It could not be looked at.
    pub(crate) fn look_later(&mut self, now: Instant) {
        (self.soon, self.due) = (now + LONGEST, now + LONGEST);
    }

    fn exceeded(&self, usage: &Usage, limits: &SessionLimits, clock: Duration) -> Option<Exceeded> {
        if usage.processes == 0 {
            return None;
        }
        if let Some(limit) = limits.memory
            && usage.memory > limit
        {
            // A page that it shares with its forked children is in that once for each.
            let was = self.tree.exact_memory();
            if was > limit {
                return Some(Exceeded::Memory { limit, was });
            }
        }
        if let Some(limit) = limits.processes.filter(|limit| usage.processes > *limit) {
            return Some(Exceeded::Processes { limit, was: usage.processes });
        }
        if let Some(limit) = limits.descriptors.filter(|limit| usage.descriptors > *limit) {
            return Some(Exceeded::Descriptors { limit, was: usage.descriptors });
        }
        let was = clock.saturating_sub(self.began);
        limits.wall_time.filter(|limit| was > *limit).map(|limit| Exceeded::WallTime { limit, was })
    }

    fn period(&self, usage: &Usage, limits: &SessionLimits, now: Instant, sessions: usize) -> Duration {
        let last = self.samples.back();
        let growing = |limit: Option<u64>, fastest: f64, of: &dyn Fn(&Usage) -> u64| {
            let used = of(usage);
            let rate = last.map_or(0.0, |(at, before)| rate(of(before), used, now.duration_since(*at)));
            limit.map(|limit| Growing { used, limit, rate, fastest })
        };
        // Processes are counted by the births that there are at all.
        let all: Vec<Growing> = [
            growing(limits.memory, FASTEST_MEMORY, &|usage| usage.memory),
            growing(limits.descriptors, FASTEST_DESCRIPTORS, &|usage| usage.descriptors),
        ]
        .into_iter()
        .flatten()
        .collect();
        next(&all, last.is_none(), now.elapsed(), sessions)
    }

    pub(crate) fn breach(&self, at: Duration, open: &Open, exceeded: Exceeded, swept: Swept) -> Breach {
        let samples = self.samples.iter().map(|(at, usage)| (at.duration_since(self.first), *usage)).collect();
        let (label, made_at) = (open.label.clone(), open.made_at.clone());
        Breach { at, id: open.session.clone(), label, made_at, pid: self.leader.pid(), exceeded, samples, swept }
    }
}
