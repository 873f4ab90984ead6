//! File locks: which one a process waits for, and who holds it (proc_locks(5)). For a report of a body that does not end, such
//! as one whose test takes a lock outside of its closure, and so in two processes.
//!
//! # Limits
//!
//! A lock that belongs to an open file and not to a process (`F_OFD_SETLK` of fcntl(2)) names nobody who waits for it. Within a
//! PID namespace the kernel hides a lock, and with it who waits, if whoever took it has ended and another process has its file
//! open still.

use crate::sys::ProcReader;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// A lock that a process waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockWait {
    /// `flock`, `posix lock` and so on.
    pub(crate) kind: &'static str,
    /// Who has taken it and holds it now, or may do so where it shows its files to nobody. `None` if that one has ended and others
    /// hold what it had opened.
    pub(crate) holder: Option<u32>,
    /// The file, as its holder has opened it or else as the waiting one has; ` (deleted)` behind one that is gone.
    pub(crate) path: Option<PathBuf>,
}

/// The lock that this process, which the caller holds, waits for; `None` also where /proc does not show it.
pub(crate) fn waits_for(pid: u32) -> Option<LockWait> {
    // std reads to the end: what the kernel makes line by line comes in pieces.
    let (waiter, holder) = find(&fs::read_to_string("/proc/locks").ok()?, pid)?;
    let reader = &mut ProcReader::new().ok()?;
    let mut path = None;
    let holder = holder.and_then(|lock| match held_at(reader, &lock) {
        Holding::At(descriptor) => {
            path = fs::read_link(format!("/proc/{}/fd/{descriptor}", lock.pid)).ok();
            Some(lock.pid)
        }
        Holding::Unreadable => Some(lock.pid),
        Holding::Not => None,
    });
    let path = path.or_else(|| opened_by(reader, pid, waiter.place));
    Some(LockWait { kind: waiter.kind, holder, path })
}

/// The locks that are held, not waited for, as `/proc/locks` has them: by whom, and device and inode of the file.
pub(crate) fn held(locks: &str) -> impl Iterator<Item = (u32, Place)> {
    locks.lines().filter_map(Lock::parse).filter(|lock| !lock.is_waiting).map(|lock| (lock.pid, lock.place))
}

/// The device of a file's inode, as major and minor number, and the inode's number.
pub(crate) type Place = ((u32, u32), u64);

/// One line of `/proc/locks`, of a lock that has an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lock {
    /// The same for a lock and all who wait for it.
    ordinal: u64,
    is_waiting: bool,
    kind: &'static str,
    pid: u32,
    place: Place,
}

impl Lock {
    /// `1: FLOCK  ADVISORY  WRITE 712 fe:01:42 0 EOF`; with `->` behind the ordinal for one that waits.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().peekable();
        let ordinal = fields.next()?.strip_suffix(':')?.parse().ok()?;
        let is_waiting = fields.next_if_eq(&"->").is_some();
        let kind = match fields.next()? {
            "FLOCK" => "flock",
            "POSIX" => "posix lock",
            "OFDLCK" => "lock of an open file",
            "LEASE" | "DELEG" => "lease",
            _ => "lock",
        };
        // -1 for a lock that belongs to an open file, 0 for an owner outside of this PID namespace.
        let pid = fields.nth(2)?.parse::<i64>().ok().and_then(|pid| u32::try_from(pid).ok())?;
        let mut place = fields.next()?.split(':');
        // Both parts of the device in hexadecimal, the inode in decimal.
        let mut device = || u32::from_str_radix(place.next()?, 16).ok();
        let device = (device()?, device()?);
        let inode = place.next()?.parse().ok()?;
        Some(Self { ordinal, is_waiting, kind, pid, place: (device, inode) })
    }
}

/// What this process waits for, and the lock that is in its way, if it has an owner.
fn find(locks: &str, pid: u32) -> Option<(Lock, Option<Lock>)> {
    let mut locks = locks.lines().filter_map(Lock::parse);
    let mut holder: Option<Lock> = None;
    // Those who wait stand below what they wait for.
    let waiter = locks.find(|lock| {
        if !lock.is_waiting {
            holder = Some(*lock);
        }
        lock.is_waiting && lock.pid == pid
    })?;
    Some((waiter, holder.filter(|holder| holder.ordinal == waiter.ordinal && holder.pid != 0)))
}

