//! Files of /proc and of control groups that a preflight reads: pure functions of their text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: IpAddr,
    pub(crate) user: u32,
    pub(crate) inode: u64,
}

/// Who listens on a port, from `/proc/net/tcp` or `tcp6`. Connections that are open, or wait for their end, are none.
pub(crate) fn listeners(table: &str, port: u16) -> Vec<Listener> {
    const LISTENS: &str = "0A";
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (address, number) = fields.nth(1)?.split_once(':')?;
        let is_it = u16::from_str_radix(number, 16).ok()? == port && fields.nth(1)? == LISTENS;
        let address = address_of(address).filter(|_| is_it)?;
        let user = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Listener { address, user, inode })
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

/// The sockets with a path that begins so, from `/proc/net/unix`: inode, whether it listens, and path.
pub(crate) fn sockets_below<'a>(table: &'a str, directory: &str) -> Vec<(u64, bool, &'a str)> {
    // `__SO_ACCEPTCON` of the kernel.
    const LISTENS: u32 = 0x1_0000;
    let parse = |line: &'a str| {
        let flags = u32::from_str_radix(line.split(' ').nth(3)?, 16).ok()?;
        // The inode is padded, and the path may have blanks.
        let rest = line.splitn(7, ' ').nth(6)?.trim_start();
        let (inode, path) = rest.split_once(' ')?;
        let is_below = path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        is_below.then_some((inode.parse().ok()?, flags & LISTENS != 0, path))
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// The N of `socket:[N]`, where a descriptor leads.
pub(crate) fn socket_inode(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A file with one number.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `/proc/sys/fs/file-nr`: how many are open, and how many may be.
pub(crate) fn open_files(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (open, _, most) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    Some((open, most))
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
pub(crate) fn available_memory(text: &str) -> Option<u64> {
    let field = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(field.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// A limit of a control group in bytes; `None` for none: `max`, or of version 1 a number that no machine has.
pub(crate) fn limit(text: &str) -> Option<u64> {
    const NO_LIMIT: u64 = 1 << 60;
    number(text).filter(|bytes| *bytes < NO_LIMIT)
}

/// What of the memory in use is given back at need: files that nobody has read lately, from `memory.stat`.
pub(crate) fn inactive_files(stat: &str) -> u64 {
    let of = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or(0)
}

/// The group of version 1 that has this process's memory, from `/proc/self/cgroup`.
pub(crate) fn memory_group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == "memory").then_some(path)
    })
}

#[cfg(test)]
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
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(listeners(TCP, 4020), [Listener { address, user: 1000, inode: 83217 }]);
        let address = "::1".parse().unwrap();
        assert_eq!(listeners(TCP6, 4020), [Listener { address, user: 0, inode: 83218 }]);
        assert_eq!(listeners(TCP, 4021), []);
        assert_eq!(listeners(TCP, 50000), []);
    }

    #[test]
    fn sockets_are_found_by_their_directory_and_not_by_the_beginning_of_its_name() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01   812 /tmp/a b/s
0000000000000000: 00000003 00000000 00000000 0001 03 99813 /tmp/a b/s
0000000000000000: 00000002 00000000 00010000 0001 01 99814 /tmp/a bc
0000000000000000: 00000002 00000000 00010000 0001 01 99815
0000000000000000: 00000002 00000000 00010000 0001 01 99816 @/tmp/a b/s\n";
        assert_eq!(sockets_below(table, "/tmp/a b"), [(812, true, "/tmp/a b/s"), (99813, false, "/tmp/a b/s")]);
    }

    #[test]
    fn numbers_are_read_with_their_units_and_no_limit_is_none() {
        assert_eq!(socket_inode(b"socket:[83217]"), Some(83217));
        assert_eq!(socket_inode(b"pipe:[83217]"), None);
        assert_eq!(open_files("1344\t0\t9223372036854775807\n"), Some((1344, 9_223_372_036_854_775_807)));
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available_memory("MemTotal: 9 kB\n"), None);
        assert_eq!((limit("max\n"), limit("9223372036854771712\n"), limit("1048576\n")), (None, None, Some(1 << 20)));
        assert_eq!(inactive_files("cache 9\ninactive_file 5\nactive_file 7\n"), 5);
        assert_eq!(inactive_files("inactive_file 5\ntotal_inactive_file 6\n"), 6);
        assert_eq!(memory_group("9:name=systemd:/x\n4:cpu,memory:/a/b\n0::/c\n"), Some("/a/b"));
        assert_eq!(memory_group("0::/c\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[ -~\n]{0,200}", word in any::<String>()) {
            let head = format!("head\n{text}\n{word}");
            let _ = (listeners(&head, 80), sockets_below(&head, "/tmp"), socket_inode(word.as_bytes()));
            let _ = (open_files(&text), available_memory(&text), limit(&text), inactive_files(&text), memory_group(&text));
        }
    }
}
