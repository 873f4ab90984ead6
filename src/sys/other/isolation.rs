//! What a test needs that runs in a process of its own: starting this program again, hearing of it, watching it.

use super::descriptor::{BorrowedFd, OwnedFd};
use super::process::Pidfd;
use super::refusal::unsupported;
use crate::sys::WaitStatus;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Empty by a field that is private, so that the code that takes one is not known to be unreachable.
pub(crate) struct Channel(Infallible);

impl Channel {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        unsupported()
    }

    pub(crate) fn over(fd: OwnedFd) -> Self {
        fd.never()
    }

    pub(crate) fn number(&self) -> i32 {
        match self.0 {}
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }

    pub(crate) fn send(&self, _message: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn has_room(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn receive(&mut self, _limit: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        match self.0 {}
    }
}

#[expect(dead_code, reason = "nothing is started there")]
pub(crate) struct Launch<'a> {
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    pub(crate) passed: &'a [i32],
}

pub(crate) fn spawn_leader(_launch: &Launch<'_>, _directory: Option<&CStr>, _is_mute: bool) -> io::Result<u32> {
    unsupported()
}

pub(crate) fn spawn_with_outputs(
    _program: &CStr,
    _arguments: &[CString],
    _environment: &[CString],
    _directory: Option<&CStr>,
    _outputs: [BorrowedFd<'_>; 2],
) -> io::Result<u32> {
    unsupported()
}

pub(crate) fn spawn_into(
    _launch: &Launch<'_>,
    _standard: [BorrowedFd<'_>; 3],
    _cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<u32> {
    unsupported()
}

pub(crate) fn keep_from_children(_fd: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn adopt(_fd: i32) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn close_all_but(_kept: &[i32]) {}

pub(crate) fn redirect_number(_from: i32, _to: i32) {}

pub(crate) fn flush_c_output() {}

pub(crate) fn close_standard_input() -> io::Result<()> {
    unsupported()
}

pub(crate) fn fill_standard_descriptors() -> io::Result<()> {
    unsupported()
}

pub(crate) fn null() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

pub(crate) fn create_shared(_words: usize) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn read_shared(_file: BorrowedFd<'_>, _words: usize) -> Vec<u64> {
    Vec::new()
}

pub(crate) fn map_shared(file: OwnedFd, _words: usize) -> io::Result<(&'static [AtomicU64], &'static AtomicU64)> {
    file.never()
}

pub(crate) fn write_to(_number: i32, _bytes: &[u8]) -> io::Result<()> {
    unsupported()
}

pub(crate) fn is_terminal(_number: i32) -> bool {
    false
}

/// Nothing is called before `main`: no process is started that would have to be told apart there.
macro_rules! at_start {
    ($function:path) => {
        const _: fn() = $function;
    };
}
pub(crate) use at_start;

pub(crate) fn note_start() {}

pub(crate) fn start_directory() -> Option<&'static PathBuf> {
    None
}

pub(crate) fn inherited_descriptors() -> &'static [i32] {
    &[]
}

pub(crate) fn start_environment(_without: &[&str]) -> io::Result<Vec<CString>> {
    unsupported()
}

pub(crate) fn start_arguments() -> io::Result<Vec<OsString>> {
    unsupported()
}

pub(crate) fn variable(_name: &str, _value: impl AsRef<OsStr>) -> CString {
    CString::default()
}

pub(crate) fn remove_variable(_name: &str) {}

pub(crate) fn tracer() -> Option<u32> {
    None
}

pub(crate) fn adopt_orphans() -> io::Result<()> {
    unsupported()
}

pub(crate) fn ends_of_children() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn drain(fd: &OwnedFd) {
    fd.never()
}

pub(crate) fn reap_any() -> Option<(u32, WaitStatus)> {
    None
}

pub(crate) fn wait_for(_fds: &[BorrowedFd<'_>], _limit: Option<Duration>) -> io::Result<Vec<bool>> {
    unsupported()
}

pub(crate) fn read_now(_fd: BorrowedFd<'_>, _buffer: &mut [u8]) -> io::Result<Option<usize>> {
    unsupported()
}

pub(crate) fn exit_now(status: i32) -> ! {
    std::process::exit(status)
}

pub(crate) fn parent_pid() -> u32 {
    0
}

pub(crate) fn when_ended(process: Pidfd, _then: fn()) -> io::Result<()> {
    match process {}
}

pub(crate) fn set_own_name(_name: &str) {}

pub(crate) fn survive_broken_pipes() {}
