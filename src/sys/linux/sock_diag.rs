//! Which sockets listen, and whose a connection is, asked of the kernel by sock_diag(7): it has listeners in a table of their
//! own, where a read of /proc/net/tcp goes through the table of all connections, milliseconds on a machine with much memory.

use super::numbers::above_standard;
use crate::sys::{Listening, SocketOwner};
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// Of linux/netlink.h, linux/sock_diag.h and net/tcp_states.h.
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
const DUMP_INTERRUPTED: u16 = 0x10;
const STATE_LISTEN: u8 = 10;
const HEADER: usize = 16;

/// Any state but the one in which there is no connection.
const CONNECTED: u32 = !(1 << STATE_LISTEN);

/// A TCP socket as the kernel describes it.
struct Seen {
    state: u8,
    local: SocketAddr,
    remote: SocketAddr,
    owner: SocketOwner,
}

/// All TCP sockets of this network namespace that listen.
///
/// # Errors
///
/// Where the kernel has no sock_diag, or a sandbox refuses it, or an answer is not whole: /proc/net says the same then.
pub(crate) fn listening_sockets() -> io::Result<Vec<Listening>> {
    let found = ask(1 << STATE_LISTEN, (0, 0))?;
    let listening = found.into_iter().filter(|one| one.state == STATE_LISTEN);
    Ok(listening.map(|one| Listening { address: one.local.ip(), port: one.local.port(), owner: one.owner }).collect())
}

/// The socket of this network namespace that is connected from `local` to `remote`, if there is one.
///
/// # Errors
///
/// As [`listening_sockets`].
pub(crate) fn connected_socket(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<SocketOwner>> {
    let found = ask(CONNECTED, (local.port(), remote.port()))?;
    let is_it = |one: &Seen| (plain(one.local), plain(one.remote)) == (plain(local), plain(remote));
    Ok(found.into_iter().find(is_it).map(|one| one.owner))
}

/// A socket of version 6 has a connection of version 4 with a mapped address.
fn plain(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// The sockets in these states; with a port that is not 0 at the near end or the far one, those with that.
fn ask(states: u32, ports: (u16, u16)) -> io::Result<Vec<Seen>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = above_standard(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))?)?;
    let mut found = Vec::new();
    // Each with a number of its own, that no answer is taken for another one's.
    for (family, number) in [(AddressFamily::INET, 1), (AddressFamily::INET6, 2)] {
        send(&socket, &request(family, number, states, ports), SendFlags::empty())?;
        read_answer(&socket, number, &mut found)?;
    }
    Ok(found)
}

fn read_answer(socket: &OwnedFd, number: u32, found: &mut Vec<Seen>) -> io::Result<()> {
    // What the kernel puts into one message at most.
    let mut buffer = vec![0; 32 << 10];
    loop {
        // It never waits: the kernel writes the next part while the one before is read.
        let (_, length) = recv(socket, &mut buffer[..], RecvFlags::TRUNC)?;
        let part = buffer.get(..length).ok_or_else(malformed)?;
        if parse(part, number, found)? {
            return Ok(());
        }
    }
}

