//! Names of another process's sockets, by inode, from the tables of its own network namespace: pure functions of their text
//! (proc_pid_net(5)).

use crate::sys::{SocketNames, TCP_STATES};

/// The tables that are asked, below `net/` of a process.
pub(crate) const TABLES: [(&str, &str); 5] =
    [("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"), ("unix", "unix")];

/// The socket with this inode, if the table has it.
pub(crate) fn find(kind: &'static str, table: &str, inode: u64) -> Option<SocketNames> {
    let line = |line: &str| if kind == "unix" { unix(line, inode) } else { internet(kind, line, inode) };
    table.lines().skip(1).find_map(line)
}

/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 4711 …`
fn internet(kind: &'static str, line: &str, inode: u64) -> Option<SocketNames> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let [_, local, remote, state, .., found] = fields[..] else { return None };
    if fields.len() < 10 || found.parse() != Ok(inode) {
        return None;
    }
    let state = usize::from_str_radix(state, 16).ok().and_then(|state| TCP_STATES.get(state.checked_sub(1)?));
    let state = if kind == "tcp" { state.copied() } else { None };
    // Port 0 is what a socket that talks to nobody has.
    let remote = address(remote).filter(|_| !remote.ends_with(":0000"));
    Some(SocketNames { kind, local: address(local), remote, state })
}

/// Words of 32 bits as the machine has them, and the port as a person reads it.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = host.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let words: Vec<u32> = words.collect::<Option<_>>()?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let host = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(bytes) => std::net::IpAddr::from(bytes),
        Err(_) => std::net::IpAddr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?),
    };
    Some(std::net::SocketAddr::new(host, port).to_string())
}

/// `0000000000000000: 00000002 00000000 00010000 0001 01 4711 /run/x`
fn unix(line: &str, inode: u64) -> Option<SocketNames> {
    let mut fields = line.split_ascii_whitespace();
    let listens = u32::from_str_radix(fields.nth(3)?, 16).ok()? & 0x1_0000 != 0;
    if fields.nth(2)?.parse() != Ok(inode) {
        return None;
    }
    let local = fields.next().map(str::to_owned);
    Some(SocketNames { kind: "unix", local, remote: None, state: listens.then_some("listening") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
        1: 0100007F:1F90 0200007F:C3B4 08 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n";
    const TCP6: &str = "  sl  local_address                         remote_address                        st\n   \
        0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 99 1\n";
    const UNIX: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 31 /run/server.sock\n\
        0000000000000000: 00000003 00000000 00000000 0001 03 32\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn sockets_are_named_by_their_inodes() {
        let listening = find("tcp", TCP, 4711).unwrap();
        assert_eq!((listening.local.as_deref(), listening.remote), (Some("127.0.0.1:8080"), None));
        assert_eq!(listening.state, Some("listening"));
        let left = find("tcp", TCP, 4712).unwrap();
        assert_eq!((left.remote.as_deref(), left.state), (Some("127.0.0.2:50100"), Some(TCP_STATES[7])));
        assert_eq!(find("tcp", TCP6, 99).unwrap().local.as_deref(), Some("[::1]:80"));
        assert_eq!(find("tcp", TCP, 1), None);
    }

    #[test]
    fn unix_sockets_have_a_path_or_none() {
        let named = find("unix", UNIX, 31).unwrap();
        assert_eq!((named.local.as_deref(), named.state), (Some("/run/server.sock"), Some("listening")));
        let pair = find("unix", UNIX, 32).unwrap();
        assert_eq!((pair.local, pair.state), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", inode in 0..100_u64) {
            for (_, kind) in TABLES {
                let _ = find(kind, &format!("head\n{text}"), inode);
            }
        }
    }
}
