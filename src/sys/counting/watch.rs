//! Who is told of each block while somebody wants to know.

use super::thread::{is_ours, silently};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is told of blocks, by their addresses. Nothing that it does itself is counted or told.
pub(crate) trait Watcher: Sync {
    fn made(&self, block: usize, size: usize);
    fn freed(&self, block: usize);
}

static IS_WATCHED: AtomicBool = AtomicBool::new(false);
static WATCHER: OnceLock<&'static dyn Watcher> = OnceLock::new();

/// Tells this one from now on. There is one in a program, ever. Where fork(2) copies the process nobody is told in the copy: another thread may
/// have had a lock of the watcher's at that moment, and is not there to give it back.
pub(crate) fn watch(watcher: &'static dyn Watcher) {
    WATCHER.get_or_init(|| {
        super::fork::in_child(unwatch);
        watcher
    });
    IS_WATCHED.store(true, Ordering::Release);
}

pub(crate) extern "C" fn unwatch() {
    IS_WATCHED.store(false, Ordering::Release);
}

/// All that a program pays that wants to know nothing.
#[inline(always)]
pub(super) fn is_watched() -> bool {
    IS_WATCHED.load(Ordering::Relaxed)
}

// One for each, with plain numbers, as in `thread`.
#[cold]
#[inline(never)]
pub(super) fn tell_made(block: usize, size: usize) {
    tell(|watcher| watcher.made(block, size));
}

#[cold]
#[inline(never)]
pub(super) fn tell_freed(block: usize) {
    tell(|watcher| watcher.freed(block));
}

fn tell(tell: impl FnOnce(&dyn Watcher)) {
    if let Some(watcher) = WATCHER.get()
        && !is_ours()
    {
        silently(|| tell(*watcher));
    }
}
