//! Threads that this crate runs beside a test: the watchdog of its deadline. They are no leak of the test's, and a check or a
//! hunt within a test must not see them.

use crate::sys;
use parking_lot::Mutex;
use std::collections::BTreeSet;

static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Notes the calling thread for as long as it is held.
#[derive(Debug)]
pub(crate) struct OwnThread(u32);

impl OwnThread {
    pub(crate) fn here() -> Self {
        let id = sys::own_thread();
        OWN.lock().insert(id);
        Self(id)
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        OWN.lock().remove(&self.0);
    }
}

pub(crate) fn contains(id: u32) -> bool {
    OWN.lock().contains(&id)
}

pub(crate) fn count() -> usize {
    OWN.lock().len()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_noted_until_its_note_is_dropped() {
        let note = OwnThread::here();
        assert!(contains(sys::own_thread()) && count() > 0);
        drop(note);
        assert!(!contains(sys::own_thread()));
    }
}
