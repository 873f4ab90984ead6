//! `/proc/PID/stat`, parsed: a pure function of its bytes (proc_pid_stat(5)).

use crate::process::exit::ExitStatus;
use crate::process::identity::Ticks;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The name of the main thread, at most 15 bytes, chosen by the program itself.
    pub(crate) name: String,
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// The group in the foreground of its terminal, which is its first process's number; none without a terminal.
    pub(crate) foreground: Option<u32>,
    /// The kernel's own flags of it, `PF_…` of linux/sched.h.
    flags: u64,
    /// How many threads it has, one that has ended and stands for the process as a zombie among them.
    threads: u64,
    pub(crate) started: Ticks,
    /// Where its environment begins in its memory: 0 for a kernel thread, in the middle of an exec, and where we may
    /// not know.
    pub(crate) environment_at: u64,
    /// Where it ends.
    pub(crate) environment_to: u64,
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
        // One that is being reaped at this moment has -1.
        let session = u32::try_from(fields.nth(1)?.parse::<i64>().ok()?).unwrap_or(0);
        // `session` is field 6, `tpgid` field 8, `flags` field 9, `num_threads` field 20, the start time
        // field 22, `env_start` field 50 (Linux 3.5).
        let foreground = u32::try_from(fields.nth(1)?.parse::<i64>().ok()?).ok().filter(|group| *group > 0);
        let flags = fields.next()?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        let environment_at = fields.nth(27)?.parse().ok()?;
        let environment_to = fields.next()?.parse().ok()?;
        Some(Self { name, state, parent, session, foreground, flags, threads, started, environment_at, environment_to })
    }

    /// A thread of the kernel: it has no memory, so no environment, ever. `PF_KTHREAD` has had this value since Linux
    /// 2.6.27.
    pub(crate) fn is_of_kernel(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }

    /// It has been reaped, and its id is about to go.
    pub(crate) fn is_reaped(&self) -> bool {
        matches!(self.state, b'X' | b'x')
    }

    /// A zombie keeps its id and its files in /proc until its parent asks for its status, but it is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.state == b'Z' || self.is_reaped()
    }

    /// By a signal, or by a debugger.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// A zombie, and the last thread of its process: whatever else ran in it has ended. While it is being reaped, or another
    /// thread takes its place by an exec, the kernel counts none or two.
    pub(crate) fn is_all_dead(&self) -> bool {
        self.state == b'Z' && self.threads == 1
    }
}

/// What a process has cost until now, of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// Page faults of the children that it has reaped, and of theirs: `cminflt` and `cmajflt`. No process ends without one.
    pub(crate) faults_of_reaped: u64,
}

impl Times {
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        let mut fields = fields_from_state(content)?;
        // Fields 11 and 13; the state is field 3.
        let minor: u64 = fields.nth(8)?.parse().ok()?;
        let major: u64 = fields.nth(1)?.parse().ok()?;
        Some(Self { faults_of_reaped: minor + major })
    }
}

/// How a zombie ended: field 52, which the kernel shows to those who may trace it.
pub(crate) fn exit_code(content: &[u8]) -> Option<ExitStatus> {
    let mut fields = fields_from_state(content)?;
    if fields.next()? != "Z" {
        return None;
    }
    let status: i32 = fields.nth(48)?.parse().ok()?;
    // As wait(2) has it.
    Some(match status & 0x7f {
        0 => ExitStatus::Exited((status >> 8) & 0xff),
        signal => ExitStatus::Signaled { signal, core_dumped: status & 0x80 != 0 },
    })
}

