//! A test's own sessions: tracked from before their creation to the proof of their end.
//!
//! ```text
//!  helper ─► (gate) ─► creating ─► entry in shared books ─► guard ─► closing ─► outcome
//!                                                            └─ dropped ─► background ─┘
//!  sentinels: sessions beside them, planted to see whether somebody ends what is not theirs; journal: what was done meanwhile
//! ```

pub(crate) mod background;
pub(crate) mod blocking;
pub(crate) mod closing;
pub(crate) mod creating;
pub(crate) mod entry;
pub(crate) mod gate;
pub(crate) mod guard;
pub(crate) mod handing;
pub(crate) mod helper;
pub(crate) mod interference;
pub(crate) mod journal;
pub(crate) mod outcome;
pub(crate) mod sentinels;
pub(crate) mod shared;
pub(crate) mod terminals;

pub use blocking::{BlockingGuard, BlockingHelper};
pub use guard::SessionGuard;
pub use helper::SessionTestHelper;
pub use interference::{Fate, Interference, Others, Role, Sentinel};
pub use journal::Operation;
pub use outcome::{KillOutcome, KillReport};
