//! How much memory is free: on this machine, and for this process's control groups.

use crate::process::memory_group::MemoryGroup;
use std::fs;
use std::path::{Path, PathBuf};

const MACHINE: &str = "/proc/meminfo";
/// Version 1 says a number near the largest one for no limit.
const NO_LIMIT: u64 = 1 << 60;

/// How much is free, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FreeMemory {
    /// Available to new programs without swapping, by the kernel's estimate.
    pub(crate) machine: u64,
    /// What a control group has left, of those that have a limit, and which one it is.
    pub(crate) groups: Vec<(u64, PathBuf)>,
}

impl FreeMemory {
    /// # Errors
    ///
    /// Why it cannot be known, in words.
    pub(crate) fn read() -> Result<Self, String> {
        Self::read_at(Path::new(MACHINE), MemoryGroup::of("self").as_ref())
    }

    fn read_at(machine: &Path, group: Option<&MemoryGroup>) -> Result<Self, String> {
        let text =
            fs::read_to_string(machine).map_err(|cause| format!("{} cannot be read: {cause}", machine.display()))?;
        let machine = available(&text).ok_or_else(|| format!("{} has no `MemAvailable`", machine.display()))?;
        let [most, used] = match group {
            Some(MemoryGroup::One { .. }) => ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            _ => ["memory.max", "memory.current"],
        };
        // A limit of any group above holds for this one, too.
        let groups = group.iter().flat_map(|group| group.chain()).filter_map(|directory| {
            let left = left(&directory.join(most), &directory.join(used), &directory.join("memory.stat"))?;
            Some((left, directory.to_owned()))
        });
        let groups = groups.collect();
        Ok(Self { machine, groups })
    }

    /// Where it is tightest.
    pub(crate) fn tightest_group(&self) -> Option<&(u64, PathBuf)> {
        self.groups.iter().min_by_key(|(left, _)| *left)
    }

    /// What there is for this process.
    pub(crate) fn bytes(&self) -> u64 {
        self.tightest_group().map_or(self.machine, |(left, _)| self.machine.min(*left))
    }
}

/// `None` where there is no limit.
fn left(most: &Path, used: &Path, stat: &Path) -> Option<u64> {
    let read = |file: &Path| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let most = read(most).filter(|bytes| *bytes < NO_LIMIT)?;
    let in_use = read(used)?.saturating_sub(file_pages(&fs::read_to_string(stat).unwrap_or_default()));
    Some(most.saturating_sub(in_use))
}

/// `MemAvailable`, in bytes (Linux 3.14).
fn available(meminfo: &str) -> Option<u64> {
    let field = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(field.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What of a group's memory is copies of files, which the kernel gives back at need: a group that has read much is at its limit by them.
fn file_pages(stat: &str) -> u64 {
    let of = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
    // Version 1 has the group's own, and the total with those of the groups below, which its usage counts, too.
    let both = |name: &str| of(&format!("total_{name}")).or_else(|| of(name)).unwrap_or(0);
    both("inactive_file").saturating_add(both("active_file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_tightest_of_the_machine_and_of_all_groups_above_counts() {
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let meminfo = top.path().join("meminfo");
        fs::write(&meminfo, "MemTotal: 9999 kB\nMemAvailable:    4096 kB\n").unwrap();
        let write = |directory: &Path, files: &[(&str, &str)]| {
            files.iter().for_each(|(name, text)| fs::write(directory.join(name), text).unwrap());
        };
        let two = MemoryGroup::Two { directory: below.clone(), is_local: false };
        let bytes = || FreeMemory::read_at(&meminfo, Some(&two)).unwrap().bytes();
        assert_eq!(FreeMemory::read_at(&meminfo, None).unwrap().bytes(), 4 << 20);
        for directory in [top.path(), &top.path().join("a"), &below] {
            write(directory, &[("cgroup.controllers", "")]);
        }
        assert_eq!(bytes(), 4 << 20, "no group has a limit");
        write(&below, &[("memory.max", "max\n"), ("memory.current", "900\n")]);
        assert_eq!(bytes(), 4 << 20);
        write(&top.path().join("a"), &[("memory.max", "1000\n"), ("memory.current", "900\n")]);
        assert_eq!(bytes(), 100);
        write(&top.path().join("a"), &[("memory.stat", "anon 9\nactive_file 20\ninactive_file 300\n")]);
        assert_eq!(bytes(), 420);
        write(&below, &[("memory.max", "50\n"), ("memory.current", "90\n")]);
        assert_eq!(bytes(), 0, "more in use than there may be");
    }

    #[test]
    fn version_1_counts_what_the_groups_below_have() {
        let top = tempfile::tempdir().unwrap();
        let meminfo = top.path().join("meminfo");
        fs::write(&meminfo, "MemAvailable: 4096 kB\n").unwrap();
        let write = |name: &str, text: &str| fs::write(top.path().join(name), text).unwrap();
        let one = MemoryGroup::One { directory: top.path().to_owned(), is_root: false };
        write("memory.usage_in_bytes", "900\n");
        write("memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(FreeMemory::read_at(&meminfo, Some(&one)).unwrap().groups, []);
        write("memory.limit_in_bytes", "1000\n");
        write("memory.stat", "inactive_file 5\nactive_file 7\ntotal_inactive_file 60\ntotal_active_file 40\n");
        assert_eq!(FreeMemory::read_at(&meminfo, Some(&one)).unwrap().bytes(), 200);
    }

    #[test]
    fn what_cannot_be_known_names_the_file() {
        let why = FreeMemory::read_at(Path::new("/no/such/file"), None).unwrap_err();
        assert!(why.contains("/no/such/file"), "{why}");
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("meminfo");
        fs::write(&old, "MemTotal: 9 kB\n").unwrap();
        let why = FreeMemory::read_at(&old, None).unwrap_err();
        assert!(why.contains("MemAvailable"), "{why}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[ -~\n]{0,200}", number in any::<u64>()) {
            let text = format!("{text}\nactive_file {number}\ninactive_file {number}\n");
            let _ = (available(&text), file_pages(&text));
        }
    }
}
