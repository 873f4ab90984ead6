//! Waiting, which can be interrupted: there is nothing to wait for but deadlines.

use super::refusal::unsupported;
use crate::sys::{Interest, Ready};
use std::io;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// What the poller can wait for: nothing here.
pub(crate) trait Pollable {}

pub(crate) struct Poller {
    interrupted: Mutex<bool>,
    changed: Condvar,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { interrupted: Mutex::new(false), changed: Condvar::new() })
    }

    pub(crate) fn add(&self, _fd: &impl Pollable, _token: u64, _interest: Interest) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn modify(&self, _fd: &impl Pollable, _token: u64, _interest: Interest) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn remove(&self, _fd: &impl Pollable) -> io::Result<()> {
        unsupported()
    }

    pub(crate) fn interrupt(&self) {
        *self.interrupted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    pub(crate) fn wait(&self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let guard = self.interrupted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let limit = limit.unwrap_or(Duration::from_secs(3600));
        let (mut guard, _) = self
            .changed
            .wait_timeout_while(guard, limit, |interrupted| !*interrupted)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *guard = false;
        Ok(())
    }
}
