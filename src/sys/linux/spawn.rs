//! Starting a program without fork: a session on a terminal, a server without one.
//!
//! posix_spawn(3) shares the parent's memory until the exec (`CLONE_VM | CLONE_VFORK`), so its cost does not grow with
//! the test process: fork copies page tables (42 ms at 500 MB), and closing descriptors one by one costs 4 to 8 ms
//! at 2,000. Nothing of ours runs between clone and exec, so no lock or allocator can be caught halfway, and a failed
//! exec is reported by the call itself. It cannot change a child's limit on data: where ours is lowered, `vfork` starts the child.

#![expect(unsafe_code, reason = "posix_spawn and dlsym are not in rustix")]

use super::limit::{as_libc, data_limit_before};
use super::numbers::null;
use super::pty::Peer;
use super::vfork::{self, Child, Group, Passed, Standard};
use once_cell::sync::OnceCell;
use rustix::fs::OFlags;
use rustix::process::Rlimit;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_short};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;

type AddCloseFrom = unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, c_int) -> c_int;

/// Starts `program` as the leader of a new session whose controlling terminal is `peer`, which becomes its
/// descriptors 0, 1 and 2; no other descriptor is passed on, all signals are at their defaults, none is blocked.
/// Answers with the pid of the new child, which stays ours to reap.
///
/// # Errors
///
/// Those of execve(2), and of chdir(2) for the directory: both may be `ENOENT`.
pub(crate) fn spawn_on_terminal(
    peer: &Peer,
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
    directory: Option<&CStr>,
) -> io::Result<u32> {
    let before = data_limit_before();
    if let Some(limit) = *before {
        let path = c_string(format!("/proc/self/fd/{}", peer.fd.as_raw_fd()))?;
        let program = Program { paths: &[program], arguments, environment, directory };
        return spawn_with_limit(&program, Standard::Terminal(&path), limit);
    }
    let mut actions = Actions::new()?;
    if let Some(directory) = directory {
        actions.change_directory(directory)?;
    }
    // Opening it, without NOCTTY, in a process that leads a session makes it the controlling terminal
    // (the default of Linux, open(2)); a dup would not.
    let path = CString::new(format!("/proc/self/fd/{}", peer.fd.as_raw_fd())).expect("a number has no NUL");
    actions.open(0, &path, OFlags::RDWR)?;
    actions.duplicate(0, 1)?;
    actions.duplicate(0, 2)?;
    actions.close_from(3)?;
    spawn(&actions, program, arguments, environment)
}

fn spawn(actions: &Actions, program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Result<u32> {
    let attributes = Attributes::for_session_leader()?;
    let argv = pointers(arguments);
    let envp = pointers(environment);
    let mut pid: libc::pid_t = 0;
    // SAFETY: all pointers are to live, NUL-terminated strings and null-terminated arrays of them; the actions and
    // attributes are initialised; the child runs only libc's own code until it execs.
    let status = unsafe {
        libc::posix_spawn(&mut pid, program.as_ptr(), &actions.raw, &attributes.raw, argv.as_ptr(), envp.as_ptr())
    };
    check(status)?;
    u32::try_from(pid).map_err(io::Error::other)
}

/// Starts a program, looked up in our `PATH`, as the leader of a kernel session of its own: with /dev/null as its input, these
/// as its descriptors 1 and 2, no other, all signals at their defaults and none blocked. The child stays ours to reap.
///
/// # Errors
///
/// Those of execve(2), of chdir(2) for the directory, and of a descriptor below 3.
pub(crate) fn spawn_with_outputs(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
    directory: Option<&CStr>,
    outputs: [BorrowedFd<'_>; 2],
) -> io::Result<u32> {
    if outputs.iter().any(|fd| fd.as_raw_fd() < 3) {
        return Err(io::Error::other("this process has no standard input, output or error"));
    }
    let before = data_limit_before();
    if let Some(limit) = *before {
        let null = null()?;
        let paths = candidates(program)?;
        let paths: Vec<&CStr> = paths.iter().map(CString::as_c_str).collect();
        let program = Program { paths: &paths, arguments, environment, directory };
        let standard = [null.as_raw_fd(), outputs[0].as_raw_fd(), outputs[1].as_raw_fd()];
        return spawn_with_limit(&program, Standard::These(standard), limit);
    }
    let mut actions = Actions::new()?;
    if let Some(directory) = directory {
        actions.change_directory(directory)?;
    }
    actions.open(0, c"/dev/null", OFlags::RDONLY)?;
    actions.duplicate(outputs[0].as_raw_fd(), 1)?;
    actions.duplicate(outputs[1].as_raw_fd(), 2)?;
    actions.close_from(3)?;
    let attributes = Attributes::for_session_leader()?;
    let (argv, envp) = (pointers(arguments), pointers(environment));
    let mut pid: libc::pid_t = 0;
    // SAFETY: all pointers are to live, NUL-terminated strings and null-terminated arrays of them; the actions and
    // attributes are initialised; the child runs only libc's own code until it execs.
    check(unsafe {
        libc::posix_spawnp(&mut pid, program.as_ptr(), &actions.raw, &attributes.raw, argv.as_ptr(), envp.as_ptr())
    })?;
    u32::try_from(pid).map_err(io::Error::other)
}

/// What is started where this process's limit on data is lowered.
struct Program<'a> {
    paths: &'a [&'a CStr],
    arguments: &'a [CString],
    environment: &'a [CString],
    directory: Option<&'a CStr>,
}

