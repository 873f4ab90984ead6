//! What a hunt is to do: the same work over many rounds, for what a single test does not show, because it is small, or not an
//! item. `hunting` does it.

use crate::error::BoxError;
use crate::leak::hooks::{Hooks, boxed, boxed_told};
use crate::leak::hunt_report::HuntReport;
use crate::process::cookie::Cookie;
use crate::process::handle::ProcessHandle;
use crate::settings::Level;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Runs the same work again and again, and judges how counts and memory grow.
///
/// - *Counts* (descriptors, threads, child processes, tracked sessions) leak if they grow in every round, or in most of them
///   evenly. Seven rounds are enough.
/// - *Bytes* (the heap where the allocator says how big it is, else resident and private memory) leak if a rank test for a trend (Mann-Kendall)
///   and the median slope (Theil-Sen) and both halves of the series say so, the first third being left out, where caches fill
///   and things are initialised. At least 18 rounds; it is looked at after 18, 30 and 60 only, since looking after every
///   round would raise false alarms (measured: from 0.5 % to 9.7 %), and a leak at the first look must be one at the second,
///   where the rounds go as far: what fills ever more slowly looks like one after 18. What they do not tell is
///   [`Inconclusive`](crate::leak::Verdict::Inconclusive), with the number of rounds that would.
///
/// ```
/// # #[cfg(all(target_os = "linux", feature = "tokio"))] {
/// use termleash::{assert_no_leaks, leak::LeakHunt};
///
/// # termleash::block_on(async {
/// let report = LeakHunt::new().warmup(3).rounds(7..=18).run(async |round| {
///     let text = "x".repeat(round);
///     assert_eq!(text.len(), round);
///     Ok(())
/// }).await;
/// let report = assert_no_leaks!(report);
/// assert_eq!(report.rounds, 18);
/// # });
/// # }
/// ```
///
/// If memory grew, and a [`HeapSampling`](crate::leak::HeapSampling) looks, the report has the [call sites](crate::leak::HuntReport::top_sites) that have
/// grown most; a failure also has the path of a file for dhat's viewer.
///
/// # Limits
///
/// - What else runs in the process is measured with it: where other tests may run, growth is suspicious at most. Use
///   cargo-nextest, or [`exclusive`](Self::exclusive).
/// - The heap is counted to the byte where the global allocator is a [`CountingAlloc`](crate::leak::CountingAlloc). Else it is what
///   malloc(3) of glibc 2.33 or later has handed out, and what its threads have put aside to hand out again: that grows over some
///   dozens of rounds by tens of KiB. With another global allocator, or musl, resident memory stands in, which sees no less than a
///   page; it is a leak only if most of the growth stays after a trim, in memory that no file is behind. The report says
///   [which](crate::leak::HuntReport::memory) it was.
/// - What a C library or a mapping takes is not of the heap that is counted: it is seen in resident memory, and suspicious at most.
/// - One buffer that doubles grows seldomer and seldomer: it is inconclusive.
/// - A leak of less than the [gate](Self::gate) in a round is not one.
#[derive(Debug, Clone)]
#[must_use = "a hunt does nothing until `run`"]
pub struct LeakHunt {
    pub(crate) process: Option<ProcessHandle>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) name: Option<String>,
    pub(crate) warmup: usize,
    pub(crate) rounds: RangeInclusive<usize>,
    pub(crate) gate: u64,
    pub(crate) judges_memory: bool,
    pub(crate) is_exclusive: bool,
    pub(crate) level: Option<Level>,
    pub(crate) quiet_window: Duration,
    pub(crate) settle_within: Option<Duration>,
    pub(crate) sessions_per_round: Option<usize>,
    pub(crate) hooks: Hooks,
}

/// What nobody cares about in a round: less than the smallest buffer that a session could leave.
const GATE: u64 = 1024;

/// Long enough that a timer of a tenth of a second is in it.
const QUIET_WINDOW: Duration = Duration::from_millis(100);

impl LeakHunt {
    /// Three rounds to warm up, then seven at least and sixty at most.
    #[expect(clippy::new_without_default, reason = "it reads like the other checks")]
    pub fn new() -> Self {
        Self {
            process: None,
            cookie: None,
            name: None,
            warmup: 3,
            rounds: 7..=60,
            gate: GATE,
            judges_memory: true,
            is_exclusive: false,
            level: None,
            quiet_window: QUIET_WINDOW,
            settle_within: None,
            sessions_per_round: None,
            hooks: Hooks::default(),
        }
    }

