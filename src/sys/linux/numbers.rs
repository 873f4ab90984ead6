//! Descriptors by their numbers, as a process is started with them: taken over, closed, turned elsewhere, written to.

#![expect(unsafe_code, reason = "a number is nobody's own, so rustix and std take none")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

/// Keeps a descriptor from whatever this process starts.
pub(crate) fn keep_from_children(fd: RawFd) -> io::Result<()> {
    // SAFETY: a flag of a descriptor; EBADF if it is not open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes over a descriptor that this process was started with.
///
/// # Errors
///
/// If there is none at this number.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    keep_from_children(fd)?;
    // SAFETY: it is open, and whoever started us passed it on for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes all descriptors from 3 on but these: what others happened to have open when this process was started would live
/// for as long as it.
pub(crate) fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd >= 3).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().map(Some).chain([None]) {
        let last = fd.map_or(u32::MAX, |fd| fd - 1);
        if first <= last {
            // SAFETY: nothing in this process owns a descriptor in this range yet. Before Linux 5.9 nothing is closed.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        first = fd.map_or(first, |fd| fd + 1);
    }
}

/// Makes one descriptor another's copy: what is written to `to` goes to what is open at `from` from now on.
pub(crate) fn redirect_number(from: RawFd, to: RawFd) {
    // SAFETY: dup2 replaces what is open at the number at once; 1 and 2 are nobody's own. If `from` was closed, nothing
    // changes.
    unsafe { libc::dup2(from, to) };
}

/// Sends on what C code has printed and keeps.
pub(crate) fn flush_c_output() {
    // SAFETY: all streams of libc's own.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// Nothing is read from standard input any more, and whoever waits for its end is not held up.
pub(crate) fn close_standard_input() -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    redirect_number(null.as_raw_fd(), 0);
    Ok(())
}

/// Both ends of a pipe, closed by exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((above_standard(read)?, above_standard(write)?))
}

/// The same at a number that is not 0, 1 or 2, which are free where a test has closed them: what is started gets others there.
pub(super) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?) }
}

/// Where what is written to is gone.
pub(crate) fn null() -> io::Result<OwnedFd> {
    above_standard(std::fs::File::options().read(true).write(true).open("/dev/null")?.into())
}

/// Opens /dev/null as those of descriptors 0, 1 and 2 that are closed, as std does, but not before `main`.
pub(crate) fn fill_standard_descriptors() -> io::Result<()> {
    loop {
        let null = OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/null")?);
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It stays open.
        let _ = null.into_raw_fd();
    }
}

/// Writes all of it to a descriptor by its number; `EBADF` if that was closed.
pub(crate) fn write_to(number: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: it is used for this call only, and EBADF is the answer if it is closed.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(())
}

/// True if what is open at this number is a terminal.
pub(crate) fn is_terminal(number: RawFd) -> bool {
    // SAFETY: as above.
    rustix::termios::isatty(unsafe { BorrowedFd::borrow_raw(number) })
}
