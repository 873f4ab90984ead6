//! What the counting allocator has counted.

use crate::sys::counting::{self, STEP, Totals};
use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};

/// Blocks, and their bytes as they were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapAmount {
    /// How many blocks.
    pub blocks: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// The heap of this process, as its [`CountingAlloc`](crate::leak::CountingAlloc) counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeapStats {
    /// All that was ever made.
    pub total: HeapAmount,
    /// What is alive.
    pub curr: HeapAmount,
    /// The most bytes that were alive at once.
    pub max: u64,
    /// How far `max` may be from the truth: each thread tells the others of changes of more than 16 KiB.
    pub max_within: u64,
}

impl HeapStats {
    /// Reads; `None` if the global allocator of this program is no [`CountingAlloc`](crate::leak::CountingAlloc).
    ///
    /// What other threads do meanwhile is in it or not, but never the end of a block without its beginning. It takes about
    /// a microsecond, and allocates nothing.
    pub fn read() -> Option<Self> {
        is_counted().then(|| Self::of(counting::totals(), counting::peak(), counting::slots_used()))
    }

    /// From now on [`max`](Self::max) is the most that is alive after this.
    pub fn forget_max() {
        counting::forget_peak();
    }

    fn of(totals: Totals, peak: u64, slots: usize) -> Self {
        let curr = HeapAmount {
            blocks: totals.made_blocks.saturating_sub(totals.freed_blocks),
            bytes: totals.made_bytes.saturating_sub(totals.freed_bytes),
        };
        Self {
            total: HeapAmount { blocks: totals.made_blocks, bytes: totals.made_bytes },
            curr,
            max: peak.max(curr.bytes),
            max_within: STEP.unsigned_abs() * slots as u64,
        }
    }
}

/// True if the global allocator counts. It is the same for the whole life of a program.
pub(crate) fn is_counted() -> bool {
    static KNOWN: OnceCell<bool> = OnceCell::new();
    *KNOWN.get_or_init(counting::is_installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_is_the_difference_and_no_peak_is_below_it() {
        let totals = Totals { made_blocks: 5, made_bytes: 500, freed_blocks: 2, freed_bytes: 150 };
        let stats = HeapStats::of(totals, 100, 3);
        assert_eq!(stats.curr, HeapAmount { blocks: 3, bytes: 350 });
        assert_eq!(stats.total, HeapAmount { blocks: 5, bytes: 500 });
        assert_eq!((stats.max, stats.max_within), (350, 3 * (16 << 10)));
    }

    #[test]
    fn a_program_with_another_allocator_has_no_stats() {
        assert_eq!(HeapStats::read(), None);
    }
}