fn fields_from_state(content: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let close = content.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(content.get(close + 1..)?).ok()?.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Recorded on Linux 6.18.
    const BASH: &[u8] = b"9653 (bash) S 9612 9608 1090 0 -1 4194304 157 0 0 0 0 0 0 0 20 0 1 0 548206 4464640 777 \
        18446744073709551615 93926465347584 93926466136989 140721227249648 0 0 0 65536 4 65538 1 0 0 17 0 0 0 0 0 0 93926466370288 93926466418532 93927049564160 140721227257945 140721227257974 140721227257974 140721227259882 0\n";

    #[test]
    fn reads_a_recorded_file() {
        let stat = Stat::parse(BASH).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent, stat.session), ("bash", b'S', 9612, 1090));
        assert_eq!((stat.started, stat.environment_at), (548206, 140721227257974));
        assert!(!stat.is_dead());
    }

    #[test]
    fn what_reaped_children_have_cost_stands_in_two_fields() {
        let waited = b"9653 (a b) S 9612 9608 1090 0 -1 4194304 157 41 3 2 10 20 7 8 20 0 1 0 548206";
        assert_eq!(Times::parse(waited), Some(Times { faults_of_reaped: 43 }));
        assert_eq!(Times::parse(b"1 (x) S 0"), None);
    }

    #[test]
    fn a_zombie_says_how_it_ended_and_a_living_process_does_not() {
        let with = |state: &str, status: i32| {
            let text = String::from_utf8_lossy(BASH).replace(") S ", &format!(") {state} "));
            exit_code(text.trim_end().strip_suffix(" 0").map(|text| format!("{text} {status}\n")).unwrap().as_bytes())
        };
        assert_eq!(with("Z", 3 << 8), Some(ExitStatus::Exited(3)));
        assert_eq!(with("Z", 9), Some(ExitStatus::Signaled { signal: 9, core_dumped: false }));
        assert_eq!(with("Z", 6 | 0x80), Some(ExitStatus::Signaled { signal: 6, core_dumped: true }));
        assert_eq!(with("S", 0), None);
    }

    #[test]
    fn a_name_can_look_like_the_rest_of_the_file() {
        let hostile = String::from_utf8_lossy(BASH).replace("(bash)", "(a) Z 1 (b)");
        let stat = Stat::parse(hostile.as_bytes()).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) Z 1 (b", b'S', 9612));
    }

    #[test]
    fn a_thread_of_the_kernel_is_told_by_its_flags() {
        let thread =
            b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 24 0 0 18446744073709551615 0 0 0 0 0 0 0 \
            2147483647 0 1 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
        let stat = Stat::parse(thread).unwrap();
        assert_eq!((stat.started, stat.session, stat.environment_at), (24, 0, 0));
        assert!(stat.is_of_kernel());
        assert!(!Stat::parse(BASH).unwrap().is_of_kernel());
    }

    #[test]
    fn a_process_that_is_being_reaped_is_read_as_such() {
        let reaped =
            b"26407 (true) X 0 -1 -1 0 -1 4227084 52 0 0 0 0 0 0 0 20 0 0 0 1430415 0 0 0 0 0 0 0 0 0 0 0 0 1 0 0 17 \
            0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
        let stat = Stat::parse(reaped).unwrap();
        assert_eq!((stat.session, stat.started), (0, 1430415));
        assert!(stat.is_reaped() && stat.is_dead() && !stat.is_all_dead());
    }

    #[test]
    fn zombies_are_dead() {
        let zombie = String::from_utf8_lossy(BASH).replace(") S ", ") Z ");
        let zombie = Stat::parse(zombie.as_bytes()).unwrap();
        assert!(zombie.is_dead() && zombie.is_all_dead() && !Stat::parse(BASH).unwrap().is_all_dead());
    }

    /// The first thread of a process stays as a zombie while others run.
    #[test]
    fn a_dead_first_thread_of_several_is_not_all_of_a_process() {
        let of_two =
            String::from_utf8_lossy(BASH).replace(") S ", ") Z ").replace(" 20 0 1 0 548206 ", " 20 0 2 0 548206 ");
        let stat = Stat::parse(of_two.as_bytes()).unwrap();
        assert!(stat.is_dead() && !stat.is_all_dead());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&bytes);
        }

        #[test]
        fn any_prefix_is_refused_or_right(length in 0..BASH.len()) {
            if let Some(stat) = Stat::parse(&BASH[..length]) {
                prop_assert_eq!(stat.session, 1090);
            }
        }
    }
}
