//! Terminals, and programs on them.

use super::poller::Pollable;
use super::refusal::unsupported;
use crate::sys::Cells;
use std::ffi::{CStr, CString};
use std::io;

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