/// With posix_spawn(3) the program would have begun under our limit by the time that it could be given another, and might have
/// ended by that: here the child changes its own before the exec.
fn spawn_with_limit(program: &Program<'_>, standard: Standard<'_>, limit: Rlimit) -> io::Result<u32> {
    let (argv, envp) = (pointers(program.arguments), pointers(program.environment));
    let known = inheritable(3)?;
    vfork::start(&Child {
        programs: program.paths,
        argv: &argv,
        envp: &envp,
        standard,
        passed: Passed::Nothing(&known),
        group: Group::Session,
        cgroup: None,
        directory: program.directory,
        data_limit: Some(as_libc(limit)),
    })
}

/// Where a program may be, as execvp(3) looks for it in our `PATH`.
fn candidates(program: &CStr) -> io::Result<Vec<CString>> {
    let name = OsStr::from_bytes(program.to_bytes());
    if program.to_bytes().contains(&b'/') {
        return Ok(vec![program.to_owned()]);
    }
    // An empty name is nobody's, and a directory would be found instead.
    let path = std::env::var_os("PATH").filter(|_| !name.is_empty()).unwrap_or_default();
    std::env::split_paths(&path).map(|directory| Ok(c_string(directory.join(name))?)).collect()
}

pub(super) fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// `posix_spawn*` return the error number.
pub(super) fn check(status: c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(status)) }
}

pub(super) struct Actions {
    pub(super) raw: libc::posix_spawn_file_actions_t,
}

impl Actions {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a zeroed value is only passed to its own init.
        let mut actions = Self { raw: unsafe { std::mem::zeroed() } };
        // SAFETY: the pointer is valid and exclusive.
        check(unsafe { libc::posix_spawn_file_actions_init(&mut actions.raw) })?;
        Ok(actions)
    }

    pub(super) fn change_directory(&mut self, directory: &CStr) -> io::Result<()> {
        // SAFETY: initialised by `new`; the path is copied.
        check(unsafe { libc::posix_spawn_file_actions_addchdir_np(&mut self.raw, directory.as_ptr()) })
    }

    pub(super) fn open(&mut self, fd: RawFd, path: &CStr, flags: OFlags) -> io::Result<()> {
        let flags = flags.bits().cast_signed();
        // SAFETY: initialised by `new`; the path is copied.
        check(unsafe { libc::posix_spawn_file_actions_addopen(&mut self.raw, fd, path.as_ptr(), flags, 0) })
    }

    pub(super) fn duplicate(&mut self, from: RawFd, to: RawFd) -> io::Result<()> {
        // SAFETY: initialised by `new`.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.raw, from, to) })
    }

    fn close_from(&mut self, first: RawFd) -> io::Result<()> {
        if let Some(add_close_from) = close_from_function() {
            // SAFETY: the symbol has this signature wherever it exists (glibc 2.34); initialised by `new`.
            return check(unsafe { add_close_from(&mut self.raw, first) });
        }
        // musl has no such action: one close for each open descriptor that exec would pass on.
        for fd in inheritable(first)? {
            // SAFETY: initialised by `new`.
            check(unsafe { libc::posix_spawn_file_actions_addclose(&mut self.raw, fd) })?;
        }
        Ok(())
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.raw) };
    }
}

