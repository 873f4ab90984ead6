//! Waiting for a process without counting the time in which it is stopped: Ctrl-Z, a debugger, a suspended machine.

use crate::process::handle::{read_stat, reader};
use std::time::{Duration, Instant};

/// How often the clock is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// How much time some processes, and this one, had.
pub(crate) struct Patience {
    used: Duration,
    last: Instant,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { used: Duration::ZERO, last: Instant::now() }
    }

    #[cfg(test)]
    pub(crate) fn with(used: Duration) -> Self {
        Self { used, ..Self::new() }
    }

    pub(crate) fn restart(&mut self) {
        *self = Self::new();
    }

    /// Adds the time since the last look, at most two ticks of it, unless one of the processes is stopped now.
    pub(crate) fn tick(&mut self, pids: &[u32]) {
        self.tick_unless(|| pids.iter().any(|pid| is_stopped(*pid)));
    }

    /// The same for one who knows otherwise whether one of them is stopped.
    pub(crate) fn tick_unless(&mut self, is_any_stopped: impl FnOnce() -> bool) {
        let now = Instant::now();
        let passed = now.duration_since(self.last);
        // Each look reads files of /proc, and what a body tells wakes its keeper more often than this.
        if passed < TICK {
            return;
        }
        let passed = passed.min(2 * TICK);
        self.last = now;
        if !is_any_stopped() {
            self.used += passed;
        }
    }

    pub(crate) fn used(&self) -> Duration {
        self.used
    }

    pub(crate) fn has_used(&self, limit: Duration) -> bool {
        self.used >= limit
    }
}

/// True for a process that a signal or a debugger has stopped.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = reader().ok().and_then(|mut reader| read_stat(&mut reader, pid).ok());
    stat.is_some_and(|stat| stat.is_stopped())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_this_process_was_stopped_does_not_count() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap_or_else(Instant::now);
        let mut patience = Patience { used: Duration::ZERO, last: long_ago };
        patience.tick(&[]);
        assert!(patience.used <= 2 * TICK, "{:?}", patience.used);
    }
}
