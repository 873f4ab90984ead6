//! Limits that the kernel keeps of this very process: on descriptors, and on data.

use crate::error::{Error, Result};
use crate::sys;
use bytesize::ByteSize;

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

/// A page of the largest kind: whoever asks for as much beyond a limit asks for more than it.
const LARGEST_PAGE: u64 = 64 << 10;

/// A hard limit on the private memory that this process may map (`RLIMIT_DATA`, the soft one), until it is dropped. What is started by our
/// own means gets the limit that was there before.
#[derive(Debug)]
pub(crate) struct DataLimit {
    bytes: u64,
    /// The process that set it: a copy that was forked without exec has it, too, and a copy of this.
    owner: u32,
}

/// Why there is no hard limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unlimited {
    /// The process has more already, in words.
    Exceeded(String),
    /// It cannot be kept here, in words.
    Unenforceable(String),
}

impl DataLimit {
    /// Sets it, to what there is already if that is less.
    pub(crate) fn set(wanted: u64) -> std::result::Result<Self, Unlimited> {
        let mapped = sys::data_bytes()
            .map_err(|cause| Unlimited::Unenforceable(format!("what is in use cannot be read: {cause}")))?;
        let bytes = wanted.min(sys::data_limit());
        if mapped > bytes {
            let [mapped, bytes] = [mapped, bytes].map(ByteSize::b);
            return Err(Unlimited::Exceeded(format!(
                "its process has {mapped} of data mapped, the stacks of its threads included, and may have {bytes}"
            )));
        }
        sys::lower_data_limit(bytes)
            .map_err(|cause| Unlimited::Unenforceable(format!("the kernel refuses the limit: {cause}")))?;
        let limit = Self { bytes, owner: sys::own_pid() };
        if sys::refuses_to_map(bytes.saturating_add(LARGEST_PAGE)) {
            return Ok(limit);
        }
        drop(limit);
        Err(Unlimited::Unenforceable(
            "the kernel gives more than RLIMIT_DATA allows: it is older than Linux 4.7, or was told `ignore_rlimit_data`".into(),
        ))
    }

    /// Which is in force.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// False in a copy of the process that set it.
    pub(crate) fn is_ours(&self) -> bool {
        sys::own_pid() == self.owner
    }
}

impl Drop for DataLimit {
    fn drop(&mut self) {
        // Raising a soft limit to what it was is always allowed, unless somebody has lowered the hard one meanwhile.
        let _ = sys::restore_data_limit();
    }
}
