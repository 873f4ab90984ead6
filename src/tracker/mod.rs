//! A test's own sessions: tracked from before their creation to the proof of their end.
//!
//! ```text
//!  helper ─► creating ─► entry in shared books ─► guard ─► closing ─► outcome
//!                                                   └─ dropped ─► background ─┘
//! ```

pub(crate) mod background;
pub(crate) mod blocking;
pub(crate) mod closing;
pub(crate) mod creating;
pub(crate) mod entry;
pub(crate) mod guard;
pub(crate) mod helper;
pub(crate) mod outcome;
pub(crate) mod shared;

pub use blocking::{BlockingGuard, BlockingHelper};
pub use guard::SessionGuard;
pub use helper::SessionTestHelper;
pub use outcome::{KillOutcome, KillReport};
