//! A test's frame: what runs around a body, and what a body holds.
//!
//! ```text
//!  options ─► isolate: where? ─┬─ here ──► frame ─► ending
//!                              ├─ apart ─► runner ◄─ relay: what the body prints ─ … its process ─► told ◄─ remains: its timeline
//!                              └─ body ──► body: its turn ─► frame ─► ending, to the runner
//!
//!  options ─► frame: baseline ─► body ─► deferred clean-ups ─► kill what is tracked ─► runtime ends ─► leak check ─► ending
//!                                 └── watchdog, outside of the runtime: deadline, report, clean-up, abort
//! ```
//!
//! `admission` has a test wait in `line` for free memory, `hard_limit` holds a body's memory while its closure runs, `limits_told` is what the
//! keeper has told of the others. `timelines` says where a timeline goes.

pub(crate) mod admission;
pub(crate) mod alive;
pub(crate) mod body;
pub(crate) mod deferred;
pub(crate) mod ending;
pub(crate) mod frame;
pub(crate) mod hard_limit;
pub(crate) mod isolate;
mod limits_told;
pub(crate) mod line;
pub(crate) mod measure;
pub(crate) mod name;
pub(crate) mod options;
pub(crate) mod relay;
mod remains;
pub(crate) mod runner;
pub(crate) mod scope;
pub(crate) mod servers;
mod timelines;
pub(crate) mod told;
pub(crate) mod watchdog;

pub use options::{Flavor, TestOptions, isolated, options, test, test_blocking};
pub use scope::Scope;
