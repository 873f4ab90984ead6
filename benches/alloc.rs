//! What counting costs a global allocator.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `alloc/one_thread` | blocks of 16 B to 4 KiB made, written to and freed by `CountingAlloc`, 1,000 alive | the same by `System` |
//! | `alloc/two_threads` | the same on two threads at once | the same by `System` |
//! | `alloc/growing` | the same blocks made until 65,536 are alive, then freed | the same by `System` |
//! | `alloc/bare` | blocks of up to 512 B, never touched, 64 alive: what malloc is fastest at | the same by `System` |
//!
//! | `alloc/atomics/one_thread` | as above | counts and bytes in two atomics for all threads, as the crate stats_alloc has them |
//! | `alloc/atomics/two_threads` | the same on two threads at once | the same |
//!
//! The last two stand for what there is: stats_alloc itself took 1.10 of `System` on one thread and 4.7 on two, dhat in its testing mode, which
//! takes a stack of each block under a lock, 107 and 269. Neither is a dependency here: dhat would be measured in seconds, and builds more than
//! this crate does.
//!
//! Both are called directly, so that they take turns in one process; its own global allocator is the system's.

#![expect(unsafe_code, reason = "an allocator is called directly")]

mod floor;

use floor::harness::Harness;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use termleash::leak::CountingAlloc;

static OURS: CountingAlloc = CountingAlloc::new();
static ATOMICS: Atomics = Atomics([const { AtomicUsize::new(0) }; 4]);

/// Made and freed: how many, how many bytes.
struct Atomics([AtomicUsize; 4]);

impl Atomics {
    fn count(&self, at: usize, layout: Layout) {
        self.0[at].fetch_add(1, Ordering::SeqCst);
        self.0[at + 1].fetch_add(layout.size(), Ordering::SeqCst);
    }
}

// SAFETY: everything is the system's.
unsafe impl GlobalAlloc for Atomics {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(0, layout);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.count(2, layout);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.dealloc(block, layout) }
    }
}

fn main() {
    let Some(harness) = Harness::from_args() else { return };
    let count = harness.size(100_000, 1_000);
    if harness.wants("alloc/one_thread") {
        let medians = harness.turns(101, || churn(&OURS, count, USUAL), || churn(&System, count, USUAL));
        harness.report("alloc/one_thread", medians, 1.05);
    }
    if harness.wants("alloc/two_threads") {
        let medians = harness.turns(101, || twice(&OURS, count), || twice(&System, count));
        harness.report("alloc/two_threads", medians, 1.1);
    }
    if harness.wants("alloc/growing") {
        let count = harness.size(65_536, 100);
        let medians = harness.turns(51, || grow(&OURS, count), || grow(&System, count));
        harness.report("alloc/growing", medians, 1.1);
    }
    if harness.wants("alloc/bare") {
        let medians = harness.turns(101, || churn(&OURS, 4 * count, BARE), || churn(&System, 4 * count, BARE));
        harness.report("alloc/bare", medians, 1.5);
    }
    if harness.wants("alloc/atomics/one_thread") {
        let medians = harness.turns(101, || churn(&OURS, count, USUAL), || churn(&ATOMICS, count, USUAL));
        harness.report("alloc/atomics/one_thread", medians, 1.1);
    }
    if harness.wants("alloc/atomics/two_threads") {
        let medians = harness.turns(101, || twice(&OURS, count), || twice(&ATOMICS, count));
        harness.report("alloc/atomics/two_threads", medians, 0.9);
    }
}

#[derive(Debug, Clone, Copy)]
struct Work {
    /// A power of two.
    alive: usize,
    largest: usize,
    is_written_to: bool,
}

const USUAL: Work = Work { alive: 1024, largest: 4096, is_written_to: true };
const BARE: Work = Work { alive: 64, largest: 512, is_written_to: false };

/// Small ones mostly, as in programs: strings, tasks, and now and then a buffer.
fn sizes(largest: usize) -> Vec<Layout> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let size = |bits: usize, more: usize| (16 << bits) + more % (16 << bits);
    let doublings = (largest / 16).ilog2() as usize;
    (0..4096)
        .map(|_| size(next() % doublings.max(1) * (next() % 3) / 2 % doublings, next()))
        .map(|size| Layout::from_size_align(size, 8).expect("a small layout"))
        .collect()
}

/// Makes a block and frees an old one, again and again.
fn churn(allocator: &impl GlobalAlloc, count: usize, work: Work) -> Duration {
    let sizes = sizes(work.largest);
    let mut alive = vec![(std::ptr::null_mut::<u8>(), sizes[0]); work.alive];
    let begin = Instant::now();
    for turn in 0..count {
        // Not the oldest one: blocks live for different times.
        let (block, old) = &mut alive[turn.wrapping_mul(0x9E37_79B9) >> 7 & (work.alive - 1)];
        if !block.is_null() {
            // SAFETY: it was made with this layout, and is freed once.
            unsafe { allocator.dealloc(*block, *old) };
        }
        *old = sizes[turn % sizes.len()];
        // SAFETY: no size is zero.
        *block = black_box(unsafe { allocator.alloc(*old) });
        if work.is_written_to {
            // SAFETY: it is of this size.
            unsafe { block.write_bytes(turn as u8, old.size()) };
        }
    }
    let took = begin.elapsed();
    for (block, layout) in alive.into_iter().filter(|(block, _)| !block.is_null()) {
        // SAFETY: as above.
        unsafe { allocator.dealloc(block, layout) };
    }
    took
}

/// Two threads at once; the slower one counts.
fn twice(allocator: &(impl GlobalAlloc + Sync), count: usize) -> Duration {
    let both = Barrier::new(2);
    let one = || {
        both.wait();
        churn(allocator, count, USUAL)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(one);
        one().max(other.join().expect("the other thread ends"))
    })
}

/// What counts here is that a thread tells the others how much it holds.
fn grow(allocator: &impl GlobalAlloc, count: usize) -> Duration {
    let sizes = sizes(USUAL.largest);
    let mut alive = Vec::with_capacity(count);
    let begin = Instant::now();
    for turn in 0..count {
        let layout = sizes[turn % sizes.len()];
        // SAFETY: no size is zero.
        alive.push((unsafe { allocator.alloc(layout) }, layout));
    }
    for (block, layout) in alive {
        // SAFETY: made just now with this layout.
        unsafe { allocator.dealloc(block, layout) };
    }
    begin.elapsed()
}
