//! The clock that process start times are given in, and that of our own processor time.

use rustix::time::{ClockId, clock_gettime};

/// Clock ticks in a second, `sysconf(_SC_CLK_TCK)`: 100 on every Linux of today.
fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// A duration in clock ticks, rounded up.
pub(crate) fn ticks_in(duration: std::time::Duration) -> u64 {
    let nanoseconds = duration.as_nanos().saturating_mul(u128::from(ticks_per_second()));
    u64::try_from(nanoseconds.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
}

/// Now, in clock ticks since boot rounded down: the unit and the clock of field 22 of `/proc/PID/stat`
/// (`CLOCK_BOOTTIME`, proc_pid_stat(5)), shifted by the same time namespace.
pub(crate) fn now_ticks() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * ticks_per_second() + nanoseconds * ticks_per_second() / 1_000_000_000
}

/// Since some moment that is the same for all processes, on a clock that only goes forward: that of `std::time::Instant`.
pub(crate) fn monotonic() -> std::time::Duration {
    std::time::Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// Processor time of this process since its begin, all of its threads together.
pub(crate) fn own_processor_time() -> Option<std::time::Duration> {
    std::time::Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()
}
