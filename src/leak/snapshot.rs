//! Step 1, capture: what a process has at one moment.

use crate::error::Result as OurResult;
use crate::probe::children::Children;
use crate::probe::descriptors::{Depth, Descriptors};
use crate::probe::ended::Ended;
use crate::probe::item::Resource;
use crate::probe::origins::{self, OriginId};
use crate::probe::other::Other;
use crate::probe::target::Target;
use crate::probe::threads::Threads;
use crate::process::handle::ProcessHandle;
use crate::settings::Level;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// A listing takes a descriptor while it is read, which would be in the listing of another thread.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a process has at one moment, this one or another: descriptors, threads, child processes, memory, and the sessions that
/// are tracked.
///
/// What could not be read is in it as such, and counts as unknown, never as nothing.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) taken: Instant,
    pub(crate) target: Target,
    /// That the other process had ended by then.
    pub(crate) ended: Option<Ended>,
    pub(crate) descriptors: Asked<Descriptors>,
    pub(crate) threads: Asked<Threads>,
    pub(crate) children: Asked<Children>,
    /// Resident bytes.
    pub(crate) resident: Asked<u64>,
    /// The session that was registered last.
    pub(crate) last_origin: OriginId,
}

/// What a probe saw, or why it could not look.
pub(crate) type Look<T> = Result<T, NotLookedAt>;

/// `None` where nobody asked.
pub(crate) type Asked<T> = Option<Look<T>>;

/// What is looked at unless something else is said.
pub(crate) const EVERYTHING: [Resource; 4] =
    [Resource::Descriptors, Resource::Threads, Resource::Processes, Resource::Memory];

impl Snapshot {
    /// Looks at everything. At level [`Paranoid`](Level::Paranoid) anonymous files are told apart, which takes an open and a
    /// read for each.
    pub fn capture(level: Level) -> Self {
        Self::of(&EVERYTHING, level)
    }

    /// Looks at some resources only. While other threads open and close descriptors, one that comes and goes can stand in for one
    /// that stays: whoever compares looks again.
    pub fn of(resources: &[Resource], level: Level) -> Self {
        Self::by(&Target::Own, Descriptors::capture, resources, level)
    }

    /// Looks at everything that another process has, its whole tree included.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use std::process::{Command, Stdio};
    /// use termleash::leak::{Level, Resource, Snapshot};
    /// use termleash::process::ProcessHandle;
    ///
    /// let mut server = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    /// let seen = Snapshot::of_process(&ProcessHandle::open(server.id())?, Level::Fail)?;
    /// assert_eq!(seen.counts()[1], (Resource::Threads, Some(1)));
    /// drop(server.stdin.take());
    /// server.wait()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it has ended, or /proc does not show it. What of it cannot be read is in the snapshot as such.
    pub fn of_process(process: &ProcessHandle, level: Level) -> OurResult<Self> {
        Ok(Self::listed(&Target::Other(Arc::new(Other::open(process)?)), &EVERYTHING, level))
    }

    /// The same by listing: slower, and right also while other threads open and close descriptors.
    pub(crate) fn listed(target: &Target, resources: &[Resource], level: Level) -> Self {
        Self::by(target, Descriptors::list, resources, level)
    }

    fn by(target: &Target, own: fn(Depth) -> io::Result<Descriptors>, resources: &[Resource], level: Level) -> Self {
        let depth = if level == Level::Paranoid { Depth::Paranoid } else { Depth::Usual };
        let _alone = target.is_own().then(|| ONE_AT_A_TIME.lock());
        let mut seen = Self {
            taken: Instant::now(),
            target: target.clone(),
            ended: None,
            descriptors: ask(resources, Resource::Descriptors, || target.descriptors(own, depth)),
            threads: ask(resources, Resource::Threads, || target.threads()),
            children: ask(resources, Resource::Processes, || target.children()),
            resident: ask(resources, Resource::Memory, || target.resident_bytes()),
            last_origin: origins::last(),
        };
        // Asked last: what was read before is whole if it lives now, and if it does not, a part at most.
        seen.ended = target.ended();
        if seen.ended.is_some() {
            (seen.descriptors, seen.threads, seen.resident) = (None, None, None);
            seen.children = ask(resources, Resource::Processes, || target.left_behind());
        }
        seen
    }

