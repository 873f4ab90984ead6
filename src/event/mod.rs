//! What happens, as data: told at once to whoever listens, and kept of every test with its times, bounded.
//!
//! ```text
//!  tracker, session ─► track ─► recorder: one for a test ─► decode ─► timeline: what reports show, plain data of moments and samples
//!                        │        └─► store ─► encode ─► memory: of the process, or shared with a runner that reads it after its death
//!                        └────► live: `TERMLEASH_LOG`
//!  everybody ─► sink: events and warnings, to a listener or to standard error
//! ```
//!
//! Without a listener, warnings go to standard error, since nobody would see them otherwise, and the rest is dropped.

pub(crate) mod decode;
mod encode;
pub(crate) mod live;
pub(crate) mod memory;
pub(crate) mod moment;
pub(crate) mod name;
pub(crate) mod recorder;
pub(crate) mod seen;
pub(crate) mod sink;
pub(crate) mod store;
pub(crate) mod timeline;
pub(crate) mod track;

pub use moment::{Flow, Moment, Sample, Step, What};
pub use sink::{Event, listen};
pub(crate) use sink::{emit, emit_if_heard, emit_to_listener, warn};
pub use timeline::{Dropped, Durations, End, SessionLine, Timeline};

#[cfg(test)]
mod tests;
