//! What malloc(3) says of the heap, where that is the heap of this program.

use crate::sys;
use once_cell::sync::OnceCell;
use std::hint::black_box;

/// Bytes that malloc(3) has handed out; `None` where it cannot say, or where the global allocator takes its memory from elsewhere, as jemalloc and
/// mimalloc do: it would say the same for ever.
pub(crate) fn malloc_bytes() -> Option<u64> {
    static IS_HEAP: OnceCell<bool> = OnceCell::new();
    let is_heap = || (0..LOOKS).any(|_| shows_a_block().unwrap_or(false));
    IS_HEAP.get_or_init(is_heap).then(sys::heap_bytes).flatten()
}

/// Other threads may free as much meanwhile.
const LOOKS: usize = 20;
/// Larger than what malloc puts aside for a thread, and smaller than what it maps.
const BLOCK: usize = 48 << 10;

/// Whether a block of the global allocator is there while it lives, and then gone.
fn shows_a_block() -> Option<bool> {
    let change = |from: u64, to: u64| to.wrapping_sub(from).cast_signed();
    let before = sys::heap_bytes()?;
    let block = black_box(Vec::<u8>::with_capacity(BLOCK));
    let during = sys::heap_bytes()?;
    drop(block);
    let after = sys::heap_bytes()?;
    Some(change(before, during) >= BLOCK as i64 && change(during, after) <= -(BLOCK as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These tests have the system's allocator.
    #[test]
    fn the_systems_allocator_is_malloc() {
        assert_eq!(malloc_bytes().is_some(), sys::heap_bytes().is_some());
    }
}
