//! The keeper: a process that watches a test process, and ends what it leaves behind when it dies.
//!
//! ```text
//!  divert: before main ─┬─ TERMLEASH_KEEPER ─► over: body started, watched, its end ─┐
//!                       │                 └──► beside: a test process watched ───────┼─► descendants ─► sweep ─► gone
//!                       └─ TERMLEASH_BODY ───► orphaned: the keeper has died ────────┘      (by parenthood) (by marks)
//! ```
//!
//! `begin` is what a keeper holds and how it starts the body; `stall` says why that does not go on, by `patience`, which
//! counts no time in which it is stopped. `ending` is the end of a run, with its control group by `group`, or what keeps it
//! for debugging by `kept`. `recipes` ask servers, by a connection that `asked` has proven to be theirs. `watch` is a thread that keeps limits. `leftovers` are the runs of which everybody has died, and `lost` what one may have lost.
//!
//! It is this very program, executed again and caught before its `main`: a copy made by fork alone would hold the test's
//! memory and descriptors, its terminals' masters among them (measured: then no hang-up ever comes).

pub(crate) mod asked;
pub(crate) mod begin;
pub(crate) mod beside;
pub(crate) mod descendants;
pub(crate) mod divert;
pub(crate) mod ending;
pub(crate) mod group;
pub(crate) mod kept;
pub(crate) mod leftovers;
pub(crate) mod lost;
pub(crate) mod orphaned;
pub(crate) mod over;
pub(crate) mod patience;
pub(crate) mod recipes;
pub(crate) mod stall;
pub(crate) mod sweep;
pub(crate) mod watch;

pub use leftovers::{SweepReport, SweptRun, sweep};
