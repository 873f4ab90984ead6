//! The limit on descriptors, raised for ourselves, and the one on data, lowered for ourselves: both are given back to the children.

#![expect(unsafe_code, reason = "mmap to see whether the kernel refuses it, and a limit as the C library has it")]

use parking_lot::{RwLock, RwLockReadGuard};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The soft limit before we raised it; 0 while we have not.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// Raises the soft limit to `wanted`, at most to the hard limit, and answers with the one in force. Never lowers.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(soft) = current else { return Ok(u64::MAX) };
    let reachable = maximum.map_or(wanted, |hard| wanted.min(hard));
    if reachable <= soft {
        return Ok(soft);
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum })?;
    // The first value is the user's; a second raise must not record the first one's result.
    let _ = BEFORE.compare_exchange(0, soft, Ordering::Relaxed, Ordering::Relaxed);
    Ok(reachable)
}

/// The soft limit and the hard one; `u64::MAX` for none.
pub(crate) fn descriptor_limits() -> io::Result<(u64, u64)> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    Ok((current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX)))
}

/// Gives a child the limit that this process had before it was raised: programs that use `select` break above 1,024,
/// and some close every number up to the limit.
pub(crate) fn restore_descriptor_limit(pid: u32) -> io::Result<()> {
    let soft = BEFORE.load(Ordering::Relaxed);
    if soft == 0 {
        return Ok(());
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(
        i32::try_from(pid).ok().and_then(Pid::from_raw),
        Resource::Nofile,
        Rlimit { current: Some(soft), maximum },
    )?;
    Ok(())
}

/// The limit on data before it was lowered, while it is. Whoever starts a child reads it, and keeps it from being lowered in between.
static DATA_BEFORE: RwLock<Option<Rlimit>> = RwLock::new(None);

/// The soft limit on data; `u64::MAX` for none.
pub(crate) fn data_limit() -> u64 {
    getrlimit(Resource::Data).current.unwrap_or(u64::MAX)
}

/// Lowers this process's soft limit on data, `RLIMIT_DATA`, until [`restore_data_limit`]; children of ours get the one before.
pub(crate) fn lower_data_limit(bytes: u64) -> io::Result<()> {
    let mut before = DATA_BEFORE.write();
    let now = getrlimit(Resource::Data);
    setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: now.maximum })?;
    let _ = before.get_or_insert(now);
    Ok(())
}

/// Gives this process its own limit on data back.
pub(crate) fn restore_data_limit() -> io::Result<()> {
    DATA_BEFORE.write().take().map_or(Ok(()), |before| Ok(setrlimit(Resource::Data, before)?))
}

/// Gives a child the limit on data that this process had: for one that something else than we has started, and that ran with the
/// lowered one until now.
#[cfg(feature = "pty")]
pub(crate) fn restore_data_limit_of(pid: u32) -> io::Result<()> {
    let Some(before) = *DATA_BEFORE.read() else { return Ok(()) };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        prlimit(Some(pid), Resource::Data, before)?;
    }
    Ok(())
}

/// The limit that a child is to get, if it is not ours. Ours is not lowered before this is dropped.
pub(super) fn data_limit_before() -> RwLockReadGuard<'static, Option<Rlimit>> {
    DATA_BEFORE.read()
}

/// The same for the C library.
pub(super) fn as_libc(limit: Rlimit) -> libc::rlimit {
    let bytes = |limit: Option<u64>| limit.map_or(libc::RLIM_INFINITY, |bytes| bytes as libc::rlim_t);
    libc::rlimit { rlim_cur: bytes(limit.current), rlim_max: bytes(limit.maximum) }
}

/// Whether the kernel refuses to map so much private memory. Nothing of it is touched, and it is given back at once.
pub(crate) fn refuses_to_map(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes) else { return true };
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at an address of the kernel's choice, which nobody else knows.
    unsafe {
        let mapped = libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0);
        if mapped == libc::MAP_FAILED {
            return true;
        }
        libc::munmap(mapped, bytes);
    }
    false
}
