//! Whom a socket talks to, for a person: asked only for what a report names.

#![expect(unsafe_code, reason = "descriptors by number, and TCP_INFO, which rustix lacks")]

use crate::sys::{SocketNames, TCP_STATES};
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, getpeername, getsockname, sockopt};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// What is known of a socket; `None` if it is no socket, or closed by now.
pub(crate) fn describe_socket(number: RawFd) -> Option<SocketNames> {
    // SAFETY: the number may be closed by others at any time, which each call answers with EBADF; it is not kept.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = sockopt::socket_type(fd).ok()?;
    let family = sockopt::socket_domain(fd).ok()?;
    let name = match (family, kind) {
        (AddressFamily::UNIX, _) => "unix",
        (AddressFamily::NETLINK, _) => "netlink",
        (_, SocketType::STREAM) => "tcp",
        (_, SocketType::DGRAM) => "udp",
        _ => "raw",
    };
    let state = if name == "tcp" {
        tcp_state(fd)
    } else {
        sockopt::socket_acceptconn(fd).unwrap_or(false).then_some("listening")
    };
    let local = getsockname(fd).ok().and_then(address);
    let remote = getpeername(fd).ok().flatten().and_then(address);
    Some(SocketNames { kind: name, local, remote, state })
}

/// `None` for the empty name of a socket pair.
fn address(address: SocketAddrAny) -> Option<String> {
    if let Ok(address) = std::net::SocketAddr::try_from(address.clone()) {
        return Some(address.to_string());
    }
    let unix = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    if let Some(path) = unix.path_bytes() {
        return Some(String::from_utf8_lossy(path).into_owned());
    }
    unix.abstract_name().filter(|name| !name.is_empty()).map(|name| format!("@{}", String::from_utf8_lossy(name)))
}

fn tcp_state(fd: BorrowedFd<'_>) -> Option<&'static str> {
    // The state is the first byte of struct tcp_info (linux/tcp.h); the kernel copies as much as is asked for.
    let mut info = [0u8; 8];
    let mut length: libc::socklen_t = 8;
    // SAFETY: the buffer is ours and as long as `length` says.
    let status = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    (status == 0).then(|| TCP_STATES.get(usize::from(info[0]).checked_sub(1)?).copied())?
}
