//! What a part of a program does to the heap.

use crate::probe::heap::stats::HeapAmount;
use crate::sys::counting::{Attributed, Totals, attributed, silently};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A part of a program whose allocations are counted apart: a cheap handle, to clone into tasks and threads.
///
/// ```standalone_crate
/// use termleash::leak::{CountingAlloc, HeapScope};
///
/// #[global_allocator]
/// static HEAP: CountingAlloc = CountingAlloc::new();
///
/// let scope = HeapScope::new();
/// let text = scope.run(|| "x".repeat(1000));
/// assert_eq!(scope.stats().made.bytes, 1000);
/// drop(text);                                            // outside of it: freed, but not by the scope
/// assert_eq!(scope.stats().freed.bytes, 0);
/// ```
///
/// It costs nothing for each block: the thread counts in another slot while it is inside. Entering costs some dozens of
/// nanoseconds. In [`HeapStats`](crate::leak::HeapStats) everything is counted, too.
///
/// # Limits
///
/// - A block belongs to the scope whose code makes it, and its end to the scope whose code frees it. What is made inside and given
///   away is not known to be alive.
/// - A thread that is started inside is not inside.
/// - One scope inside of another counts alone: not in the outer one.
#[derive(Clone, Default)]
pub struct HeapScope {
    inner: Arc<Mutex<Inner>>,
}

/// What a [`HeapScope`] has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeapScopeStats {
    /// What was made inside.
    pub made: HeapAmount,
    /// What was freed inside, wherever it was made.
    pub freed: HeapAmount,
    /// How often the scope was entered and could not count, since 256 threads and scopes counted already.
    pub uncounted: u64,
}

/// The standard library's mutex takes no thread-local with a destructor, which would be counted in the scope.
#[derive(Default)]
struct Inner {
    left: Totals,
    uncounted: u64,
    inside: Vec<Attributed>,
}

impl HeapScope {
    /// One that nothing has been done in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does that inside, on this thread.
    pub fn run<R>(&self, act: impl FnOnce() -> R) -> R {
        attributed(|slot| self.enter(slot), act, |slot| self.leave(slot))
    }

    /// A future that is always polled inside, on whatever thread. It is dropped outside.
    pub async fn wrap<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| self.run(|| future.as_mut().poll(context))).await
    }

    /// What was counted so far, also by who is inside.
    #[must_use]
    pub fn stats(&self) -> HeapScopeStats {
        let inner = self.lock();
        let inside = inner.inside.iter().fold(inner.left, |sum, slot| sum.plus(slot.totals()));
        HeapScopeStats {
            made: HeapAmount { blocks: inside.made_blocks, bytes: inside.made_bytes },
            freed: HeapAmount { blocks: inside.freed_blocks, bytes: inside.freed_bytes },
            uncounted: inner.uncounted,
        }
    }
}

impl HeapScope {
    fn enter(&self, slot: Option<Attributed>) {
        let mut inner = self.lock();
        match slot {
            // Not counted in a scope around this one.
            Some(slot) => silently(|| inner.inside.push(slot)),
            None => inner.uncounted += 1,
        }
    }

    fn leave(&self, slot: Attributed) {
        let mut inner = self.lock();
        inner.inside.retain(|inside| !inside.is_the_same_as(slot));
        inner.left = inner.left.plus(slot.totals());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let inside = std::mem::take(&mut self.inside);
        silently(|| drop(inside));
    }
}

impl fmt::Debug for HeapScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeapScope").field(&self.stats()).finish()
    }
}
