//! One thread waits for everything: terminals, processes, deadlines.
//!
//! It feeds plain wakers, so what is awaited works on any runtime and without one, and a thousand sessions cost one
//! thread. It starts with the first session and stays; its thread, an epoll and an eventfd are, with one
//! descriptor for /proc, the crate's only constant cost.

use crate::error::{Error, Result};
use crate::sys::{self, Interest, Pollable, Poller, Ready};
use crate::watched::unstopped;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What is told when its descriptor is ready; on the pump's thread, so it must not block.
pub(crate) trait Source: Send + Sync {
    /// Handles what happened. A source that is done takes itself out with [`Pump::remove`].
    fn ready(&self, pump: &Pump, ready: Ready);
}

pub(crate) struct Pump {
    poller: Poller,
    next: AtomicU64,
    sources: Mutex<HashMap<u64, Arc<dyn Source>>>,
    timers: Mutex<Timers>,
    /// The process that it waits for. A child forked without an exec has no such thread, and shares the kernel's set with it: what the
    /// child takes out of that its parent would never hear of again.
    owner: u32,
}

#[derive(Default)]
struct Timers {
    /// By time, then by number, since two may end at the same instant.
    waiting: BTreeMap<(Instant, u64), Waker>,
    /// Until when the thread sleeps; `None` while it is awake or sleeps without an end.
    sleeping_until: Option<Instant>,
}

static PUMP: OnceCell<&'static Pump> = OnceCell::new();

impl Pump {
    /// The pump of this process, started if it is not.
    ///
    /// # Errors
    ///
    /// If there is no descriptor or thread left for it.
    pub(crate) fn get() -> Result<&'static Self> {
        let pump = PUMP.get_or_try_init(|| {
            let pump = Self {
                poller: Poller::new()?,
                next: AtomicU64::new(0),
                sources: Mutex::default(),
                timers: Mutex::default(),
                owner: sys::own_pid(),
            };
            let (give, take) = std::sync::mpsc::channel::<&'static Self>();
            let thread = std::thread::Builder::new().name("termleash-pump".into());
            // Leaked only once its thread is there.
            thread.spawn(move || take.recv().into_iter().for_each(Self::run))?;
            let pump: &'static Self = Box::leak(Box::new(pump));
            let _ = give.send(pump);
            io::Result::Ok(pump)
        });
        pump.copied().map_err(|cause| {
            Error::os("start the thread that waits for sessions", "raise `ulimit -n` or `ulimit -u`", cause)
        })
    }

    /// True if its thread was started.
    pub(crate) fn is_there() -> bool {
        PUMP.get().is_some()
    }

    /// Watches a descriptor until [`remove`](Self::remove). The source may be called before this returns.
    pub(crate) fn add(&self, fd: &impl Pollable, source: Arc<dyn Source>) -> io::Result<u64> {
        self.is_in_its_process()?;
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        self.sources.lock().insert(token, source);
        if let Err(cause) = self.poller.add(fd, token, Interest::Read) {
            self.sources.lock().remove(&token);
            return Err(cause);
        }
        Ok(token)
    }

    pub(crate) fn modify(&self, fd: &impl Pollable, token: u64, interest: Interest) -> io::Result<()> {
        self.is_in_its_process()?;
        self.poller.modify(fd, token, interest)
    }

    fn is_in_its_process(&self) -> io::Result<()> {
        if self.owner == sys::own_pid() {
            return Ok(());
        }
        Err(io::Error::other(
            "this process was forked without exec: the thread that waits for sessions is its parent's",
        ))
    }

    /// Stops watching; before the descriptor is closed, since a copy of it elsewhere would keep it in the set.
    pub(crate) fn remove(&self, fd: &impl Pollable, token: u64) {
        // Nor is the lock to be had that the thread may have held when this process was forked.
        if self.is_in_its_process().is_err() {
            return;
        }
        // It fails only if the descriptor is not in the set, which is what is wanted.
        let _ = self.poller.remove(fd);
        self.sources.lock().remove(&token);
    }

    #[cfg(test)]
    pub(crate) fn is_watching(&self, token: u64) -> bool {
        self.sources.lock().contains_key(&token)
    }

    fn run(&self) {
        let mut ready = Vec::new();
        loop {
            let limit = self.fire_timers();
            if let Err(cause) = self.poller.wait(&mut ready, limit) {
                // Only a bug of ours gets here (EBADF, EFAULT, EINVAL); to go on would spin in silence.
                crate::event::warn(format!("the thread that waits for sessions stopped: {cause}"));
                return;
            }
            for event in &ready {
                let source = self.sources.lock().get(&event.token).cloned();
                if let Some(source) = source {
                    unstopped(|| source.ready(self, *event));
                }
            }
        }
    }

    /// Wakes what is due and says how long to sleep.
    fn fire_timers(&self) -> Option<Duration> {
        let mut timers = self.timers.lock();
        let now = Instant::now();
        let later = timers.waiting.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut timers.waiting, later);
        let next = timers.waiting.first_key_value().map(|((at, _), _)| *at);
        timers.sleeping_until = next;
        drop(timers);
        due.into_values().for_each(|waker| unstopped(|| waker.wake()));
        next.map(|at| at.saturating_duration_since(now))
    }

    /// Ends after `limit`.
    pub(crate) fn sleep(&self, limit: Duration) -> Sleep<'_> {
        self.sleep_until(after(limit))
    }

    pub(crate) fn sleep_until(&self, at: Instant) -> Sleep<'_> {
        Sleep { pump: self, key: (at, self.next.fetch_add(1, Ordering::Relaxed)), is_waiting: false }
    }

    /// The future's output, or `None` if it takes longer than `limit`; it is polled before the clock is looked at.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        self.until(after(limit), future).await
    }

    pub(crate) async fn until<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = self.sleep_until(deadline);
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            Pin::new(&mut sleep).poll(context).map(|()| None)
        })
        .await
    }
}

