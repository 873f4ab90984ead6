//! Starting this very program again: the keeper by the test process, the body by the keeper.

#![expect(unsafe_code, reason = "posix_spawn is not in rustix")]

use super::spawn::{Actions, Attributes, check, pointers};
use super::vfork::{Child, Group, Passed, Standard, start};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The running program, also after its file was replaced or removed.
const OURSELVES: &CStr = c"/proc/self/exe";

/// How this program is started again.
pub(crate) struct Launch<'a> {
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    /// Descriptors that it gets at their own numbers, beside 0, 1 and 2.
    pub(crate) passed: &'a [RawFd],
}

/// Starts it as the leader of a kernel session of its own, in a directory; without fork, so that the cost does not grow with
/// this process. It gets our descriptors 0 and 2, and /dev/null as 1; 2, too, if `is_mute`.
///
/// # Errors
///
/// Those of execve(2), and of chdir(2) for the directory.
pub(crate) fn spawn_leader(launch: &Launch<'_>, directory: Option<&CStr>, is_mute: bool) -> io::Result<u32> {
    let mut actions = Actions::new()?;
    if let Some(directory) = directory {
        actions.change_directory(directory)?;
    }
    actions.open(1, c"/dev/null", rustix::fs::OFlags::WRONLY)?;
    if is_mute {
        actions.duplicate(1, 2)?;
    }
    for fd in launch.passed {
        // Onto itself: posix_spawn clears close-on-exec then (POSIX.1-2024; glibc 2.29, musl 1.1.23).
        actions.duplicate(*fd, *fd)?;
    }
    let attributes = Attributes::for_session_leader()?;
    let (argv, envp) = (pointers(launch.arguments), pointers(launch.environment));
    let mut pid: libc::pid_t = 0;
    // SAFETY: all pointers are to live, NUL-terminated strings and null-terminated arrays of them; the actions and
    // attributes are initialised; the child runs only libc's own code until it execs.
    check(unsafe {
        libc::posix_spawn(&mut pid, OURSELVES.as_ptr(), &actions.raw, &attributes.raw, argv.as_ptr(), envp.as_ptr())
    })?;
    u32::try_from(pid).map_err(io::Error::other)
}

/// Starts it as a child in a process group of its own and, where one is given, in a control group from its first
/// instruction on (`CLONE_INTO_CGROUP`, Linux 5.7). `standard` become its descriptors 0, 1 and 2.
///
/// posix_spawn(3) can do neither before glibc 2.39.
///
/// # Errors
///
/// Those of clone3(2) and execve(2).
pub(crate) fn spawn_into(
    launch: &Launch<'_>,
    standard: [BorrowedFd<'_>; 3],
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<u32> {
    let (argv, envp) = (pointers(launch.arguments), pointers(launch.environment));
    start(&Child {
        programs: &[OURSELVES],
        argv: &argv,
        envp: &envp,
        standard: Standard::These(standard.map(|fd| fd.as_raw_fd())),
        passed: Passed::Also(launch.passed),
        // A test may send a signal to its own group, which must not reach the keeper.
        group: Group::OfProcesses,
        cgroup,
        directory: None,
        data_limit: None,
    })
}
