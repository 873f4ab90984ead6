//! Processes: read, held, grouped.

use super::descriptor::{AsFd, BorrowedFd};
use super::poller::Pollable;
use super::refusal::unsupported;
use crate::sys::{FileStat, Signal, WaitStatus};
use std::io;
use std::path::Path;

pub(crate) enum ProcReader {}

pub(crate) enum LastPid {}

impl LastPid {
    pub(crate) fn open() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn read(&self) -> io::Result<u32> {
        match *self {}
    }
}

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

    pub(crate) fn read_list(&mut self, _pid: u32, _file: &str) -> io::Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn descriptors(&mut self, _pid: u32) -> io::Result<Vec<u32>> {
        match *self {}
    }

    pub(crate) fn device_and_inode(&mut self, _pid: u32, _descriptor: u32) -> io::Result<((u32, u32), u64)> {
        match *self {}
    }

    pub(crate) fn each_target(&mut self, _pid: u32, _visit: impl FnMut(u32, &[u8])) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn executable(&mut self, _pid: u32) -> io::Result<(u64, u64)> {
        match *self {}
    }

    pub(crate) fn target(&mut self, _pid: u32, _link: &str) -> io::Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn descriptor_targets(&mut self, _pid: u32) -> io::Result<Vec<Vec<u8>>> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Controlling {}

impl Controlling {
    pub(crate) fn of(_pid: u32) -> Option<Self> {
        None
    }

    pub(crate) fn at(_path: &[u8]) -> Option<Self> {
        None
    }

    pub(crate) fn is_there(&self) -> bool {
        match *self {}
    }

    pub(crate) fn path(&self) -> &[u8] {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum CgroupDir {}

impl CgroupDir {
    pub(crate) fn open(_path: &Path) -> io::Result<Self> {
        unsupported()
    }
}

impl AsFd for CgroupDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

pub(crate) enum Pidfd {}

impl Pidfd {
    pub(crate) fn open(_pid: u32) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match *self {}
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

pub(crate) fn reap_child(_pid: u32) -> io::Result<Option<WaitStatus>> {
    unsupported()
}

#[derive(Debug)]
pub(crate) enum ProcDir {}

impl ProcDir {
    pub(crate) fn open(_pid: u32) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn read<'a>(&self, _file: &str, _buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        match *self {}
    }

    pub(crate) fn read_short<'a>(&self, _file: &str, _buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        match *self {}
    }

    pub(crate) fn each_descriptor(&self, _visit: impl FnMut(i32, FileStat)) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn threads(&self) -> io::Result<Vec<u32>> {
        match *self {}
    }

    pub(crate) fn thread_count(&self) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn target(&self, _number: i32) -> io::Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        match *self {}
    }

    pub(crate) fn memory(&self) -> io::Result<[u64; 3]> {
        match *self {}
    }

    pub(crate) fn descriptor_count(&self) -> io::Result<u64> {
        match *self {}
    }

    pub(crate) fn processor_time(&self) -> io::Result<u64> {
        match *self {}
    }
}

pub(crate) fn processor_time_of(_pid: u32) -> io::Result<u64> {
    unsupported()
}
