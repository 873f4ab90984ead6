//! Which lines of code hold the heap: blocks are looked at, and added up by the stack that made them.

use crate::error::{Error, Result};
use crate::probe::heap::chance::Chance;
use crate::probe::heap::named::{HeapProfile, named};
use crate::probe::heap::sites::{Site, Sites};
use crate::probe::heap::stats::is_counted;
use crate::sys::counting::{Watcher, silently, unwatch, unwatched, watch};
use crate::sys::stack;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Looks at blocks as they are made, with the stack that makes them, until it is dropped. Feature `sites`.
///
/// ```no_run
/// use termleash::leak::{CountingAlloc, HeapSampling};
///
/// #[global_allocator]
/// static HEAP: CountingAlloc = CountingAlloc::new();
///
/// let sampling = HeapSampling::start(64 << 10)?;
/// // … the work …
/// let profile = sampling.profile();
/// for site in profile.top(5) {
///     println!("{site}");
/// }
/// profile.write_dhat("target/heap.json".as_ref())?;      // for dhat's viewer, dh_view.html
/// # Ok::<(), termleash::Error>(())
/// ```
///
/// # Limits
///
/// - What lives when it starts is not seen, and its end neither.
/// - A block that is looked at costs microseconds, for its stack; the others some nanoseconds. With `every` at 1 each block is
///   looked at, which is exact, and slows a program that does little else down by two orders of magnitude.
/// - With more than 1 the numbers are estimates: sound for a site that holds many times `every`, and chance below that.
/// - The innermost 128 functions of a stack are kept. Lines need debug information: `debug = "line-tables-only"`.
/// - There is one at a time in a process. In a copy that fork(2) makes of it nobody looks.
#[derive(Debug)]
#[must_use = "it looks until it is dropped"]
pub struct HeapSampling {
    _private: (),
}

impl HeapSampling {
    /// Looks at one block in so many bytes from now on; at every block if that is 1.
    ///
    /// # Errors
    ///
    /// The feature `sites` is off; the global allocator is no [`CountingAlloc`](crate::leak::CountingAlloc); another one looks
    /// already.
    pub fn start(every: u64) -> Result<Self> {
        if !stack::CAN_NAME {
            return Err(Error::unsupported(
                "the sampling of call sites needs the feature `sites` of termleash: add it to `features` in Cargo.toml",
            ));
        }
        if !is_counted() {
            return Err(Error::invalid(
                "the sampling of call sites needs a global allocator that counts: \
                 `#[global_allocator] static HEAP: CountingAlloc = CountingAlloc::new();`",
            ));
        }
        TABLE.begin(every)?;
        watch(&TABLE);
        Ok(Self { _private: () })
    }

    /// What was seen so far, with names: some milliseconds, and more the first time. What is allocated for them is not counted.
    #[must_use]
    pub fn profile(&self) -> HeapProfile {
        profile_so_far().unwrap_or_default()
    }
}

/// What was seen so far by the one that looks, if one does.
pub(crate) fn profile_so_far() -> Option<HeapProfile> {
    let uncounted = silently(|| {
        // Names are asked for without the table's lock: whoever prints a stack meanwhile allocates under a lock of theirs.
        let seen = TABLE.read()?;
        Some(named(seen.sites, seen.every, seen.now, seen.peak_at, stack::symbols))
    });
    // Whoever gets it frees it, which is counted: so its blocks are to be, too.
    let counted = unwatched(|| uncounted.clone());
    silently(|| drop(uncounted));
    counted
}

struct Seen {
    sites: Vec<Site>,
    every: u64,
    now: u64,
    peak_at: u64,
}

impl Drop for HeapSampling {
    fn drop(&mut self) {
        unwatch();
        silently(|| drop(TABLE.lock().take()));
    }
}

/// The most functions of a stack.
const DEEPEST: usize = 128;
/// So many counters say which blocks may have been looked at. A power of two.
const FILTER: usize = 1 << 14;

static TABLE: Table = Table {
    every: AtomicU64::new(1),
    runs: AtomicU64::new(0),
    threads: AtomicU64::new(0),
    looked_at: [const { AtomicU32::new(0) }; FILTER],
    state: Mutex::new(None),
};

/// The mutex is the standard library's: parking_lot's may allocate, and asks for a thread-local with a destructor.
struct Table {
    every: AtomicU64,
    runs: AtomicU64,
    threads: AtomicU64,
    /// By the address: so that the end of a block that was not looked at needs no lock.
    looked_at: [AtomicU32; FILTER],
    state: Mutex<Option<State>>,
}

struct State {
    sites: Sites,
    began: Instant,
}

thread_local! {
    /// The chance of this thread, and of which run it is.
    static CHANCE: Cell<Option<(u64, Chance)>> = const { Cell::new(None) };
}

impl Table {
    fn begin(&self, every: u64) -> Result<()> {
        silently(|| {
            let mut state = self.lock();
            if state.is_some() {
                return false;
            }
            *state = Some(State { sites: Sites::default(), began: Instant::now() });
            self.every.store(every, Ordering::Relaxed);
            self.runs.fetch_add(1, Ordering::Relaxed);
            self.looked_at.iter().for_each(|count| count.store(0, Ordering::Relaxed));
            true
        })
        .then_some(())
        .ok_or_else(|| Error::invalid("call sites are sampled already: drop the first `HeapSampling`, or ask that one"))
    }

    fn read(&self) -> Option<Seen> {
        let state = self.lock();
        let state = state.as_ref()?;
        let now = state.now();
        let (sites, peak_at) = state.sites.read(now);
        Some(Seen { sites, every: self.every.load(Ordering::Relaxed), now, peak_at })
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked_at(&self, block: usize) -> &AtomicU32 {
        // Blocks are multiples of 16 apart.
        let mixed = ((block >> 4) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        &self.looked_at[mixed as usize % FILTER]
    }

    fn look(&self, size: usize) -> Option<f64> {
        let (run, every) = (self.runs.load(Ordering::Relaxed), self.every.load(Ordering::Relaxed));
        let mut chance = match CHANCE.get() {
            Some((of, chance)) if of == run => chance,
            _ => Chance::new(self.threads.fetch_add(1, Ordering::Relaxed), every),
        };
        let looked = chance.look(size, every);
        CHANCE.set(Some((run, chance)));
        looked
    }
}

impl Watcher for Table {
    fn made(&self, block: usize, size: usize) {
        let Some(stands_for) = self.look(size) else { return };
        let mut addresses = [0; DEEPEST];
        let count = stack::capture(&mut addresses);
        if let Some(state) = &mut *self.lock() {
            let now = state.now();
            if state.sites.made(block, size, stands_for, &addresses[..count], now) {
                self.looked_at(block).fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn freed(&self, block: usize) {
        // Who frees a block has got it from who made it, and so sees what that has stored.
        if self.looked_at(block).load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(state) = &mut *self.lock() {
            let now = state.now();
            if state.sites.freed(block, now) {
                self.looked_at(block).fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl State {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_what_to_write() {
        let text = HeapSampling::start(1).unwrap_err().to_string();
        let missing = if stack::CAN_NAME { "#[global_allocator]" } else { "feature `sites`" };
        assert!(text.contains(missing), "{text}");
    }
}
