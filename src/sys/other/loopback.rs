//! Sockets of this machine's own, and directories that are removed whole.

use super::descriptor::{BorrowedFd, OwnedFd};
use super::refusal::unsupported;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

pub(crate) fn answers_tcp(_address: SocketAddr) -> io::Result<bool> {
    unsupported()
}

pub(crate) fn answers_unix(_path: &Path) -> io::Result<Option<u32>> {
    unsupported()
}

pub(crate) fn take_name(_name: &[u8]) -> io::Result<Option<OwnedFd>> {
    unsupported()
}

pub(crate) fn listen_at_name(_name: &[u8]) -> io::Result<Option<OwnedFd>> {
    unsupported()
}

pub(crate) fn connect_to_name(_name: &[u8]) -> io::Result<Option<OwnedFd>> {
    unsupported()
}

pub(crate) fn accept_now(_listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    unsupported()
}

pub(crate) fn peer_of(_socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    unsupported()
}

pub(crate) fn remove_tree(_parent: &Path, _name: &str, _owner: u32) -> io::Result<()> {
    unsupported()
}
