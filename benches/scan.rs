//! The survivor scan: who of 400 processes belongs to our sessions?
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `scan/environ` | `marked_by` | one raw pass over `environ` |
//! | `scan/procfs` | the same | the procfs crate: `all_processes`, `environ` |
//!
//! Everything is read of every process, and nothing is found.

fn main() {}
