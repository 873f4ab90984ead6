//! Whether there is memory for a test to begin: it waits while there is less than its floor, instead of dying with the others.
//!
//! ```text
//!  in line ─► first ─► look, under the lock of the ledgers' directory ─► enough, less what the young may yet take? ─► let in
//!                       ▲                                                 └─ no: said, unlocked ─┐                   └─► a ledger, unlocked
//!                       └────────────────────────── 50 ms ───────────────────────────────────────┘ … then it is not run
//! ```
//! The tests of one process are let in as they came. All processes of this user are let in one at a time, and what was let in within the
//! last second counts as memory that is gone: it has not had time to take it. Those are known by their ledgers, whose names say when they
//! began; one that runs in the test process is known there alone.

use crate::backoff::pause;
use crate::error::Error;
use crate::event::warn;
use crate::harness::line::{InLine, Line};
use crate::ledger::directory::{Directory, DirectoryLock};
use crate::probe::free_memory::FreeMemory;
use crate::probe::living::Tree;
use crate::process::handle::reader;
use crate::report::console::uncaptured;
use crate::report::largest::{largest, named};
use crate::report::text::bytes;
use crate::report::text::duration;
use crate::settings::Settings;
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

/// How often it is looked whether there is enough.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a test that waits says so.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How long one waits for what others are about to take before it says so.
const QUIET: Duration = Duration::from_secs(2);
/// How long a test that was let in counts as one that has taken nothing yet.
const YOUNG: Duration = Duration::from_secs(1);
/// How long the lock is waited for: it is held for as long as a keeper takes to start.
const LOCKED: Duration = Duration::from_secs(5);
/// So many processes are named.
const MOST: usize = 3;

static LINE: Line = Line::new();
/// The tests that run in this process, and when they were let in.
static HERE: Mutex<Vec<Instant>> = Mutex::new(Vec::new());

/// Where a test is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    Here,
    Apart,
}

/// To be held until others can see the test: one that runs apart until its ledger is made, one in this process to its end.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    lock: Option<DirectoryLock>,
    here: Option<Instant>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(since) = self.here.take() {
            let mut here = HERE.lock();
            if let Some(at) = here.iter().position(|other| *other == since) {
                here.swap_remove(at);
            }
        }
    }
}

/// Waits until there is enough memory for the test to begin, if a floor is said.
///
/// # Errors
///
/// [`Error::is_refused`] if there is not enough in time, with who uses most and what to do.
pub(crate) fn admit(name: &str, settings: &Settings, place: Where) -> Result<Admitted, Error> {
    let Some(floor) = settings.limits.free_memory.filter(|floor| *floor > 0) else { return Ok(Admitted::default()) };
    let place = Waiting { settings, place, locked_out: None, makes_no_ledger: true, young: YOUNG };
    Wait::of(name, floor, settings).until_let_in(&LINE, FreeMemory::read, place)
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Short {
    free: FreeMemory,
    /// How many were let in a moment ago.
    young: usize,
}

/// Who is let in where, which a test of this file replaces.
trait Door {
    /// `None` while another process is at it.
    fn knock(&mut self) -> Option<(Admitted, usize)>;

    /// It passes.
    fn pass(&mut self, admitted: Admitted) -> Admitted;
}

struct Waiting<'a> {
    settings: &'a Settings,
    place: Where,
    /// Since when the lock is held by somebody.
    locked_out: Option<Instant>,
    /// The directory may have been made, and no ledger is.
    makes_no_ledger: bool,
    /// How long one that was let in counts as one that has taken nothing yet.
    young: Duration,
}

/// It leaves no directory behind that it made.
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.makes_no_ledger
            && let Ok(Some(directory)) = Directory::open_existing(&Directory::place(self.settings))
        {
            // One that cannot be removed is empty.
            let _ = directory.remove_if_empty();
        }
    }
}

impl Door for Waiting<'_> {
    fn knock(&mut self) -> Option<(Admitted, usize)> {
        let now = Instant::now();
        let here = HERE.lock().iter().filter(|since| now.duration_since(**since) < self.young).count();
        // Without a directory there are no ledgers, which the report of a failure says.
        let Ok(directory) = Directory::find(self.settings) else { return Some((Admitted::default(), here)) };
        let lock = match directory.try_lock() {
            // Somebody has stopped with it, or it cannot be had there: what it is for is no reason not to run at all.
            Ok(None) if self.locked_out.get_or_insert(now).elapsed() < LOCKED => return None,
            Ok(lock) => lock,
            Err(_) => None,
        };
        self.locked_out = None;
        let wall = SystemTime::now();
        let is_young = |begin: &SystemTime| wall.duration_since(*begin).is_ok_and(|age| age < self.young);
        let apart = directory.begins().unwrap_or_default().iter().filter(|begin| is_young(begin)).count();
        Some((Admitted { lock, here: None }, here + apart))
    }

    fn pass(&mut self, mut admitted: Admitted) -> Admitted {
        self.makes_no_ledger = self.place == Where::Here;
        if self.makes_no_ledger {
            let now = Instant::now();
            HERE.lock().push(now);
            admitted.here = Some(now);
            admitted.lock = None;
        }
        admitted
    }
}

