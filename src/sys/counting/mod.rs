//! A global allocator that counts: the only part of it that is unsafe. The same on every system.
//!
//! ```text
//!  alloc, free ─► count: this thread's slot? ──yes──► slots: two plain stores in a cache line of the thread's own
//!                          └──no (first time, ended, silent)──► the thread gets a slot, or the shared one is added to
//!  watch: what is told of each block while call sites are sampled; state: a thread's slot; thread_end: a slot is given back
//!  fork: what a copy of the process does first
//! ```

mod alloc;
mod fork;
mod slots;
mod state;
mod thread;
mod thread_end;
mod watch;

pub use alloc::CountingAlloc;
pub(crate) use slots::{STEP, Totals, forget_peak, peak, slots_used, totals};
pub(crate) use thread::{Attributed, attributed, is_installed, silently, unwatched};
pub(crate) use watch::{Watcher, unwatch, watch};
