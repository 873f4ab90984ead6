//! Where is counted: a slot for each thread that counts, which only that thread writes, and one for all others.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// So many threads and scopes have a slot of their own at a time.
pub(super) const SLOTS: usize = 256;

/// A thread tells the others when what it holds has changed by more than this many bytes. More makes the peak less sharp,
/// less makes threads that grow and shrink meet more often.
pub(crate) const STEP: i64 = 16 << 10;

/// What has been counted. What is alive is the difference, over all slots: a block may be freed elsewhere than it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) made_blocks: u64,
    pub(crate) made_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
}

impl Totals {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            made_blocks: self.made_blocks.wrapping_add(other.made_blocks),
            made_bytes: self.made_bytes.wrapping_add(other.made_bytes),
            freed_blocks: self.freed_blocks.wrapping_add(other.freed_blocks),
            freed_bytes: self.freed_bytes.wrapping_add(other.freed_bytes),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            made_blocks: self.made_blocks.wrapping_sub(other.made_blocks),
            made_bytes: self.made_bytes.wrapping_sub(other.made_bytes),
            freed_blocks: self.freed_blocks.wrapping_sub(other.freed_blocks),
            freed_bytes: self.freed_bytes.wrapping_sub(other.freed_bytes),
        }
    }
}

/// Two cache lines, since some processors fetch them in pairs.
#[repr(align(128))]
pub(super) struct Slot {
    made_blocks: AtomicU64,
    made_bytes: AtomicU64,
    freed_blocks: AtomicU64,
    freed_bytes: AtomicU64,
    /// What of its live bytes is in `LIVE`.
    told: AtomicI64,
    /// Up to here what was made, or freed, cannot have changed what lives by more than a step since it was told: one comparison for each block,
    /// and none with what the other counters say.
    made_unseen: AtomicU64,
    freed_unseen: AtomicU64,
    is_taken: AtomicBool,
    /// Ever.
    was_taken: AtomicBool,
}

static OWNED: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];
static SHARED: Slot = Slot::new();
/// The live bytes that all slots have told.
static LIVE: Padded = Padded(AtomicI64::new(0));
static PEAK: Padded = Padded(AtomicI64::new(0));

#[repr(align(128))]
struct Padded(AtomicI64);

impl Slot {
    const fn new() -> Self {
        Self {
            made_blocks: AtomicU64::new(0),
            made_bytes: AtomicU64::new(0),
            freed_blocks: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            told: AtomicI64::new(0),
            made_unseen: AtomicU64::new(0),
            freed_unseen: AtomicU64::new(0),
            is_taken: AtomicBool::new(false),
            was_taken: AtomicBool::new(false),
        }
    }

    /// One that nobody has, with what others have counted in it before.
    pub(super) fn take() -> Option<&'static Self> {
        let take = |slot: &&Self| {
            !slot.is_taken.load(Ordering::Relaxed)
                && slot.is_taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let slot = OWNED.iter().find(take)?;
        slot.was_taken.store(true, Ordering::Relaxed);
        Some(slot)
    }

    /// The next thread counts on from there.
    pub(super) fn give_back(&self) {
        self.is_taken.store(false, Ordering::Release);
    }

    /// Counts, for the thread that has it.
    #[inline(always)]
    pub(super) fn made(&self, size: usize) {
        add(&self.made_blocks, 1);
        if add(&self.made_bytes, size as u64) > self.made_unseen.load(Ordering::Relaxed) {
            self.look();
        }
    }

    #[inline(always)]
    pub(super) fn freed(&self, size: usize) {
        add(&self.freed_blocks, 1);
        if add(&self.freed_bytes, size as u64) > self.freed_unseen.load(Ordering::Relaxed) {
            self.look();
        }
    }

