//! Sessions: what is wanted, who creates it, how a test talks to it.
//!
//! ```text
//!  spec ─► backend (pty, http, command line, fake, a user's own) ─► id, leader, terminal ─► live: what a test writes, reads, waits for
//!            pty = native (Linux) or portable          terminal = ring + text + command
//!                                      dying = of what it has died       instead = what it does instead of what is waited for
//! ```

pub(crate) mod backend;
pub(crate) mod closure;
pub(crate) mod command;
pub(crate) mod command_line;
pub(crate) mod dying;
pub(crate) mod environment;
pub(crate) mod fake;
pub(crate) mod fake_world;
pub(crate) mod fault;
pub(crate) mod finder;
pub(crate) mod future;
pub(crate) mod http;
pub(crate) mod id;
pub(crate) mod instead;
pub(crate) mod key;
pub(crate) mod life;
pub(crate) mod live;
pub(crate) mod native;
#[cfg(feature = "pty")]
pub(crate) mod portable;
pub(crate) mod program;
pub(crate) mod pty;
pub(crate) mod ring;
pub(crate) mod spec;
pub(crate) mod terminal;
pub(crate) mod text;
pub(crate) mod wrapped;

pub use crate::error::BoxError;
pub use backend::{Created, KillRecipe, Running, SessionBackend, SessionState};
pub use command::CommandOutput;
pub use command_line::api::CommandApi;
pub use command_line::backend::CommandBackend;
pub use fake::FakeBackend;
pub use fault::{Call, Fault, Method};
pub use future::BoxFuture;
pub use http::api::HttpApi;
pub use http::backend::HttpBackend;
pub use id::SessionId;
pub use key::Key;
pub use live::Session;
pub use pty::PtyBackend;
pub use spec::{SessionSpec, WindowSize};
pub use terminal::{Output, Terminal, TerminalInput, TerminalOutput};