/// What is longer is as good as for ever, and no clock can count to `Duration::MAX`.
pub(crate) const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// `limit` from now, at most a century.
pub(crate) fn after(limit: Duration) -> Instant {
    Instant::now() + limit.min(CENTURY)
}

/// A point in time as a future.
pub(crate) struct Sleep<'a> {
    pump: &'a Pump,
    key: (Instant, u64),
    is_waiting: bool,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.key.0 {
            return Poll::Ready(());
        }
        let mut timers = self.pump.timers.lock();
        timers.waiting.insert(self.key, context.waker().clone());
        // The thread must wake earlier than it planned to; one that is about to sleep looks at the map first.
        let is_sooner = timers.sleeping_until.is_none_or(|until| self.key.0 < until);
        if is_sooner {
            timers.sleeping_until = Some(self.key.0);
        }
        drop(timers);
        self.is_waiting = true;
        if is_sooner {
            self.pump.poller.interrupt();
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if self.is_waiting {
            self.pump.timers.lock().waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;

    #[test]
    fn sleeps_of_several_threads_end_and_not_too_early() {
        let pump = Pump::get().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            // The later ones first, so that each must interrupt the thread's sleep.
            for millis in [60, 40, 20, 0] {
                scope.spawn(move || {
                    park_on(pump.sleep_until(start + Duration::from_millis(millis)));
                    assert!(start.elapsed() >= Duration::from_millis(millis));
                });
            }
        });
    }

    #[test]
    fn a_deadline_ends_what_never_ends_and_leaves_no_timer() {
        let pump = Pump::get().unwrap();
        assert_eq!(park_on(pump.within(Duration::from_millis(5), std::future::pending::<()>())), None);
        assert_eq!(park_on(pump.within(Duration::ZERO, async { 7 })), Some(7));
    }
}
