//! The kernel's counters of kills for want of memory: of the machine, and of a process's memory control group.
//!
//! Each may be missing: another system, a kernel before 4.13, a container without a memory controller. Nothing is made or
//! changed to read them.

use crate::process::cgroup::{parse_kernel_path, parse_mounts_of};
use crate::process::handle::ProcessHandle;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const MACHINE: &str = "/proc/vmstat";

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
        let read = |file: String| fs::read_to_string(file).unwrap_or_default();
        let place = place(&read(format!("/proc/{process}/cgroup")), &read("/proc/self/mountinfo".into()));
        Self { machine: killed_on_machine(), group: place.and_then(|place| place.look()) }
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

/// `oom_kill N`, as all three files have it.
fn kills(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok())
}

/// Where a process's memory is accounted.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    One {
        directory: PathBuf,
        is_root: bool,
    },
    Two {
        directory: PathBuf,
        /// Each group's file counts its own processes only, and not those of the groups below.
        is_local: bool,
    },
}

impl Place {
    fn look(&self) -> Option<GroupKills> {
        let found = |file: PathBuf, decides| Some(GroupKills { kills: kills(&file)?, file, decides });
        match self {
            // What the root's counts is not documented.
            Self::One { directory, is_root } => found(directory.join("memory.oom_control"), !is_root),
            // A group without a memory controller belongs to the nearest one above that has it.
            Self::Two { directory, is_local } => directory
                .ancestors()
                .take_while(|above| above.join("cgroup.controllers").exists())
                .find_map(|above| found(above.join("memory.events"), !is_local || above == directory)),
        }
    }
}

fn place(cgroup: &str, mountinfo: &str) -> Option<Place> {
    let has = |list: &str, wanted: &str| list.split(',').any(|name| name == wanted);
    // `4:memory:/path`. Where version 1 has the memory controller, version 2 has not.
    let one = cgroup.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        has(names, "memory").then_some(path)
    });
    if let Some(path) = one {
        let mounts = parse_mounts_of(mountinfo, |kind, options| kind == "cgroup" && has(options, "memory"));
        let directory = mounts.iter().rev().find_map(|mount| mount.find_to_look(path).ok())?;
        return Some(Place::One { directory, is_root: path == "/" });
    }
    let path = parse_kernel_path(cgroup.as_bytes())?;
    [true, false].into_iter().find_map(|is_local| {
        let is_wanted = |kind: &str, options: &str| kind == "cgroup2" && has(options, "memory_localevents") == is_local;
        let mounts = parse_mounts_of(mountinfo, is_wanted);
        let directory = mounts.iter().rev().find_map(|mount| mount.find_to_look(path).ok())?;
        Some(Place::Two { directory, is_local })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "30 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                       34 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                       40 25 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const TWO: &str = "40 25 0:37 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn a_version_1_controller_is_found_before_a_version_2_without_one() {
        let found = place("8:pids:/\n4:cpuacct,memory:/a/b\n0::/c\n", ONE);
        assert_eq!(found, Some(Place::One { directory: "/sys/fs/cgroup/memory/a/b".into(), is_root: false }));
        let found = place("4:memory:/\n0::/c\n", ONE);
        assert_eq!(found, Some(Place::One { directory: "/sys/fs/cgroup/memory".into(), is_root: true }));
    }

    #[test]
    fn version_2_is_found_also_where_it_can_only_be_read_and_says_what_it_counts() {
        let found = place("0::/user.slice/x\n", TWO);
        let directory = PathBuf::from("/sys/fs/cgroup/user.slice/x");
        assert_eq!(found, Some(Place::Two { directory: directory.clone(), is_local: false }));
        let local = TWO.replace("nsdelegate", "memory_localevents");
        assert_eq!(place("0::/user.slice/x\n", &local), Some(Place::Two { directory, is_local: true }));
    }

    #[test]
    fn what_is_not_there_is_no_place() {
        assert_eq!(place("", ""), None);
        assert_eq!(place("4:memory:/a\n", TWO), None);
        assert_eq!(place("0::/a\n", "1 2 0:3 / /tmp rw - tmpfs tmpfs rw\n"), None);
        assert_eq!(place("nonsense\n::\n", ONE), None);
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
        let place = |is_local| Place::Two { directory: below.clone(), is_local };
        assert_eq!(place(false).look(), Some(GroupKills { file: file.clone(), kills: 1, decides: true }));
        assert_eq!(place(true).look(), Some(GroupKills { file: file.clone(), kills: 1, decides: false }));
        fs::write(&file, "oom 2\n").unwrap();
        assert_eq!(place(false).look(), None, "a kernel that does not count");
    }
}
