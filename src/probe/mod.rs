//! Looking at what this process has: descriptors, threads, child processes, memory, and the sessions that helpers track.
//!
//! ```text
//!  descriptors, threads, children: items with an identity      memory: gauges      origins: what we made ourselves, and where
//!          └─► describe: what a person reads of an item, asked only for what differs
//! ```

pub(crate) mod attribution;
pub(crate) mod children;
pub(crate) mod describe;
pub(crate) mod descriptors;
pub(crate) mod item;
pub(crate) mod locks;
pub(crate) mod memory;
pub(crate) mod origins;
pub(crate) mod own_threads;
pub(crate) mod prime;
pub(crate) mod ptys;
pub(crate) mod threads;
pub(crate) mod waiting;
