//! The heap as the counting allocator sees it.
//!
//! ```text
//!  stats: all that was counted      scope: what one scope has done      malloc: what the C library says, if it has the heap
//!  sampling: blocks are told ─► chance: which of them ─► sites: added up by stack ─► named: functions and lines ─► dhat: a file
//!  top: what a failing test says of that      file: where its profile is written
//! ```

pub(crate) mod chance;
pub(crate) mod dhat;
mod file;
pub(crate) mod malloc;
pub(crate) mod named;
pub(crate) mod sampling;
pub(crate) mod scope;
pub(crate) mod sites;
pub(crate) mod stats;
pub(crate) mod top;