    /// Tells what lives if that has changed by more than half of a step: less would have it look again soon. Both sums only rise, so that
    /// until one of them has come so far as the rest of the step the change is not larger than that.
    #[cold]
    #[inline(never)]
    fn look(&self) {
        let (made, freed) = (self.made_bytes.load(Ordering::Relaxed), self.freed_bytes.load(Ordering::Relaxed));
        let live = made.wrapping_sub(freed).cast_signed();
        let mut change = live.wrapping_sub(self.told.load(Ordering::Relaxed));
        if change.abs() > STEP / 2 {
            self.told.store(live, Ordering::Relaxed);
            changed_by(change);
            change = 0;
        }
        self.made_unseen.store(made.wrapping_add_signed(STEP - change), Ordering::Relaxed);
        self.freed_unseen.store(freed.wrapping_add_signed(STEP + change), Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        let freed_blocks = self.freed_blocks.load(Ordering::Acquire);
        let freed_bytes = self.freed_bytes.load(Ordering::Acquire);
        let made_blocks = self.made_blocks.load(Ordering::Acquire);
        let made_bytes = self.made_bytes.load(Ordering::Acquire);
        Totals { made_blocks, made_bytes, freed_blocks, freed_bytes }
    }
}

/// One thread writes, so this loses nothing. Whoever sees that a block was freed sees, by the release, that it was made.
#[inline(always)]
fn add(counter: &AtomicU64, by: u64) -> u64 {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(by);
    counter.store(sum, Ordering::Release);
    sum
}

fn changed_by(change: i64) {
    let now = LIVE.0.fetch_add(change, Ordering::Relaxed) + change;
    if now > PEAK.0.load(Ordering::Relaxed) {
        PEAK.0.fetch_max(now, Ordering::Relaxed);
    }
}

/// Counts for whoever has no slot.
pub(super) fn made_shared(size: usize) {
    SHARED.made_blocks.fetch_add(1, Ordering::Release);
    SHARED.made_bytes.fetch_add(size as u64, Ordering::Release);
    changed_by(size as i64);
}

pub(super) fn freed_shared(size: usize) {
    SHARED.freed_blocks.fetch_add(1, Ordering::Release);
    SHARED.freed_bytes.fetch_add(size as u64, Ordering::Release);
    changed_by(-(size as i64));
}

fn all() -> impl Iterator<Item = &'static Slot> {
    OWNED.iter().chain([&SHARED])
}

/// Everything that was counted. What was freed is read first, so that no block is freed that was not made.
pub(crate) fn totals() -> Totals {
    let mut sum = Totals::default();
    for slot in all() {
        sum.freed_blocks = sum.freed_blocks.wrapping_add(slot.freed_blocks.load(Ordering::Acquire));
        sum.freed_bytes = sum.freed_bytes.wrapping_add(slot.freed_bytes.load(Ordering::Acquire));
    }
    for slot in all() {
        sum.made_blocks = sum.made_blocks.wrapping_add(slot.made_blocks.load(Ordering::Acquire));
        sum.made_bytes = sum.made_bytes.wrapping_add(slot.made_bytes.load(Ordering::Acquire));
    }
    sum
}

/// The most that was told to be alive at once.
pub(crate) fn peak() -> u64 {
    PEAK.0.load(Ordering::Relaxed).max(0).unsigned_abs()
}

/// From now on the peak is what comes.
pub(crate) fn forget_peak() {
    PEAK.0.store(LIVE.0.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// How many slots may hold back a change from the peak.
pub(crate) fn slots_used() -> usize {
    OWNED.iter().filter(|slot| slot.was_taken.load(Ordering::Relaxed)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_step_is_held_back_whatever_comes() {
        let slot = Slot::new();
        let mut state = 7u64;
        for turn in 0..200_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let size = (state >> 40) as usize % if turn % 50 == 0 { 100_000 } else { 700 };
            // It grows for a while, then frees more than it has made, as a thread may.
            let grows = (turn / 20_000) % 2 == 0;
            if (state >> 33) % 10 < if grows { 6 } else { 4 } {
                slot.made(size)
            } else {
                slot.freed(size)
            }
            let totals = slot.totals();
            let live = totals.made_bytes.wrapping_sub(totals.freed_bytes).cast_signed();
            assert!((live - slot.told.load(Ordering::Relaxed)).abs() <= STEP, "turn {turn}");
        }
    }
}
