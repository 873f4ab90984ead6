//! The functions that a test calls, and what they can be told.

use crate::error::BoxError;
use crate::event::{live, warn};
use crate::harness::admission::{Admitted, Where, admit};
use crate::harness::body::Turn;
use crate::harness::ending::Ending;
use crate::harness::frame::{Frame, refuse_nesting};
use crate::harness::hard_limit::HardLimit;
use crate::harness::isolate::{Place, Wish, place};
use crate::harness::limits_told::without_a_keeper;
use crate::harness::name;
use crate::harness::runner::{self, Call};
use crate::harness::scope::Scope;
use crate::leak::{Ignore, LeakCheck, Level};
use crate::ledger::message::Outcome;
use crate::limits::Limits;
use crate::process::policy::KillPolicy;
use crate::report::console::uncaptured;
use crate::runtime::Runtime;
use crate::server::Preflight;
use crate::settings::{Isolation, Settings};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs a test's body, cleans up after it, and fails if anything is left.
///
/// The body runs in a tokio runtime of its own on this thread. It holds a [`Scope`], whose end is described there; it may
/// take 30 s (`TERMLEASH_TIMEOUT`). After it, whether it passed, failed, panicked or timed out, what was deferred is run, what is
/// tracked is killed, and a [`LeakCheck`] compares everything with the beginning.
///
/// In a `#[test]` function:
///
/// ```
/// # #[cfg(all(target_os = "linux", feature = "tokio"))]
/// termleash::test(async |t| {
///     let shell = t.session("bash").await?;
///     assert_eq!(shell.run("echo $((6 * 7))").await?.stdout(), "42");
///     Ok(())                                    // the session is left to the end of the test
/// });
/// ```
///
/// # Panics
///
/// If the body fails, times out, or leaves something: with all of it in one text, the body's own failure first. A panic of the
/// body's goes on as it is. Also if the body could not be run: inside of another test or of a runtime, with a variable that
/// cannot be read, or where no process can be started.
///
/// # Where it runs
///
/// In a process of its own, below a keeper that ends what it leaves however it dies; the test fails then, with what is known of
/// it. The process is this very program, started again with libtest's arguments for this one test, from the directory and with
/// the environment that this one started with; so **what stands outside of the closure runs in both**. What the body prints is captured
/// as this test's. A debugger, strace and miri keep it in this process, as do
/// [`in_process`](TestOptions::in_process) and `TERMLEASH_ISOLATE=never`, any system but Linux, and a thread without a name, such as
/// a program's first; see [`rerun_with`](TestOptions::rerun_with).
///
/// Several calls in one function run in one process, in order.
///
/// # Limits
///
/// If the body blocks its thread for ever, a watchdog reports what each thread waits for, ends the sessions, and ends the process, in
/// the test process by an abort: nothing else can end a thread. What the closure changes outside of itself stays in its process.
/// A body that closes descriptors which it has not opened may close the channel that it reports by, and fails then. A thread with
/// another name than its test's is taken for one of a test that does not exist, and the failure says so.
#[track_caller]
pub fn test<F>(body: F)
where
    F: AsyncFnOnce(&Scope) -> Result<(), BoxError>,
{
    options().run(body);
}

/// The same for a body that is not async; [`Scope::blocking`] has its sessions.
///
/// ```
/// # #[cfg(target_os = "linux")]
/// termleash::testing::test_blocking(|t| {
///     let shell = t.blocking().create_tracked_session("sh")?;
///     assert_eq!(shell.run("echo it")?.stdout(), "it");
///     Ok(())
/// });
/// ```
///
/// # Panics
///
/// As [`test()`].
#[track_caller]
pub fn test_blocking<F>(body: F)
where
    F: FnOnce(&Scope) -> Result<(), BoxError>,
{
    options().run_blocking(body);
}

/// Runs a part of a plain `#[test]` in a process of its own below a keeper: whatever it does to its process, a crash
/// included, it does to no other test, and whatever it leaves behind is ended.
///
/// There is no [`Scope`], no deadline of the body's own and no leak check; what the part panics with is panicked with here.
/// After the test's deadline (30 s, `TERMLEASH_TIMEOUT`) and ten seconds more it is ended.
///
/// ```
/// termleash::isolated(|| assert_eq!(6 * 7, 42));
/// ```
///
/// # Panics
///
/// If the part panics, dies, leaves processes behind, or its process cannot be started.
///
/// # Limits
///
/// What stands outside of the closure runs in both processes, and what the closure changes there stays in its own. Where a body of
/// [`test()`] runs in the test process, so does a part: then a crash is the test process's, and nothing that it leaves is
/// looked for.
#[track_caller]
pub fn isolated(part: impl FnOnce()) {
    let options = options();
    let name = name::of_thread().unwrap_or_else(|| "a part of a program".into());
    let settings = settings(&name);
    match place(&options.wish, &settings) {
        Place::Here(why) => {
            say_once(&why, &options.wish, &settings);
            let _admitted = admitted(&name, &settings);
            without_a_keeper(&name, &settings.limits, &why);
            let _limited = HardLimit::set(&name, &settings.limits);
            part();
        }
        Place::Body => {
            let mut turn = Turn::wait();
            turn.take(|| {
                let _limited = HardLimit::set(&name, &settings.limits);
                part();
            });
            turn.came_to(Outcome::Passed);
        }
        Place::Apart(again) => runner::call(&options.call(&name, &settings), &again),
    }
}