enum Holding {
    At(u32),
    Not,
    Unreadable,
}

/// By which descriptor its owner holds a lock: `fdinfo` repeats the line of `/proc/locks`. A flock(2) outlives who has taken it for
/// as long as anybody has the open file, and then the number is that of nobody, or of somebody else.
fn held_at(reader: &mut ProcReader, lock: &Lock) -> Holding {
    let descriptors = match reader.descriptors(lock.pid) {
        Ok(descriptors) => descriptors,
        Err(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => return Holding::Unreadable,
        Err(_) => return Holding::Not,
    };
    let is_it = |line: &str| {
        let held = line.strip_prefix("lock:").and_then(Lock::parse);
        held.is_some_and(|held| (held.kind, held.pid, held.place) == (lock.kind, lock.pid, lock.place))
    };
    for descriptor in descriptors {
        let Ok(info) = reader.read(lock.pid, &format!("fdinfo/{descriptor}")) else { continue };
        if String::from_utf8_lossy(info).lines().any(is_it) {
            return Holding::At(descriptor);
        }
    }
    Holding::Not
}

/// The file at this place among those that a process has open. Some file systems (btrfs, overlayfs) tell users another device
/// than /proc/locks does: then by its inode alone, if that means one file.
fn opened_by(reader: &mut ProcReader, pid: u32, place: Place) -> Option<PathBuf> {
    let mut by_inode = BTreeSet::new();
    for descriptor in reader.descriptors(pid).ok()? {
        let Ok(found) = reader.device_and_inode(pid, descriptor) else { continue };
        if found.1 != place.1 {
            continue;
        }
        let Ok(path) = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")) else { continue };
        if found == place {
            return Some(path);
        }
        by_inode.insert(path);
    }
    by_inode.pop_first().filter(|_| by_inode.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded on Linux 6.18, with the lines of proc_locks(5).
    const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 7458 fe:00:10010916 0 EOF
1: -> FLOCK  ADVISORY  WRITE 7459 fe:00:10010916 0 EOF
1: -> FLOCK  ADVISORY  READ  7460 fe:00:10010916 0 EOF
2: POSIX  ADVISORY  READ  5433 08:1a:7864448 128 128
2: -> POSIX  ADVISORY  WRITE 5434 08:1a:7864448 0 EOF
2:  -> POSIX  ADVISORY  WRITE 5435 08:1a:7864448 5 7
3: OFDLCK ADVISORY  WRITE -1 08:01:8713209 128 191
3: -> POSIX  ADVISORY  WRITE 5436 08:01:8713209 128 191
4: LEASE  BREAKING  READ  5437 08:01:99 0 EOF
5: POSIX  *NOINODE* WRITE 5438 <none>:0 0 EOF
6: FLOCK  ADVISORY  WRITE 0 fe:00:5 0 EOF
6: -> FLOCK  ADVISORY  WRITE 5439 fe:00:5 0 EOF
";

    fn found(pid: u32) -> Option<(&'static str, Place, Option<u32>)> {
        find(LOCKS, pid).map(|(waiter, holder)| (waiter.kind, waiter.place, holder.map(|holder| holder.pid)))
    }

    #[test]
    fn who_waits_stands_below_what_it_waits_for() {
        for pid in [7459, 7460] {
            assert_eq!(found(pid), Some(("flock", ((0xfe, 0), 10010916), Some(7458))));
        }
        // Also behind another that waits.
        for pid in [5434, 5435] {
            assert_eq!(found(pid), Some(("posix lock", ((8, 0x1a), 7864448), Some(5433))));
        }
    }

    #[test]
    fn who_holds_and_waits_for_nothing_is_not_found() {
        for pid in [7458, 5433, 5437, 5438, 0, 1] {
            assert_eq!(found(pid), None, "{pid}");
        }
    }

    #[test]
    fn a_lock_without_an_owner_has_no_holder() {
        assert_eq!(found(5436), Some(("posix lock", ((8, 1), 8713209), None)));
        assert_eq!(found(5439), Some(("flock", ((0xfe, 0), 5), None)));
    }

    #[test]
    fn other_kinds_are_named_and_odd_lines_are_passed_over() {
        let kind = |line: &str| Lock::parse(line).map(|lock| lock.kind);
        assert_eq!(kind("4: LEASE  BREAKING  READ  5437 08:01:99 0 EOF"), Some("lease"));
        assert_eq!(kind("4: OFDLCK ADVISORY  READ  5437 08:01:99 0 EOF"), Some("lock of an open file"));
        assert_eq!(kind("4: NEW ADVISORY  READ  5437 08:01:99 0 EOF"), Some("lock"));
        let odd = [
            "",
            "1:",
            "1: ->",
            "1 FLOCK ADVISORY WRITE 1 08:01:2 0 EOF",
            "1: FLOCK ADVISORY WRITE 1",
            "\u{0}: -> -> x",
        ];
        for line in
            odd.into_iter().chain(["1: FLOCK ADVISORY WRITE 1 08:2 0 EOF", "1: FLOCK ADVISORY WRITE 1 0g:1:2 0 EOF"])
        {
            assert_eq!(Lock::parse(line), None, "{line}");
        }
        // Nothing above it: a file that was read while it changed.
        let alone = find("7: -> FLOCK ADVISORY WRITE 9 08:01:2 0 EOF\n", 9).unwrap();
        assert_eq!(alone.1, None);
        let of_another =
            find("6: FLOCK ADVISORY WRITE 8 08:01:2 0 EOF\n7: -> FLOCK ADVISORY WRITE 9 08:01:2 0 EOF\n", 9);
        assert_eq!(of_another.unwrap().1, None);
    }

    #[cfg(all(test, target_os = "linux"))]
    mod real {
        use super::*;
        use std::process::{Child, Command, Stdio};
        use std::time::{Duration, Instant};

        struct Ended(Child);

        impl Drop for Ended {
            fn drop(&mut self) {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }

        fn until_it_waits(pid: u32) -> LockWait {
            let end = Instant::now() + Duration::from_secs(10);
            loop {
                if let Some(found) = waits_for(pid) {
                    return found;
                }
                assert!(Instant::now() < end, "{}", fs::read_to_string("/proc/locks").unwrap());
                std::thread::yield_now();
            }
        }

        /// What it runs once it has the lock ends by itself: that outlives it.
        fn flock(path: &std::path::Path) -> Ended {
            Ended(Command::new("flock").arg(path).arg("true").spawn().unwrap())
        }

        #[test]
        fn the_file_and_who_holds_it_are_named() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a lock");
            let file = fs::File::create(&path).unwrap();
            file.lock().unwrap();
            let waiter = flock(&path);
            let ours = Some(crate::sys::own_pid());
            let expected = LockWait { kind: "flock", holder: ours, path: Some(path.clone()) };
            assert_eq!(until_it_waits(waiter.0.id()), expected);
            assert_eq!(waits_for(crate::sys::own_pid()), None);
            // As the waiting one sees it.
            let reader = &mut ProcReader::new().unwrap();
            let place = find(&fs::read_to_string("/proc/locks").unwrap(), waiter.0.id()).unwrap().0.place;
            assert_eq!(opened_by(reader, waiter.0.id(), place), Some(path.clone()));
            // As btrfs shows it; and where the inode means more than one file.
            let elsewhere = ((77, 77), place.1);
            assert_eq!(opened_by(reader, waiter.0.id(), elsewhere), Some(path));
            assert_eq!(opened_by(reader, waiter.0.id(), (place.0, u64::MAX)), None);
        }

        /// Its number is shown still, and may be another process's by now.
        #[test]
        fn who_took_it_and_has_ended_holds_nothing() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("lock");
            let file = fs::File::create(&path).unwrap();
            // It locks our open file and ends.
            let taken = Command::new("flock").arg("0").stdin(Stdio::from(file.try_clone().unwrap())).status().unwrap();
            assert!(taken.success());
            let waiter = flock(&path);
            let end = Instant::now() + Duration::from_secs(2);
            let mut found = None;
            while found.is_none() && Instant::now() < end {
                found = waits_for(waiter.0.id());
                std::thread::yield_now();
            }
            match found {
                Some(found) => assert_eq!(found, LockWait { kind: "flock", holder: None, path: Some(path) }),
                None => crate::event::warn("not tested: in a PID namespace the kernel hides such a lock"),
            }
            drop(waiter);
            drop(file);
        }
    }
}