/// `struct nlmsghdr`, then `struct inet_diag_req_v2`.
fn request(family: AddressFamily, number: u32, states: u32, (near, far): (u16, u16)) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut message = Vec::with_capacity(LENGTH as usize);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([family.as_raw() as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    message.extend(states.to_ne_bytes());
    message.extend(near.to_be_bytes());
    message.extend(far.to_be_bytes());
    // Any address.
    message.resize(LENGTH as usize, 0);
    message
}

/// Adds what one part of an answer has; true if it was the last one.
fn parse(mut part: &[u8], number: u32, found: &mut Vec<Seen>) -> io::Result<bool> {
    while !part.is_empty() {
        let length = word(part, 0).ok_or_else(malformed)? as usize;
        let kind = half(part, 4).ok_or_else(malformed)?;
        let flags = half(part, 6).ok_or_else(malformed)?;
        let body = part.get(HEADER..length).ok_or_else(malformed)?;
        if word(part, 8) != Some(number) || flags & DUMP_INTERRUPTED != 0 {
            return Err(malformed());
        }
        match kind {
            MESSAGE_ERROR | MESSAGE_DONE => {
                // Zero, or an error below it.
                return match word(body, 0).ok_or_else(malformed)?.cast_signed() {
                    0 if kind == MESSAGE_DONE => Ok(true),
                    0 => Err(malformed()),
                    number => Err(io::Error::from_raw_os_error(number.saturating_neg())),
                };
            }
            SOCK_DIAG_BY_FAMILY => found.push(socket(body).ok_or_else(malformed)?),
            _ => {}
        }
        // Each begins at a multiple of four.
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct inet_diag_msg`.
fn socket(body: &[u8]) -> Option<Seen> {
    let (family, state) = (AddressFamily::from_raw((*body.first()?).into()), *body.get(1)?);
    let address = |at: usize| -> Option<IpAddr> {
        match family {
            AddressFamily::INET => Some(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?.into()),
            AddressFamily::INET6 => Some(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?.into()),
            _ => None,
        }
    };
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let (local, remote) = ((address(8)?, port(4)?).into(), (address(24)?, port(6)?).into());
    Some(Seen { state, local, remote, owner: SocketOwner { user: word(body, 64)?, inode: word(body, 68)?.into() } })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of sockets is not whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv6Addr, TcpListener};

    /// Recorded on Linux 6.18: two listeners with their attributes, and the end.
    #[cfg(target_endian = "little")]
    const PART: &str = "7c0000001400020001000000ff260000020a0000a33600007f00000100000000000000000000000000000000000000000000000000000000\
        0000000001000000000000000000000000000000ff010000e803000081e19a02050008000000000008000f00000000000c0015000100000000000000\
        06001600520000007c0000001400020001000000ff2600000a0a000007e80000000000000000000000000000000000010000000000000000000000\
        000000000000000000020000000000000000000000000000008000000000000000\
        6c000000050008000000000008000f00000000000c00150001000000000000000600160052000000";
    const END: &str = "140000000300020001000000ff26000000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_recorded_answer_is_read() {
        let mut found = Vec::new();
        assert!(!parse(&bytes(PART), 1, &mut found).unwrap());
        let read: Vec<_> = found.iter().map(|one| (one.state, one.local, one.owner)).collect();
        let first = (STATE_LISTEN, ([127, 0, 0, 1], 41782).into(), SocketOwner { user: 1000, inode: 0x029a_e181 });
        let second = (STATE_LISTEN, (Ipv6Addr::LOCALHOST, 2024).into(), SocketOwner { user: 0, inode: 108 });
        assert_eq!(read, [first, second]);
        assert!(parse(&bytes(END), 1, &mut found).unwrap() && found.len() == 2);
        // The same in one part.
        assert!(parse(&bytes(&format!("{PART}{END}")), 1, &mut found).unwrap() && found.len() == 4);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn what_is_not_whole_is_an_error_and_not_an_empty_list() {
        let refused = |hex: &str, number: u32| parse(&bytes(hex), number, &mut Vec::new()).err().unwrap();
        // ENOENT, as it is answered where there is no such protocol: at once, or at the end.
        let error = "240000000200000001000000ff260000feffffff480000001400010301000000ff260000";
        assert_eq!(refused(error, 1).kind(), io::ErrorKind::NotFound);
        assert_eq!(refused(&error[..64], 1).kind(), io::ErrorKind::InvalidData);
        assert_eq!(refused(&END.replace("ff26000000000000", "ff260000feffffff"), 1).kind(), io::ErrorKind::NotFound);
        assert_eq!(refused(END, 2).kind(), io::ErrorKind::InvalidData, "it answers another question");
        let interrupted = END.replace("03000200", "03001200");
        assert_eq!(refused(&interrupted, 1).kind(), io::ErrorKind::InvalidData);
        for cut in [2, 30, 38, PART.len() - 100, PART.len() - 8] {
            assert_eq!(refused(&PART[..cut], 1).kind(), io::ErrorKind::InvalidData, "cut at {cut}");
        }
        let short = "180000001400020001000000ff260000020a0000a3360000";
        assert_eq!(refused(short, 1).kind(), io::ErrorKind::InvalidData);
    }

    /// `None` where the kernel refuses to say.
    fn at(address: SocketAddr) -> Option<Option<Listening>> {
        let found = listening_sockets().ok()?;
        Some(found.into_iter().find(|one| (one.address, one.port) == (address.ip(), address.port())))
    }

    #[test]
    fn listeners_of_both_families_are_in_the_kernels_answer() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let six = TcpListener::bind("[::1]:0").ok();
        for listener in [Some(four), six].into_iter().flatten() {
            let Some(found) = at(listener.local_addr().unwrap()) else { return };
            assert_eq!(found.map(|one| one.owner.user), Some(crate::sys::own_uid()));
        }
    }

    #[test]
    fn a_connection_is_no_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let server = listener.accept().unwrap();
        let Some(Some(while_it_listens)) = at(address) else { return };
        drop(listener);
        assert!(listening_sockets().unwrap().iter().all(|one| one.owner != while_it_listens.owner));
        drop((client, server));
    }

    /// Until it is accepted nobody has it; a connection of version 4 to a listener of version 6 is one as well.
    #[test]
    fn a_connection_is_found_at_its_other_end() {
        use std::os::fd::AsFd as _;
        for (at, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let Ok(client) = std::net::TcpStream::connect((to, listener.local_addr().unwrap().port())) else {
                continue;
            };
            let (near, far) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let Ok(found) = connected_socket(far, near) else { return };
            assert_eq!(found.map(|owner| owner.inode), Some(0), "{at}");
            let server = listener.accept().unwrap().0;
            let inode = |socket: &std::net::TcpStream| rustix::fs::fstat(socket.as_fd()).unwrap().st_ino;
            let found = connected_socket(far, near).unwrap().unwrap();
            assert_eq!(found, SocketOwner { user: crate::sys::own_uid(), inode: inode(&server) });
            assert_eq!(connected_socket(near, far).unwrap().unwrap().inode, inode(&client));
            drop((client, server));
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..200), length in 0..220_u32, kind in 0..24_u16) {
            let mut part = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[2, 0, 1, 0, 0, 0, 0, 0, 0, 0]].concat();
            part.extend(&body);
            let _ = (parse(&part, 1, &mut Vec::new()), parse(&body, 1, &mut Vec::new()));
        }
    }
}
