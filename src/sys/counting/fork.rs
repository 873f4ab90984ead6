//! What is done in a copy of the process that fork(2) has made, before anything else is.

#![cfg_attr(unix, expect(unsafe_code, reason = "pthread_atfork"))]

/// Registers it for every copy from now on. It may not allocate. What is copied past the C library, by a clone(2) of one's own, does not
/// do it.
#[cfg(unix)]
pub(super) fn in_child(act: extern "C" fn()) {
    // SAFETY: the function lives as long as the program, and stores one flag. It fails for want of memory, and then nothing is done.
    unsafe { libc::pthread_atfork(None, None, Some(act)) };
}

#[cfg(not(unix))]
pub(super) fn in_child(_act: extern "C" fn()) {}
