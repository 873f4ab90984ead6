//! Reading /proc: one descriptor kept open for it, buffers reused, no path resolved twice.

use once_cell::sync::OnceCell;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, StatxFlags};
use std::fmt::Write as _;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A buffer for a whole `environ` of the usual size, read by one call.
const USUAL_ENVIRON: usize = 16 << 10;
/// Where directory entries land: about 1,300 of /proc's.
const ENTRIES: usize = 32 << 10;

/// The same for a process's descriptors: about 170.
const SOME_ENTRIES: usize = 4 << 10;
/// `PATH_MAX` of Linux.
const LONGEST_TARGET: usize = 4 << 10;

static PROC: OnceCell<OwnedFd> = OnceCell::new();

pub(super) fn root() -> io::Result<&'static OwnedFd> {
    PROC.get_or_try_init(|| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?)
    })
}

/// The boot id of the running kernel, `/proc/sys/kernel/random/boot_id`, as its 32 hexadecimal digits.
pub(crate) fn boot_id() -> io::Result<u128> {
    let mut reader = ProcReader::new()?;
    let text = reader.read_path("sys/kernel/random/boot_id")?;
    let digits: String = String::from_utf8_lossy(text).trim().replace('-', "");
    u128::from_str_radix(&digits, 16).map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))
}

/// Who we are by the /proc that is mounted here: in a PID namespace of its own without a /proc of its own, a number means
/// another process there than here.
pub(crate) fn pid_in_proc() -> io::Result<u32> {
    let target = rustix::fs::readlinkat(root()?, "self", Vec::new())?;
    number(target.to_bytes()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A reader of files below /proc with buffers of its own: one per scan.
pub(crate) struct ProcReader {
    root: &'static OwnedFd,
    path: String,
    content: Vec<u8>,
}

impl ProcReader {
    /// One with buffers of its own.
    ///
    /// # Errors
    ///
    /// If /proc cannot be opened: not mounted, or no descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { root: root()?, path: String::with_capacity(64), content: vec![0; USUAL_ENVIRON] })
    }

    /// The content of `/proc/PID/FILE`, valid until the next call. `ENOENT` and `ESRCH` mean that the process is gone.
    pub(crate) fn read(&mut self, pid: u32, file: &str) -> io::Result<&[u8]> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/{file}");
        self.read_current()
    }

    /// The same of a file that the kernel hands out by the page, so that a short read is no end: lists of any length.
    pub(crate) fn read_list(&mut self, pid: u32, file: &str) -> io::Result<Vec<u8>> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/{file}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::openat(self.root, self.path.as_str(), flags, Mode::empty())?;
        let mut list = Vec::new();
        loop {
            let got = rustix::io::read(&file, &mut self.content[..])?;
            if got == 0 {
                return Ok(list);
            }
            list.extend_from_slice(&self.content[..got]);
        }
    }

    fn read_path(&mut self, path: &str) -> io::Result<&[u8]> {
        self.path.clear();
        self.path.push_str(path);
        self.read_current()
    }

    fn read_current(&mut self) -> io::Result<&[u8]> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::openat(self.root, self.path.as_str(), flags, Mode::empty())?;
        let mut length = 0;
        loop {
            let wanted = self.content.len() - length;
            let got = rustix::io::read(&file, &mut self.content[length..])?;
            length += got;
            // A process's files in /proc fill the buffer while they last, so a short read is the end.
            if got < wanted {
                return Ok(&self.content[..length]);
            }
            self.content.resize(self.content.len() * 2, 0);
        }
    }

    /// The content of `/proc/self/FILE`: right also where this /proc knows us by another number than we do.
    pub(crate) fn read_own(&mut self, file: &str) -> io::Result<&[u8]> {
        self.path.clear();
        let _ = write!(self.path, "self/{file}");
        self.read_current()
    }

    /// Where one of our own descriptors leads.
    pub(crate) fn own_target(&mut self, number: i32) -> io::Result<Vec<u8>> {
        self.path.clear();
        let _ = write!(self.path, "self/fd/{number}");
        Ok(rustix::fs::readlinkat(self.root, self.path.as_str(), Vec::new())?.into_bytes())
    }

    /// The ids of our own threads.
    pub(crate) fn own_threads(&self) -> io::Result<Vec<u32>> {
        let mut threads = Vec::with_capacity(16);
        each_entry("self/task", |name| threads.extend(number(name)))?;
        Ok(threads)
    }

    /// The ids of all processes that this /proc shows, in the kernel's (ascending) order.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::with_capacity(512);
        each_entry(".", |name| pids.extend(number(name)))?;
        Ok(pids)
    }

    /// The ids of a process's threads.
    pub(crate) fn threads(&mut self, pid: u32) -> io::Result<Vec<u32>> {
        let mut threads = Vec::new();
        each_entry(&format!("{pid}/task"), |name| threads.extend(number(name)))?;
        Ok(threads)
    }

    /// How many threads a process has, by the number of links of its task directory: no listing.
    pub(crate) fn thread_count(&mut self, pid: u32) -> io::Result<usize> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/task");
        let stat = rustix::fs::statat(self.root, self.path.as_str(), AtFlags::empty())?;
        Ok(stat.st_nlink.saturating_sub(2) as usize)
    }

    /// The user who owns a process's directory: its effective user. What is in the directory belongs to root where the
    /// process is not dumpable (proc_pid(5)).
    pub(crate) fn owner(&mut self, pid: u32) -> io::Result<u32> {
        self.path.clear();
        let _ = write!(self.path, "{pid}");
        Ok(rustix::fs::statat(self.root, self.path.as_str(), AtFlags::empty())?.st_uid)
    }

    /// The inode of a process's PID namespace.
    pub(crate) fn pid_namespace(&mut self, pid: u32) -> io::Result<u64> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/ns/pid");
        match rustix::fs::statat(self.root, self.path.as_str(), AtFlags::empty()) {
            Ok(found) => Ok(found.st_ino),
            // One that is not dumpable shows it to nobody, but how many namespaces deep it is to everybody.
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) if pid != super::process::own_pid() => {
                let status = String::from_utf8_lossy(self.read(pid, "status")?).into_owned();
                let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                if ids.is_some_and(|ids| ids.split_ascii_whitespace().count() == 1) {
                    return self.pid_namespace(super::process::own_pid());
                }
                Err(rustix::io::Errno::ACCESS.into())
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// The numbers of a process's descriptors.
    pub(crate) fn descriptors(&mut self, pid: u32) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        each_entry(&format!("{pid}/fd"), |name| numbers.extend(number(name)))?;
        Ok(numbers)
    }

    /// Major and minor number of the device, and the inode, of what is open there in a process. Of a file on a network what is
    /// known here already: its server may not answer.
    pub(crate) fn device_and_inode(&mut self, pid: u32, descriptor: u32) -> io::Result<((u32, u32), u64)> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/fd/{descriptor}");
        let found = rustix::fs::statx(self.root, self.path.as_str(), AtFlags::STATX_DONT_SYNC, StatxFlags::INO)?;
        Ok(((found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
    }

    /// Where each of a process's descriptors leads, and its number, without an allocation for each; those that vanish
    /// meanwhile, and those with a target of more than 4 KiB, are left out.
    pub(crate) fn each_target(&mut self, pid: u32, mut visit: impl FnMut(u32, &[u8])) -> io::Result<()> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/fd");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(self.root, self.path.as_str(), flags, Mode::empty())?;
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; SOME_ENTRIES];
        let mut entries = RawDir::new(&directory, &mut buffer);
        let mut target = [const { MaybeUninit::<u8>::uninit() }; LONGEST_TARGET];
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let Some(number) = number(entry.file_name().to_bytes()) else { continue };
            if let Ok((found, _)) = rustix::fs::readlinkat_raw(&directory, entry.file_name(), &mut target[..])
                && found.len() < LONGEST_TARGET
            {
                visit(number, found);
            }
        }
        Ok(())
    }

    /// Device and inode of the file that a process executes.
    pub(crate) fn executable(&mut self, pid: u32) -> io::Result<(u64, u64)> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/exe");
        let found = rustix::fs::statat(self.root, self.path.as_str(), AtFlags::empty())?;
        Ok((found.st_dev, found.st_ino))
    }

    /// Where a link in a process's directory leads, such as `cwd`.
    pub(crate) fn target(&mut self, pid: u32, link: &str) -> io::Result<Vec<u8>> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/{link}");
        Ok(rustix::fs::readlinkat(self.root, self.path.as_str(), Vec::new())?.into_bytes())
    }

    /// Where each of a process's descriptors leads; those that vanish meanwhile are left out.
    pub(crate) fn descriptor_targets(&mut self, pid: u32) -> io::Result<Vec<Vec<u8>>> {
        let numbers = self.descriptors(pid)?;
        let mut targets = Vec::with_capacity(numbers.len());
        for number in numbers {
            self.path.clear();
            let _ = write!(self.path, "{pid}/fd/{number}");
            if let Ok(target) = rustix::fs::readlinkat(self.root, self.path.as_str(), Vec::new()) {
                targets.push(target.into_bytes());
            }
        }
        Ok(targets)
    }
}

