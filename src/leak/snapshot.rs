//! Step 1, capture: what this process has at one moment.

use crate::probe::children::Children;
use crate::probe::descriptors::{Depth, Descriptors};
use crate::probe::item::Resource;
use crate::probe::memory::Memory;
use crate::probe::origins::{self, OriginId};
use crate::probe::threads::Threads;
use crate::settings::Level;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io;

/// A listing takes a descriptor while it is read, which would be in the listing of another thread.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What this process has at one moment: descriptors, threads, child processes, memory, and the sessions that are tracked.
///
/// What could not be read is in it as such, and counts as unknown, never as nothing.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) descriptors: Look<Descriptors>,
    pub(crate) threads: Look<Threads>,
    pub(crate) children: Look<Children>,
    pub(crate) memory: Look<Memory>,
    /// The session that was registered last.
    pub(crate) last_origin: OriginId,
}

/// What a probe saw, or why it could not look.
pub(crate) type Look<T> = Result<T, NotLookedAt>;

impl Snapshot {
    /// Looks at everything. At level [`Paranoid`](Level::Paranoid) anonymous files are told apart, which takes an open and a
    /// read for each.
    pub fn capture(level: Level) -> Self {
        let depth = if level == Level::Paranoid { Depth::Paranoid } else { Depth::Usual };
        let _alone = ONE_AT_A_TIME.lock();
        Self {
            descriptors: look(Resource::Descriptors, Descriptors::capture(depth)),
            threads: look(Resource::Threads, Threads::capture()),
            children: look(Resource::Processes, Children::capture()),
            memory: look(Resource::Memory, Memory::capture()),
            last_origin: origins::last(),
        }
    }

    /// True if everything that has an identity is as it was: the cheap look, which a clean check is done with.
    pub(crate) fn is_unchanged(&self) -> bool {
        let _alone = ONE_AT_A_TIME.lock();
        let same_descriptors = matches!(&self.descriptors, Ok(before) if before.is_unchanged().unwrap_or(false));
        same_descriptors && self.same_threads() && self.same_children() && origins::since(self.last_origin).is_empty()
    }

    /// Threads and children that have ended are no leak.
    fn same_threads(&self) -> bool {
        let (Ok(before), Ok(now)) = (&self.threads, Threads::capture()) else { return false };
        now.new_since(before).next().is_none()
    }

    fn same_children(&self) -> bool {
        let (Ok(before), Ok(now)) = (&self.children, Children::capture()) else { return false };
        now.new_since(before).next().is_none()
    }

    /// How many descriptors, threads and child processes there were; `None` for what could not be looked at.
    pub fn counts(&self) -> [(Resource, Option<usize>); 3] {
        [
            (Resource::Descriptors, self.descriptors.as_ref().ok().map(Descriptors::len)),
            (Resource::Threads, self.threads.as_ref().ok().map(Threads::len)),
            (Resource::Processes, self.children.as_ref().ok().map(Children::len)),
        ]
    }

    /// The memory that was measured, if it could be.
    pub fn memory(&self) -> Option<Memory> {
        self.memory.as_ref().ok().copied()
    }
}

pub(crate) fn look<T>(resource: Resource, looked: io::Result<T>) -> Look<T> {
    looked.map_err(|cause| NotLookedAt {
        resource,
        is_unsupported: cause.kind() == io::ErrorKind::Unsupported,
        cause: cause.to_string(),
    })
}

/// A resource that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotLookedAt {
    /// What.
    pub resource: Resource,
    /// Why.
    pub cause: String,
    /// True if this system has no such probe: then the check passes, unless `TERMLEASH_REQUIRE` names it.
    pub is_unsupported: bool,
}
