//! Of what a process has died, and how that is known.
//!
//! ```text
//!  oom: counters before, after ─┐
//!  core_pattern ────────────────┤
//!  what it printed last ────────┼─► facts ─► classify ─► a Death: its cause, and the evidence
//!  what its threads did ────────┤   data      pure
//!  its status, our own signals ─┘
//!
//!  core_notes, ips: what a core file or a crash report says, from bytes
//! ```
//!
//! # Limits
//!
//! - Who sent a signal is known to the process that got it, and to nobody else: of a signal that is not ours only its number is known.
//! - That the kernel killed for want of memory is known by counters, which name no process. Where the counter of the process's own control
//!   group can be read, it decides; elsewhere the whole machine's is all there is, and the evidence says so.
//! - What a process has printed is believed only where its status fits. One that prints another's last words, and dies by the same
//!   signal, is taken at its word.

mod cause;
mod classify;
pub mod core_notes;
mod core_pattern;
mod evidence;
mod facts;
pub mod ips;
pub(crate) mod oom;
mod output;
mod threads;

pub use cause::{AbortReason, CauseOfDeath, OutOfMemory};
pub use classify::{Death, classify};
pub use core_pattern::CorePattern;
pub use evidence::Evidence;
pub use facts::{Facts, HardLimit, KillReason};
pub use oom::{GroupKills, OomCounters};
pub use threads::{ThreadState, ThreadStates};
