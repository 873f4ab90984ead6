//! Another process by its directory in /proc, kept open: it stays this process's and no other's, whoever has its number next.

#![expect(unsafe_code, reason = "the processor clock of another process, which rustix lacks")]

use super::procfs;
use crate::sys::FileStat;
use once_cell::sync::OnceCell;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, StatxFlags};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// Where directory entries land: about 1,300.
const ENTRIES: usize = 32 << 10;
/// More than a usual file of /proc, read by one call.
const USUAL: usize = 4 << 10;
/// The device number of /dev/ptmx, `5:2` (devices.txt of the kernel).
const PTMX: (u32, u32) = (5, 2);

/// The directory /proc/PID of a process, held open. From the process's reaping on each read answers `ESRCH` or `ENOENT`.
#[derive(Debug)]
pub(crate) struct ProcDir {
    pid: u32,
    directory: OwnedFd,
    statm: OnceCell<OwnedFd>,
}

impl ProcDir {
    /// Of whoever has this number now: the caller compares its start time.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(procfs::root()?, pid.to_string(), flags, Mode::empty())?;
        Ok(Self { pid, directory, statm: OnceCell::new() })
    }

    fn open_file(&self, file: &str, more: OFlags) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | more;
        Ok(rustix::fs::openat(&self.directory, file, flags, Mode::empty())?)
    }

    /// The whole content of one of its files, in a buffer that is used again. Lists that the kernel hands out by the page are read
    /// to their end.
    pub(crate) fn read<'a>(&self, file: &str, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let file = self.open_file(file, OFlags::empty())?;
        let mut length = 0;
        loop {
            if buffer.len() < length + USUAL / 2 {
                buffer.resize((buffer.len() * 2).max(USUAL), 0);
            }
            match rustix::io::read(&file, &mut buffer[length..])? {
                0 => return Ok(&buffer[..length]),
                got => length += got,
            }
        }
    }

    /// The same of a file that is shorter than a page and comes whole, such as `stat`: one call less.
    pub(crate) fn read_short<'a>(&self, file: &str, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let file = self.open_file(file, OFlags::empty())?;
        let length = rustix::io::read(&file, &mut *buffer)?;
        Ok(&buffer[..length])
    }

    /// Visits each of its descriptors with what is open there; one that is closed meanwhile is left out. Of a file on a network
    /// what is known here already: its server may not answer.
    pub(crate) fn each_descriptor(&self, mut visit: impl FnMut(i32, FileStat)) -> io::Result<()> {
        let directory = self.open_file("fd", OFlags::DIRECTORY)?;
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; ENTRIES];
        let mut entries = RawDir::new(&directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let Some(number) = procfs::number(entry.file_name().to_bytes()) else { continue };
            let Ok(number) = i32::try_from(number) else { continue };
            let wanted = StatxFlags::TYPE | StatxFlags::INO;
            let found = match rustix::fs::statx(&directory, entry.file_name(), AtFlags::STATX_DONT_SYNC, wanted) {
                Ok(found) => found,
                Err(rustix::io::Errno::NOENT) => continue,
                Err(cause) => return Err(cause.into()),
            };
            let special = (found.stx_rdev_major, found.stx_rdev_minor);
            let mode = u32::from(found.stx_mode) & libc::S_IFMT;
            let is_ptmx = mode == libc::S_IFCHR && special == PTMX;
            let stat = FileStat {
                device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
                mode,
                special: rustix::fs::makedev(special.0, special.1),
                terminal: if is_ptmx { self.terminal_number(number) } else { None },
            };
            visit(number, stat);
        }
        Ok(())
    }

    /// The N of the /dev/pts/N that belongs to a master: `tty-index` of its fdinfo (proc_pid_fdinfo(5), Linux 4.14).
    fn terminal_number(&self, number: i32) -> Option<u32> {
        let mut buffer = [0; 512];
        let text = self.read_short(&format!("fdinfo/{number}"), &mut buffer).ok()?;
        let text = std::str::from_utf8(text).ok()?;
        text.lines().find_map(|line| line.strip_prefix("tty-index:"))?.trim().parse().ok()
    }

    /// The ids of its threads.
    pub(crate) fn threads(&self) -> io::Result<Vec<u32>> {
        let directory = self.open_file("task", OFlags::DIRECTORY)?;
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; ENTRIES];
        let mut entries = RawDir::new(&directory, &mut buffer);
        let mut threads = Vec::with_capacity(16);
        while let Some(entry) = entries.next() {
            threads.extend(procfs::number(entry?.file_name().to_bytes()));
        }
        Ok(threads)
    }

    /// How many threads it has, by the number of links of its task directory: no listing.
    pub(crate) fn thread_count(&self) -> io::Result<usize> {
        let stat = rustix::fs::statat(&self.directory, "task", AtFlags::empty())?;
        Ok(stat.st_nlink.saturating_sub(2) as usize)
    }

    /// Where one of its descriptors leads.
    pub(crate) fn target(&self, number: i32) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.directory, format!("fd/{number}"), Vec::new())?.into_bytes())
    }

    /// Its resident bytes: the second field of `statm`, kept open, which shows the memory that it has now, also after an exec.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let [_, resident, _] = self.memory()?;
        Ok(resident)
    }

    /// The bytes that it has mapped, those of them that are resident, and those of these that belong to files or are shared
    /// memory: the first three fields of `statm`. All are nought once it has ended.
    pub(crate) fn memory(&self) -> io::Result<[u64; 3]> {
        let kept = self.statm.get_or_try_init(|| self.open_file("statm", OFlags::empty()))?;
        let mut buffer = [0; 128];
        let length = rustix::io::pread(kept, &mut buffer, 0)?;
        let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
        let mut pages = text.split(' ').map_while(|field| field.parse::<u64>().ok());
        match (pages.next(), pages.next(), pages.next()) {
            (Some(size), Some(resident), Some(shared)) => {
                Ok([size, resident, shared].map(|pages| pages * rustix::param::page_size() as u64))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// How many descriptors it has open: the size of their directory (Linux 6.2), else a listing.
    pub(crate) fn descriptor_count(&self) -> io::Result<u64> {
        let size = rustix::fs::statat(&self.directory, "fd", AtFlags::empty())?.st_size.cast_unsigned();
        if size > 0 {
            return Ok(size);
        }
        let directory = self.open_file("fd", OFlags::DIRECTORY)?;
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; ENTRIES];
        let mut entries = RawDir::new(&directory, &mut buffer);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            count += u64::from(procfs::number(entry?.file_name().to_bytes()).is_some());
        }
        Ok(count)
    }

    /// The time that all of its threads have run, those that have ended included, in nanoseconds. By its number, since the kernel
    /// has no other way: the caller looks before and after whether it lives.
    pub(crate) fn processor_time(&self) -> io::Result<u64> {
        processor_time_of(self.pid)
    }
}

/// The time that all threads of a process have run, in nanoseconds: its clock, `CPUCLOCK_SCHED` of linux/posix-timers.h, which
/// the kernel shows to everybody.
pub(crate) fn processor_time_of(pid: u32) -> io::Result<u64> {
    const CPUCLOCK_SCHED: libc::clockid_t = 2;
    let clock = (!pid.cast_signed()) << 3 | CPUCLOCK_SCHED;
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a timespec of ours.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros is a timespec, and the call has filled it.
    let time = unsafe { time.assume_init() };
    // Neither is ever negative, nor does the time that a process has run come near to the end of either.
    let positive = |part: Result<u64, _>| part.unwrap_or_default();
    Ok(positive(u64::try_from(time.tv_sec)) * 1_000_000_000 + positive(u64::try_from(time.tv_nsec)))
}
