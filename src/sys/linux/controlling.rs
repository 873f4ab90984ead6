//! A process's controlling terminal, to be known again when the process is gone.

use super::proc_dir::ProcDir;
use rustix::fs::{AtFlags, StatxFlags};

/// Pseudo-terminals have these device numbers, each for 2^20 of them in turn (devices.txt of the kernel).
const PTS_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// A pseudo-terminal that a process had as its controlling one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controlling {
    path: String,
    stamp: Stamp,
}

/// The next terminal of the same number has all of this but the time of its making, which a change of its mode hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    special: u64,
    changed: (i64, u32),
}

impl Controlling {
    /// Of whoever has this id now; `None` if it has none, none of its descriptors leads there, or it sees other terminals than
    /// we do by the same names.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let directory = ProcDir::open(pid).ok()?;
        let mut buffer = [0; 1024];
        let number = terminal_in(directory.read_short("stat", &mut buffer).ok()?)?;
        let path = format!("/dev/pts/{number}");
        let stamp = stamp(&path)?;
        let mut is_open = false;
        let same = |device, inode, special| (device, inode, special) == (stamp.device, stamp.inode, stamp.special);
        directory.each_descriptor(|_, found| is_open |= same(found.device, found.inode, found.special)).ok()?;
        is_open.then_some(Self { path, stamp })
    }

    /// The one that has this name here.
    pub(crate) fn at(path: &[u8]) -> Option<Self> {
        let path = std::str::from_utf8(path).ok()?.to_owned();
        stamp(&path).map(|stamp| Self { path, stamp })
    }

    /// Whether it is the same terminal that is there now: somebody holds its master.
    pub(crate) fn is_there(&self) -> bool {
        stamp(&self.path) == Some(self.stamp)
    }

    pub(crate) fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }
}

fn stamp(path: &str) -> Option<Stamp> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::CTIME;
    let found = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::empty(), wanted).ok()?;
    Some(Stamp {
        device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        special: rustix::fs::makedev(found.stx_rdev_major, found.stx_rdev_minor),
        changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
    })
}

/// Field 7 of `/proc/PID/stat` (proc_pid_stat(5)): the number of the pseudo-terminal.
fn terminal_in(stat: &[u8]) -> Option<u32> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let device = rest.split_ascii_whitespace().nth(4)?.parse::<i64>().ok()? as u32;
    // As the kernel packs them: eight bits of the minor number, twelve of the major one, twelve of the minor one.
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    PTS_MAJORS.contains(&major).then(|| minor + ((major - PTS_MAJORS.start()) << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminals_number_is_read_behind_any_name() {
        assert_eq!(terminal_in(b"7 (a) b) S 1 7 7 34816 7 4194560"), Some(0));
        assert_eq!(terminal_in(b"7 (sh) S 1 7 7 34821 7 0"), Some(5));
        // 300 is 0x12c.
        assert_eq!(terminal_in(b"7 (sh) S 1 7 7 1083436 7 0"), Some(300));
        // No terminal, a console, and a file that is cut.
        for stat in [&b"7 (sh) S 1 7 7 0 -1 0"[..], b"7 (sh) S 1 7 7 1025 7 0", b"7 (sh) S 1 7", b""] {
            assert_eq!(terminal_in(stat), None);
        }
    }
}
