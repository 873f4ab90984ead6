//! Sentinels: sessions that a helper plants on a server which others use, to see whether somebody ends what is not theirs.
//!
//! ```text
//!  watch (when) ─► planting ─► look ─► evidence ─► judge (pure) ─► an `Interference`, which is data
//! ```

pub(crate) mod judge;
pub(crate) mod look;
pub(crate) mod planting;
pub(crate) mod watch;
