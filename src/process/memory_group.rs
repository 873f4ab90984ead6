//! Where a process's memory is accounted: its group in the memory controller of cgroups, version 1 or 2.
//!
//! Nothing is made or changed to find it.

use crate::process::cgroup::{parse_kernel_path, parse_mounts_of};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a process's memory is accounted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MemoryGroup {
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

impl MemoryGroup {
    /// That of a process, by its number or `self`.
    pub(crate) fn of(process: &str) -> Option<Self> {
        Self::by(&fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?)
    }

    /// That of whoever has this file `cgroup`.
    pub(crate) fn by(cgroup: &str) -> Option<Self> {
        find(cgroup, &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    /// The directories of this group and of all above it that are of the controller.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Path> {
        let (directory, mark) = match self {
            Self::One { directory, .. } => (directory, "memory.usage_in_bytes"),
            Self::Two { directory, .. } => (directory, "cgroup.controllers"),
        };
        directory.ancestors().take_while(move |above| above.join(mark).exists())
    }
}

fn find(cgroup: &str, mountinfo: &str) -> Option<MemoryGroup> {
    let has = |list: &str, wanted: &str| list.split(',').any(|name| name == wanted);
    // `4:memory:/path`. Where version 1 has the memory controller, version 2 has not.
    let one = cgroup.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        has(names, "memory").then_some(path)
    });
    if let Some(path) = one {
        let mounts = parse_mounts_of(mountinfo, |kind, options| kind == "cgroup" && has(options, "memory"));
        let directory = mounts.iter().rev().find_map(|mount| mount.find_to_look(path).ok())?;
        return Some(MemoryGroup::One { directory, is_root: path == "/" });
    }
    let path = parse_kernel_path(cgroup.as_bytes())?;
    [true, false].into_iter().find_map(|is_local| {
        let is_wanted = |kind: &str, options: &str| kind == "cgroup2" && has(options, "memory_localevents") == is_local;
        let mounts = parse_mounts_of(mountinfo, is_wanted);
        let directory = mounts.iter().rev().find_map(|mount| mount.find_to_look(path).ok())?;
        Some(MemoryGroup::Two { directory, is_local })
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
        let found = find("8:pids:/\n4:cpuacct,memory:/a/b\n0::/c\n", ONE);
        assert_eq!(found, Some(MemoryGroup::One { directory: "/sys/fs/cgroup/memory/a/b".into(), is_root: false }));
        let found = find("4:memory:/\n0::/c\n", ONE);
        assert_eq!(found, Some(MemoryGroup::One { directory: "/sys/fs/cgroup/memory".into(), is_root: true }));
    }

    #[test]
    fn version_2_is_found_also_where_it_can_only_be_read_and_says_what_it_counts() {
        let found = find("0::/user.slice/x\n", TWO);
        let directory = PathBuf::from("/sys/fs/cgroup/user.slice/x");
        assert_eq!(found, Some(MemoryGroup::Two { directory: directory.clone(), is_local: false }));
        let local = TWO.replace("nsdelegate", "memory_localevents");
        assert_eq!(find("0::/user.slice/x\n", &local), Some(MemoryGroup::Two { directory, is_local: true }));
    }

    #[test]
    fn what_is_not_there_is_no_place() {
        assert_eq!(find("", ""), None);
        assert_eq!(find("4:memory:/a\n", TWO), None);
        assert_eq!(find("0::/a\n", "1 2 0:3 / /tmp rw - tmpfs tmpfs rw\n"), None);
        assert_eq!(find("nonsense\n::\n", ONE), None);
    }
}
