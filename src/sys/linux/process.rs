//! Processes by pidfd(2): a reference that cannot come to mean another process.

use crate::sys::{Signal, WaitStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The id of this process.
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// The effective user of this process.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The kernel session that a process is in: getsid(2), two orders of magnitude cheaper than a file of /proc.
/// `None` if there is no such process, or its session is outside of our PID namespace: the kernel says 0 then, which
/// rustix's type cannot hold.
#[expect(unsafe_code, reason = "rustix's getsid takes 0 for impossible, and process 1 of a container has it")]
pub(crate) fn session_of(pid: u32) -> Option<u32> {
    // 0 would mean ourselves.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid != 0)?;
    // SAFETY: it takes and gives numbers.
    let session = unsafe { libc::getsid(pid) };
    u32::try_from(session).ok().filter(|session| *session != 0)
}

/// A process, held by a descriptor: its number may come to mean another, and this does not.
pub(crate) struct Pidfd {
    fd: OwnedFd,
}

impl Pidfd {
    /// Holds whoever has this number now.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no process with this id; `EINVAL` if it is a thread's id.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let pid = raw_pid(pid).ok_or(rustix::io::Errno::SRCH)?;
        Ok(Self { fd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// True from the process's exit on: a zombie counts as exited.
    pub(crate) fn has_exited(&self) -> io::Result<bool> {
        let mut wanted = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(rustix::io::retry_on_intr(|| poll(&mut wanted, Some(&now)))? > 0)
    }

    /// Blocks until it has exited. For what was sent a KILL.
    pub(crate) fn wait_for_exit(&self) -> io::Result<()> {
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], None))?;
        Ok(())
    }

    /// Sends it to this process and no other.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it has been reaped.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let signal = match signal {
            Signal::Hup => rustix::process::Signal::HUP,
            Signal::Cont => rustix::process::Signal::CONT,
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }

    /// True for a child of ours that nobody has reaped.
    pub(crate) fn is_our_child(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(self.fd.as_fd()), options) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::CHILD) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Reaps our own child if it has exited; `ECHILD` if it is not our child or was reaped by others.
    pub(crate) fn reap(&self) -> io::Result<Option<WaitStatus>> {
        reap_by(WaitId::PidFd(self.fd.as_fd()))
    }
}

/// The same for a child of ours that nobody else reaps, by its id.
pub(crate) fn reap_child(pid: u32) -> io::Result<Option<WaitStatus>> {
    reap_by(WaitId::Pid(raw_pid(pid).ok_or(rustix::io::Errno::CHILD)?))
}

fn reap_by(which: WaitId<'_>) -> io::Result<Option<WaitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let Some(status) = waitid(which, options)? else { return Ok(None) };
    Ok(Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => WaitStatus::Exited(code),
        (None, signal) => WaitStatus::Signaled { signal: signal.unwrap_or_default(), core_dumped: status.dumped() },
    }))
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn raw_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// True if anybody may execute the file: whether we may, exec decides.
pub(crate) fn is_executable(file: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o111 != 0
}
