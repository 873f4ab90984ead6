//! Which descriptors are open, by identity and not by number alone.
//!
//! Numbers are reused at once, so a descriptor is known again by number *and* device, inode, type and, for a pty's
//! master, the terminal's number. Anonymous files of one kind share one inode. At level paranoid those are told apart by what
//! /proc/self/fdinfo says that never changes: an eventfd's id, a timerfd's clock, a signalfd's mask. The kernel gives an id that
//! became free to the next, so even then one that is closed first and replaced after looks the same.
//!
//! Measured per descriptor: fstat 0.5 µs, a listing of /proc/self/fd another 1.1 µs, its links 4 to 8 µs. So a baseline
//! is verified by one fstat each, by a listing only where other threads may open and close some meanwhile, and links are
//! read of what differs only.

use crate::ledger::client;
use crate::process::pump::Pump;
use crate::sys::{self, FileStat, ProcReader};
use std::io;

/// One open descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor {
    pub(crate) number: i32,
    pub(crate) stat: FileStat,
    /// What tells anonymous files apart, where that was asked for.
    detail: Option<String>,
}

impl Descriptor {
    pub(crate) fn new(number: i32, stat: FileStat) -> Self {
        Self { number, stat, detail: None }
    }

    /// What tells anonymous files apart counts where both looks have asked for it.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let differ = matches!((&self.detail, &other.detail), (Some(one), Some(other)) if one != other);
        (self.number, self.stat) == (other.number, other.stat) && !differ
    }
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Usual,
    /// Anonymous files by their fdinfo, too.
    Paranoid,
}

/// All that are open at one moment, by ascending number.
#[derive(Debug, Clone)]
pub(crate) struct Descriptors {
    open: Vec<Descriptor>,
    depth: Depth,
}

/// Without a listing, numbers are tried one by one up to this many times the descriptors, and these more: an inherited
/// descriptor 251, usual under shells, is found by listing.
const TRIES_PER_DESCRIPTOR: usize = 2;
const MORE_TRIES: usize = 64;
/// Where there is no other way, numbers are tried up to this one, which takes some milliseconds.
const FARTHEST: usize = 1 << 16;

impl Descriptors {
    /// By number, without a listing where that is possible. While other threads open and close descriptors, one that comes and
    /// goes can stand in for one that stays.
    pub(crate) fn capture(depth: Depth) -> io::Result<Self> {
        match by_number(0)? {
            Some(open) => Self { open, depth }.looked_closer(),
            None => Self { open: by_listing()?, depth }.looked_closer(),
        }
    }

    /// By listing, which takes three times as long and misses nothing that stays open meanwhile. A listing takes a descriptor:
    /// where none is left they are found by number, since it is then that somebody wants to know which they are.
    pub(crate) fn list(depth: Depth) -> io::Result<Self> {
        let open = match by_listing() {
            Err(cause) if is_full(&cause) => by_number(FARTHEST)?.ok_or(cause)?,
            listed => listed?,
        };
        Self { open, depth }.looked_closer()
    }

    /// What was found open in another process, in any order; `fdinfo` says what is asked at level paranoid.
    pub(crate) fn of_other(
        mut open: Vec<Descriptor>,
        depth: Depth,
        mut fdinfo: impl FnMut(i32) -> Option<String>,
    ) -> Self {
        open.sort_unstable_by_key(|descriptor| descriptor.number);
        if depth == Depth::Paranoid {
            for descriptor in open.iter_mut().filter(|descriptor| is_anonymous(&descriptor.stat)) {
                descriptor.detail = fdinfo(descriptor.number).map(|text| lasting(&text));
            }
        }
        Self { open, depth }
    }

    /// How many are masters of pseudo-terminals.
    pub(crate) fn masters(&self) -> usize {
        self.open.iter().filter(|descriptor| descriptor.stat.terminal.is_some()).count()
    }

    /// How many are open, without a listing from Linux 6.2 on.
    pub(crate) fn count() -> io::Result<usize> {
        let count = match sys::count_descriptors()? {
            Some(count) => count,
            None => sys::list_descriptors()?.len(),
        };
        Ok(count - usize::from(client::descriptor().is_some()))
    }

    fn looked_closer(mut self) -> io::Result<Self> {
        if let Some(own) = client::descriptor() {
            self.open.retain(|descriptor| descriptor.number != own);
        }
        if self.depth == Depth::Paranoid {
            let mut reader = ProcReader::new()?;
            for descriptor in self.open.iter_mut().filter(|descriptor| is_anonymous(&descriptor.stat)) {
                descriptor.detail = detail(&mut reader, descriptor.number);
            }
        }
        Ok(self)
    }