#[track_caller]
fn settings(name: &str) -> Settings {
    match Settings::from_env() {
        Ok(settings) => settings,
        Err(cause) => panic!("test `{name}` was not run: {cause}"),
    }
}

/// Waits until a test may run in this process; for as long as it does.
#[track_caller]
fn admitted(name: &str, settings: &Settings) -> Admitted {
    match admit(name, settings, Where::Here) {
        Ok(admitted) => admitted,
        Err(cause) => panic!("test `{name}` was not run: {cause}"),
    }
}

/// A debugger and the like are worth a word, once; what was asked for is not.
fn say_once(why: &str, wish: &Wish, settings: &Settings) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    let is_asked_for = wish.is_in_process || settings.isolation == Isolation::Never;
    if !is_asked_for && name::of_thread().is_some() && !IS_SAID.swap(true, Ordering::Relaxed) {
        warn(format!("tests run in the test process: {why}"));
    }
}

/// What to tell a test, before [`run`](TestOptions::run).
///
/// [`TestOptions`] and [`Flavor`] stand in [`termleash::testing`](crate::testing).
///
/// ```
/// use std::time::Duration;
/// use termleash::leak::{Ignore, Kind};
///
/// # #[cfg(all(target_os = "linux", feature = "tokio"))]
/// termleash::options()
///     .timeout(Duration::from_secs(5))
///     .ignore(Ignore::named(Kind::Thread, "rayon-*"))
///     .run(async |_| Ok(()));
/// ```
pub fn options() -> TestOptions {
    TestOptions::default()
}

/// What a test is told; made by [`options`].
#[derive(Debug, Clone, Default)]
#[must_use = "options do nothing until `run` or `run_blocking`"]
pub struct TestOptions {
    name: Option<String>,
    timeout: Option<Duration>,
    flavor: Flavor,
    level: Option<Level>,
    settle_within: Option<Duration>,
    rules: Vec<Ignore>,
    is_exclusive: bool,
    policy: KillPolicy,
    limits: Limits,
    preflight: Option<Preflight>,
    wish: Wish,
}

/// Which tokio runtime a body runs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flavor {
    /// On the test's own thread. The default.
    #[default]
    CurrentThread,
    /// With so many threads beside it.
    MultiThread(usize),
}

impl TestOptions {
    /// What the test is called in reports; else what libtest calls its thread.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long the body may take; default 30 s (`TERMLEASH_TIMEOUT`). Time in which the process is stopped does not count.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Which runtime; needs the feature `tokio`.
    pub fn flavor(mut self, flavor: Flavor) -> Self {
        self.flavor = flavor;
        self
    }

    /// What to do with leaks; default `TERMLEASH_LEAKS`, else [`Level::Fail`].
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Does not count what a rule says.
    pub fn ignore(mut self, rule: Ignore) -> Self {
        self.rules.push(rule);
        self
    }

    /// How long to wait for what is on its way out; default 2 s, 5 s where `CI` is set (`TERMLEASH_SETTLE`). It is allowed to
    /// what must be dropped, to the runtime's blocking threads, and to the leak check, each by itself; and to what the body's
    /// process leaves when it has ended, as the first call of a function says.
    pub fn settle_within(mut self, limit: Duration) -> Self {
        self.settle_within = Some(limit);
        self
    }

