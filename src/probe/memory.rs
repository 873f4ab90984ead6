//! How much memory this process has.
//!
//! Resident memory is not memory in use: allocators keep what was freed (ten sessions with nothing leaked took 13 MB that
//! one trim gave back). So it is reported with its growth, and judged over many rounds only.

use crate::sys::{self, ProcReader};
use serde::{Deserialize, Serialize};
use std::io;

/// Memory of this process around a check, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// Resident at the baseline, `/proc/self/statm`; within 12 kB of the truth.
    pub before: u64,
    /// Resident at the end.
    pub after: u64,
    /// The most that was resident at any time of the program's life, `VmHWM`. Never reset: that would hide it from
    /// whoever measures the process from outside.
    pub peak: u64,
    /// What no other process shares; measured for a check that fails only, since it takes 12 ms at 500 MB.
    pub private: Option<u64>,
}

impl Memory {
    /// What grew since the baseline.
    pub(crate) fn since(before: u64) -> io::Result<Self> {
        Ok(Self { before, after: sys::resident_bytes()?, peak: sys::peak_bytes()?, private: None })
    }
}

/// Memory that no other process shares, in bytes: `Private_Clean` and `Private_Dirty` of smaps_rollup. It takes 12 ms at
/// 500 MB, so it is for reports of a failure.
pub(crate) fn private_bytes() -> io::Result<u64> {
    of_rollup(private_of)
}

/// Memory that no file is behind, in bytes: what this process has written. Of the pages of its program and libraries `private_bytes` counts
/// those that no other process has at the moment, which changes by megabytes when another one of the same program begins or ends.
pub(crate) fn anonymous_bytes() -> io::Result<u64> {
    of_rollup(|text| bytes_of(text, "Anonymous:"))
}

fn of_rollup(read: impl FnOnce(&str) -> Option<u64>) -> io::Result<u64> {
    let mut reader = ProcReader::new()?;
    let text = String::from_utf8_lossy(reader.read_own("smaps_rollup")?).into_owned();
    read(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "`smaps_rollup` is malformed"))
}

pub(crate) fn private_of(text: &str) -> Option<u64> {
    Some(bytes_of(text, "Private_Clean:")? + bytes_of(text, "Private_Dirty:")?)
}

/// Memory of no file's, a page that several processes have counted by its share.
pub(crate) fn share_of(text: &str) -> Option<u64> {
    bytes_of(text, "Pss_Anon:").or_else(|| private_of(text))
}

/// The most that was resident at any time, of a `status`.
pub(crate) fn peak_of(text: &str) -> Option<u64> {
    bytes_of(text, "VmHWM:")
}

fn bytes_of(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_by_shares_is_that_of_no_file_and_else_what_is_private() {
        let old = "Rss: 900 kB\nPrivate_Clean: 12 kB\nPrivate_Dirty: 100 kB\n";
        assert_eq!(share_of(old), Some(112 << 10));
        assert_eq!(share_of(&format!("{old}Pss_Anon: 60 kB\nPss_File: 7 kB\nPss_Shmem: 5 kB\n")), Some(60 << 10));
        assert_eq!(share_of("Rss: 900 kB\n"), None);
    }

    #[test]
    fn private_memory_is_two_fields_in_kibibytes() {
        let text = "Rss:  900 kB\nPrivate_Clean:      12 kB\nPrivate_Dirty:     100 kB\n";
        assert_eq!(private_of(text), Some(112 * 1024));
        assert_eq!(private_of("Rss: 1 kB\n"), None);
    }

    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn what_is_written_to_becomes_resident_and_the_peak_stays() {
        let before = sys::resident_bytes().unwrap();
        let heap_before = sys::heap_bytes();
        let block = vec![1u8; 64 << 20];
        let during = Memory::since(before).unwrap();
        assert!(during.after > before + (48 << 20), "{during:?}");
        // A process that another test forks at this moment shares it until its end.
        crate::backoff::soon("what is private", || private_bytes().unwrap() > 48 << 20);
        assert!(anonymous_bytes().unwrap() > 48 << 20);
        // Big ones are mapped, and counted in another field.
        assert!(heap_before.is_none_or(|heap| sys::heap_bytes().unwrap() > heap + (48 << 20)));
        drop(block);
        let after = Memory::since(before).unwrap();
        // The kernel counts in batches for each thread, so both are off by some pages.
        assert!(after.peak >= during.after - (4 << 20), "{during:?} {after:?}");
    }
}
