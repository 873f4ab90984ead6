//! The kernel's counters of kills for want of memory: of the machine, and of a process's memory control group.
//!
//! Each may be missing: another system, a kernel before 4.13, a container without a memory controller. Nothing is made or
//! changed to read them.

use crate::process::handle::ProcessHandle;
use crate::process::memory_group::MemoryGroup;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const MACHINE: &str = "/proc/vmstat";

/// How many processes the kernel has killed for want of memory until now.
///
/// ```
/// # use termleash::process::death::OomCounters;
/// let before = OomCounters::own();
/// // … a child of this process, which begins in the same control group, lives and dies …
/// let after = before.again();
/// assert!(after.machine() >= before.machine());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomCounters {
    pub(crate) machine: Option<u64>,
    pub(crate) group: Option<GroupKills>,
}

/// The counter of a control group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupKills {
    pub(crate) file: PathBuf,
    pub(crate) kills: u64,
    pub(crate) decides: bool,
}

impl OomCounters {
    /// Those for a child of this process: children begin in their parent's group.
    pub fn own() -> Self {
        Self::at("self")
    }

    /// Those for a process, by the group that it is in now.
    pub fn of(process: &ProcessHandle) -> Self {
        Self::at(&process.pid().to_string())
    }

    fn at(process: &str) -> Self {
        let cgroup = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        Self { machine: killed_on_machine(), group: group_of(cgroup) }
    }

    /// The same counters once more; what cannot be read any more is missing.
    pub fn again(&self) -> Self {
        let group =
            self.group.as_ref().and_then(|group| Some(GroupKills { kills: kills(&group.file)?, ..group.clone() }));
        Self { machine: killed_on_machine(), group }
    }

    /// Of the whole machine, all control groups included.
    pub fn machine(&self) -> Option<u64> {
        self.machine
    }

    /// Of the memory control group.
    pub fn group(&self) -> Option<&GroupKills> {
        self.group.as_ref()
    }
}

impl GroupKills {
    /// `memory.events` (version 2, with all groups below it) or `memory.oom_control` (version 1, that group alone).
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// How many were killed.
    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// True if every such kill of a process of the group is in it, so that none was made if it did not rise.
    pub fn decides(&self) -> bool {
        self.decides
    }
}

/// How many on the whole machine since boot (Linux 4.13); `None` where it does not say.
pub(crate) fn killed_on_machine() -> Option<u64> {
    kills(Path::new(MACHINE))
}

/// The file that counts for whoever has this file `cgroup`. Each session asks, and nearly all are in one group: what that led to last
/// time is tried first, since the list of mounts costs as much as everything else together.
fn group_of(cgroup: String) -> Option<GroupKills> {
    static LAST: Mutex<Option<(String, GroupKills)>> = Mutex::new(None);
    let mut last = LAST.lock();
    if let Some((_, known)) = last.as_ref().filter(|(of, _)| *of == cgroup)
        && let Some(kills) = kills(&known.file)
    {
        return Some(GroupKills { kills, ..known.clone() });
    }
    let found = MemoryGroup::by(&cgroup).and_then(|group| look(&group));
    *last = found.clone().map(|found| (cgroup, found));
    found
}

/// `oom_kill N`, as all three files have it.
fn kills(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok())
}

/// The file that counts the kills in a group, and whether it has all of them.
fn look(place: &MemoryGroup) -> Option<GroupKills> {
    let found = |file: PathBuf, decides| Some(GroupKills { kills: kills(&file)?, file, decides });
    match place {
        // What the root's counts is not documented.
        MemoryGroup::One { directory, is_root } => found(directory.join("memory.oom_control"), !is_root),
        // A group without a memory controller belongs to the nearest one above that has it.
        MemoryGroup::Two { directory, is_local } => {
            place.chain().find_map(|above| found(above.join("memory.events"), !is_local || above == directory))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_counts_nothing() {
        let nowhere = OomCounters::at("nobody");
        assert_eq!(nowhere.group(), None);
        let gone = GroupKills { file: "/nowhere/memory.events".into(), kills: 3, decides: true };
        let before = OomCounters { machine: None, group: Some(gone) };
        assert_eq!(before.again().group(), None, "a group that is gone counts nothing");
    }

    #[test]
    fn a_group_of_version_2_without_the_controller_is_counted_by_the_one_above() {
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        for directory in [top.path(), &top.path().join("a"), &below] {
            fs::write(directory.join("cgroup.controllers"), "").unwrap();
        }
        let file = top.path().join("a/memory.events");
        fs::write(&file, "low 0\noom 2\noom_kill 1\noom_group_kill 7\n").unwrap();
        let look = |is_local| look(&MemoryGroup::Two { directory: below.clone(), is_local });
        assert_eq!(look(false), Some(GroupKills { file: file.clone(), kills: 1, decides: true }));
        assert_eq!(look(true), Some(GroupKills { file: file.clone(), kills: 1, decides: false }));
        fs::write(&file, "oom 2\n").unwrap();
        assert_eq!(look(false), None, "a kernel that does not count");
    }
}
