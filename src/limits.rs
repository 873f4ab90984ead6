//! What a test and its sessions may use: values, and which of them holds.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Less output would not hold the lines that a failure shows.
pub(crate) const MIN_OUTPUT: usize = 4 << 10;
/// A ring larger than this is a mistake in the unit.
pub(crate) const MAX_OUTPUT: usize = 1 << 30;

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
}

impl Limits {
    const NONE: Self = Self { sessions: None, creations: None, output: None, test_time: None };

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

    /// What is not said here is as the others say.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self {
            sessions: self.sessions.or(others.sessions),
            creations: self.creations.or(others.creations),
            output: self.output.or(others.output),
            test_time: self.test_time.or(others.test_time),
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
}
