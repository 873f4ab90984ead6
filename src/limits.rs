//! What a test and its sessions may use: values, and which of them holds.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Less output would not hold the lines that a failure shows.
pub(crate) const MIN_OUTPUT: usize = 4 << 10;
/// A ring larger than this is a mistake in the unit.
pub(crate) const MAX_OUTPUT: usize = 1 << 30;

/// Less is no limit for any process: it would be a mistake in the unit.
pub(crate) const MIN_MEMORY: u64 = 1 << 20;
/// A shell has this many for a moment.
pub(crate) const MIN_DESCRIPTORS: usize = 16;

/// What the tests of this process may use that say nothing else.
static DEFAULT: Mutex<Limits> = Mutex::new(Limits::NONE);

/// What a test and its sessions may use. What is not said here is not limited.
///
/// Said for one test by [`TestOptions::limits`](crate::testing::TestOptions::limits), for one run by the variable that each
/// method names, for all tests by [`make_default`](Self::make_default); the first of these that says something holds.
///
/// ```
/// use std::time::Duration;
/// use termleash::testing::Limits;
///
/// let limits = Limits::new().max_sessions(20).max_creations(4).max_output(64 << 10).test_time(Duration::from_secs(60));
/// # #[cfg(all(target_os = "linux", feature = "tokio"))]
/// termleash::options().limits(limits).run(async |_| Ok(()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "limits do nothing until they are given to a test or made the default"]
pub struct Limits {
    pub(crate) sessions: Option<usize>,
    pub(crate) creations: Option<usize>,
    pub(crate) output: Option<usize>,
    pub(crate) test_time: Option<Duration>,
    pub(crate) session: SessionLimits,
    pub(crate) test_memory: Option<u64>,
    pub(crate) body_memory: Option<u64>,
    pub(crate) free_memory: Option<u64>,
}

/// What each session may use, its processes together: kept by the keeper.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionLimits {
    pub(crate) wall_time: Option<Duration>,
    pub(crate) memory: Option<u64>,
    pub(crate) processes: Option<usize>,
    pub(crate) descriptors: Option<u64>,
}

impl SessionLimits {
    const NONE: Self = Self { wall_time: None, memory: None, processes: None, descriptors: None };

    /// What is not said here is as the others say.
    fn or(self, others: &Self) -> Self {
        Self {
            wall_time: self.wall_time.or(others.wall_time),
            memory: self.memory.or(others.memory),
            processes: self.processes.or(others.processes),
            descriptors: self.descriptors.or(others.descriptors),
        }
    }
}

impl Limits {
    const NONE: Self = Self {
        sessions: None,
        creations: None,
        output: None,
        test_time: None,
        session: SessionLimits::NONE,
        test_memory: None,
        body_memory: None,
        free_memory: None,
    };

    /// No limits.
    pub const fn new() -> Self {
        Self::NONE
    }

    /// How many sessions a test may have at once (`TERMLEASH_SESSIONS`), at least one. A creation beyond waits, in order, until one
    /// has ended, as long as `TERMLEASH_WAIT` says, and fails then. What is [tracked](crate::SessionTestHelper::track_session) and
    /// not created by the test takes no place.
    pub fn max_sessions(mut self, count: usize) -> Self {
        self.sessions = Some(count.max(1));
        self
    }

    /// How many sessions may be under creation at once (`TERMLEASH_CREATIONS`), at least one. Others wait in order.
    pub fn max_creations(mut self, count: usize) -> Self {
        self.creations = Some(count.max(1));
        self
    }

