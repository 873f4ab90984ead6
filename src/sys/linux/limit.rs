//! The limit on descriptors: raised for ourselves, given back to the children.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::io;
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
