//! Words of a fixed number that a recorder writes its records into, and where each of them stands.
//!
//! ```text
//!  head │ parts │ dropped │ samples │ totals of sessions │ sessions │ reads and writes │ steps
//!  └──────── the front ───────────┘ └───────────────── the rings, from the first session on ─┘
//! ```
//! A record begins with a sum over the rest of it and its place. Nobody waits for a writer, and nothing says when one has begun: a process may
//! die between any two words, and what reads them afterwards leaves out a record whose sum is not its own.

use once_cell::sync::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const MOST_SESSIONS: usize = 128;
/// Of each kind: the many reads of one session must not push out the lives of all.
pub(crate) const MOST_MOMENTS: usize = 512;
pub(crate) const MOST_SAMPLES: usize = 120;

/// What this is, which test it is of, and when that began.
pub(crate) const HEAD: Table<3> = Table { first: 0, stride: 8, rows: 1 };
pub(crate) const PARTS: Table<4> = Table { first: 8, stride: 8, rows: 1 };
pub(crate) const DROPPED: Table<8> = Table { first: 16, stride: 16, rows: 1 };
pub(crate) const SAMPLES: Table<6> = Table { first: 32, stride: 8, rows: MOST_SAMPLES };
pub(crate) const TOTALS: Table<7> = Table { first: FRONT, stride: 8, rows: MOST_SESSIONS };
pub(crate) const FLOWS: Table<6> = Table { first: TOTALS.end(), stride: 8, rows: MOST_MOMENTS };
pub(crate) const SESSIONS: Table<9> = Table { first: FLOWS.end(), stride: 16, rows: MOST_SESSIONS };
pub(crate) const STEPS: Table<15> = Table { first: SESSIONS.end(), stride: 16, rows: MOST_MOMENTS };

const FRONT: usize = 1024;
/// How many there are in all.
pub(crate) const WORDS: usize = STEPS.end();

const _: () = assert!(SAMPLES.end() <= FRONT);

/// Records of one kind, which have so many words beside their sum.
pub(crate) struct Table<const N: usize> {
    first: usize,
    /// From one to the next: a power of two, so that none lies in more lines of the processor's cache than it must.
    stride: usize,
    pub(crate) rows: usize,
}

impl<const N: usize> Table<N> {
    const fn end(&self) -> usize {
        assert!(self.stride > N);
        self.first + self.rows * self.stride
    }

    fn place(&self, row: usize) -> usize {
        self.first + row % self.rows * self.stride
    }
}

/// What stands at a record's place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slot<const N: usize> {
    Empty,
    Whole([u64; N]),
    /// It was being written, or something else has written there.
    Torn,
}

/// Memory that outlives this process, since another one has it, too.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) words: &'static [AtomicU64],
    /// 1 in the process that it was made for, and 0 in a copy of that which was forked without exec: its copy of a recorder must not write
    /// into its parent's.
    pub(crate) is_ours: &'static AtomicU64,
}

enum Words {
    Own(Box<[AtomicU64]>),
    Shared(&'static [AtomicU64]),
}

impl Words {
    /// Its pages are touched now, and not one by one in the course of a test, which would look as if the test grew.
    fn own(count: usize) -> Self {
        Self::Own((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    fn all(&self) -> &[AtomicU64] {
        match self {
            Self::Own(words) => words,
            Self::Shared(words) => words,
        }
    }

    fn copied(&self) -> Self {
        Self::Own(self.all().iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed))).collect())
    }
}

pub(crate) struct Memory {
    front: Words,
    /// A test without a session need not pay for them.
    rings: OnceCell<Words>,
    shared: Option<Shared>,
}

impl Memory {
    pub(crate) fn own() -> Self {
        Self { front: Words::own(FRONT), rings: OnceCell::new(), shared: None }
    }

    /// Empties it of what an earlier test of this process has left, if there was one; nobody else may write into it from then on.
    pub(crate) fn shared(shared: Shared, was_used: bool) -> Self {
        let (front, _) = shared.words.split_at(FRONT);
        // The rings of one that nobody has used are nought, and need not be touched for that.
        let left = if was_used { shared.words } else { front };
        for word in left {
            word.store(0, Ordering::Relaxed);
        }
        Self { front: Words::Shared(front), rings: OnceCell::new(), shared: Some(shared) }
    }

    /// Of the words of a process that is no more.
    pub(crate) fn of(words: &[u64]) -> Self {
        let mut words: Box<[AtomicU64]> = words.iter().copied().map(AtomicU64::new).collect();
        if words.len() != WORDS {
            words = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        }
        let mut front = words.into_vec();
        let rings = front.split_off(FRONT);
        let rings = OnceCell::with_value(Words::Own(rings.into()));
        Self { front: Words::Own(front.into()), rings, shared: None }
    }

