//! Systems other than Linux: the same names, and every answer is "unsupported".
//!
//! The types that would stand for a descriptor are empty, so the code on top of them is compiled and cannot run.
//! The poller still waits and can be interrupted, since deadlines are needed everywhere.

use crate::sys::{Cells, FileFacts, FileStat, Interest, Ready, Signal, SocketNames, Specimen, WaitStatus};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// True where sessions can be spawned, pinned and proven dead by this crate itself.
pub(crate) const IS_COMPLETE: bool = false;

/// What the poller can wait for: nothing here.
pub(crate) trait Pollable {}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn now_ticks() -> u64 {
    0
}

pub(crate) fn boot_id() -> io::Result<u128> {
    unsupported()
}

pub(crate) fn pid_in_proc() -> io::Result<u32> {
    unsupported()
}

pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

pub(crate) fn own_uid() -> u32 {
    0
}

pub(crate) fn session_of(_pid: u32) -> Option<u32> {
    None
}

pub(crate) fn raise_descriptor_limit(_wanted: u64) -> io::Result<u64> {
    unsupported()
}

pub(crate) fn restore_descriptor_limit(_pid: u32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn stat_descriptor(_number: i32) -> io::Result<Option<FileStat>> {
    unsupported()
}

pub(crate) fn count_descriptors() -> io::Result<Option<usize>> {
    unsupported()
}

pub(crate) fn list_descriptors() -> io::Result<Vec<i32>> {
    unsupported()
}

pub(crate) fn describe_socket(_number: i32) -> Option<SocketNames> {
    None
}

pub(crate) fn specimens() -> io::Result<Vec<Specimen>> {
    unsupported()
}

pub(crate) fn open_directory(_path: &Path) -> io::Result<File> {
    unsupported()
}

pub(crate) fn create_directory(_path: &Path) -> io::Result<()> {
    unsupported()
}

pub(crate) fn file_facts(_file: &File) -> io::Result<FileFacts> {
    unsupported()
}

pub(crate) fn create_in(_directory: &File, _name: &str) -> io::Result<File> {
    unsupported()
}

pub(crate) fn open_in(_directory: &File, _name: &str) -> io::Result<File> {
    unsupported()
}

pub(crate) fn remove_in(_directory: &File, _name: &str) -> io::Result<()> {
    unsupported()
}

pub(crate) fn names_in(_directory: &File) -> io::Result<Vec<String>> {
    unsupported()
}

pub(crate) fn has_children() -> io::Result<bool> {
    unsupported()
}

pub(crate) fn resident_bytes() -> io::Result<u64> {
    unsupported()
}

pub(crate) fn peak_bytes() -> io::Result<u64> {
    unsupported()
}

pub(crate) fn heap_bytes() -> Option<u64> {
    None
}

pub(crate) fn trim_heap() -> bool {
    false
}

pub(crate) fn own_thread() -> u32 {
    0
}

pub(crate) fn is_main_thread() -> bool {
    false
}

pub(crate) struct Poller {
    interrupted: Mutex<bool>,
    changed: Condvar,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { interrupted: Mutex::new(false), changed: Condvar::new() })
    }

    pub(crate) fn add(&self, _fd: &impl Pollable, _token: u64, _interest: Interest) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn modify(&self, _fd: &impl Pollable, _token: u64, _interest: Interest) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn remove(&self, _fd: &impl Pollable) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn interrupt(&self) {
        *self.interrupted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    pub(crate) fn wait(&self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let guard = self.interrupted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let limit = limit.unwrap_or(Duration::from_secs(3600));
        let (mut guard, _) = self
            .changed
            .wait_timeout_while(guard, limit, |interrupted| !*interrupted)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *guard = false;
        Ok(())
    }
}

pub(crate) enum ProcReader {}

impl ProcReader {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn read(&mut self, _pid: u32, _file: &str) -> io::Result<&[u8]> {
        match *self {}
    }

    pub(crate) fn read_own(&mut self, _file: &str) -> io::Result<&[u8]> {
        match *self {}
    }

    pub(crate) fn own_target(&mut self, _number: i32) -> io::Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn own_threads(&self) -> io::Result<Vec<u32>> {
        match *self {}
    }

    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        match *self {}
    }

    pub(crate) fn threads(&mut self, _pid: u32) -> io::Result<Vec<u32>> {
        match *self {}
    }

    pub(crate) fn thread_count(&mut self, _pid: u32) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn owner(&mut self, _pid: u32) -> io::Result<u32> {
        match *self {}
    }

    pub(crate) fn pid_namespace(&mut self, _pid: u32) -> io::Result<u64> {
        match *self {}
    }

    pub(crate) fn descriptors(&mut self, _pid: u32) -> io::Result<Vec<u32>> {
        match *self {}
    }

    pub(crate) fn device_and_inode(&mut self, _pid: u32, _descriptor: u32) -> io::Result<((u32, u32), u64)> {
        match *self {}
    }

    pub(crate) fn descriptor_targets(&mut self, _pid: u32) -> io::Result<Vec<Vec<u8>>> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum CgroupDir {}

impl CgroupDir {
    pub(crate) fn open(_path: &std::path::Path) -> io::Result<Self> {
        unsupported()
    }
}

pub(crate) enum Pidfd {}

impl Pidfd {
    pub(crate) fn open(_pid: u32) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn has_exited(&self) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn wait_for_exit(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn signal(&self, _signal: Signal) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn is_our_child(&self) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn reap(&self) -> io::Result<Option<WaitStatus>> {
        match *self {}
    }
}

impl Pollable for Pidfd {}

pub(crate) enum Master {}

pub(crate) enum Peer {}

impl Master {
    pub(crate) fn open(_size: Cells) -> io::Result<(Self, Peer)> {
        unsupported()
    }

    #[cfg(feature = "pty")]
    pub(crate) fn adopt(_master: &dyn portable_pty::MasterPty) -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(crate) fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write(&self, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn resize(&self, _size: Cells) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn size(&self) -> io::Result<Cells> {
        match *self {}
    }

    pub(crate) fn peer_path(&self) -> io::Result<Vec<u8>> {
        match *self {}
    }
}

impl Pollable for Master {}

impl Peer {
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        match *self {}
    }
}

pub(crate) fn spawn_on_terminal(
    peer: &Peer,
    _program: &CStr,
    _arguments: &[CString],
    _environment: &[CString],
    _directory: Option<&CStr>,
) -> io::Result<u32> {
    match *peer {}
}

pub(crate) fn is_executable(_file: &std::fs::Metadata) -> bool {
    true
}

/// Bytes of a path or an argument: UTF-8 here.
pub(crate) fn c_string(text: impl Into<std::ffi::OsString>) -> Result<CString, std::ffi::NulError> {
    CString::new(text.into().to_string_lossy().into_owned())
}
