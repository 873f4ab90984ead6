//! What some processes use at one moment.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What the processes of a tree use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes that are resident and belong to no file. What a process shares with its forked child is counted for both.
    pub memory: u64,
    /// Those that live.
    pub processes: usize,
    /// Descriptors that they have open; of another user's processes none are seen.
    pub descriptors: u64,
    /// The time that those which live have run.
    pub processor: Duration,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = bytesize::ByteSize::b(self.memory);
        let (processes, descriptors) = (self.processes, self.descriptors);
        let plural = if processes == 1 { "" } else { "es" };
        write!(f, "{memory} in {processes} process{plural}, {descriptors} descriptors, {:?} run", self.processor)
    }
}
