//! One open descriptor of each kind, for a leak check that tries itself.

use super::pty::Master;
use crate::sys::{Cells, Specimen};
use rustix::event::epoll;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, Mode, OFlags, inotify, memfd_create, open};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Opens them; they are closed when the answer is dropped.
///
/// # Errors
///
/// If one cannot be opened: no descriptor or terminal is left.
pub(crate) fn specimens() -> io::Result<Vec<Specimen>> {
    let read = OFlags::RDONLY | OFlags::CLOEXEC;
    let (pipe_read, pipe_write) = std::io::pipe()?;
    let mut all = vec![
        of("file", std::fs::File::open(std::env::current_exe()?)?.into()),
        of("directory", open("/", read | OFlags::DIRECTORY, Mode::empty())?),
        of("device", open("/dev/null", read, Mode::empty())?),
        of("pipe", pipe_read.into()),
        of("pipe", pipe_write.into()),
        of("socket", std::net::TcpListener::bind("127.0.0.1:0")?.into()),
        of("epoll", epoll::create(epoll::CreateFlags::CLOEXEC)?),
        of("eventfd", eventfd(0, EventfdFlags::CLOEXEC)?),
        of("timerfd", timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?),
        of("inotify", inotify::init(inotify::CreateFlags::CLOEXEC)?),
        of("pidfd", pidfd_open(getpid(), PidfdFlags::empty())?),
        of("memfd", memfd_create("termleash-specimen", MemfdFlags::CLOEXEC)?),
    ];
    let (master, peer) = Master::open(Cells { rows: 24, cols: 80 })?;
    let number = master.as_fd().as_raw_fd();
    all.push(Specimen { kind: "pty master", number, _open: Box::new(master) });
    all.push(of("pty slave", peer.fd));
    Ok(all)
}

fn of(kind: &'static str, fd: OwnedFd) -> Specimen {
    Specimen { kind, number: fd.as_raw_fd(), _open: Box::new(fd) }
}
