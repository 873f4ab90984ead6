//! Who listens at which port, and whose a connection is: by the kernel's own list, or where that is refused by /proc/net/tcp
//! (proc_pid_net(5)).

use crate::process::handle::{read_stat, reader};
use crate::process::tree;
use crate::sys::{self, Listening, ProcReader, SocketOwner};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// All of this network namespace.
pub(crate) fn all(reader: &mut ProcReader) -> io::Result<Vec<Listening>> {
    sys::listening_sockets().or_else(|_| from_tables(reader))
}

fn from_tables(reader: &mut ProcReader) -> io::Result<Vec<Listening>> {
    let rows = rows(reader)?.into_iter().filter(|row| row.is_listening);
    Ok(rows.map(|row| Listening { address: row.local.ip(), port: row.local.port(), owner: row.owner }).collect())
}

/// The socket that is connected from `local` to `remote`; `None` if there is none in this network namespace.
pub(crate) fn connected(
    reader: &mut ProcReader,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Option<SocketOwner>> {
    sys::connected_socket(local, remote).or_else(|_| connected_by_tables(reader, local, remote))
}

fn connected_by_tables(
    reader: &mut ProcReader,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Option<SocketOwner>> {
    let plain = |it: SocketAddr| (it.ip().to_canonical(), it.port());
    let is_it = |row: &Row| (plain(row.local), plain(row.remote)) == (plain(local), plain(remote));
    Ok(rows(reader)?.into_iter().find(is_it).map(|row| row.owner))
}

fn rows(reader: &mut ProcReader) -> io::Result<Vec<Row>> {
    let mut found = Vec::new();
    let mut missing = None;
    for file in ["net/tcp", "net/tcp6"] {
        match reader.read_list(sys::own_pid(), file) {
            Ok(table) => found.extend(parse(&String::from_utf8_lossy(&table))),
            // A kernel may have one of the two protocols only.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && missing.is_none() => missing = Some(file),
            Err(cause) => return Err(io::Error::new(cause.kind(), format!("/proc/{file} cannot be read: {cause}"))),
        }
    }
    Ok(found)
}

/// What these processes listen with. One whose descriptors cannot be read is passed over.
pub(crate) fn of(reader: &mut ProcReader, pids: &[u32]) -> io::Result<Vec<Listening>> {
    let all = all(reader)?;
    let inodes: Vec<u64> = pids.iter().flat_map(|pid| sockets(reader, *pid)).collect();
    Ok(all.into_iter().filter(|one| inodes.contains(&one.owner.inode)).collect())
}

/// The sockets that a process has open; none of one whose descriptors cannot be read.
pub(crate) fn sockets(reader: &mut ProcReader, pid: u32) -> Vec<u64> {
    let targets = reader.descriptor_targets(pid).unwrap_or_default();
    targets.iter().filter_map(|target| socket_inode(target)).collect()
}

/// The sockets of a server's process and of those that it has started to work for it: they are in its kernel session, and what
/// runs in its terminals is not.
pub(crate) fn of_server(reader: &mut ProcReader, pid: u32) -> Vec<u64> {
    let mut found = sockets(reader, pid);
    let Ok(session) = read_stat(reader, pid).map(|stat| stat.session) else { return found };
    for worker in tree::descendants(reader, pid) {
        let open = sockets(reader, worker);
        if read_stat(reader, worker).is_ok_and(|stat| stat.session == session) {
            found.extend(open);
        }
    }
    found
}

/// Whether what is sent to a place may come to who listens at an address: a socket of version 6 may take version 4, too.
pub(crate) fn reaches(address: IpAddr, place: IpAddr) -> bool {
    let (address, place) = (address.to_canonical(), place.to_canonical());
    address == place || (address.is_unspecified() && (address.is_ipv6() || place.is_ipv4()))
}

/// The N of `socket:[N]`, where a descriptor leads.
pub(crate) fn socket_inode(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The leader and what descends from it.
pub(crate) fn tree_of(leader: u32) -> Vec<u32> {
    let Ok(mut reader) = reader() else { return vec![leader] };
    let mut pids = tree::descendants(&mut reader, leader);
    pids.insert(0, leader);
    pids
}

/// One line of a table.
#[derive(Debug, PartialEq)]
struct Row {
    is_listening: bool,
    local: SocketAddr,
    remote: SocketAddr,
    owner: SocketOwner,
}

fn parse(table: &str) -> Vec<Row> {
    const LISTENS: &str = "0A";
    let end = |text: &str| {
        let (address, port) = text.split_once(':')?;
        Some(SocketAddr::new(address_of(address)?, u16::from_str_radix(port, 16).ok()?))
    };
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (local, remote) = (end(fields.nth(1)?)?, end(fields.next()?)?);
        let is_listening = fields.next()? == LISTENS;
        let owner = SocketOwner { user: fields.nth(3)?.parse().ok()?, inode: fields.nth(1)?.parse().ok()? };
        Some(Row { is_listening, local, remote, owner })
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// Words of 32 bits, each in the byte order of the machine.
fn address_of(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                part.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::backoff::soon;
    use proptest::prelude::*;
    use std::os::fd::AsRawFd;

    /// Recorded on Linux 6.18: a listener, a connection that waits for its end on the same port, and others.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0FB4 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 83217 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0FB4 0100007F:C350 06 00000000:00000000 03:000016A5 00000000     0        0 0 3 0000000000000000
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0FB4 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 83218 1 0000000000000000 100 0 0 10 0\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn a_listener_is_found_and_a_connection_that_waits_for_its_end_is_none() {
        let row = |is_listening: bool, local: &str, remote: &str, user: u32, inode: u64| {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            Row { is_listening, local, remote, owner: SocketOwner { user, inode } }
        };
        let first = row(true, "127.0.0.1:4020", "0.0.0.0:0", 1000, 83217);
        let second = row(false, "127.0.0.1:4020", "127.0.0.1:50000", 0, 0);
        let third = row(true, "0.0.0.0:8080", "0.0.0.0:0", 0, 4711);
        assert_eq!(parse(TCP), [first, second, third]);
        assert_eq!(parse(TCP6), [row(true, "[::1]:4020", "[::]:0", 0, 83218)]);
        assert!(parse("").is_empty() && parse("x\n:\n1: 2 3\n").is_empty());
    }

    #[test]
    fn a_sockets_inode_is_in_the_link_of_its_descriptor() {
        assert_eq!(socket_inode(b"socket:[83217]"), Some(83217));
        assert_eq!(socket_inode(b"pipe:[83217]"), None);
        assert_eq!(socket_inode(b"socket:[]"), None);
    }

    #[test]
    fn our_own_listener_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = socket_inode(link.as_os_str().as_encoded_bytes()).unwrap();
        let has = |found: Vec<Listening>| found.iter().any(|one| (one.port, one.owner.inode) == (port, inode));
        let mut reader = reader().unwrap();
        assert!(has(all(&mut reader).unwrap()) && has(from_tables(&mut reader).unwrap()));
        assert!(has(of(&mut reader, &[sys::own_pid()]).unwrap()));
        assert!(!has(of(&mut reader, &[sys::parent_pid()]).unwrap()));
        drop(listener);
        // A child that another test starts at this moment has it, too, until its exec.
        soon("the end of the listener", || !has(all(&mut reader).unwrap()) && !has(from_tables(&mut reader).unwrap()));
    }

    #[test]
    fn kernel_and_tables_say_the_same() {
        let mut reader = reader().unwrap();
        for place in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(place) else { continue };
            let address = listener.local_addr().unwrap();
            let at = |found: Vec<Listening>| {
                found.into_iter().find(|one| (one.address, one.port) == (address.ip(), address.port())).unwrap()
            };
            let read = at(from_tables(&mut reader).unwrap());
            let client = std::net::TcpStream::connect(address).unwrap();
            let server = listener.accept().unwrap().0;
            let ends = (server.local_addr().unwrap(), client.local_addr().unwrap());
            let connected = connected_by_tables(&mut reader, ends.0, ends.1).unwrap();
            assert!(connected.is_some_and(|owner| owner.inode != 0));
            let Ok(asked) = sys::listening_sockets() else { return };
            assert_eq!(at(asked), read);
            assert_eq!(sys::connected_socket(ends.0, ends.1).unwrap(), connected);
        }
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_a_panic(text in "[ -~\n]{0,200}") {
            let _ = parse(&format!("head\n{text}"));
        }
    }
}