    /// True if the very same descriptors are open, and no others: one fstat for each, and beside other threads a listing.
    pub(crate) fn is_unchanged(&self) -> io::Result<bool> {
        if !self.has_all_numbers()? {
            return Ok(false);
        }
        for descriptor in &self.open {
            if sys::stat_descriptor(descriptor.number)? != Some(descriptor.stat) {
                return Ok(false);
            }
        }
        if self.depth == Depth::Paranoid {
            let mut reader = ProcReader::new()?;
            let mut anonymous = self.open.iter().filter(|descriptor| is_anonymous(&descriptor.stat));
            if !anonymous.all(|descriptor| detail(&mut reader, descriptor.number) == descriptor.detail) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// True if nothing is open at a number at which nothing was. Who is alone counts, which proves it once all of them are
    /// found to be open. Beside other threads one of them may be closed whenever they are counted and open when it is looked
    /// at, and so hide a new one: a listing has every number that stays open.
    fn has_all_numbers(&self) -> io::Result<bool> {
        if !is_alone()? {
            match sys::list_descriptors() {
                Ok(numbers) => return Ok(self.has_all(&numbers)),
                // None is left for a listing.
                Err(cause) if is_full(&cause) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(Self::count()? == self.open.len())
    }

    fn has_all(&self, numbers: &[i32]) -> bool {
        let own = client::descriptor();
        numbers.iter().all(|number| Some(*number) == own || self.at(*number).is_some())
    }

    /// What was open at this number.
    pub(crate) fn at(&self, number: i32) -> Option<&Descriptor> {
        let index = self.open.binary_search_by_key(&number, |descriptor| descriptor.number).ok()?;
        Some(&self.open[index])
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Those that are open now and were not `before`.
    pub(crate) fn new_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Descriptor> {
        self.open.iter().filter(|descriptor| !before.contains(descriptor))
    }

    /// True if the very same one is among them.
    pub(crate) fn contains(&self, descriptor: &Descriptor) -> bool {
        self.at(descriptor.number).is_some_and(|known| known.is_same(descriptor))
    }
}

// `EMFILE` and `ENFILE`, the same on every Unix.
const TABLE_FULL: i32 = 24;
const TOO_MANY_FILES: i32 = 23;

fn is_full(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(TABLE_FULL | TOO_MANY_FILES))
}

/// True if no other thread can open anything meanwhile: there is this one, and the pump's, which only closes.
fn is_alone() -> io::Result<bool> {
    Ok(sys::count_threads()? == 1 + usize::from(Pump::is_there()))
}

fn by_listing() -> io::Result<Vec<Descriptor>> {
    let mut open = Vec::new();
    for number in sys::list_descriptors()? {
        open.extend(stat(number)?);
    }
    open.sort_unstable_by_key(|descriptor: &Descriptor| descriptor.number);
    Ok(open)
}

/// Tries as many numbers as are worth it, and all up to `farthest`. `None` where the kernel does not say how many there are, or
/// they are not found.
fn by_number(farthest: usize) -> io::Result<Option<Vec<Descriptor>>> {
    match sys::count_descriptors()? {
        Some(count) => try_numbers(count, farthest.max(count * TRIES_PER_DESCRIPTOR + MORE_TRIES)),
        None => Ok(None),
    }
}

/// `None` if not as many were found as there are.
fn try_numbers(count: usize, mut last: usize) -> io::Result<Option<Vec<Descriptor>>> {
    let mut open = Vec::with_capacity(count);
    let mut number = 0;
    while number < last {
        open.extend(stat(i32::try_from(number).unwrap_or(i32::MAX))?);
        number += 1;
        if open.len() == count {
            // Some way on: if there is one more, one of those before comes and goes.
            last = last.min(number + MORE_TRIES);
        }
    }
    Ok((open.len() == count && sys::count_descriptors()? == Some(count)).then_some(open))
}

fn stat(number: i32) -> io::Result<Option<Descriptor>> {
    Ok(sys::stat_descriptor(number)?.map(|stat| Descriptor::new(number, stat)))
}

/// What anonymous files have instead of a type (`S_IFMT`), but for sockets and pipes, which have inodes of their own.
fn is_anonymous(stat: &FileStat) -> bool {
    stat.mode == 0
}

/// The lines of fdinfo that never change while a file is open.
fn detail(reader: &mut ProcReader, number: i32) -> Option<String> {
    let content = reader.read_own(&format!("fdinfo/{number}")).ok()?;
    Some(lasting(&String::from_utf8_lossy(content)))
}

fn lasting(fdinfo: &str) -> String {
    let lasting = ["eventfd-id:", "clockid:", "sigmask:"];
    let lines = fdinfo.lines().filter(|line| lasting.iter().any(|start| line.starts_with(start)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The tests of this binary run side by side, so each looks at its own numbers only.
    fn new_at(before: &Descriptors, number: i32) -> bool {
        let now = Descriptors::capture(before.depth).unwrap();
        now.new_since(before).any(|descriptor| descriptor.number == number)
    }

    #[test]
    fn what_is_opened_is_new_and_what_stays_is_not() {
        let stays = std::fs::File::open("/dev/null").unwrap();
        let before = Descriptors::capture(Depth::Usual).unwrap();
        let opened = std::fs::File::open("/dev/null").unwrap();
        assert!(new_at(&before, opened.as_raw_fd()));
        assert!(!new_at(&before, stays.as_raw_fd()));
        assert!(!before.is_unchanged().unwrap());
    }

    /// Closes what is at a number and puts something else there in one step, so that no other thread gets the number.
    fn replace(old: OwnedFd, new: OwnedFd) -> OwnedFd {
        let mut target = old;
        rustix::io::dup2(&new, &mut target).unwrap();
        target
    }

    #[test]
    fn as_many_as_before_at_other_numbers_are_not_the_same() {
        let goes = std::fs::File::open("/dev/null").unwrap();
        let before = Descriptors::list(Depth::Usual).unwrap();
        let numbers = |more: i32| before.open.iter().map(|one| one.number).chain([more]).collect::<Vec<_>>();
        let known = goes.as_raw_fd();
        assert!(before.has_all(&numbers(known)) && !before.has_all(&numbers(i32::MAX)));
        let rest: Vec<_> = numbers(i32::MAX).into_iter().filter(|number| *number != known).collect();
        assert!(rest.len() == before.len() && !before.has_all(&rest));
    }

    /// What comes and goes has the number of one in the baseline, so it is the very same whenever it is looked at.
    #[test]
    fn what_stays_is_seen_beside_what_comes_and_goes() {
        let goes = std::fs::File::open("/dev/null").unwrap();
        let before = Descriptors::list(Depth::Usual).unwrap();
        let _stays = std::fs::File::open("/dev/null").unwrap();
        drop(goes);
        let is_over = AtomicBool::new(false);
        let missed = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(std::fs::File::open("/dev/null"));
                }
            });
            let missed = (0..20_000).find(|_| before.is_unchanged().is_ok_and(|same| same));
            is_over.store(true, Ordering::Relaxed);
            missed
        });
        assert_eq!(missed, None);
    }

    #[test]
    fn closed_and_replaced_at_the_same_number_is_new() {
        let old = std::fs::File::open("/dev/null").unwrap();
        let before = Descriptors::capture(Depth::Usual).unwrap();
        let new = replace(old.into(), std::fs::File::open("/dev/zero").unwrap().into());
        assert!(new_at(&before, new.as_raw_fd()));
        assert!(before.at(new.as_raw_fd()).is_some());
    }

    #[test]
    fn masters_of_two_terminals_differ_although_they_share_an_inode() {
        let size = crate::sys::Cells { rows: 24, cols: 80 };
        let (one, _peer) = crate::sys::Master::open(size).unwrap();
        let (other, _other_peer) = crate::sys::Master::open(size).unwrap();
        let stats = [&one, &other].map(|master| {
            use std::os::fd::AsFd;
            sys::stat_descriptor(master.as_fd().as_raw_fd()).unwrap().unwrap()
        });
        assert_eq!(stats[0].inode, stats[1].inode);
        assert_ne!(stats[0], stats[1]);
    }

    #[test]
    fn an_eventfd_replaced_by_another_that_was_there_is_seen_at_level_paranoid_only() {
        let eventfd = || rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        for (depth, is_seen) in [(Depth::Usual, false), (Depth::Paranoid, true)] {
            let old = eventfd();
            let before = Descriptors::capture(depth).unwrap();
            let new = replace(old, eventfd());
            assert_eq!(new_at(&before, new.as_raw_fd()), is_seen, "{depth:?}");
        }
    }

    #[test]
    fn a_descriptor_with_a_far_number_is_found_by_listing() {
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let far = rustix::io::fcntl_dupfd_cloexec(&file, 900).unwrap();
        let now = Descriptors::capture(Depth::Usual).unwrap();
        assert!(now.at(far.as_raw_fd()).is_some());
        assert!(now.open.is_sorted_by_key(|descriptor| descriptor.number));
    }

    #[test]
    fn a_number_that_is_not_open_is_no_error() {
        assert!(sys::stat_descriptor(i32::MAX).unwrap().is_none());
    }
}