    /// Looks at another process, the server under test, with its whole tree, instead of at this one. A round is what the test does to it;
    /// whatever it breaks of this process is not seen.
    ///
    /// Beside the counts and memory of [`LeakCheck::of`](crate::LeakCheck::of) it judges *activity*: what the server costs in a window after each round in which
    /// nothing runs, in processor time and in programs that it starts. See `docs/leaks.md`, "The server under test", for the rules.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))] {
    /// use std::process::{Command, Stdio};
    /// use termleash::leak::{LeakHunt, Verdict};
    /// use termleash::process::ProcessHandle;
    ///
    /// let mut server = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    /// let handle = ProcessHandle::open(server.id())?;
    /// # let window = std::time::Duration::from_millis(5);
    /// let hunt = LeakHunt::on(&handle).exclusive().rounds(18..=18).sessions_per_round(1);
    /// # let hunt = hunt.quiet_window(window);
    /// let report = termleash::block_on(hunt.run(async |_round| Ok(()))).expect("the server lives");
    /// assert_eq!(report.verdict, Verdict::Clean);
    /// drop(server.stdin.take());
    /// server.wait()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on(process: &ProcessHandle) -> Self {
        Self { process: Some(process.clone()), ..Self::new() }
    }

    /// Counts what carries this mark in its environment, too, for a process that was started with it.
    pub fn marked(mut self, cookie: Cookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// How many sessions a round makes, so that the report says what is left of each.
    pub fn sessions_per_round(mut self, sessions: usize) -> Self {
        self.sessions_per_round = Some(sessions);
        self
    }

    /// Of another process: how long it is watched after each round while nothing runs; default 100 ms, and up to three times that where
    /// it costs anything. Before the first round and after the last it is watched ten times as long, one second at most: what works more seldom
    /// than that is seen with a longer window only. Zero does not watch.
    pub fn quiet_window(mut self, window: Duration) -> Self {
        self.quiet_window = window;
        self
    }

    /// Of another process: how long what a count has grown by may take to go by itself; default `TERMLEASH_SETTLE`. Waited for only
    /// where a count would be called a leak.
    pub fn settle_within(mut self, limit: Duration) -> Self {
        self.settle_within = Some(limit);
        self
    }

    /// Asks after each round how many records the server has in its own list: of sessions, of buffers, of whatever it keeps. They are a count
    /// like the others. An error of it ends the hunt.
    pub fn records(mut self, count: impl AsyncFn() -> Result<u64, BoxError> + Send + Sync + 'static) -> Self {
        self.hooks.records = Some(boxed(count));
        self
    }

    /// Runs before each measurement: have a server in another language collect its garbage, say. An error of it ends the hunt.
    pub fn before_sample(mut self, prepare: impl AsyncFn() -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.hooks.before_sample = Some(boxed(prepare));
        self
    }

    /// Runs once, if the verdict is a failure: have the server write a snapshot of its heap, say. The text that it gives, such as a
    /// path, stands in the report; so does its error.
    pub fn on_leak(
        mut self,
        tell: impl AsyncFn(&HuntReport) -> Result<String, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_leak = Some(boxed_told(tell));
        self
    }

    /// How long one call of [`records`](Self::records), [`before_sample`](Self::before_sample) or [`on_leak`](Self::on_leak) may take;
    /// default 10 s (`TERMLEASH_WAIT`). What takes longer is given up: that ends the hunt, or stands in the report of the leak. One
    /// that blocks its thread is ended by nobody but the deadline of its [test](crate::test()).
    pub fn hooks_within(mut self, limit: Duration) -> Self {
        self.hooks.limit = Some(limit);
        self
    }

    /// What the report calls it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many rounds are run before it is measured: for what is initialised at first use.
    pub fn warmup(mut self, rounds: usize) -> Self {
        self.warmup = rounds;
        self
    }

    /// How many rounds are measured: at least the first, and at most the last number, for as long as memory is not told. Below
    /// seven no count is ever called a leak, below 18 no memory.
    pub fn rounds(mut self, rounds: RangeInclusive<usize>) -> Self {
        self.rounds = rounds;
        self
    }

    /// How many bytes in a round nobody cares about; default 1 KiB.
    pub fn gate(mut self, bytes: u64) -> Self {
        self.gate = bytes;
        self
    }

    /// Counts only: memory is shown and not judged, and the smallest number of rounds is enough.
    pub fn counts_only(mut self) -> Self {
        self.judges_memory = false;
        self
    }

    /// Says that nothing else runs in this process; of another process that nobody else uses it.
    pub fn exclusive(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// What to do with what is found; default `TERMLEASH_LEAKS`, else [`Level::Fail`].
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }
}
