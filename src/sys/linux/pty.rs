//! Pseudo-terminals, close-on-exec from their first instant.
//!
//! `openpty` followed by `fcntl` lets whatever another thread starts in between inherit the pair (442 of 1,500 in a
//! tight loop), and a stray holder delays the end-of-file. `O_CLOEXEC` on open, and `TIOCGPTPEER` (Linux 4.13), which
//! opens the other side from the descriptor with the flags we say and without a path in /dev/pts, close that window.

use crate::sys::Cells;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Our end of a terminal, non-blocking.
pub(crate) struct Master {
    fd: OwnedFd,
}

/// The program's end, held only until the program has it.
pub(crate) struct Peer {
    pub(super) fd: OwnedFd,
}

impl Master {
    /// Opens a pair of the given size.
    ///
    /// # Errors
    ///
    /// `ENOSPC` when all ptys of the machine or the container are in use, `EMFILE` or `ENFILE` without descriptors.
    pub(crate) fn open(size: Cells) -> io::Result<(Self, Peer)> {
        // By open(2), not posix_openpt: musl's knows no O_CLOEXEC, and O_NONBLOCK comes with it.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let master = Self { fd: rustix::fs::open("/dev/ptmx", flags, Mode::empty())? };
        unlockpt(&master.fd)?;
        // The size first: a program that starts fast must not see 0 × 0.
        master.resize(size)?;
        // Without NOCTTY a parent that leads a session, such as PID 1 of a container, would acquire the terminal.
        let peer = ioctl_tiocgptpeer(&master.fd, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        Ok((master, Peer { fd: peer }))
    }

    /// A second descriptor, non-blocking, for a master of portable-pty's; `None` if it has no descriptor.
    #[cfg(feature = "pty")]
    pub(crate) fn adopt(master: &dyn portable_pty::MasterPty) -> io::Result<Option<Self>> {
        let Some(fd) = master.as_raw_fd() else { return Ok(None) };
        let fd = duplicate(fd)?;
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        Ok(Some(Self { fd }))
    }

    /// Reads once. `WouldBlock` when there is nothing; `Ok(0)` at the end, which the kernel says by `EIO`.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut *buffer)) {
            Ok(length) => Ok(length),
            Err(rustix::io::Errno::IO) => Ok(0),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Writes once. `WouldBlock` while the program does not read.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, bytes))?)
    }

    /// Makes it so large; its foreground programs get a WINCH.
    pub(crate) fn resize(&self, size: Cells) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.fd, size)?)
    }

    /// How large it is.
    pub(crate) fn size(&self) -> io::Result<Cells> {
        let size = tcgetwinsize(&self.fd)?;
        Ok(Cells { rows: size.ws_row, cols: size.ws_col })
    }

    /// The path of the program's end, `/dev/pts/N`.
    pub(crate) fn peer_path(&self) -> io::Result<Vec<u8>> {
        Ok(ptsname(&self.fd, Vec::new())?.into_bytes())
    }
}

impl AsFd for Master {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(feature = "pty")]
#[expect(unsafe_code, reason = "portable-pty hands out its descriptor as a number")]
fn duplicate(fd: std::os::fd::RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the caller holds the object that owns the descriptor for the length of this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?)
}

impl Peer {
    /// Another descriptor for it: held during a spawn, it keeps a number free for what the parent must open after.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { fd: rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)? })
    }
}
