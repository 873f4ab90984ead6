//! Tests.
mod backoff;
mod error;
mod join;
mod tracker;
pub mod event;
mod ledger;
pub mod process;
mod runtime;
pub mod session;
mod settings;
mod sys;
mod watched;
pub use error::{BoxError, Error, Result};
pub use runtime::block_on;
pub use session::{PtyBackend, SessionBackend, SessionId, SessionSpec};
pub use process::KillPolicy;
pub use tracker::{BlockingGuard, BlockingHelper, KillOutcome, KillReport, SessionGuard, SessionTestHelper};
