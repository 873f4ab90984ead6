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
    fn two_of_three_numbers_are_read() {
        assert_eq!(open_files("1344\t0\t9223372036854775807\n"), Some((1344, 9_223_372_036_854_775_807)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[ -~\n]{0,200}", word in any::<String>()) {
            let _ = sockets_below(&format!("head\n{text}\n{word}"), "/tmp");
            let _ = open_files(&text);
        }
    }
}
