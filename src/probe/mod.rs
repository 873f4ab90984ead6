//! Looking at what a process has: descriptors, threads, child processes, memory; and, for this process, the sessions that
//! helpers track.
//!
//! ```text
//!  target: this process, or another (other) with its tree
//!  descriptors, threads, children: items with an identity      memory: gauges      origins: what we made ourselves, and where
//!          └─► describe: what a person reads of an item, asked only for what differs
//!  living: a tree, sampled again and again ─► sampler: for a user      waiting: what threads do      free_memory: what there is
//! ```

pub(crate) mod attribution;
pub(crate) mod children;
pub(crate) mod describe;
pub(crate) mod descriptors;
pub(crate) mod ended;
pub(crate) mod free_memory;
pub(crate) mod heap;
pub(crate) mod item;
pub(crate) mod living;
pub(crate) mod locks;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod origins;
pub(crate) mod other;
pub(crate) mod own_threads;
pub(crate) mod prime;
pub(crate) mod ptys;
pub(crate) mod sampler;
pub(crate) mod target;
pub(crate) mod threads;
pub(crate) mod waiting;