    /// How much of the output of a [`Scope::session`](crate::testing::Scope::session) is kept (`TERMLEASH_MAX_OUTPUT`), between
    /// 4 KiB and 1 GiB. The oldest is dropped.
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.output = Some(bytes.clamp(MIN_OUTPUT, MAX_OUTPUT));
        self
    }

    /// How long a body may take (`TERMLEASH_TIMEOUT`);
    /// [`TestOptions::timeout`](crate::testing::TestOptions::timeout) comes before it.
    pub fn test_time(mut self, limit: Duration) -> Self {
        self.test_time = Some(limit);
        self
    }

    /// How long a session may live (`TERMLEASH_WALL_TIME`), since the keeper saw it in the ledger. The keeper
    /// ends one that lives longer, and the test fails. Time in which the test is stopped does not count.
    pub fn wall_time(mut self, limit: Duration) -> Self {
        self.session.wall_time = Some(limit);
        self
    }

    /// How much memory the processes of a session may have together, in bytes (`TERMLEASH_SESSION_MEMORY`), at least 1 MiB. The keeper
    /// ends a session that has more, and the test fails.
    ///
    /// Counted is what is resident and shared with no file, by `/proc/PID/statm`, and before anything is ended by `smaps_rollup`, which
    /// counts a page that processes share only once (Linux 4.14). What is swapped out, and shared memory, is not seen.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.session.memory = Some(bytes.max(MIN_MEMORY));
        self
    }

    /// How many processes a session may have at once (`TERMLEASH_PROCESSES`), at least one. The keeper ends a session that has more, and
    /// the test fails.
    pub fn max_processes(mut self, count: usize) -> Self {
        self.session.processes = Some(count.max(1));
        self
    }

    /// How many descriptors the processes of a session may have open together (`TERMLEASH_DESCRIPTORS`), at least 16. The keeper ends a
    /// session that has more, and the test fails.
    pub fn max_descriptors(mut self, count: u64) -> Self {
        self.session.descriptors = Some(count.max(MIN_DESCRIPTORS as u64));
        self
    }

    /// How much memory a test may have, its sessions and servers and everything else below its keeper together, in bytes
    /// (`TERMLEASH_MEMORY`), at least 1 MiB. Counted as for [`max_memory`](Self::max_memory).
    ///
    /// A soft limit: the keeper has the test fail, with the list of what lives and how big it is. It ends it all if the test has not begun its
    /// clean-up within six seconds, or at once if it goes on to grow by half of the limit and at least by 256 MiB.
    pub fn max_test_memory(mut self, bytes: u64) -> Self {
        self.test_memory = Some(bytes.max(MIN_MEMORY));
        self
    }

    /// How much memory the process of a test's body may allocate, in bytes (`TERMLEASH_BODY_MEMORY`), at least 1 MiB.
    ///
    /// A hard limit: the kernel refuses what goes beyond it, by a soft `RLIMIT_DATA` (setrlimit(2), Linux 4.7), and the body most likely
    /// aborts, of which its report says so. It counts private writable memory that was asked for, also what was never touched, such as the
    /// stacks of threads, and holds while the closure runs. Sessions, servers and their clients begin with the limit that the test process
    /// had; what the closure starts by itself is held to this one.
    ///
    /// A process that has more when it is set fails without having run. In the test process it is not kept, which is said.
    pub fn max_body_memory(mut self, bytes: u64) -> Self {
        self.body_memory = Some(bytes.max(MIN_MEMORY));
        self
    }

    /// How much memory must be free before a test begins, in bytes (`TERMLEASH_FREE_MEMORY`): one that finds less waits, with a word about
    /// it, as long as `TERMLEASH_ADMISSION` says, and fails then without having run. Nought for no such floor.
    ///
    /// Free is `MemAvailable` of `/proc/meminfo` (Linux 3.14), or what is left to the memory control group of the test process or one above
    /// it, if that is less; copies of files count as free. Tests are let in one at a time, and what began within the last second counts
    /// as memory that is gone: as its [`max_test_memory`](Self::max_test_memory), if this test has one, else as this floor.
    pub fn min_free_memory(mut self, bytes: u64) -> Self {
        self.free_memory = Some(bytes);
        self
    }

    /// Makes these the limits of all tests of this process that begin from now on, as far as neither they nor a variable say
    /// otherwise. A test's body runs in a process of its own, so say it in each test function, as in a function by which a suite
    /// makes its options.
    ///
    /// ```
    /// # use termleash::testing::{Limits, TestOptions};
    /// fn options() -> TestOptions {
    ///     Limits::new().max_sessions(50).make_default();
    ///     termleash::options()
    /// }
    /// # options();
    /// ```
    pub fn make_default(self) {
        *DEFAULT.lock() = self;
    }

    /// True if one of these is kept from outside of the test's process.
    pub(crate) fn need_a_keeper(&self) -> bool {
        self.session != SessionLimits::NONE || self.test_memory.is_some()
    }

    /// What is not said here is as the others say.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self {
            sessions: self.sessions.or(others.sessions),
            creations: self.creations.or(others.creations),
            output: self.output.or(others.output),
            test_time: self.test_time.or(others.test_time),
            session: self.session.or(&others.session),
            test_memory: self.test_memory.or(others.test_memory),
            body_memory: self.body_memory.or(others.body_memory),
            free_memory: self.free_memory.or(others.free_memory),
        }
    }
}

/// What was made the default.
pub(crate) fn of_all_tests() -> Limits {
    DEFAULT.lock().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_first_holds_and_nothing_is_zero() {
        let one = Limits::new().max_sessions(0).max_output(1);
        let others =
            Limits::new().max_sessions(5).max_creations(0).max_output(9 << 30).test_time(Duration::from_secs(3));
        assert_eq!((others.creations, others.output), (Some(1), Some(MAX_OUTPUT)));
        let both = one.or(&others);
        assert_eq!((both.sessions, both.creations, both.output), (Some(1), Some(1), Some(MIN_OUTPUT)));
        assert_eq!((both.test_time, Limits::new().or(&others)), (Some(Duration::from_secs(3)), others));
    }

    #[test]
    fn each_limit_of_a_sessions_is_the_first_that_is_said_and_the_keeper_is_needed_for_what_it_keeps() {
        let second = Duration::from_secs(1);
        let all = |number: u64| {
            let limits =
                Limits::new().max_memory(number << 20).max_processes(number as usize).max_descriptors(20 + number);
            let limits = limits.wall_time(second * number as u32).max_test_memory(number << 20);
            limits.max_body_memory(number << 20).min_free_memory(number << 20)
        };
        assert_eq!(all(2).or(&all(3)), all(2));
        assert_eq!(Limits::new().or(&all(3)), all(3));
        let none = Limits::new();
        let kept = [
            none.clone().max_memory(1),
            none.clone().max_processes(1),
            none.clone().max_descriptors(1),
            none.clone().wall_time(second),
            none.clone().max_test_memory(1),
        ];
        assert!(kept.iter().all(Limits::need_a_keeper));
        assert!(!none.max_sessions(1).max_body_memory(1).min_free_memory(1).test_time(second).need_a_keeper());
    }
}