/// The number that was last given to a process, of whoever: the fifth field of /proc/loadavg (proc_loadavg(5)). Held open, since it is
/// asked for many times a second.
pub(crate) struct LastPid(OwnedFd);

impl LastPid {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(root()?, "loadavg", flags, Mode::empty())?))
    }

    pub(crate) fn read(&self) -> io::Result<u32> {
        let mut content = [0; 128];
        let length = rustix::io::pread(&self.0, &mut content, 0)?;
        let last = content[..length].trim_ascii().rsplit(|byte| *byte == b' ').next();
        last.and_then(number).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Visits the names in a directory of /proc, and answers with the number of the descriptor that it took, closed by now.
pub(super) fn each_entry(directory: &str, mut visit: impl FnMut(&[u8])) -> io::Result<RawFd> {
    // Opened anew each time: a shared descriptor has one position, and two scans may run at once.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(root()?, directory, flags, Mode::empty())?;
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; ENTRIES];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        visit(entry?.file_name().to_bytes());
    }
    Ok(directory.as_raw_fd())
}

pub(super) fn number(name: &[u8]) -> Option<u32> {
    if !name.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_given_since_is_read_from_the_same_file() {
        let last = LastPid::open().unwrap();
        let first = last.read().unwrap();
        std::process::Command::new("true").status().unwrap();
        // Which one it is nobody knows: others are born, too.
        assert_ne!(last.read().unwrap(), first);
    }
}
