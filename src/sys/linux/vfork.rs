//! A child that shares our memory until its exec, for what posix_spawn(3) cannot have it do: to be born into a control group, and to
//! change a limit of its own.

#![expect(unsafe_code, reason = "what a child does between clone3 and exec")]

use super::supervise::read_now;
#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// Not by libc's constant, which is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// What a shell calls a program that could not be executed.
const NOT_EXECUTED: c_int = 127;
/// One more than the last signal's number, on every machine but MIPS, where the rest keep their handlers' defaults by the exec.
const SIGNALS: c_int = 65;

/// What a child is to be.
pub(super) struct Child<'a> {
    /// Paths, of which the first that is there is executed.
    pub(super) programs: &'a [&'a CStr],
    /// Both end in a null pointer, and the strings live.
    pub(super) argv: &'a [*mut c_char],
    pub(super) envp: &'a [*mut c_char],
    pub(super) standard: Standard<'a>,
    pub(super) passed: Passed<'a>,
    pub(super) group: Group,
    /// Where it is from its first instruction on (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    pub(super) directory: Option<&'a CStr>,
    /// Its `RLIMIT_DATA`, if it is not to be ours.
    pub(super) data_limit: Option<libc::rlimit>,
}

/// Its descriptors 0, 1 and 2.
pub(super) enum Standard<'a> {
    These([RawFd; 3]),
    /// A terminal, which becomes the controlling one of a child that leads a session.
    Terminal(&'a CStr),
}

/// Its other descriptors.
pub(super) enum Passed<'a> {
    /// Whatever an exec leaves open, and these.
    Also(&'a [RawFd]),
    /// None; with those that an exec would leave open, for a kernel before Linux 5.11.
    Nothing(&'a [RawFd]),
}

/// What it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    OfProcesses,
    Session,
}

/// Starts it, with all signals at their defaults and none blocked; answers with its pid. It stays ours to reap.
///
/// # Errors
///
/// Those of clone3(2), and of what the child does until its exec.
pub(super) fn start(child: &Child<'_>) -> io::Result<u32> {
    let (mut told, tell) = io::pipe()?;
    let blocked = Blocked::all();
    let inside = Inside { child, tell: tell.as_raw_fd() };
    // SAFETY: no handler of ours runs in the child, whose signals are blocked until they have their defaults. What it points to
    // lives until the call returns in this process, which is after the child's exec or its end; a child with a copy of the memory
    // has a copy of it.
    let started = unsafe { start_child(&inside) };
    drop(blocked);
    let (pid, has_left) = started?;
    drop(tell);
    let mut error = [0; size_of::<c_int>()];
    // What it had to say is there by now. Where it may still be on its way, the exec closes the other end; by this end alone nobody
    // would know: a child that another thread forks meanwhile may hold the other one for ever.
    let said = if has_left { read_now(told.as_fd(), &mut error)?.unwrap_or(0) } else { told.read(&mut error)? };
    match said {
        0 => u32::try_from(pid).map_err(io::Error::other),
        _ => {
            // SAFETY: the child is ours and has exited or is about to.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Err(io::Error::from_raw_os_error(c_int::from_ne_bytes(error)))
        }
    }
}

/// All signals of this thread, blocked until it is dropped.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all() -> Self {
        // SAFETY: the sets are plain data, filled before use.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, &mut before);
            Self(before)
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `all`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

/// What a child has until its exec.
struct Inside<'a> {
    child: &'a Child<'a>,
    /// Where it writes the error's number.
    tell: RawFd,
}

