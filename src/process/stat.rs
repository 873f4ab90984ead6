//! `/proc/PID/stat`, parsed: a pure function of its bytes (proc_pid_stat(5)).

use crate::process::identity::Ticks;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The name of the main thread, at most 15 bytes, chosen by the program itself.
    pub(crate) name: String,
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) started: Ticks,
}

impl Stat {
    /// The name stands in parentheses and may contain parentheses and blanks, so what follows begins after the
    /// *last* closing one.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        let open = content.iter().position(|byte| *byte == b'(')?;
        let close = content.iter().rposition(|byte| *byte == b')')?;
        let name = String::from_utf8_lossy(content.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(content.get(close + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        // `session` is field 6 and the start time field 22.
        let started = fields.nth(15)?.parse().ok()?;
        Some(Self { name, state, parent, session, started })
    }

    /// A zombie keeps its id and its files in /proc until its parent asks for its status, but it is dead.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Recorded on Linux 6.18.
    const BASH: &[u8] = b"7718 (bash) S 7701 7718 7718 34817 7790 4194304 1626 8321 0 2 1 0 4 3 20 0 1 0 163211 \
        4878336 1015 18446744073709551615 94 95 96 0 0 0 65536 3686404 1266761467 1 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 7 0\n";

    #[test]
    fn reads_a_recorded_file() {
        let stat = Stat::parse(BASH).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent, stat.session), ("bash", b'S', 7701, 7718));
        assert_eq!(stat.started, 163_211);
        assert!(!stat.is_dead());
    }

    #[test]
    fn a_name_can_look_like_the_rest_of_the_file() {
        let hostile = String::from_utf8_lossy(BASH).replace("(bash)", "(a) Z 1 (b)");
        let stat = Stat::parse(hostile.as_bytes()).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) Z 1 (b", b'S', 7701));
    }

    #[test]
    fn zombies_are_dead() {
        let zombie = String::from_utf8_lossy(BASH).replace(") S ", ") Z ");
        assert!(Stat::parse(zombie.as_bytes()).unwrap().is_dead());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&bytes);
        }

        #[test]
        fn any_prefix_is_refused_or_right(length in 0..BASH.len()) {
            if let Some(stat) = Stat::parse(&BASH[..length]) {
                prop_assert_eq!(stat.session, 7718);
            }
        }
    }
}
