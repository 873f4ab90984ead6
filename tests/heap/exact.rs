//! Numbers against a model.

use super::{HEAP, change};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::alloc::{GlobalAlloc, Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::hint::black_box;
use termleash::leak::HeapStats;

#[derive(Debug, Clone)]
enum Step {
    Make(usize),
    MakeZeroed(usize),
    Resize(usize, usize),
    Free(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1usize..100, 1usize..100_000, Just(200_000usize)];
    prop_oneof![
        size.clone().prop_map(Step::Make),
        size.clone().prop_map(Step::MakeZeroed),
        (any::<usize>(), size).prop_map(|(which, size)| Step::Resize(which, size)),
        any::<usize>().prop_map(Step::Free),
    ]
}

fn layout(size: usize) -> Layout {
    // As aligned as anybody wants.
    Layout::from_size_align(size, if size.is_multiple_of(3) { 64 } else { 8 }).unwrap()
}

/// Blocks, which another thread may free.
struct Blocks(Vec<(*mut u8, Layout)>);

// SAFETY: they are blocks of the heap, and used by one thread at a time.
unsafe impl Send for Blocks {}

impl Blocks {
    /// Does the steps, and says what they change: blocks alive, bytes alive, blocks and bytes in all.
    fn run(&mut self, steps: &[Step]) -> [i64; 4] {
        let mut expected = [0; 4];
        let mut note = |alive: i64, bytes: usize, sign: i64| {
            expected[0] += alive;
            expected[1] += sign * bytes as i64;
            if sign > 0 {
                expected[2] += 1;
                expected[3] += bytes as i64;
            }
        };
        for step in steps {
            match *step {
                Step::Make(size) | Step::MakeZeroed(size) => {
                    let make = if matches!(step, Step::Make(_)) { alloc } else { alloc_zeroed };
                    // SAFETY: no size is zero.
                    self.0.push((black_box(unsafe { make(layout(size)) }), layout(size)));
                    note(1, size, 1);
                }
                Step::Resize(which, size) if !self.0.is_empty() => {
                    let at = which % self.0.len();
                    let (block, old) = &mut self.0[at];
                    let new = Layout::from_size_align(size, old.align()).unwrap();
                    // SAFETY: it was made with this layout, and no size is zero.
                    *block = black_box(unsafe { realloc(*block, *old, size) });
                    note(0, old.size(), -1);
                    note(0, size, 1);
                    *old = new;
                }
                Step::Free(which) if !self.0.is_empty() => {
                    let (block, layout) = self.0.swap_remove(which % self.0.len());
                    // SAFETY: it was made with this layout, and is freed once.
                    unsafe { dealloc(block, layout) };
                    note(-1, layout.size(), -1);
                }
                Step::Resize(..) | Step::Free(_) => {}
            }
        }
        expected
    }

    fn free_all(&mut self) -> [i64; 4] {
        let steps = vec![Step::Free(0); self.0.len()];
        let mut expected = [0; 4];
        let counted = change(|| expected = self.run(&steps));
        assert_eq!(counted, expected);
        counted
    }
}

/// On one thread, and then what is left is freed by another.
pub(crate) fn any_sequence() {
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner
        .run(&proptest::collection::vec(step(), 1..200), |steps| {
            let mut blocks = Blocks(Vec::with_capacity(steps.len()));
            let mut expected = [0; 4];
            let counted = change(|| expected = blocks.run(&steps));
            prop_assert_eq!(counted, expected);
            let freed = std::thread::spawn(move || blocks.free_all()).join().unwrap();
            prop_assert_eq!([counted[0] + freed[0], counted[1] + freed[1]], [0, 0]);
            Ok(())
        })
        .unwrap();
}

pub(crate) fn failed() {
    let huge = Layout::from_size_align(isize::MAX as usize - 64, 8).unwrap();
    let block = Box::into_raw(Box::new(7u64)).cast::<u8>();
    let counted = change(|| {
        // SAFETY: no size is zero; the block was made with this layout.
        unsafe {
            assert!(HEAP.alloc(huge).is_null());
            assert!(HEAP.alloc_zeroed(huge).is_null());
            assert!(HEAP.realloc(block, Layout::new::<u64>(), huge.size()).is_null());
        }
    });
    assert_eq!(counted, [0; 4]);
    // SAFETY: it was not moved.
    drop(unsafe { Box::from_raw(block.cast::<u64>()) });
}

pub(crate) fn peak() {
    HeapStats::forget_max();
    let before = HeapStats::read().unwrap();
    assert!(before.max - before.curr.bytes <= before.max_within, "{before:?}");
    let hold =
        |small: usize| drop(black_box((0..8 << 20).step_by(small).map(|_| vec![1u8; small]).collect::<Vec<_>>()));
    // On this thread in one block and in many, and then on two at once, each of which has half of it.
    let barrier = std::sync::Barrier::new(2);
    for act in [&(|| drop(black_box(vec![1u8; 8 << 20]))) as &dyn Fn(), &|| hold(1024)] {
        HeapStats::forget_max();
        act();
        let after = HeapStats::read().unwrap();
        let grown = after.max - before.curr.bytes;
        assert!(grown + after.max_within >= 8 << 20, "{after:?}");
        assert!(grown <= (8 << 20) + (8 << 20) / 1024 * 24 + after.max_within, "{after:?}");
        assert!(after.curr.bytes < before.curr.bytes + 4096);
    }
    HeapStats::forget_max();
    let half = |barrier: &std::sync::Barrier| {
        let blocks: Vec<_> = (0..4096).map(|_| vec![1u8; 1024]).collect();
        barrier.wait();
        drop(black_box(blocks));
    };
    std::thread::scope(|scope| {
        let barrier = &barrier;
        // The scope's own end waits for the closure, and not for the thread, which frees what is its own.
        let other = scope.spawn(move || half(barrier));
        half(barrier);
        other.join().unwrap();
    });
    let after = HeapStats::read().unwrap();
    let grown = after.max - before.curr.bytes;
    assert!(grown + after.max_within >= 8 << 20 && grown <= (8 << 20) + (512 << 10) + after.max_within, "{after:?}");
}
