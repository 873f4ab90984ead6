//! The server under test: looked at before a run begins ([`Preflight`]), started with a port and a home of its own, ended with everything that it has started.
//!
//! ```text
//!  spec ─► starting: home made, port leased, announced in the ledger ─► spawned ─► ready: waited for ─► guard
//!             └─ its port was taken meanwhile: once more with another            └─ dead, or too late: ended and told
//!  guard ─► closing: tree ended ─► holders: who has its port, files, ptys? ─► home, port, record given back
//!     └─ dropped ─► background
//!  shared ─► meeting: is there a steward? else one is asked for ─► steward: a process that starts, holds and ends the server
//! ```
//!
//! A server that a developer's shell started, with the developer's home and a port that others know, is shared with all other
//! tests and people of that machine. A [`ServerGuard`] starts one that nobody else can find:
//!
//! ```
//! # #[cfg(target_os = "linux")]
//! # termleash::block_on(async {
//! use termleash::server::ServerGuard;
//!
//! let server = ServerGuard::command("sh")
//!     .args(["-c", "echo \"my home is $HOME\"; exec sleep 1000"])       // yours: `my-server --data {state}`
//!     .without_port()                                                   // yours: `.port_flag("--port")`
//!     .ready_line("my home")
//!     .start()
//!     .await?;
//! assert!(server.log().text().contains(server.home().to_str().unwrap()));
//! let end = server.close().await?;                                      // its tree, its files
//! assert_eq!(end.status().unwrap().signal(), Some(15));
//! # Ok::<(), termleash::Error>(())
//! # }).unwrap();
//! ```
//!
//! In a [`termleash::test`](crate::test()) the [scope](crate::testing::Scope::server) keeps it: it ends after the test's sessions, and a
//! test that fails shows the end of its log.
//!
//! # What it gets
//!
//! - A **port** outside of the range from which the kernel gives ports to connections, free on 127.0.0.1 and `[::1]`, and
//!   leased: no other test of any process on this machine that uses this crate gets it meanwhile. Should somebody else take it
//!   before the server does, and the server end with "address in use", it is started again with another, three times at most.
//! - A **home**: one short directory for this user alone, with `HOME`, `XDG_CONFIG_HOME`, `XDG_RUNTIME_DIR`, `XDG_STATE_HOME`,
//!   `XDG_DATA_HOME`, `XDG_CACHE_HOME`, `TMPDIR` and `TMUX_TMPDIR` in it. It stands in the directory for temporary files,
//!   or in `/tmp` where that has a long path, so that sockets find room.
//! - The test's environment otherwise, its cookie, /dev/null to read, a kernel session without a terminal, and no descriptor.
//!
//! # However the test dies
//!
//! The server is written down before it is started. Whoever cleans up after the test (see `docs/deaths.md`) ends it by the
//! same rule as a session, and removes its home; its port is free when the test process is dead.
//!
//! # Limits
//!
//! - It must stay in the foreground: one that forks and ends is reported as ended.
//! - What it starts in a kernel session of its own with a cleared environment carries no mark: [`close`](ServerGuard::close)
//!   names it, and the test's keeper ends it. If that still holds the port, `close` is an error.
//! - A server of another user, by `sudo`, gets no signal; whether it holds its port cannot be seen, so that it never gets ready
//!   by TCP.
//! - On systems other than Linux a start answers "unsupported".

pub(crate) mod background;
pub(crate) mod closing;
pub(crate) mod guard;
pub(crate) mod holders;
pub(crate) mod inner;
pub(crate) mod joining;
pub(crate) mod log;
pub(crate) mod meeting;
pub(crate) mod outcome;
pub(crate) mod places;
pub(crate) mod port;
pub(crate) mod preflight;
pub(crate) mod ready;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod spec;
pub(crate) mod starting;
pub(crate) mod steward;

pub use guard::{Server, ServerGuard};
pub use outcome::{Holder, ServerEnd};
pub use preflight::{Check, CheckItem, CheckOutcome, Checklist, Preflight, SessionRecord};
pub use shared::SharedServer;
pub use spec::ServerSpec;
