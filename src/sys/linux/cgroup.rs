//! A control group of version 2, held by a descriptor of its directory.

use rustix::fs::{CWD, Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const MAGIC: u64 = 0x6367_7270;

/// What a child can be born into (`CLONE_INTO_CGROUP` of clone3(2)).
#[derive(Debug)]
pub(crate) struct CgroupDir {
    fd: OwnedFd,
}

impl CgroupDir {
    /// Holds the group whose directory this is.
    ///
    /// # Errors
    ///
    /// Those of open(2), and [`io::ErrorKind::InvalidInput`] for a directory of another file system: a mkdir in the tmpfs
    /// that holds the mounts of version 1 succeeds and does nothing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        // The field's type is another one on other machines.
        if rustix::fs::fstatfs(&fd)?.f_type as u64 != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no directory of cgroup v2"));
        }
        Ok(Self { fd })
    }
}

impl AsFd for CgroupDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
