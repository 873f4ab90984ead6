//! What a thread knows: which slot it counts in, and what it does without one.

use super::slots::Slot;
use std::cell::Cell;

/// What a thread without a slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// It asks for one.
    New,
    /// It counts in the shared one.
    Shared,
    /// It does not count.
    Silent,
    /// It does not count, and says that it was asked to.
    Asked { was_called: bool },
}

thread_local! {
    // Constant and without destructors: there from the thread's first instruction to its last, and nothing is registered or
    // allocated for them.
    pub(super) static SLOT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
    pub(super) static WITHOUT: Cell<Without> = const { Cell::new(Without::New) };
    pub(super) static IS_UNWATCHED: Cell<bool> = const { Cell::new(false) };
}

/// The thread's slot goes to the next one; what still comes, of other destructors, is counted in the shared one.
pub(super) fn ended(slot: &'static Slot) {
    SLOT.set(None);
    WITHOUT.set(Without::Shared);
    slot.give_back();
}