    /// The same in memory of our own.
    pub(crate) fn copied(&self) -> Self {
        let rings = self.rings.get().map_or_else(OnceCell::new, |rings| OnceCell::with_value(rings.copied()));
        Self { front: self.front.copied(), rings, shared: None }
    }

    /// False in a copy of the process.
    pub(crate) fn is_ours(&self) -> bool {
        self.shared.is_none_or(|shared| shared.is_ours.load(Ordering::Relaxed) == 1)
    }

    /// To be called before the first record of a session.
    pub(crate) fn make_rings(&self) {
        self.rings.get_or_init(|| match self.shared {
            Some(shared) => {
                let (_, rings) = shared.words.split_at(FRONT);
                // The pages are touched.
                rings.iter().for_each(|word| word.store(0, Ordering::Relaxed));
                Words::Shared(rings)
            }
            None => Words::own(WORDS - FRONT),
        });
    }

    /// From a place on.
    fn at(&self, place: usize) -> Option<&[AtomicU64]> {
        match place.checked_sub(FRONT) {
            None => self.front.all().get(place..),
            Some(place) => self.rings.get()?.all().get(place..),
        }
    }

    #[inline]
    pub(crate) fn put<const N: usize>(&self, table: &Table<N>, row: usize, record: [u64; N]) {
        let place = table.place(row);
        let Some([first, rest @ ..]) = self.at(place) else { return };
        for (word, value) in rest.iter().zip(record) {
            word.store(value, Ordering::Relaxed);
        }
        first.store(sum(place, &record), Ordering::Relaxed);
    }

    /// Without a look at its sum: what is written is not doubted by whoever writes it.
    #[inline]
    pub(crate) fn load<const N: usize>(&self, table: &Table<N>, row: usize) -> [u64; N] {
        let mut record = [0; N];
        if let Some([_, rest @ ..]) = self.at(table.place(row)) {
            record.iter_mut().zip(rest).for_each(|(value, word)| *value = word.load(Ordering::Relaxed));
        }
        record
    }

    /// Three words of a record that is there, from one on; of the sum what they change in it is changed.
    #[inline]
    pub(crate) fn change<const N: usize>(
        &self,
        table: &Table<N>,
        row: usize,
        from: usize,
        change: impl FnOnce([u64; 3]) -> [u64; 3],
    ) {
        let Some([first, rest @ ..]) = self.at(table.place(row)) else { return };
        let Some(words) = rest.get(from..from + 3) else { return };
        let before = [0, 1, 2].map(|at| words[at].load(Ordering::Relaxed));
        let after = change(before);
        let mut sum = first.load(Ordering::Relaxed);
        for at in 0..3 {
            words[at].store(after[at], Ordering::Relaxed);
            sum = sum.wrapping_add(after[at].wrapping_sub(before[at]).wrapping_mul(FACTORS[from + at]));
        }
        first.store(sum.max(1), Ordering::Relaxed);
    }

    pub(crate) fn get<const N: usize>(&self, table: &Table<N>, row: usize) -> Slot<N> {
        let place = table.place(row);
        let first = self.at(place).and_then(<[AtomicU64]>::first).map_or(0, |word| word.load(Ordering::Relaxed));
        if first == 0 {
            return Slot::Empty;
        }
        let record = self.load(table, row);
        if sum(place, &record) == first { Slot::Whole(record) } else { Slot::Torn }
    }

    pub(crate) fn clear<const N: usize>(&self, table: &Table<N>, row: usize) {
        if let Some(first) = self.at(table.place(row)).and_then(<[AtomicU64]>::first) {
            first.store(0, Ordering::Relaxed);
        }
    }
}

/// Odd numbers that have nothing to do with each other (splitmix64): a word that is not what it was changes the sum, and so does one that
/// stands elsewhere. The products do not wait for each other, as those of a proper hash would.
const FACTORS: [u64; 16] = {
    let mut factors = [0; 16];
    let mut at = 0;
    while at < factors.len() {
        let z = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(at as u64 + 1);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        factors[at] = (z ^ (z >> 31)) | 1;
        at += 1;
    }
    factors
};

/// Never 0, which says that there is none.
#[inline]
fn sum(place: usize, record: &[u64]) -> u64 {
    let start = FACTORS[15].wrapping_add(place as u64);
    let products = record.iter().zip(FACTORS).map(|(word, factor)| word.wrapping_mul(factor));
    products.fold(start, u64::wrapping_add).max(1)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
