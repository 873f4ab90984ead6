//! Which slot a thread counts in.
//!
//! ```text
//!  New ──first block──► its own slot ──thread ends──► Shared
//!   └── no slot free, or the end cannot be noticed ──► Shared
//!  silently: Silent for a while        attributed: a scope's slot for a while
//! ```

use super::slots::{Slot, Totals, freed_shared, made_shared};
use super::state::{IS_UNWATCHED, SLOT, WITHOUT, Without};
use super::thread_end;

#[inline(always)]
pub(super) fn made(size: usize) {
    match SLOT.get() {
        Some(slot) => slot.made(size),
        None => made_without(size),
    }
}

#[inline(always)]
pub(super) fn freed(size: usize) {
    match SLOT.get() {
        Some(slot) => slot.freed(size),
        None => freed_without(size),
    }
}

// Two, with a number each: what is passed on together goes by way of memory, which the usual case would pay for, too.
#[cold]
#[inline(never)]
fn made_without(size: usize) {
    match without() {
        Some(Some(slot)) => slot.made(size),
        Some(None) => made_shared(size),
        None => {}
    }
}

#[cold]
#[inline(never)]
fn freed_without(size: usize) {
    match without() {
        Some(Some(slot)) => slot.freed(size),
        Some(None) => freed_shared(size),
        None => {}
    }
}

/// Which slot a thread without one counts in: one that it has from now on, the shared one, or none.
fn without() -> Option<Option<&'static Slot>> {
    match WITHOUT.get() {
        Without::New => match Slot::take() {
            Some(slot) if thread_end::notice(slot) => {
                SLOT.set(Some(slot));
                Some(Some(slot))
            }
            // It stays so: a search for each block would be dear.
            slot => {
                slot.into_iter().for_each(Slot::give_back);
                WITHOUT.set(Without::Shared);
                Some(None)
            }
        },
        Without::Shared => Some(None),
        Without::Silent => None,
        Without::Asked { .. } => {
            WITHOUT.set(Without::Asked { was_called: true });
            None
        }
    }
}

/// Where this thread has counted before, and does again when this is dropped: nested like the calls that do that.
struct Replaced {
    slot: Option<&'static Slot>,
    without: Without,
}

fn replace(slot: Option<&'static Slot>, without: Without) -> Replaced {
    Replaced { slot: SLOT.replace(slot), without: WITHOUT.replace(without) }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        SLOT.set(self.slot);
        WITHOUT.set(self.without);
    }
}

/// Nothing that is done in there is counted, nor watched.
pub(crate) fn silently<R>(act: impl FnOnce() -> R) -> R {
    let _replaced = replace(None, Without::Silent);
    act()
}

/// What is made in there is counted, and not watched: for what we give away.
pub(crate) fn unwatched<R>(act: impl FnOnce() -> R) -> R {
    struct Watched(bool);
    impl Drop for Watched {
        fn drop(&mut self) {
            IS_UNWATCHED.set(self.0);
        }
    }

    let _watched = Watched(IS_UNWATCHED.replace(true));
    act()
}

/// True if what the calling thread allocates is our own.
pub(super) fn is_ours() -> bool {
    IS_UNWATCHED.get() || (SLOT.get().is_none() && !matches!(WITHOUT.get(), Without::New | Without::Shared))
}

/// A slot that a scope counts in for a while.
#[derive(Clone, Copy)]
pub(crate) struct Attributed {
    slot: &'static Slot,
    /// What others have counted in it before.
    before: Totals,
}

impl Attributed {
    /// What was counted in it for the scope.
    pub(crate) fn totals(self) -> Totals {
        self.slot.totals().minus(self.before)
    }

    /// A slot counts for one at a time.
    pub(crate) fn is_the_same_as(self, other: Self) -> bool {
        std::ptr::eq(self.slot, other.slot)
    }
}

/// Counts in a slot of the scope's what is done in there, between `begins` and `ends`. `None`, and counted as ever, if there is
/// no free slot.
pub(crate) fn attributed<R>(
    begins: impl FnOnce(Option<Attributed>),
    act: impl FnOnce() -> R,
    ends: impl FnOnce(Attributed),
) -> R {
    struct Ends<F: FnOnce(Attributed)>(Option<F>, Attributed);
    impl<F: FnOnce(Attributed)> Drop for Ends<F> {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|ends| ends(self.1));
            self.1.slot.give_back();
        }
    }

    let attributed = Slot::take().map(|slot| Attributed { slot, before: slot.totals() });
    begins(attributed);
    let Some(attributed) = attributed else { return act() };
    let _ends = Ends(Some(ends), attributed);
    let _replaced = replace(Some(attributed.slot), WITHOUT.get());
    act()
}

/// True if this program's global allocator counts: one block is made to see.
pub(crate) fn is_installed() -> bool {
    let _replaced = replace(None, Without::Asked { was_called: false });
    drop(std::hint::black_box(Box::new(0u64)));
    WITHOUT.get() == Without::Asked { was_called: true }
}
