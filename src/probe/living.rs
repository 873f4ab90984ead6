//! The living processes of a tree, each held by its open directory.

use crate::probe::memory::share_of;
use crate::process::dead::{Held, held};
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::stat::Stat;
use crate::process::tree::{children, is_gone};
use crate::process::usage::Usage;
use crate::sys::{self, ProcDir, ProcReader};
use std::io;
use std::time::Duration;

/// A tree by its root, which need not live any more.
pub(crate) struct Tree {
    root: u32,
    /// This process: never a member, as each tree may be looked at by one of its own.
    own: u32,
    /// Since when the root leads a kernel session, if it does.
    leads: Option<Ticks>,
    /// Those that have been seen and not ended.
    members: Vec<Member>,
}

struct Member {
    pid: u32,
    directory: ProcDir,
}

impl Tree {
    /// # Errors
    ///
    /// If this very process does not live, or /proc does not show it.
    pub(crate) fn of(root: ProcessIdentity) -> io::Result<Self> {
        // First, since it says why where there is no descriptor left.
        let (directory, stat) = look(root.pid)?;
        let Held::It(handle) = held(root) else { return Err(io::Error::other("it has ended")) };
        // Only if it lives now is the directory this process's.
        if !handle.is_alive() || stat.started != root.started {
            return Err(io::Error::other("it has ended"));
        }
        let leads = (stat.session == root.pid).then_some(stat.started);
        let members = vec![Member { pid: root.pid, directory }];
        Ok(Self { root: root.pid, own: sys::own_pid(), leads, members })
    }

    /// What descends from this process, itself left out.
    pub(crate) fn below_us() -> Self {
        let root = sys::own_pid();
        Self { root, own: root, leads: None, members: Vec::new() }
    }

    /// What it uses now.
    ///
    /// # Errors
    ///
    /// If /proc cannot be read; not for what ends meanwhile.
    pub(crate) fn sample(&mut self, reader: &mut ProcReader) -> io::Result<Usage> {
        self.sample_up_to(reader, usize::MAX)
    }

    /// The same, where one process more than so many is enough to know: a tree that grows as fast as it is walked has no end.
    pub(crate) fn sample_up_to(&mut self, reader: &mut ProcReader, most: usize) -> io::Result<Usage> {
        self.walk(reader, most)?;
        self.sample_known()
    }

    /// The same of those that are known: where nobody was born since the last time, there is nobody else.
    pub(crate) fn sample_known(&mut self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        let mut failed = None;
        self.members.retain(|member| match member.sample(&mut usage) {
            Ok(()) => true,
            Err(cause) if is_gone(&cause) => false,
            Err(cause) => {
                failed = Some(cause);
                true
            }
        });
        failed.map_or(Ok(usage), Err)
    }

    /// Adds what is in the root's kernel session and not known: one getsid(2) for each process that there is.
    pub(crate) fn find_lost(&mut self, reader: &mut ProcReader) -> io::Result<()> {
        let Some(since) = self.leads else { return Ok(()) };
        let all = reader.pids()?;
        let lost: Vec<u32> = all.into_iter().filter(|pid| sys::session_of(*pid) == Some(self.root)).collect();
        self.take_in_lost(since, &lost)
    }

    pub(crate) fn take_in_lost(&mut self, since: Ticks, pids: &[u32]) -> io::Result<()> {
        for pid in pids {
            self.add(*pid, |stat, root| stat.session == root && stat.started >= since)?;
        }
        Ok(())
    }

    /// As [`Usage::memory`] of all, where each page counts by its share: what a process has in common with its forked child counts
    /// once. `Pss_Anon` of smaps_rollup (Linux 5.3), else the private
    /// pages. Slow, for what is about to be judged.
    pub(crate) fn exact_memory(&self) -> u64 {
        let mut buffer = Vec::new();
        let mut of = |member: &Member| {
            let exact = member.directory.read("smaps_rollup", &mut buffer).ok();
            let exact = exact.and_then(|text| share_of(&String::from_utf8_lossy(text)));
            // Of another user's process, and of one that changes its user, nobody else may know.
            exact
                .or_else(|| member.directory.memory().ok().map(|[_, resident, shared]| resident.saturating_sub(shared)))
        };
        let living = || self.members.iter().filter(|member| member.lives()).count();
        least(|| {
            let before = living();
            (self.members.iter().filter_map(&mut of).sum(), living() == before)
        })
    }

    /// Its processes that live now, each with its number and what it has resident and no file has.
    pub(crate) fn parts(&self) -> Vec<(u32, u64)> {
        let part = |member: &Member| {
            let [mapped, resident, shared] = member.directory.memory().ok()?;
            (mapped > 0).then_some((member.pid, resident.saturating_sub(shared)))
        };
        self.members.iter().filter_map(part).collect()
    }

