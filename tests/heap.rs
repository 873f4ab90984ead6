//! A program whose global allocator counts: what it says is true, whoever frees, ends or panics.
//!
//! One after the other on one thread, since all that runs in the process is counted: so its `main` is its own.

#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "blocks are made, resized and freed directly, and threads started by hand")]

#[path = "heap/exact.rs"]
mod exact;
#[path = "heap/scopes.rs"]
mod scopes;
#[path = "heap/sites.rs"]
mod sites;
#[path = "heap/threads.rs"]
mod threads;

use libtest_mimic::{Arguments, Trial};
use termleash::leak::{CountingAlloc, HeapStats};

#[global_allocator]
static HEAP: CountingAlloc = CountingAlloc::new();

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let tests: [(&str, fn()); 17] = [
        ("a_block_before_main_is_counted", threads::before_main),
        ("any_sequence_is_counted_exactly", exact::any_sequence),
        ("a_failed_allocation_is_none", exact::failed),
        ("a_peak_is_seen_as_exactly_as_it_says", exact::peak),
        ("what_threads_leave_is_freed_by_another", threads::frees_of_another),
        ("threads_that_end_give_their_slots_to_the_next", threads::slots_are_used_again),
        ("more_threads_than_slots_are_counted_exactly", threads::more_than_slots),
        ("a_thread_local_may_allocate_as_it_is_dropped", threads::destructors),
        ("a_thread_may_begin_with_a_destructor", threads::begins_with_a_destructor),
        ("what_comes_after_a_threads_slot_is_counted", threads::after_its_slot),
        ("a_block_may_be_made_resized_and_freed_by_three_threads", threads::each_step_by_another),
        ("a_copy_of_the_process_goes_on_counting", threads::forked),
        ("a_scope_has_what_was_done_inside", scopes::inside),
        ("a_scope_is_left_by_a_panic", scopes::panics),
        ("a_future_is_polled_inside", scopes::futures),
        ("a_hunt_counts_to_the_byte", sites::hunt),
        ("call_sites_are_named", sites::named),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

/// What is alive, and was made in all: blocks and bytes.
fn read() -> [u64; 4] {
    let heap = HeapStats::read().expect("the global allocator counts");
    [heap.curr.blocks, heap.curr.bytes, heap.total.blocks, heap.total.bytes]
}

/// What an act changes in that. Reading allocates nothing.
fn change(act: impl FnOnce()) -> [i64; 4] {
    let before = read();
    act();
    let after = read();
    std::array::from_fn(|at| after[at].wrapping_sub(before[at]).cast_signed())
}
