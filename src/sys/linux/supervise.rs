//! What a process needs that watches others: orphans as children, their ends told, waiting for several things at once.

#![expect(unsafe_code, reason = "signalfd, waitpid for any child and a thread before main are not in rustix or std")]

use super::process::Pidfd;
use crate::sys::WaitStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// From now on what loses its parent below this process becomes its child (`PR_SET_CHILD_SUBREAPER`, Linux 3.4).
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // Which pid is said does not matter, only that there is one.
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Readable when a child has ended; for a process of one thread, before it starts others.
pub(crate) fn ends_of_children() -> io::Result<OwnedFd> {
    // SAFETY: the set is plain data, filled before use; the descriptor is new, and nobody else's.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Takes what [`ends_of_children`] has told.
pub(crate) fn drain(fd: &OwnedFd) {
    let mut buffer = [0u8; 1024];
    while rustix::io::read(fd, &mut buffer).is_ok_and(|count| count > 0) {}
}

/// Reaps one child that has ended, whichever; `None` if there is none. Only for the keeper, all of whose children are its
/// own: elsewhere it would take a status from whoever waits for it.
pub(crate) fn reap_any() -> Option<(u32, WaitStatus)> {
    let mut status = 0;
    // SAFETY: the pointer is to a number of ours.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
    let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let status = if libc::WIFEXITED(status) {
        WaitStatus::Exited(libc::WEXITSTATUS(status))
    } else {
        WaitStatus::Signaled { signal: libc::WTERMSIG(status), core_dumped: libc::WCOREDUMP(status) }
    };
    Some((pid, status))
}

/// Waits until one of them can be read, or is at its end, or a process has exited; which of them it is. All false after
/// `limit` or a signal.
pub(crate) fn wait_for(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut wanted: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let limit = limit.map(|limit| Timespec {
        tv_sec: limit.as_secs().min(3600).cast_signed(),
        tv_nsec: limit.subsec_nanos().into(),
    });
    match poll(&mut wanted, limit.as_ref()) {
        Ok(_) => Ok(wanted.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; fds.len()]),
        Err(rustix::io::Errno::INVAL) => Ok(look_at_each(fds)),
        Err(cause) => Err(cause.into()),
    }
}

/// Where a test has set `RLIMIT_NOFILE` below the number of descriptors that are waited for, which poll(2) refuses at once,
/// however few of them there are at all: one by one, after a pause.
fn look_at_each(fds: &[BorrowedFd<'_>]) -> Vec<bool> {
    const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    let _ = poll(&mut [], Some(&PAUSE));
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Of a limit of 0 nothing is known, and one may hope that it is raised again.
    fds.iter().map(|fd| poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)).collect()
}

/// A read that does not wait: `None` if there is nothing yet, 0 at the end.
pub(crate) fn read_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut wanted = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut wanted, Some(&now)) {
        Ok(0) | Err(rustix::io::Errno::INTR | rustix::io::Errno::INVAL) => return Ok(None),
        Ok(_) => {}
        Err(cause) => return Err(cause.into()),
    }
    match rustix::io::read(fd, buffer) {
        Ok(count) => Ok(Some(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

/// Has a write that nobody will read answer with an error, as in a Rust program from its `main` on: for what never comes there.
pub(crate) fn survive_broken_pipes() {
    // SAFETY: a constant of the system's, and no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Ends this process at once: nothing that is registered for its end runs.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: it does not return, and runs none of our code.
    unsafe { libc::_exit(status) }
}

/// The process that started this one, or that has adopted it.
pub(crate) fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

struct Watch {
    process: Pidfd,
    then: fn(),
}

/// Has a function called, on a thread of its own, when a process has ended. For use before `main`, where std's own threads
/// must not be started: std takes the first thread for the main one only there.
pub(crate) fn when_ended(process: Pidfd, then: fn()) -> io::Result<()> {
    extern "C" fn wait(watch: *mut c_void) -> *mut c_void {
        // SAFETY: it was made by the call that started this thread, for it alone.
        let watch = unsafe { Box::from_raw(watch.cast::<Watch>()) };
        // What cannot be waited for counts as ended: a body without its keeper must not go on.
        let _ = watch.process.wait_for_exit();
        (watch.then)();
        ptr::null_mut()
    }
    let watch = Box::into_raw(Box::new(Watch { process, then }));
    // SAFETY: the pointers are to live data of the right types, and zero is a value of each of these; all signals are blocked in the new thread, so that what is
    // sent to the process reaches a thread that expects it, and unblocked again in this one.
    unsafe {
        let mut thread: libc::pthread_t = std::mem::zeroed();
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let status = libc::pthread_create(&mut thread, ptr::null(), wait, watch.cast());
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        if status != 0 {
            drop(Box::from_raw(watch));
            return Err(io::Error::from_raw_os_error(status));
        }
        libc::pthread_detach(thread);
    }
    Ok(())
}

/// What /proc calls this process (15 bytes at most).
pub(crate) fn set_own_name(name: &str) {
    let name = std::ffi::CString::new(name).unwrap_or_default();
    // A name is a courtesy.
    let _ = rustix::thread::set_name(&name);
}

impl Pidfd {
    /// For those that wait for several at once.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}
