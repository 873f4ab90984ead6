//! The heap as the counting allocator sees it.
//!
//! ```text
//!  stats: all that was counted      scope: what one scope has done
//!  sampling: blocks are told ─► chance: which of them ─► sites: added up by stack ─► named: functions and lines ─► dhat: a file
//! ```

pub(crate) mod chance;
pub(crate) mod dhat;
pub(crate) mod named;
pub(crate) mod sampling;
pub(crate) mod scope;
pub(crate) mod sites;
pub(crate) mod stats;
