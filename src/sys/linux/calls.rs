//! System calls in which a thread may wait long, by number.

/// The name, and whether its first argument is a descriptor; `None` for one in which nothing waits for long.
pub(crate) fn waiting_call(number: libc::c_long) -> Option<(&'static str, bool)> {
    Some(match number {
        libc::SYS_read => ("read", true),
        libc::SYS_readv => ("readv", true),
        libc::SYS_write => ("write", true),
        libc::SYS_writev => ("writev", true),
        libc::SYS_ioctl => ("ioctl", true),
        libc::SYS_fcntl => ("fcntl", true),
        libc::SYS_flock => ("flock", true),
        libc::SYS_fsync => ("fsync", true),
        libc::SYS_openat => ("openat", false),
        libc::SYS_connect => ("connect", true),
        libc::SYS_accept => ("accept", true),
        libc::SYS_accept4 => ("accept4", true),
        libc::SYS_recvfrom => ("recvfrom", true),
        libc::SYS_recvmsg => ("recvmsg", true),
        libc::SYS_sendto => ("sendto", true),
        libc::SYS_sendmsg => ("sendmsg", true),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => ("poll", false),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => ("select", false),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => ("epoll_wait", true),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pause => ("pause", false),
        libc::SYS_ppoll => ("ppoll", false),
        libc::SYS_pselect6 => ("pselect6", false),
        libc::SYS_epoll_pwait => ("epoll_pwait", true),
        libc::SYS_io_uring_enter => ("io_uring_enter", true),
        libc::SYS_futex => ("futex", false),
        libc::SYS_nanosleep => ("nanosleep", false),
        libc::SYS_clock_nanosleep => ("clock_nanosleep", false),
        libc::SYS_wait4 => ("wait4", false),
        libc::SYS_waitid => ("waitid", false),
        libc::SYS_rt_sigsuspend => ("rt_sigsuspend", false),
        libc::SYS_rt_sigtimedwait => ("rt_sigtimedwait", false),
        libc::SYS_restart_syscall => ("restart_syscall", false),
        _ => return None,
    })
}