struct Wait<'a> {
    name: &'a str,
    floor: u64,
    /// What a test that was let in a moment ago may yet take.
    take: u64,
    limit: Duration,
    begin: Instant,
    said: Option<Instant>,
}

impl<'a> Wait<'a> {
    fn of(name: &'a str, floor: u64, settings: &Settings) -> Self {
        let take = settings.limits.test_memory.unwrap_or(floor);
        Self { name, floor, take, limit: settings.admission, begin: Instant::now(), said: None }
    }
}

impl Wait<'_> {
    fn until_let_in(
        mut self,
        line: &Line,
        mut look: impl FnMut() -> Result<FreeMemory, String>,
        mut door: impl Door,
    ) -> Result<Admitted, Error> {
        let mut place = line.join();
        loop {
            let is_first = place.is_first_within(LOOK_EVERY);
            let free = match look() {
                Ok(free) => free,
                Err(why) => {
                    let name = self.name;
                    warn(format!("test `{name}` runs without its floor of free memory: {why}"));
                    return Ok(Admitted::default());
                }
            };
            let mut short = Short { free, young: 0 };
            if is_first && let Some((admitted, young)) = door.knock() {
                // Again: what was let in before the lock was had may have taken it.
                short = Short { free: look().unwrap_or(short.free), young };
                if self.is_enough(&short) {
                    return Ok(door.pass(admitted));
                }
            }
            self.heed(&short, &mut place)?;
        }
    }

    fn is_enough(&self, short: &Short) -> bool {
        let young = self.take.saturating_mul(short.young as u64);
        short.free.bytes().saturating_sub(young) >= self.floor
    }

    /// Says that it waits, and waits; or has waited long enough.
    fn heed(&mut self, short: &Short, place: &mut InLine<'_>) -> Result<(), Error> {
        let waited = self.begin.elapsed();
        // Whoever waits for its turn or the lock alone, and not for memory, comes in: both are given back.
        if waited >= self.limit && !self.is_enough(short) {
            return Err(Error::refused(self.failure(short)));
        }
        let is_short = short.free.bytes() < self.floor || waited >= QUIET;
        if is_short && self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            uncaptured(&format!("termleash: test `{}` waits for {}\n", self.name, self.what(short)));
        }
        if place.is_first() {
            pause(LOOK_EVERY);
        }
        Ok(())
    }

    fn what(&self, short: &Short) -> String {
        let free = short.free.bytes();
        let mut text = format!("{} of free memory, {} are free", bytes(self.floor), bytes(free));
        if short.young > 0 {
            let young = self.take.saturating_mul(short.young as u64);
            let _ = write!(text, ", of which {} are left to {} that began a moment ago", bytes(young), short.young);
        }
        text
    }

    fn failure(&self, short: &Short) -> String {
        let mut text = format!("it waited {} for {}", duration(self.limit), self.what(short));
        let _ = write!(text, " ({} available on this machine", bytes(short.free.machine));
        if let Some((left, path)) = short.free.tightest_group() {
            let _ = write!(text, ", {} left in the control group `{}`", bytes(*left), path.display());
        }
        text.push(')');
        let parts = parts_of_our_run();
        if !parts.is_empty() {
            text += "\n    below this test process most is used by:";
            text += &largest(parts, MOST, named);
        }
        text + "\n    to do: end what is not needed, run fewer tests at once (`--test-threads`), wait longer by TERMLEASH_ADMISSION, or \
                lower the floor: `Limits::min_free_memory`, or TERMLEASH_FREE_MEMORY for a run"
    }
}

/// Those of our own run alone: what else runs on this machine is nobody's business here.
fn parts_of_our_run() -> Vec<(u64, u32)> {
    let mut tree = Tree::below_us();
    let sampled = reader().is_ok_and(|mut reader| tree.sample(&mut reader).is_ok());
    if !sampled {
        return Vec::new();
    }
    tree.parts().into_iter().map(|(pid, memory)| (memory, pid)).collect()
}

#[cfg(all(test, target_os = "linux"))]
#[path = "admission_tests.rs"]
mod tests;
