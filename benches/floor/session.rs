//! The floor under a session: a shell on a pseudo-terminal by `posix_spawn`, its polite kill by pidfd, its reaping.
//!
//! It costs the same two descriptors (master, pidfd), gives the child a controlling terminal of the right size and no
//! descriptor but 0, 1 and 2, and never forks.

#![expect(unsafe_code, reason = "posix_spawn takes C structures and lists of pointers")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, Resource, Signal, WaitId, WaitIdOptions};
use rustix::process::{getrlimit, pidfd_open, pidfd_send_signal, setrlimit, waitid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::ffi::{CString, c_char, c_int, c_short};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::time::{Duration, Instant};

/// A session that ends when it is hung up, which is nearly all of them.
pub(crate) const POLITE: &str = "exec sleep 1000";
/// A session that ignores both signals of a polite kill, and so does its child.
pub(crate) const STUBBORN: &str = "trap '' HUP TERM; while :; do sleep 1000; done";

/// What every spawn needs and none changes: arguments and environment as C reads them.
pub(crate) struct Recipe {
    argv: Vec<*mut c_char>,
    envp: Vec<*mut c_char>,
    /// What the pointers lead to. The heap blocks stay where they are when this is moved.
    _strings: Vec<CString>,
}

impl Recipe {
    /// A line for `sh -c`, with this process's environment and one more variable, as ours gets its cookie.
    pub(crate) fn shell(line: &str) -> Self {
        let c_string = |bytes: Vec<u8>| CString::new(bytes).expect("no NUL in arguments and environment");
        let args = ["sh", "-c", line].map(|arg| c_string(arg.into()));
        let mut env: Vec<CString> = std::env::vars_os()
            .map(|(name, value)| c_string([name.into_vec(), value.into_vec()].join(&b'=')))
            .collect();
        env.push(c_string(b"BENCH_S_0123456789abcdef=00000000-0000-0000-0000-000000000000".into()));
        let pointers = |strings: &[CString]| -> Vec<*mut c_char> {
            strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
        };
        let (argv, envp) = (pointers(&args), pointers(&env));
        Self { argv, envp, _strings: args.into_iter().chain(env).collect() }
    }

    /// Opens a terminal and starts the program on it.
    pub(crate) fn spawn(&self) -> RawSession {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("open a pty");
        unlockpt(&master).expect("unlock the pty");
        let peer = ioctl_tiocgptpeer(&master, flags).expect("open the pty's other side");
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).expect("set the size");
        let pid = self.posix_spawn(&peer);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("open a pidfd");
        RawSession { master, pidfd, pid, reaped: false }
    }

    fn posix_spawn(&self, terminal: &OwnedFd) -> Pid {
        // Opened by name and without O_NOCTTY, in a child that leads a session: its controlling terminal from then on.
        let path = CString::new(format!("/proc/self/fd/{}", terminal.as_raw_fd())).expect("no NUL in a path");
        let mut actions = MaybeUninit::uninit();
        let mut attributes = MaybeUninit::uninit();
        let mut signals = MaybeUninit::uninit();
        let mut pid = 0;
        // SAFETY: each structure is initialised by the first call on it and destroyed once, after its last use. The
        // path, the arguments and the environment end in NUL, both lists in a null pointer, and all outlive the call.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()));
            check(libc::posix_spawn_file_actions_addopen(actions.as_mut_ptr(), 0, path.as_ptr(), libc::O_RDWR, 0));
            check(libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), 0, 1));
            check(libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), 0, 2));
            check(libc::posix_spawn_file_actions_addclosefrom_np(actions.as_mut_ptr(), 3));
            let flags = libc::POSIX_SPAWN_SETSID as c_int | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()));
            check(libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), flags as c_short));
            libc::sigfillset(signals.as_mut_ptr());
            check(libc::posix_spawnattr_setsigdefault(attributes.as_mut_ptr(), signals.as_ptr()));
            libc::sigemptyset(signals.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), signals.as_ptr()));
            check(libc::posix_spawn(
                &mut pid,
                c"/bin/sh".as_ptr(),
                actions.as_ptr(),
                attributes.as_ptr(),
                self.argv.as_ptr(),
                self.envp.as_ptr(),
            ));
            libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
            libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
        }
        Pid::from_raw(pid).expect("a child has a pid")
    }
}

/// These functions return the error's number.
fn check(code: c_int) {
    assert_eq!(code, 0, "{}", std::io::Error::from_raw_os_error(code));
}

/// A session of the floor's own. Dropped before it was reaped, as by a panic, it is killed.
pub(crate) struct RawSession {
    pub(crate) master: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: Pid,
    reaped: bool,
}

impl RawSession {
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    pub(crate) fn hang_up(&self) {
        pidfd_send_signal(&self.pidfd, Signal::HUP).expect("hang up");
    }

    /// One that stays when the session is closed.
    pub(crate) fn second_pidfd(&self) -> OwnedFd {
        rustix::io::fcntl_dupfd_cloexec(&self.pidfd, 0).expect("duplicate a pidfd")
    }

    /// Waits for the death without taking the status.
    pub(crate) fn await_death(&self) {
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], None).expect("poll a pidfd");
    }

    /// Waits for the death and takes the status.
    pub(crate) fn reap(&mut self) {
        waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED).expect("reap");
        self.reaped = true;
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

/// Signals all, then reaps all, then closes all: one after the other takes ten times as long.
pub(crate) fn kill_all(mut sessions: Vec<RawSession>) {
    sessions.iter().for_each(RawSession::hang_up);
    sessions.iter_mut().for_each(RawSession::reap);
}

/// Asks once, for all of them.
pub(crate) fn are_dead(pidfds: &[OwnedFd]) -> bool {
    let mut wanted: Vec<_> = pidfds.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut wanted, Some(&now)).expect("poll the pidfds") == pidfds.len()
}

/// Waits until each of the shells is where its line leads: replaced by `sleep`, or waiting for its child.
///
/// A shell that still starts dies in another time than one at rest, and of the ignored signals.
pub(crate) fn await_rest(pids: impl IntoIterator<Item = u32>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    for pid in pids {
        let is_at_rest = || {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("comm") == "sleep\n" || !read(&format!("task/{pid}/children")).is_empty()
        };
        while !is_at_rest() {
            assert!(Instant::now() < deadline, "process {pid} did not get to its `sleep`");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Lets this process open as many descriptors as it may: a session costs two.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("raise the descriptor limit");
}
