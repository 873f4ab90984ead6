//! Tests that create, track and kill *only their own* terminal sessions, and prove that nothing is left.
//!
//! ```
//! # #[cfg(all(target_os = "linux", feature = "tokio"))] {
//! // In a #[test] function:
//! termleash::test(async |t| {
//!     let shell = t.session("bash").await?;
//!     assert_eq!(shell.run("echo $((6 * 7))").await?.stdout(), "42");
//!     Ok(())
//! });                        // ended, reaped, and nothing left: no session, process, descriptor, thread; or it fails
//! # }
//! ```
//!
//! A dev-dependency for projects that have a *terminal server*: whatever creates shells on pseudo-terminals. Three
//! things to do with it:
//!
//! - **A test that finds its leaks**: [`test()`] runs a body, cleans up after it whatever happens, and compares with the
//!   beginning; [`LeakCheck`] is that look alone, and [`leak::LeakHunt`] the same over many rounds.
//! - **Sessions of one's own**: [`SessionTestHelper`] creates them on a [`PtyBackend`] or on the server under test, and
//!   ends them all together with [`kill_tracked_sessions`](SessionTestHelper::kill_tracked_sessions); a
//!   [`SessionGuard`](tracker::SessionGuard) has what a test types, reads and waits for.
//! - **The server under test**: an [`HttpBackend`](session::HttpBackend) or
//!   [`CommandBackend`](session::CommandBackend), or implement [`SessionBackend`], three methods; [`testing::check_backend`] tries whether
//!   it keeps the contract.
//!
//! # A test, step by step
//!
//! A session is ours because we created it or because the test hands us its id, and for no other reason. Other
//! people's sessions on the same server are never listed to choose from, and never touched:
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use std::sync::Arc;
//! use termleash::{PtyBackend, SessionBackend, SessionSpec, SessionTestHelper, process::KillPolicy};
//! use std::time::Duration;
//!
//! # termleash::block_on(async {
//! let server = Arc::new(PtyBackend::new());
//! # let theirs = server.create(&SessionSpec::new("sh")).await.unwrap();
//! let helper = SessionTestHelper::new(Arc::clone(&server))
//!     .with_policy(KillPolicy::default().grace(Duration::from_millis(200)));
//! # assert_eq!(helper.tracked_count(), 0);
//! # server.kill(theirs.id()).await.unwrap();
//! # });
//! # }
//! ```
//!
//! Programs get their arguments as they are; a command line needs [`SessionSpec::shell`]. What is not closed is left to
//! the helper:
//!
//! ```
//! # use std::sync::Arc;
//! # #[cfg(target_os = "linux")] {
//! # use termleash::{PtyBackend, SessionBackend, SessionSpec, SessionTestHelper};
//! # termleash::block_on(async {
//! # let server = Arc::new(PtyBackend::new());
//! # let helper = SessionTestHelper::new(Arc::clone(&server));
//! let grep = SessionSpec::new("grep").args(["--color=always", "two words"]);
//! let session = helper.create_tracked_session(grep).await?;
//! session.write_line("one word, two words").await?;
//! session.wait_for_text("two words").await?;       // colours and echo and all; fails with the last lines printed
//! session.keep();
//!
//! let daemon = helper.create_tracked_session(SessionSpec::shell("setsid sleep 1000 & wait")).await?;
//! daemon.keep();
//!
//! let report = helper.kill_tracked_sessions().await?;
//! assert_eq!(report.outcomes().len(), 2);
//! assert!(helper.survivors()?.is_empty());         // the daemon has left its session and its terminal, and is gone
//! # Ok::<(), termleash::Error>(())
//! # })?;
//! # }
//! # Ok::<(), termleash::Error>(())
//! ```
//!
//! In `#[tokio::test]` of either flavour the methods are awaited; on other runtimes too, since one thread of this
//! crate's waits for everything. A test that is not async uses [`SessionTestHelper::blocking`] or [`block_on`].
//!
//! # Finding what is left
//!
//! [`test()`] does for a body what a careful person would: whatever the body came to, an error, a panic or its deadline, it
//! runs what was [deferred](testing::Scope::defer), kills what is tracked, asks what [must be dropped](testing::Scope::must_drop), ends the
//! runtime, waits until everything has settled, and compares descriptors, threads and child processes with the
//! beginning. The body's own failure is told first, and what is left beside it:
//!
//! ```
//! # #[cfg(all(target_os = "linux", feature = "tokio"))] {
//! use std::sync::Arc;
//!
//! termleash::test(async |t| {
//!     let service = Arc::new(String::from("a server's state"));
//!     t.must_drop(&service);                             // at the end: who still holds it?
//!     let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//!     let running = tokio::spawn(async move {
//!         let _ = stopped.await;
//!         drop(service);
//!     });
//!     t.defer(async move || {
//!         drop(stop);
//!         running.await?;
//!         Ok(())
//!     });
//!     Ok(())
//! });
//! # }
//! ```
//!
//! In a test that has its frame already, the look alone:
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use termleash::{LeakCheck, assert_no_leaks};
//!
//! let check = LeakCheck::new();
//! // … the test …
//! assert_no_leaks!(check);                               // in async code: `assert_no_leaks!(check.find().await)`
//! # }
//! ```
//!
//! What differs is *exact* where the process is known to run one test: in the process of a [`test()`]'s own, under
//! cargo-nextest, with `--test-threads=1`, or where the test says [`exclusive`](LeakCheck::exclusive). Elsewhere it is
//! *suspicious*: told, and no failure.
//!
//! # However it dies
//!
//! A test's body runs in a process of its own, below a *keeper*: a third process that adopts whatever the body loses and ends it
//! when body or test process is dead. Sessions are written down before they are created, so that the next run, or [`sweep`],
//! ends what is left where everybody was killed. `docs/deaths.md` has a table: way of dying, who cleans, how fast, what
//! cannot be promised. [`isolated`] is the same for a part of a plain test:
//!
//! ```
//! termleash::isolated(|| {
//!     // What happens here happens to no other test.
//!     assert_eq!(6 * 7, 42);
//! });
//! ```
//!
//! # Who may get a signal
//!
//! A process that is *pinned* (held by a pidfd, and still the one that we take it for), *marked* by one of our
//! sessions (its cookie in the environment, or the kernel session that its proven leader leads) and *in time* (started
//! while that session could start processes). Everything else is a [`Suspect`](process::Suspect): named in the report,
//! never signalled. Not even root signals another user's process.
//!
//! # Limits
//!
//! - What stands outside of the closure of [`test()`] runs in two processes.
//! - What a session leaves behind in a kernel session of its own *and* with a cleared environment carries no mark. A kill of
//!   the session names it if it holds the terminal open or descends from the leader then; the test's keeper ends it at the
//!   test's end. Where the keeper was killed, too, or beside a test that runs in the test process, it is named at most.
//! - A session of a backend whose server passes neither environment nor command outlives a test that is killed, unless its backend
//!   has a [`KillRecipe`](session::KillRecipe) and the creation was answered.
//! - A process that hides itself from its own user (not dumpable: an ssh-agent, a setuid program) shows neither cookie nor
//!   identity. Unless it leads the session it is named at best; to root it is visible. One that writes over its
//!   environment, as daemons do that set their title, hides its cookie.
//! - A daemon of a session, such as a tmux server, hands the session's cookie to whatever it starts, for anybody, while
//!   the test runs: give such daemons a socket of their own.
//! - A backend whose server passes neither environment nor command, and says no process id, proves deaths by its word.
//! - Complete on Linux 5.4 and later with /proc. On macOS and Windows it compiles: sessions start by portable-pty, and
//!   end by their leader's status; processes left behind are not found, and [`process`] answers "unsupported".
//! - Leak checks look at the test's own process, and the keeper at what that has lost. More limits stand at [`LeakCheck`],
//!   [`leak::LeakHunt`] and [`test()`].
//!
//! # Environment variables
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `TERMLEASH_GRACE` | from the hang-up to the KILL | `500ms` |
//! | `TERMLEASH_WAIT` | deadline of every wait for a session or its server (but 5 s for a server to say that a killed session is dead) | `10s` |
//! | `TERMLEASH_CREATE_TIMEOUT` | how long a backend may take to create a session | `5s` |
//! | `TERMLEASH_TIMEOUT` | deadline of a test's body | `30s` |
//! | `TERMLEASH_ISOLATE` | `never` runs every body in the test process | `auto` |
//! | `TERMLEASH_KEEP` | `1` ends nothing, for debugging, and says how to end it later | `0` |
//! | `TERMLEASH_TIMELINES` | the directory, an absolute path, in which every test leaves its timeline as JSON, one file each | none |
//! | `TERMLEASH_LOG` | what is printed as it happens: `sessions`, their lives; `all`, reads, writes and samples, too; `off` | `off` |
//! | `TERMLEASH_LEDGER` | the directory of the ledgers, an absolute path | `termleash` in `XDG_RUNTIME_DIR`, else `termleash-<uid>` in the directory for temporary files |
//! | `TERMLEASH_LEAKS` | what a leak check does: `off`, `warn`, `fail`, `paranoid` | `fail` |
//! | `TERMLEASH_PROFILES` | the directory of the heap profiles of tests that fail, an absolute path | `tmp` in cargo's target directory, else the directory for temporary files |
//! | `TERMLEASH_SETTLE` | how long it waits for what is on its way out | `2s`; `5s` where `CI` is set |
//! | `TERMLEASH_REQUIRE` | what it must be able to look at: some of `fds,processes,threads,memory` | none |
//! | `TERMLEASH_SESSIONS` | how many sessions a test may have at once | no limit |
//! | `TERMLEASH_CREATIONS` | how many may be under creation at once | no limit |
//! | `TERMLEASH_MAX_OUTPUT` | how much of a session's output is kept, 4 KiB to 1 GiB | `1MiB` |
//! | `TERMLEASH_WALL_TIME` | how long a session may live | no limit |
//! | `TERMLEASH_SESSION_MEMORY` | how much memory a session's processes may have together, 1 MiB at least | no limit |
//! | `TERMLEASH_PROCESSES` | how many processes a session may have at once | no limit |
//! | `TERMLEASH_DESCRIPTORS` | how many descriptors a session's processes may have open together | no limit |
//! | `TERMLEASH_MEMORY` | how much memory a test may have with all that it has started, 1 MiB at least; with more it fails | no limit |
//! | `TERMLEASH_BODY_MEMORY` | how much the process of a test's body may allocate, 1 MiB at least; the kernel refuses more | no limit |
//! | `TERMLEASH_FREE_MEMORY` | how much memory must be free before a test begins; `0` for no such floor | no floor |
//! | `TERMLEASH_ADMISSION` | how long a test waits for that | `60s` |
//!
//! What each limit counts, and who keeps it, stands at [`testing::Limits`]. A value that cannot be read is an error that says so. Sessions get
//! none of these, but `TERMLEASH_S_…`, their cookie.
//!
//! # Features
//!
//! - `pty` (default): [`PtyBackend::with_system`] takes any pty system of portable-pty's; needed for sessions on other
//!   systems than Linux.
//! - `http`: [`HttpBackend`](session::HttpBackend), and keepers that follow its recipe: plain HTTP, without TLS.
//! - `sites`: [`leak::HeapSampling`], which names the lines of code that hold the heap.
//! - `tokio` (default): [`test()`], [`block_on`], `blocking()` and the clean-up of what was dropped run in a tokio runtime, so
//!   that a body and a backend may use tokio's timers and sockets there.
//!
//! # Related crates
//!
//! expectrl and rexpect drive one program on a pty by dialogue; this crate tracks many sessions and proves their end.
//! assert_cmd and trycmd test programs without a terminal. cargo-nextest runs each test in a process of its own and
//! says which leaked a handle to its output; it and this crate are best used together.
//!
//! # Rust versions
//!
//! Rust 1.89, the lowest that its dependencies allow. Raising it is no breaking change, and stands in the changelog.

mod aside;
mod backoff;
mod catch;
mod error;
pub mod event;
mod harness;
mod http;
mod invocation;
mod join;
mod keeper;
pub mod leak;
mod ledger;
mod limits;
mod named_file;
mod probe;
pub mod process;
mod report;
mod runtime;
pub mod server;
pub mod session;
mod settings;
mod sys;
pub mod testing;
pub mod tracker;
mod watched;

pub use error::{Error, Result};
pub use harness::{isolated, options, test};
pub use keeper::sweep;
#[doc(inline)]
pub use leak::LeakCheck;
pub use runtime::block_on;
#[doc(inline)]
pub use session::{PtyBackend, SessionBackend, SessionSpec};
#[doc(inline)]
pub use tracker::SessionTestHelper;
