//! What a server prints: read as it comes, the newest part kept.

use crate::process::pump::{Pump, Source};
use crate::session::finder::Finder;
use crate::session::ring::Ring;
use crate::session::terminal::Output;
use crate::sys::{self, AsFd as _, OwnedFd, Ready};
use crate::watched::Watched;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// How much of what was printed before its end is read then at most: a pipe holds 64 KiB.
const LAST_READS: usize = 64;

pub(crate) struct Log {
    open: Mutex<Option<Open>>,
    ring: Watched<Ring>,
}

struct Open {
    fd: OwnedFd,
    /// The pump's number for it, while the pump reads.
    token: Option<u64>,
}

impl Log {
    /// Reads from a pipe; from [`watch`](Self::watch) on by itself.
    pub(crate) fn new(fd: OwnedFd, cap: usize) -> Arc<Self> {
        let open = Mutex::new(Some(Open { fd, token: None }));
        Arc::new(Self { open, ring: Watched::new(Ring::new(cap)) })
    }

    pub(crate) fn watch(self: &Arc<Self>, pump: &Pump) -> io::Result<()> {
        if let Some(open) = &mut *self.open.lock() {
            open.token = Some(pump.add(&open.fd, Arc::clone(self) as Arc<dyn Source>)?);
        }
        Ok(())
    }

    pub(crate) fn output(&self) -> Output {
        self.ring.peek(Output::of)
    }

    pub(crate) async fn wait_for(&self, text: &str) {
        let mut finder = Finder::new(text);
        self.ring.wait(|ring| finder.finds(ring).then_some(())).await;
    }

    /// Takes in what was printed until now, and reads nothing more: whoever prints to it later, a stranger by then, gets
    /// SIGPIPE.
    pub(crate) fn close(&self) {
        let mut open = self.open.lock();
        if let Some(reading) = &mut *open {
            self.read(reading, LAST_READS);
            unwatch(reading);
        }
        *open = None;
    }

    /// Takes in what was printed until now.
    pub(crate) fn catch_up(&self) {
        if let Some(reading) = &*self.open.lock() {
            self.read(reading, LAST_READS);
        }
    }

    /// Reads so often; true at the end, which an error is, too: nothing more can come.
    fn read(&self, open: &Open, reads: usize) -> bool {
        for _ in 0..reads {
            // Nobody is woken by nothing.
            let mut is_over = None;
            self.ring.update(|ring| match sys::read_now(open.fd.as_fd(), ring.writable()) {
                Ok(Some(0)) | Err(_) => is_over = Some(true),
                Ok(Some(count)) => ring.commit(count),
                Ok(None) => is_over = Some(false),
            });
            if let Some(is_over) = is_over {
                return is_over;
            }
        }
        false
    }
}

fn unwatch(open: &mut Open) {
    if let (Some(token), Ok(pump)) = (open.token.take(), Pump::get()) {
        pump.remove(&open.fd, token);
    }
}

impl Source for Log {
    fn ready(&self, _: &Pump, _: Ready) {
        let mut open = self.open.lock();
        let Some(reading) = &mut *open else { return };
        if self.read(reading, 1) {
            unwatch(reading);
            *open = None;
        }
    }
}
