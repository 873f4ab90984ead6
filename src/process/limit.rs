//! The limit on descriptors.

use crate::error::{Error, Result};
use crate::sys;

/// Raises this process's soft limit on descriptors to `wanted`, or to the hard limit if that is lower, and answers
/// with the limit in force. It is never lowered.
///
/// A session costs two descriptors while it lives, and 1,024 is the usual soft limit. Sessions that [`PtyBackend`](crate::PtyBackend) starts
/// by itself from then on get the old limit back: programs that use select(2) break above 1,024, and some close every number up to it. They
/// run with the raised one for the instant between their start and that.
///
/// # Errors
///
/// If the kernel refuses, and on platforms other than Linux.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let limit = termleash::process::raise_descriptor_limit(4096)?;
/// assert!(limit > 0);
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
pub fn raise_descriptor_limit(wanted: u64) -> Result<u64> {
    sys::raise_descriptor_limit(wanted)
        .map_err(|cause| Error::os("raise the limit on descriptors", "see `ulimit -Hn`", cause))
}
