//! epoll(7) with an eventfd to interrupt it.

use crate::sys::{Interest, Ready};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Waits for many descriptors at once, each known by its token.
pub(crate) struct Poller {
    epoll: OwnedFd,
    interrupt: OwnedFd,
}

/// The token of the eventfd; sources count up from 0.
const INTERRUPT: u64 = u64::MAX;
/// Events fetched by one call.
const BATCH: usize = 256;

impl Poller {
    /// One that waits for nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let interrupt = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &interrupt, EventData::new_u64(INTERRUPT), EventFlags::IN)?;
        Ok(Self { epoll, interrupt })
    }

    /// Waits for this one, too.
    pub(crate) fn add(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), flags(interest))?)
    }

    /// Waits for something else of it.
    pub(crate) fn modify(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags(interest))?)
    }

    /// Waits for it no more.
    pub(crate) fn remove(&self, fd: &impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Makes a `wait` of another thread return at once.
    pub(crate) fn interrupt(&self) {
        // The only failure is a counter that is full, and then an interrupt is pending anyway.
        let _ = rustix::io::write(&self.interrupt, &1u64.to_ne_bytes());
    }

    /// Fills `ready` with what happened, or with nothing after `limit` or an interrupt.
    pub(crate) fn wait(&self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> io::Result<()> {
        ready.clear();
        if let Some(limit) = limit {
            self.wait_precisely(limit)?;
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = [const { std::mem::MaybeUninit::<Event>::uninit() }; BATCH];
        let found = match epoll::wait(&self.epoll, &mut events, limit.map(|_| now).as_ref()) {
            Ok((found, _)) => found,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(cause) => return Err(cause.into()),
        };
        for event in found {
            let token = event.data.u64();
            if token == INTERRUPT {
                let _ = rustix::io::read(&self.interrupt, &mut [0u8; 8]);
                continue;
            }
            let happened = event.flags;
            ready.push(Ready {
                token,
                read: happened.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                write: happened.contains(EventFlags::OUT),
            });
        }
        Ok(())
    }

    /// Waits for the epoll descriptor itself: epoll_wait rounds a limit up to whole milliseconds, and a grace that ends
    /// a millisecond late is seen. An interrupted wait ends early, which whoever waits takes for granted.
    fn wait_precisely(&self, limit: Duration) -> io::Result<()> {
        let limit = Timespec { tv_sec: limit.as_secs().min(3600).cast_signed(), tv_nsec: limit.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }
}

fn flags(interest: Interest) -> EventFlags {
    match interest {
        Interest::Read => EventFlags::IN,
        Interest::ReadWrite => EventFlags::IN | EventFlags::OUT,
    }
}
