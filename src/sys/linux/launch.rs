//! Starting this very program again: the keeper by the test process, the body by the keeper.

#![expect(unsafe_code, reason = "posix_spawn, and what a child does between clone3 and exec")]

use super::spawn::{Actions, Attributes, check, pointers};
#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::ffi::{CStr, CString, c_int};
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// The running program, also after its file was replaced or removed.
const OURSELVES: &CStr = c"/proc/self/exe";
/// Not by libc's constant, which is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// What a shell calls a program that could not be executed.
const NOT_EXECUTED: c_int = 127;

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
/// posix_spawn(3) can do neither before glibc 2.39. For a process of one thread.
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
    let (mut told, tell) = io::pipe()?;
    let child = Child {
        standard: standard.map(|fd| fd.as_raw_fd()),
        passed: launch.passed,
        argv: argv.as_ptr().cast(),
        envp: envp.as_ptr().cast(),
        tell: tell.as_raw_fd(),
    };
    // SAFETY: this process has one thread. What the child points to lives until the call returns in this process, which
    // is after the child's exec or its end; a child with a copy of the memory has a copy of it.
    let pid = unsafe { start_child(&child, cgroup)? };
    drop(tell);
    let mut error = [0; size_of::<c_int>()];
    // End of file is the exec, which closes the other end.
    match told.read(&mut error)? {
        0 => u32::try_from(pid).map_err(io::Error::other),
        _ => {
            // SAFETY: the child is ours and has exited or is about to.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Err(io::Error::from_raw_os_error(c_int::from_ne_bytes(error)))
        }
    }
}

/// What a child needs until its exec.
struct Child<'a> {
    standard: [RawFd; 3],
    passed: &'a [RawFd],
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    /// Where it writes the error's number.
    tell: RawFd,
}

/// Runs [`run_until_exec`] in a child, and answers with the child's pid.
unsafe fn start_child(child: &Child<'_>, cgroup: Option<BorrowedFd<'_>>) -> io::Result<libc::pid_t> {
    // SAFETY: a structure of numbers, for which zero means "not used".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    // Our memory until the exec, and not a copy of it, which would take as long again as the exec.
    arguments.flags = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: as the caller promises.
    match unsafe { clone_and_run(&arguments, child) } {
        pid if pid > 0 => libc::pid_t::try_from(pid).map_err(io::Error::other),
        error => match libc::c_int::try_from(-error).map_err(io::Error::other)? {
            // A kernel before Linux 5.3, or a filter of system calls.
            libc::ENOSYS | libc::EPERM if cgroup.is_none() => {
                // SAFETY: as the caller promises.
                match unsafe { libc::fork() } {
                    0 => run_until_exec(child),
                    pid if pid > 0 => Ok(pid),
                    _ => Err(io::Error::last_os_error()),
                }
            }
            error => Err(io::Error::from_raw_os_error(error)),
        },
    }
}

/// clone3(2), whose child goes on below our stack and in no frame of ours: only [`run_until_exec`] runs in it, and that does
/// not return. Answers as the system call does, with the negative number of an error.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_and_run(arguments: &libc::clone_args, child: &Child<'_>) -> isize {
    let answer: isize;
    // SAFETY: the parent waits until the child has left this memory (CLONE_VFORK), and finds its registers as they were and
    // its stack from here up untouched. The stack is aligned for a call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") ptr::from_ref(arguments),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") ptr::from_ref(child),
            in("r13") run_until_exec as extern "C" fn(&Child<'_>) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// A child with a copy of the memory goes on in a copy of this frame.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_and_run(arguments: &libc::clone_args, child: &Child<'_>) -> isize {
    let mut arguments = *arguments;
    arguments.flags &= !((libc::CLONE_VM | libc::CLONE_VFORK) as u64);
    // SAFETY: without CLONE_VM the child has a copy of everything, its stack included, as after fork(2).
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) } {
        0 => run_until_exec(child),
        -1 => -(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) as isize),
        pid => pid as isize,
    }
}

/// In the child: nothing but async-signal-safe functions, and no allocation, until it execs.
extern "C" fn run_until_exec(child: &Child<'_>) -> ! {
    // SAFETY: numbers and live pointers, in a process of one thread.
    unsafe {
        let error = exec(child);
        let bytes = error.to_ne_bytes();
        libc::write(child.tell, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(NOT_EXECUTED);
    }
}

/// Answers only if something failed, with the error number.
unsafe fn exec(child: &Child<'_>) -> c_int {
    // SAFETY: as above.
    unsafe {
        // A test may send a signal to its own group, which must not reach the keeper.
        libc::setpgid(0, 0);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
        for (fd, number) in child.standard.into_iter().zip(0..) {
            let is_done = if fd == number { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, number) };
            if is_done < 0 {
                return *libc::__errno_location();
            }
        }
        for fd in child.passed {
            libc::fcntl(*fd, libc::F_SETFD, 0);
        }
        libc::execve(OURSELVES.as_ptr(), child.argv, child.envp);
        *libc::__errno_location()
    }
}
