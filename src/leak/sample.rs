//! What a hunt measures after each round.

use crate::error::{Error, Result};
use crate::probe::children::Children;
use crate::probe::descriptors::{Depth, Descriptors};
use crate::probe::heap::malloc::malloc_bytes;
use crate::probe::heap::stats::{HeapStats, is_counted};
use crate::probe::origins;
use crate::probe::other::Other;
use crate::probe::own_threads;
use crate::probe::target::Target;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// What is counted or measured after each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Gauge {
    /// Sessions that are tracked.
    Sessions,
    /// Open descriptors; of another process without its pty masters.
    Descriptors,
    /// Masters of pseudo-terminals, of another process.
    PtyMasters,
    /// Threads.
    Threads,
    /// Child processes, zombies among them; of another process those that live, in its whole tree.
    Processes,
    /// Processes of another's tree that have ended and that nobody has waited for.
    Zombies,
    /// What a server has in its own list of sessions, as [`records`](crate::leak::LeakHunt::records) says.
    Records,
    /// Bytes of the heap, as a [`CountingAlloc`](crate::leak::CountingAlloc) or the C allocator says.
    Heap,
    /// Resident bytes.
    Resident,
    /// Microseconds of processor time of another process and its tree in a window in which nothing runs.
    Processor,
    /// Page faults of the children that another process has reaped in such a window: 0 if it started none that ended.
    Forks,
}

impl Gauge {
    const HOW_MANY: usize = 11;

    /// Those that are whole things.
    pub(crate) const COUNTS: [Self; 7] = [
        Self::Sessions,
        Self::Descriptors,
        Self::PtyMasters,
        Self::Threads,
        Self::Processes,
        Self::Zombies,
        Self::Records,
    ];

    /// True for what is whole things, and not an amount.
    pub(crate) fn is_count(self) -> bool {
        Self::COUNTS.contains(&self)
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "sessions",
            Self::Descriptors => "descriptors",
            Self::PtyMasters => "pty masters",
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::Zombies => "zombies",
            Self::Records => "records",
            Self::Heap => "heap",
            Self::Resident => "resident",
            Self::Processor => "processor",
            Self::Forks => "forks",
        })
    }
}

/// What a hunt knows memory by: the best that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MemorySource {
    /// The global allocator is a [`CountingAlloc`](crate::leak::CountingAlloc).
    Counted,
    /// mallinfo2(3) of glibc.
    Malloc,
    /// Resident memory, where malloc(3) does not say or another allocator has the heap. What is called a leak must stay after a trim, in
    /// memory that no file is behind (`Anonymous` of smaps_rollup).
    Private,
    /// Resident memory: of another process.
    Resident,
}

impl MemorySource {
    /// Of this process.
    pub(crate) fn own() -> Self {
        if is_counted() {
            Self::Counted
        } else if malloc_bytes().is_some() {
            Self::Malloc
        } else {
            Self::Private
        }
    }

    /// The least difference that it shows, in bytes.
    pub fn resolution(self) -> u64 {
        match self {
            Self::Counted => 1,
            // The unit of glibc's blocks.
            Self::Malloc => 16,
            Self::Private | Self::Resident => 4096,
        }
    }
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counted => "the heap as `CountingAlloc` counts it, to the byte",
            Self::Malloc => {
                "the heap as malloc(3) says, to 16 B, with what its threads put aside: some tens of KiB over the first dozens of rounds"
            }
            Self::Private => {
                "resident pages, to 4 KiB, with what the allocator keeps of what was freed; what of their growth stays in private memory \
                 after a trim is a leak, and less than 16 KiB a round may not be found"
            }
            Self::Resident => "resident pages, to 4 KiB, with what the allocator keeps of what was freed",
        })
    }
}

fn heap_bytes() -> Option<u64> {
    HeapStats::read().map(|heap| heap.curr.bytes).or_else(malloc_bytes)
}

/// One measurement: some microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    values: [Option<u64>; Gauge::HOW_MANY],
}

impl Sample {
    pub(crate) fn take(target: &Target) -> Result<Self> {
        match target {
            Target::Own => Self::read_own(),
            Target::Other(other) => Self::read(other),
        }
        .map_err(|cause| Error::os("measure a round of a leak hunt", "it needs Linux with /proc", cause))
    }

    fn read_own() -> io::Result<Self> {
        let mut sample = Self { values: [None; Gauge::HOW_MANY] };
        sample.set(Gauge::Sessions, origins::since(0).len() as u64);
        sample.set(Gauge::Descriptors, Descriptors::count()? as u64);
        sample.set(Gauge::Threads, sys::count_threads()?.saturating_sub(own_threads::count()) as u64);
        sample.set(Gauge::Processes, Children::capture()?.len() as u64);
        sample.values[Gauge::Heap as usize] = heap_bytes();
        sample.set(Gauge::Resident, sys::resident_bytes()?);
        Ok(sample)
    }

    fn read(other: &Other) -> io::Result<Self> {
        let mut sample = Self { values: [None; Gauge::HOW_MANY] };
        let descriptors = other.descriptors(Depth::Usual)?;
        let masters = descriptors.masters();
        sample.set(Gauge::Descriptors, (descriptors.len() - masters) as u64);
        sample.set(Gauge::PtyMasters, masters as u64);
        sample.set(Gauge::Threads, other.thread_count()? as u64);
        let tree = other.tree()?;
        let zombies = tree.iter().filter(|child| child.is_zombie).count();
        sample.set(Gauge::Processes, (tree.len() - zombies) as u64);
        sample.set(Gauge::Zombies, zombies as u64);
        sample.set(Gauge::Resident, other.resident_bytes()?);
        Ok(sample)
    }

    pub(crate) fn set(&mut self, gauge: Gauge, value: u64) {
        self.values[gauge as usize] = Some(value);
    }

    /// Takes over what is asked of others once in a round.
    pub(crate) fn with(mut self, asked: &[(Gauge, u64)]) -> Self {
        asked.iter().for_each(|(gauge, value)| self.set(*gauge, *value));
        self
    }

    pub(crate) fn value(&self, gauge: Gauge) -> Option<u64> {
        self.values[gauge as usize]
    }

    pub(crate) fn has_more_items_than(&self, other: &Self) -> bool {
        Gauge::COUNTS.iter().any(|gauge| self.value(*gauge) > other.value(*gauge))
    }
}

#[cfg(test)]
impl Sample {
    /// Counts that stay, and such memory.
    pub(crate) fn of_memory(heap: Option<u64>, resident: u64) -> Self {
        let mut sample = Self { values: [None; Gauge::HOW_MANY] };
        let counts = [(Gauge::Sessions, 0), (Gauge::Descriptors, 9), (Gauge::Threads, 2), (Gauge::Processes, 0)];
        sample.values[Gauge::Heap as usize] = heap;
        sample.with(&counts).with(&[(Gauge::Resident, resident)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_says_the_least_that_it_shows() {
        for (source, least) in [
            (MemorySource::Counted, "to the byte"),
            (MemorySource::Malloc, "16 B"),
            (MemorySource::Private, "4 KiB"),
            (MemorySource::Resident, "4 KiB"),
        ] {
            assert!(source.to_string().contains(least), "{source}: {}", source.resolution());
        }
        // These tests have the system's allocator.
        assert_eq!(MemorySource::own() == MemorySource::Malloc, sys::heap_bytes().is_some());
        assert_ne!(MemorySource::own(), MemorySource::Counted);
    }
}
