//! What this crate has made itself, and where in the test: sessions, with the processes and terminals that belong to them.

use crate::process::identity::ProcessIdentity;
use parking_lot::Mutex;
use std::backtrace::Backtrace;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A session that is tracked.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Its id.
    pub(crate) id: String,
    /// What it runs.
    pub(crate) command: String,
    pub(crate) made_at: &'static Location<'static>,
    pub(crate) since: Instant,
    /// Its leader's pid, where that is proven.
    pub(crate) leader: Option<ProcessIdentity>,
    /// The N of its /dev/pts/N.
    pub(crate) terminal: Option<u32>,
    /// At level paranoid.
    pub(crate) stack: Option<Arc<Backtrace>>,
    /// Which test's scope it was made in, if in any.
    pub(crate) scope: Option<ScopeId>,
}

/// The number of a test's scope in this process.
pub(crate) type ScopeId = u64;

/// The number of an entry, which tells two sessions of one id apart.
pub(crate) type OriginId = u64;

static BOOK: Mutex<Book> = Mutex::new(Book { next: 0, entries: BTreeMap::new() });

struct Book {
    next: OriginId,
    entries: BTreeMap<OriginId, Arc<Origin>>,
}

/// How many checks look at level paranoid.
static STACKS_WANTED: AtomicUsize = AtomicUsize::new(0);

/// Has a stack of each session's creation kept for as long as it is held; of any session in the process, since a session may
/// be made by any thread.
#[derive(Debug)]
pub(crate) struct KeepStacks(());

impl KeepStacks {
    pub(crate) fn new() -> Self {
        STACKS_WANTED.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for KeepStacks {
    fn drop(&mut self) {
        STACKS_WANTED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The stack of the caller, if somebody wants it.
pub(crate) fn stack() -> Option<Backtrace> {
    (STACKS_WANTED.load(Ordering::Relaxed) > 0).then(Backtrace::force_capture)
}

/// Keeps an entry in the book for as long as it is held.
#[derive(Debug)]
pub(crate) struct Registered(OriginId);

impl Drop for Registered {
    fn drop(&mut self) {
        BOOK.lock().entries.remove(&self.0);
    }
}

/// Enters a session, until the answer is dropped.
pub(crate) fn register(origin: Origin) -> Registered {
    let mut book = BOOK.lock();
    book.next += 1;
    let id = book.next;
    book.entries.insert(id, Arc::new(origin));
    Registered(id)
}

/// Those entered after `last`, and still there.
pub(crate) fn since(last: OriginId) -> Vec<(OriginId, Arc<Origin>)> {
    BOOK.lock().entries.range(last + 1..).map(|(id, origin)| (*id, Arc::clone(origin))).collect()
}

/// The number of the entry made last.
pub(crate) fn last() -> OriginId {
    BOOK.lock().next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_until_it_is_dropped() {
        let before = last();
        let origin = Origin {
            id: "an entry of a test".into(),
            command: "sh".into(),
            made_at: Location::caller(),
            since: Instant::now(),
            leader: None,
            terminal: None,
            stack: None,
            scope: None,
        };
        let entry = register(origin);
        let is_there = || since(before).iter().any(|(_, origin)| origin.id == "an entry of a test");
        assert!(is_there());
        assert!(!since(last()).iter().any(|(_, origin)| origin.id == "an entry of a test"));
        drop(entry);
        assert!(!is_there());
    }
}
