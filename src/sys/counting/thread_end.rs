//! When a thread ends.
//!
//! Not by a thread-local with a destructor: registering one may allocate, and the standard library aborts if its registry is used
//! while it grows. The keys of the C library and of Windows do neither.

#![expect(unsafe_code, reason = "keys of the C library and of Windows")]

use super::slots::Slot;
use super::state::ended;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Gives the slot back when the calling thread ends; false if that cannot be noticed.
pub(super) fn notice(slot: &'static Slot) -> bool {
    key().is_some_and(|key| system::set(key, std::ptr::from_ref(slot).cast()))
}

/// The key plus one, once it is made.
static KEY: AtomicUsize = AtomicUsize::new(0);

fn key() -> Option<usize> {
    if let Some(key) = KEY.load(Ordering::Acquire).checked_sub(1) {
        return Some(key);
    }
    let key = system::make()?;
    match KEY.compare_exchange(0, key + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(key),
        // Another thread was first.
        Err(first) => {
            system::remove(key);
            Some(first - 1)
        }
    }
}

fn give_back(value: *const c_void) {
    // SAFETY: `notice` is the only one to set a value, and it is a slot, which lives for ever. It is not null: a system does not
    // call for a thread that has none.
    ended(unsafe { &*value.cast::<Slot>() });
}

#[cfg(unix)]
mod system {
    use super::{c_void, give_back};

    extern "C" fn thread_ended(value: *mut c_void) {
        give_back(value);
    }

    pub(super) fn make() -> Option<usize> {
        let mut key = 0;
        // SAFETY: it writes one key.
        let status = unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ended)) };
        (status == 0).then(|| usize::try_from(key).ok()).flatten()
    }

    pub(super) fn remove(key: usize) {
        // SAFETY: the key was made just now, and nobody else has it.
        unsafe { libc::pthread_key_delete(key as libc::pthread_key_t) };
    }

    pub(super) fn set(key: usize, value: *const c_void) -> bool {
        // SAFETY: the key is never removed; the value is kept, and not followed but by `give_back`.
        unsafe { libc::pthread_setspecific(key as libc::pthread_key_t, value) == 0 }
    }
}

#[cfg(windows)]
mod system {
    use super::{c_void, give_back};

    unsafe extern "system" {
        fn FlsAlloc(callback: Option<unsafe extern "system" fn(*const c_void)>) -> u32;
        fn FlsFree(index: u32) -> i32;
        fn FlsSetValue(index: u32, value: *const c_void) -> i32;
    }

    unsafe extern "system" fn thread_ended(value: *const c_void) {
        give_back(value);
    }

    pub(super) fn make() -> Option<usize> {
        // SAFETY: the callback lives as long as the program, of which this is a part.
        let index = unsafe { FlsAlloc(Some(thread_ended)) };
        (index != u32::MAX).then_some(index as usize)
    }

    pub(super) fn remove(key: usize) {
        // SAFETY: the index was made just now, and nobody has set a value at it.
        unsafe { FlsFree(key as u32) };
    }

    pub(super) fn set(key: usize, value: *const c_void) -> bool {
        // SAFETY: the index is never removed; the value is kept, and not followed but by `give_back`.
        unsafe { FlsSetValue(key as u32, value) != 0 }
    }
}

/// Where threads do not end.
#[cfg(not(any(unix, windows)))]
mod system {
    use super::c_void;

    pub(super) fn make() -> Option<usize> {
        None
    }

    pub(super) fn remove(_key: usize) {}

    pub(super) fn set(_key: usize, _value: *const c_void) -> bool {
        false
    }
}
