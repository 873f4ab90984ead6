//! Sockets of this machine's own: whether something answers, and names that one process at a time can have.

use super::numbers::above_standard;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// True if somebody accepts connections at this address of the loopback. It waits for nothing: there a connection is made, or
/// refused, within the call.
pub(crate) fn answers_tcp(address: SocketAddr) -> io::Result<bool> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = stream(family)?;
    answers(&socket, connect(&socket, &address))
}

/// The same of a socket's file, with the process that has begun to listen there; 0 if that cannot be said: too many wait, or it
/// is in another PID namespace.
pub(crate) fn answers_unix(path: &Path) -> io::Result<Option<u32>> {
    let address = SocketAddrUnix::new(path)?;
    let socket = stream(AddressFamily::UNIX)?;
    match connect(&socket, &address) {
        // Somebody listens, and has as many waiting as it will have.
        Err(Errno::AGAIN) => Ok(Some(0)),
        connected => Ok(if answers(&socket, connected)? { Some(listener_of(&socket)) } else { None }),
    }
}

/// rustix's own type cannot hold the 0 that the kernel says of a process in another PID namespace.
#[expect(unsafe_code, reason = "rustix's type for the peer takes 0 for impossible")]
fn listener_of(socket: &OwnedFd) -> u32 {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the buffer is ours and as long as `length` says.
    let status = unsafe {
        let at = (&raw mut peer).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, at, &raw mut length)
    };
    if status == 0 { peer.pid.cast_unsigned() } else { 0 }
}

fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    above_standard(socket_with(family, SocketType::STREAM, flags, None)?)
}

fn answers(socket: &OwnedFd, connected: rustix::io::Result<()>) -> io::Result<bool> {
    match connected {
        Ok(()) => Ok(true),
        Err(Errno::INPROGRESS) => {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let is_decided = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&now)).is_ok_and(|count| count > 0);
            Ok(is_decided && sockopt::socket_error(socket)?.is_ok())
        }
        Err(
            Errno::CONNREFUSED
            | Errno::NOENT
            | Errno::CONNRESET
            | Errno::TIMEDOUT
            | Errno::INTR
            | Errno::ADDRNOTAVAIL
            | Errno::AFNOSUPPORT
            | Errno::NOTSOCK
            | Errno::PROTOTYPE,
        ) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

/// Takes a name for as long as the descriptor is open; `None` if another process has it. The kernel gives it back at that
/// process's death, however it dies, and it is as wide as ports are: one network namespace, all users.
///
/// It is the name of a socket in the abstract namespace (unix(7)): no file that somebody would have to remove.
pub(crate) fn take_name(name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let socket = stream(AddressFamily::UNIX)?;
    match bind(&socket, &SocketAddrUnix::new_abstract_name(name)?) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::ADDRINUSE) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

/// Takes a name as [`take_name`] does, and listens there.
pub(crate) fn listen_at_name(name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let Some(socket) = take_name(name)? else { return Ok(None) };
    rustix::net::listen(&socket, 128)?;
    Ok(Some(socket))
}

/// A connection to who listens at a name; `None` if nobody does now, or too many wait.
pub(crate) fn connect_to_name(name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let socket = stream(AddressFamily::UNIX)?;
    match connect(&socket, &SocketAddrUnix::new_abstract_name(name)?) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::CONNREFUSED | Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

/// The next one that has connected; `None` if there is none now.
pub(crate) fn accept_now(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(socket) => Ok(Some(above_standard(socket)?)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

/// Process and user at the other end, when it connected or began to listen.
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let peer = sockopt::socket_peercred(socket)?;
    Ok((peer.pid.as_raw_pid().cast_unsigned(), peer.uid.as_raw()))
}

#[cfg(test)]
mod tests {
    //! What is closed here ends somewhat later where another test starts a child at that moment: that has it, too, until its
    //! exec.

    use super::*;
    use crate::backoff::soon;
    use std::net::TcpListener;

    #[test]
    fn who_listens_answers_and_nobody_else() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(answers_tcp(address).unwrap());
        drop(listener);
        soon("its end", || !answers_tcp(address).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        assert_eq!(answers_unix(&path).unwrap(), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(answers_unix(&path).unwrap(), None, "a file is no socket");
        std::fs::remove_file(&path).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(answers_unix(&path).unwrap(), Some(std::process::id()));
        drop(listener);
        // Its file is still there.
        soon("its end", || answers_unix(&path).unwrap().is_none());
    }

    #[test]
    fn a_name_is_taken_once_and_free_again() {
        let name = format!("termleash-test-{}", std::process::id());
        let held = take_name(name.as_bytes()).unwrap();
        assert!(held.is_some() && take_name(name.as_bytes()).unwrap().is_none());
        drop(held);
        soon("its end", || take_name(name.as_bytes()).unwrap().is_some());
    }
}