    /// Says that no other test runs in this process, so that what differs is this test's. Needed only for one that runs in the
    /// test process: a process of its own runs no other.
    pub fn exclusive(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// How its sessions are ended.
    pub fn policy(mut self, policy: KillPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// What the test and its sessions may use, as far as that differs from what its run and its suite say.
    ///
    /// ```
    /// use termleash::testing::Limits;
    ///
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))]
    /// termleash::options().limits(Limits::new().max_sessions(3).max_creations(1)).run(async |t| {
    ///     t.session("sh").await?.close().await?;
    ///     Ok(())
    /// });
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Looks before the body: if a required item did not pass, the test fails with the checklist, and the body does not run.
    ///
    /// ```
    /// use termleash::server::{CheckItem, Preflight};
    ///
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))]
    /// termleash::options()
    ///     .preflight(Preflight::new().require(CheckItem::Descriptors))
    ///     .run(async |_| Ok(()));
    /// ```
    ///
    /// The test process looks, and not the body's own.
    pub fn preflight(mut self, preflight: Preflight) -> Self {
        self.preflight = Some(preflight);
        self
    }

    /// Has the body run in the test process itself, beside its other tests.
    ///
    /// A keeper that is started with the first session ends the sessions should the process die, as far as they carry a
    /// mark; it can not adopt what they lose.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))] {
    /// let here = std::process::id();
    /// termleash::options().in_process().run(async move |_| {
    ///     assert_eq!(std::process::id(), here);
    ///     Ok(())
    /// });
    /// # }
    /// ```
    pub fn in_process(mut self) -> Self {
        self.wish.is_in_process = true;
        self
    }

    /// By which arguments the program comes to this very call again, for one that is not libtest's: a `main` of one's own
    /// (`harness = false`), or a thread that is not named after a test. Without it a body on a thread without a name runs in the
    /// test process.
    ///
    /// ```no_run
    /// // In a `main`:
    /// termleash::options().name("the whole program").rerun_with::<String>([]).run(async |_| Ok(()));
    /// ```
    ///
    /// Nothing but the arguments differs in the process that is started. If they do not lead to the call, the test fails, with
    /// what that process has printed. Calls by the same arguments are answered by one process, in order.
    pub fn rerun_with<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.wish.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Runs an async body; see [`test()`].
    ///
    /// # Panics
    ///
    /// As [`test()`].
    #[track_caller]
    pub fn run<F>(self, body: F)
    where
        F: AsyncFnOnce(&Scope) -> Result<(), BoxError>,
    {
        let name = self.name.clone().unwrap_or_else(name::of_test::<F>);
        self.somewhere(&name, |frame| {
            let made = match self.flavor {
                Flavor::CurrentThread => Runtime::new(),
                Flavor::MultiThread(workers) => Runtime::with_workers(workers),
            };
            frame.run_async(made, body)
        });
    }

    /// Runs a body that is not async; see [`test_blocking`].
    ///
    /// # Panics
    ///
    /// As [`test()`].
    #[track_caller]
    pub fn run_blocking<F>(self, body: F)
    where
        F: FnOnce(&Scope) -> Result<(), BoxError>,
    {
        let name = self.name.clone().unwrap_or_else(name::of_test::<F>);
        self.somewhere(&name, |frame| frame.run_blocking(body));
    }

    /// In this process or another. What panics here says where the test stands.
    #[track_caller]
    fn somewhere(&self, name: &str, run: impl FnOnce(Frame) -> Ending) {
        refuse_nesting(name);
        let mut settings = settings(name);
        settings.limit(self.limits.clone(), &Limits::new());
        live::print_by(settings.log, uncaptured);
        match place(&self.wish, &settings) {
            Place::Here(why) => {
                say_once(&why, &self.wish, &settings);
                self.look_before(name);
                let _admitted = admitted(name, &settings);
                match self.frame(name, settings, why) {
                    Ok(frame) => run(frame).tell(),
                    Err(text) => panic!("{text}"),
                }
            }
            Place::Body => {
                let mut turn = Turn::wait();
                match self.frame(name, settings, String::new()) {
                    Ok(frame) => {
                        let ending = turn.take(|| run(frame));
                        turn.came_to(ending.outcome());
                        ending.tell();
                    }
                    Err(text) => {
                        turn.came_to(Outcome::Panicked { text: text.clone() });
                        panic!("{text}");
                    }
                }
            }
            Place::Apart(again) => {
                self.look_before(name);
                runner::call(&self.call(name, &settings), &again);
            }
        }
    }

    #[track_caller]
    fn look_before(&self, name: &str) {
        if let Some(Err(cause)) = self.preflight.as_ref().map(|preflight| preflight.check().into_result()) {
            panic!("test `{name}` was not run: {cause}");
        }
    }

    fn frame(&self, name: &str, settings: Settings, why_here: String) -> Result<Frame, String> {
        Frame::begin(name.to_owned(), self.policy.clone(), self.timeout, settings, why_here, |name| self.check(name))
    }

    fn call<'a>(&self, name: &'a str, settings: &'a Settings) -> Call<'a> {
        Call {
            name,
            timeout: self.timeout.unwrap_or(settings.timeout),
            level: self.level.unwrap_or(settings.leaks),
            settle: self.settle_within.unwrap_or(settings.settle),
            settings,
        }
    }

    fn check(&self, name: &str) -> LeakCheck {
        let mut check = LeakCheck::new().named(name);
        if let Some(level) = self.level {
            check = check.level(level);
        }
        if let Some(limit) = self.settle_within {
            check = check.settle_within(limit);
        }
        if self.is_exclusive {
            check = check.exclusive();
        }
        self.rules.iter().cloned().fold(check, LeakCheck::ignore)
    }
}