    /// What all have resident that no file has, of those that are known; see [`sample_known`](Self::sample_known).
    pub(crate) fn memory_known(&mut self) -> u64 {
        let memory = |member: &Member| member.directory.memory().ok().filter(|[mapped, ..]| *mapped > 0);
        let mut all = 0;
        self.members.retain(|member| {
            let seen = memory(member);
            all += seen.map_or(0, |[_, resident, shared]| resident.saturating_sub(shared));
            seen.is_some()
        });
        all
    }

    pub(crate) fn root(&self) -> u32 {
        self.root
    }

    /// The root that leads a kernel session, with that session's begin.
    pub(crate) fn leader(&self) -> Option<(u32, Ticks)> {
        self.leads.map(|since| (self.root, since))
    }

    pub(crate) fn walk(&mut self, reader: &mut ProcReader, most: usize) -> io::Result<()> {
        let mut next: Vec<u32> = self.members.iter().map(|member| member.pid).collect();
        if self.is_ours() {
            next.push(self.root);
        }
        while let Some(parent) = next.pop() {
            let found = match children(reader, parent) {
                Ok(found) => found,
                Err(cause) if is_gone(&cause) => continue,
                Err(cause) => return Err(cause),
            };
            // A number that was given again while it was listed lists a stranger's.
            if found.is_empty() || !(self.is_ours() && parent == self.root || self.holds(parent)) {
                continue;
            }
            for pid in found {
                // The number may be another's since the list was read.
                if self.add(pid, |stat, _| stat.parent == parent)? {
                    next.push(pid);
                }
                if self.members.len() > most {
                    self.forget_the_dead();
                    if self.members.len() > most {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// True if one of those lives that were seen.
    pub(crate) fn lives(&self) -> bool {
        self.members.iter().any(Member::lives)
    }

    fn forget_the_dead(&mut self) {
        self.members.retain(Member::lives);
    }

    /// This process is no member of its own tree.
    fn is_ours(&self) -> bool {
        self.root == self.own
    }

    /// True if this number is still that of a process of the tree.
    fn holds(&self, pid: u32) -> bool {
        self.members.iter().any(|member| member.pid == pid && member.directory.memory().is_ok())
    }

    /// True for a living one that was not known.
    fn add(&mut self, pid: u32, belongs: impl Fn(&Stat, u32) -> bool) -> io::Result<bool> {
        if pid == self.own || self.members.iter().any(|member| member.pid == pid) {
            return Ok(false);
        }
        match look(pid) {
            Ok((directory, stat)) => {
                let is_new = !stat.is_dead() && belongs(&stat, self.root);
                if is_new {
                    self.members.push(Member { pid, directory });
                }
                Ok(is_new)
            }
            Err(cause) if is_gone(&cause) => Ok(false),
            Err(cause) => Err(cause),
        }
    }
}

impl Member {
    /// A zombie has no memory.
    fn lives(&self) -> bool {
        self.directory.memory().is_ok_and(|[mapped, ..]| mapped > 0)
    }

    fn sample(&self, usage: &mut Usage) -> io::Result<()> {
        let [mapped, resident, shared] = self.directory.memory()?;
        // A zombie has no memory at all, and nothing else.
        if mapped == 0 {
            return Ok(());
        }
        usage.memory += resident.saturating_sub(shared);
        usage.processes += 1;
        usage.descriptors += self.directory.descriptor_count().unwrap_or(0);
        // By its number: what has ended since, and whose number is another's, costs one wrong reading at most.
        usage.processor += Duration::from_nanos(self.directory.processor_time().unwrap_or(0));
        Ok(())
    }
}

/// The least of some looks at what processes share. One that ends, or begins another program, while the others are looked at leaves its shares
/// to them, so that these count twice; that nobody has ended meanwhile is the second half of an answer. Where somebody always does, so many
/// looks are enough.
fn least(mut look: impl FnMut() -> (u64, bool)) -> u64 {
    let mut least = u64::MAX;
    for number in 1..=MOST_LOOKS {
        let (seen, all_lived) = look();
        least = least.min(seen);
        if number > 1 && all_lived {
            break;
        }
    }
    least
}

/// More than a session that ends needs: each look takes a moment, in which the rest of it dies.
const MOST_LOOKS: usize = 6;

/// Whoever has this number now. The directory stays this process's, so what is read by it afterwards is of the same one.
fn look(pid: u32) -> io::Result<(ProcDir, Stat)> {
    let directory = ProcDir::open(pid)?;
    let mut buffer = [0; 1024];
    let stat = Stat::parse(directory.read_short("stat", &mut buffer)?);
    Ok((directory, stat.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its `stat` is malformed"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_while_somebody_ended_is_looked_at_again_and_no_look_counts_alone() {
        let of = |looks: &[(u64, bool)]| {
            let mut looks = looks.iter();
            (least(|| *looks.next().expect("no more than these")), looks.len())
        };
        assert_eq!(of(&[(158, false), (120, false), (76, true), (9, true)]), (76, 1));
        assert_eq!(of(&[(120, true), (80, true), (9, true)]), (80, 1));
        assert_eq!(of(&[(70, true), (80, true)]), (70, 0));
        assert_eq!(of(&[(120, false); MOST_LOOKS]), (120, 0));
    }
}
