//! Who listens at which port: by the kernel's own list, or where that is refused by /proc/net/tcp (proc_pid_net(5)).

use crate::process::handle::reader;
use crate::process::tree;
use crate::sys::{self, Listening, ProcReader};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All of this network namespace.
pub(crate) fn all(reader: &mut ProcReader) -> io::Result<Vec<Listening>> {
    sys::listening_sockets().or_else(|_| from_tables(reader))
}

fn from_tables(reader: &mut ProcReader) -> io::Result<Vec<Listening>> {
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
    Ok(all.into_iter().filter(|one| inodes.contains(&one.inode)).collect())
}

fn sockets(reader: &mut ProcReader, pid: u32) -> Vec<u64> {
    let targets = reader.descriptor_targets(pid).unwrap_or_default();
    targets.iter().filter_map(|target| socket_inode(target)).collect()
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

/// The sockets of a table that listen. Connections that are open, or wait for their end, are none.
fn parse(table: &str) -> Vec<Listening> {
    const LISTENS: &str = "0A";
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (address, port) = fields.nth(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let address = address_of(address).filter(|_| fields.nth(1) == Some(LISTENS))?;
        let user = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Listening { address, port, user, inode })
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
    use proptest::prelude::*;

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
        let first = Listening { address: [127, 0, 0, 1].into(), port: 4020, user: 1000, inode: 83217 };
        let second = Listening { address: [0, 0, 0, 0].into(), port: 8080, user: 0, inode: 4711 };
        assert_eq!(parse(TCP), [first, second]);
        assert_eq!(parse(TCP6), [Listening { address: Ipv6Addr::LOCALHOST.into(), port: 4020, user: 0, inode: 83218 }]);
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
        let mut reader = reader().unwrap();
        let is_at = |found: &[Listening], port: u16| found.iter().any(|one| one.port == port);
        let has = |found: Vec<Listening>| is_at(&found, port);
        let ours = of(&mut reader, &[sys::own_pid()]).unwrap();
        assert!(is_at(&ours, port) && !is_at(&ours, port.wrapping_add(1)));
        assert!(has(from_tables(&mut reader).unwrap()));
        drop(listener);
        assert!(!has(all(&mut reader).unwrap()) && !has(from_tables(&mut reader).unwrap()));
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
            let Ok(asked) = sys::listening_sockets() else { return };
            assert_eq!(at(asked), read);
        }
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_a_panic(text in "[ -~\n]{0,200}") {
            let _ = parse(&format!("head\n{text}"));
        }
    }
}
