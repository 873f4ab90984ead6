//! Files of /proc and of control groups that a preflight reads: pure functions of their text.

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
            let _ = sockets_below(&format!("head\n{text}\n{word}"), "/tmp");
            let _ = (open_files(&text), available_memory(&text), limit(&text), inactive_files(&text), memory_group(&text));
        }
    }
}