/// Runs [`run_until_exec`] in a child, and answers with the child's pid, and whether it has left that by now.
unsafe fn start_child(inside: &Inside<'_>) -> io::Result<(libc::pid_t, bool)> {
    // SAFETY: a structure of numbers, for which zero means "not used".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    // Our memory until the exec, and not a copy of it, which would take as long again as the exec.
    arguments.flags = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    let cgroup = inside.child.cgroup;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: as the caller promises.
    match unsafe { clone_and_run(&arguments, inside) } {
        pid if pid > 0 => Ok((libc::pid_t::try_from(pid).map_err(io::Error::other)?, true)),
        error => match libc::c_int::try_from(-error).map_err(io::Error::other)? {
            // A kernel before Linux 5.3, or a filter of system calls.
            libc::ENOSYS | libc::EPERM if cgroup.is_none() => {
                // SAFETY: as the caller promises.
                match unsafe { libc::fork() } {
                    0 => run_until_exec(inside),
                    pid if pid > 0 => Ok((pid, false)),
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
unsafe fn clone_and_run(arguments: &libc::clone_args, inside: &Inside<'_>) -> isize {
    let answer: isize;
    // SAFETY: this thread waits until the child has left this memory (CLONE_VFORK), and finds its registers as they were and
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
            in("r12") ptr::from_ref(inside),
            in("r13") run_until_exec as extern "C" fn(&Inside<'_>) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// A child with a copy of the memory goes on in a copy of this frame.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_and_run(arguments: &libc::clone_args, inside: &Inside<'_>) -> isize {
    let mut arguments = *arguments;
    arguments.flags &= !(libc::CLONE_VM as u64);
    // SAFETY: without CLONE_VM the child has a copy of everything, its stack included, as after fork(2).
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) } {
        0 => run_until_exec(inside),
        -1 => -(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) as isize),
        pid => pid as isize,
    }
}

/// In the child: nothing but async-signal-safe functions, and no allocation, until it execs.
extern "C" fn run_until_exec(inside: &Inside<'_>) -> ! {
    // SAFETY: numbers and live pointers.
    unsafe {
        let error = exec(inside.child);
        let bytes = error.to_ne_bytes();
        libc::write(inside.tell, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(NOT_EXECUTED);
    }
}

/// Answers only if something failed, with the error number.
unsafe fn exec(child: &Child<'_>) -> c_int {
    // SAFETY: as above.
    unsafe {
        let errno = || *libc::__errno_location();
        match child.group {
            Group::OfProcesses => libc::setpgid(0, 0),
            Group::Session => libc::setsid(),
        };
        default_signals();
        if child.directory.is_some_and(|directory| libc::chdir(directory.as_ptr()) < 0) {
            return errno();
        }
        let these = match child.standard {
            Standard::These(these) => these,
            Standard::Terminal(path) => {
                // Opened in a process that leads a session it becomes the controlling one; a dup would not.
                let opened = libc::open(path.as_ptr(), libc::O_RDWR);
                if opened < 0 || (opened != 0 && libc::dup2(opened, 0) < 0) {
                    return errno();
                }
                if opened > 2 {
                    libc::close(opened);
                }
                [0; 3]
            }
        };
        for (fd, number) in these.into_iter().zip(0..) {
            let is_done = if fd == number { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, number) };
            if is_done < 0 {
                return errno();
            }
        }
        match child.passed {
            Passed::Also(numbers) => numbers.iter().for_each(|fd| _ = libc::fcntl(*fd, libc::F_SETFD, 0)),
            Passed::Nothing(known) => {
                // Closed by the exec, since an error is told by one of them.
                let (first, last, flags): (c_uint, c_uint, c_uint) =
                    (3, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as c_uint);
                if libc::syscall(libc::SYS_close_range, first, last, flags) < 0 {
                    known.iter().for_each(|fd| _ = libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC));
                }
            }
        }
        if child.data_limit.is_some_and(|limit| libc::setrlimit(libc::RLIMIT_DATA, &limit) < 0) {
            return errno();
        }
        let mut error = libc::ENOENT;
        for program in child.programs {
            libc::execve(program.as_ptr(), child.argv.as_ptr().cast(), child.envp.as_ptr().cast());
            // As execvp(3): one that may not be executed counts only if no other is found.
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => error = libc::EACCES,
                other => return other,
            }
        }
        error
    }
}

unsafe fn default_signals() {
    // SAFETY: plain data, filled before use; the table of handlers is the child's own.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..SIGNALS {
            // Refused for KILL, STOP and the C library's own, which have it already.
            libc::sigaction(signal, &action, ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}