/// Looked up at run time: linking against it would tie every test binary to glibc 2.34.
fn close_from_function() -> Option<AddCloseFrom> {
    static FUNCTION: OnceCell<Option<AddCloseFrom>> = OnceCell::new();
    *FUNCTION.get_or_init(|| {
        let name = c"posix_spawn_file_actions_addclosefrom_np";
        // SAFETY: a lookup in the libraries that are loaded already.
        let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        // SAFETY: a null pointer becomes None; else the symbol is the function of that name and signature.
        unsafe { std::mem::transmute::<*mut libc::c_void, Option<AddCloseFrom>>(symbol) }
    })
}

fn inheritable(first: RawFd) -> io::Result<Vec<RawFd>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        // SAFETY: F_GETFD on any number is harmless: it fails for one that is closed meanwhile.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if fd >= first && flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            found.push(fd);
        }
    }
    Ok(found)
}

pub(super) struct Attributes {
    pub(super) raw: libc::posix_spawnattr_t,
}

impl Attributes {
    /// With all signals at their defaults, and none blocked.
    pub(super) fn for_session_leader() -> io::Result<Self> {
        // SAFETY: a zeroed value is only passed to its own init.
        let mut attributes = Self { raw: unsafe { std::mem::zeroed() } };
        // SAFETY: the pointer is valid and exclusive; the sets are plain data filled before use.
        unsafe {
            check(libc::posix_spawnattr_init(&mut attributes.raw))?;
            let flags = libc::POSIX_SPAWN_SETSID as c_int | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
            check(libc::posix_spawnattr_setflags(&mut attributes.raw, flags as c_short))?;
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut set);
            check(libc::posix_spawnattr_setsigdefault(&mut attributes.raw, &set))?;
            libc::sigemptyset(&mut set);
            check(libc::posix_spawnattr_setsigmask(&mut attributes.raw, &set))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `for_session_leader`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&mut self.raw) };
    }
}

/// The bytes of a path or an argument, for the kernel.
pub(crate) fn c_string(text: impl Into<std::ffi::OsString>) -> Result<CString, std::ffi::NulError> {
    CString::new(std::os::unix::ffi::OsStringExt::into_vec(text.into()))
}

#[cfg(test)]
mod tests {
    use super::super::process::Pidfd;
    use super::super::pty::Master;
    use super::*;
    use crate::sys::Cells;

    /// A test's thread may have blocked a signal, and a session that inherits that can be ended by KILL only.
    #[test]
    fn what_the_creating_thread_blocks_is_not_blocked_in_the_program() {
        // SAFETY: the sets are plain data, filled before use; the mask is that of this test's own thread.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGHUP);
            libc::sigaddset(&mut set, libc::SIGTERM);
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()), 0);
        }
        let (master, peer) = Master::open(Cells { rows: 24, cols: 80 }).unwrap();
        let arguments = [c"sh", c"-c", c"exec grep SigBlk /proc/self/status"].map(CStr::to_owned);
        let pid = spawn_on_terminal(&peer, c"/bin/sh", &arguments, &[], None).unwrap();
        drop(peer);
        let pidfd = Pidfd::open(pid).unwrap();
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
        pidfd.reap().unwrap().expect("it has ended");
        let mut buffer = [0; 100];
        let count = master.read(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..count]).trim(), "SigBlk:\t0000000000000000");
    }
}