    /// True if everything that has an identity is as it was: the cheap look, which a clean check is done with. Threads and
    /// children that have ended are no leak.
    pub(crate) fn is_unchanged(&self) -> bool {
        // Of another process the whole look is the cheap one.
        if !self.target.is_own() {
            return false;
        }
        let _alone = ONE_AT_A_TIME.lock();
        let is = |looked: &io::Result<bool>| matches!(looked, Ok(true));
        let same_descriptors = self.descriptors.as_ref().is_none_or(|before| match before {
            Ok(before) => is(&before.is_unchanged()),
            Err(_) => false,
        });
        let same_threads = || {
            self.threads.as_ref().is_none_or(|before| match (before, Threads::capture()) {
                (Ok(before), Ok(now)) => now.new_since(before).next().is_none(),
                _ => false,
            })
        };
        let same_children = || {
            self.children.as_ref().is_none_or(|before| match (before, Children::capture()) {
                (Ok(before), Ok(now)) => now.new_since(before).next().is_none(),
                _ => false,
            })
        };
        let knows_memory = !matches!(self.resident, Some(Err(_)));
        knows_memory && same_descriptors && same_threads() && same_children() && origins::last() == self.last_origin
    }

    /// This one as the next baseline: what could not be looked at stays what it was `before`.
    pub(crate) fn into_baseline(self, before: &Self) -> Self {
        Self {
            taken: self.taken,
            target: self.target,
            ended: self.ended,
            descriptors: newest(self.descriptors, &before.descriptors),
            threads: newest(self.threads, &before.threads),
            children: newest(self.children, &before.children),
            resident: newest(self.resident, &before.resident),
            last_origin: self.last_origin,
        }
    }

    /// How many descriptors, threads and child processes there were; `None` for what was not, or could not be looked at.
    pub fn counts(&self) -> [(Resource, Option<usize>); 3] {
        [
            (Resource::Descriptors, seen(&self.descriptors).map(Descriptors::len)),
            (Resource::Threads, seen(&self.threads).map(Threads::len)),
            (Resource::Processes, seen(&self.children).map(Children::len)),
        ]
    }

    /// The resident bytes that were measured, if they could be.
    pub fn resident(&self) -> Option<u64> {
        seen(&self.resident).copied()
    }
}

fn newest<T: Clone>(now: Asked<T>, before: &Asked<T>) -> Asked<T> {
    match now {
        Some(Err(_)) => before.clone(),
        seen => seen,
    }
}

/// What was looked at with success.
pub(crate) fn seen<T>(asked: &Asked<T>) -> Option<&T> {
    asked.as_ref()?.as_ref().ok()
}

fn ask<T>(resources: &[Resource], resource: Resource, probe: impl FnOnce() -> io::Result<T>) -> Asked<T> {
    resources.contains(&resource).then(|| look(resource, probe()))
}

pub(crate) fn look<T>(resource: Resource, looked: io::Result<T>) -> Look<T> {
    looked.map_err(|cause| NotLookedAt {
        resource,
        is_unsupported: cause.kind() == io::ErrorKind::Unsupported,
        cause: cause.to_string(),
        is_required: false,
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
    /// True if `TERMLEASH_REQUIRE` names it.
    pub is_required: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_no_system_has_is_told_from_one_that_failed() {
        let looked = |kind: io::ErrorKind| look::<()>(Resource::Threads, Err(kind.into())).unwrap_err().is_unsupported;
        assert!(looked(io::ErrorKind::Unsupported));
        assert!(!looked(io::ErrorKind::InvalidData));
    }

    /// The cheap look at each resource alone: the other tests of this process change the rest.
    #[test]
    fn what_could_not_be_looked_at_at_first_is_never_unchanged() {
        let nothing = || Snapshot { last_origin: origins::last(), ..Snapshot::of(&[], Level::Fail) };
        fn blind<T>(resource: Resource) -> Asked<T> {
            Some(look(resource, Err(io::ErrorKind::InvalidData.into())))
        }
        assert!(!Snapshot { descriptors: blind(Resource::Descriptors), ..nothing() }.is_unchanged());
        assert!(!Snapshot { threads: blind(Resource::Threads), ..nothing() }.is_unchanged());
        assert!(!Snapshot { children: blind(Resource::Processes), ..nothing() }.is_unchanged());
    }
}
