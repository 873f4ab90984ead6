//! Who listens at which port, as /proc/net/tcp says it (proc_pid_net(5)).

use crate::process::handle::reader;
use crate::process::tree;
use crate::sys::{self, ProcReader};
use std::io;

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) port: u16,
    pub(crate) inode: u64,
}

/// All of this network namespace.
pub(crate) fn all(reader: &mut ProcReader) -> io::Result<Vec<Listening>> {
    let mut found = parse(&reader.read_list(sys::own_pid(), "net/tcp")?);
    // Missing where there is no IPv6.
    found.extend(reader.read_list(sys::own_pid(), "net/tcp6").map(|list| parse(&list)).unwrap_or_default());
    Ok(found)
}

/// True if this process is seen to listen at this port; false if not, or if it cannot be looked into. Some microseconds, where
/// /proc/net/tcp takes the kernel ten milliseconds: it goes through the table of all connections.
pub(crate) fn is_seen_at(reader: &mut ProcReader, pid: u32, port: u16) -> bool {
    let (Ok(process), Ok(numbers)) = (sys::Pidfd::open(pid), reader.descriptors(pid)) else { return false };
    let mut numbers = numbers.into_iter().filter_map(|number| i32::try_from(number).ok());
    numbers.any(|number| matches!(process.listens_at(number), Ok(Some(found)) if found == port))
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

/// The inode in `socket:[1234]`.
pub(crate) fn socket_inode(target: &[u8]) -> Option<u64> {
    std::str::from_utf8(target).ok()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The leader and what descends from it.
pub(crate) fn tree_of(leader: u32) -> Vec<u32> {
    let Ok(mut reader) = reader() else { return vec![leader] };
    let mut pids = tree::descendants(&mut reader, leader);
    pids.insert(0, leader);
    pids
}

/// The lines of listening sockets: the second field ends in the port, the fourth is the state, the tenth the inode.
fn parse(list: &[u8]) -> Vec<Listening> {
    const LISTENS: &str = "0A";
    let text = String::from_utf8_lossy(list);
    let lines = text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (local, state, inode) = (fields.nth(1)?, fields.nth(1)?, fields.nth(5)?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == LISTENS).then_some(Listening { port, inode: inode.parse().ok()? })
    });
    lines.collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_real_kernel_are_read() {
        let tcp = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41238 1 0 100 0 0 10 0\n   \
            1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 41240 1 0 20 4 30 10 -1\n";
        assert_eq!(parse(tcp), [Listening { port: 8080, inode: 41238 }]);
        let tcp6 = b"  sl  local_address                         remote_address                        st\n   \
            0: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 0:0 00:0 0     0        0 7 1 0\n";
        assert_eq!(parse(tcp6), [Listening { port: 8081, inode: 7 }]);
        assert!(parse(b"").is_empty() && parse(b"x\n:\n1: 2 3\n").is_empty());
    }

    #[test]
    fn our_own_listener_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut reader = reader().unwrap();
        let has = |found: Vec<Listening>| found.iter().any(|one| one.port == port);
        assert!(has(of(&mut reader, &[sys::own_pid()]).unwrap()));
        assert!(is_seen_at(&mut reader, sys::own_pid(), port));
        assert!(!is_seen_at(&mut reader, sys::own_pid(), port.wrapping_add(1)));
        drop(listener);
        assert!(!has(all(&mut reader).unwrap()));
    }
}
