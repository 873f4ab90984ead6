//! Taking a run's control group away.

use crate::backoff::{Backoff, pause};
use crate::process::cgroup::Leaf;
use std::io;
use std::time::{Duration, Instant};

/// How long one is tried again that is busy: who has died, and was reaped, is counted for a moment longer.
const DYING: Duration = Duration::from_secs(1);

/// # Errors
///
/// Those of [`Leaf::remove`]: somebody lives in it.
pub(crate) fn remove(leaf: &Leaf) -> io::Result<()> {
    let start = Instant::now();
    let mut pauses = Backoff::new();
    loop {
        let done = leaf.remove();
        match (&done, pauses.next()) {
            (Err(cause), Some(time)) if cause.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < DYING => {
                pause(time);
            }
            _ => return done,
        }
    }
}
