//! The last bytes of a session's output: a cap, and a count of what it cost.

/// Keeps the newest bytes up to its cap and counts those that it dropped. Positions count from the session's first
/// byte and never come back.
pub(crate) struct Ring {
    bytes: Vec<u8>,
    cap: usize,
    /// Position of the oldest byte that is kept.
    start: u64,
    /// Position after the newest byte.
    end: u64,
    dropped: u64,
    /// How often it was cleared: what is printed after that does not continue what was before.
    clearings: u64,
}

/// It begins this small, so that a thousand quiet sessions cost a few megabytes.
const FIRST: usize = 4 << 10;

impl Ring {
    /// `cap` is at least 1.
    pub(crate) fn new(cap: usize) -> Self {
        Self { bytes: Vec::new(), cap, start: 0, end: 0, dropped: 0, clearings: 0 }
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes the cap has cost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn clearings(&self) -> u64 {
        self.clearings
    }

    fn index(&self, position: u64) -> usize {
        // The remainder is less than a length, which is a usize.
        (position % self.bytes.len() as u64) as usize
    }

    /// Where the next bytes go, for a read to fill directly: never empty, and what is beyond those that are then
    /// [`commit`](Self::commit)ted stays untouched.
    pub(crate) fn writable(&mut self) -> &mut [u8] {
        if (self.end - self.start) as usize == self.bytes.len() && self.bytes.len() < self.cap {
            self.grow();
        }
        let index = self.index(self.end);
        let until_end = self.bytes.len() - index;
        let free = self.bytes.len() - (self.end - self.start) as usize;
        // The oldest bytes are given up only when there is no other room.
        let room = if free == 0 { until_end } else { free.min(until_end) };
        &mut self.bytes[index..index + room]
    }

    /// Takes in the first `count` bytes of what [`writable`](Self::writable) gave.
    pub(crate) fn commit(&mut self, count: usize) {
        self.end += count as u64;
        let oldest = self.end.saturating_sub(self.bytes.len() as u64);
        if oldest > self.start {
            self.dropped += oldest - self.start;
            self.start = oldest;
        }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.writable();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.commit(count);
            bytes = &bytes[count..];
        }
    }

    /// Makes the room eight times as large; what is kept moves to where its positions then belong.
    fn grow(&mut self) {
        let room = (self.bytes.len() * 8).clamp(FIRST.min(self.cap), self.cap);
        let kept = self.since(self.start);
        self.bytes = vec![0; room];
        let (first, length) = (self.index(self.start), kept.len());
        let until_end = length.min(room - first);
        self.bytes[first..first + until_end].copy_from_slice(&kept[..until_end]);
        self.bytes[..length - until_end].copy_from_slice(&kept[until_end..]);
    }

    /// A copy of what is kept from `position` on.
    pub(crate) fn since(&self, position: u64) -> Vec<u8> {
        let from = position.clamp(self.start, self.end);
        let length = (self.end - from) as usize;
        if length == 0 {
            return Vec::new();
        }
        let first = self.index(from);
        let until_end = length.min(self.bytes.len() - first);
        let mut copy = Vec::with_capacity(length);
        copy.extend_from_slice(&self.bytes[first..first + until_end]);
        copy.extend_from_slice(&self.bytes[..length - until_end]);
        copy
    }

    /// Forgets what is kept, and gives its memory back. It does not count as dropped: somebody wanted it.
    pub(crate) fn clear(&mut self) {
        self.start = self.end;
        self.dropped = 0;
        self.clearings += 1;
        self.bytes = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the simplest model: a vector of everything.
        #[test]
        fn is_the_tail_of_everything(
            cap in 1usize..40,
            steps in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..50), 0u8..8), 1..30),
        ) {
            let mut ring = Ring::new(cap);
            let (mut all, mut cleared) = (Vec::new(), 0);
            for (bytes, coin) in steps {
                ring.push(&bytes);
                all.extend(bytes);
                let kept = all.len() - (ring.start() as usize);
                prop_assert_eq!(ring.since(0), &all[all.len() - kept..]);
                prop_assert_eq!(kept, (all.len() - cleared).min(cap));
                prop_assert_eq!(ring.end(), all.len() as u64);
                prop_assert_eq!(ring.dropped(), ((all.len() - cleared) - kept) as u64);
                let middle = ring.start() + kept as u64 / 2;
                prop_assert_eq!(ring.since(middle), &all[middle as usize..]);
                if coin == 0 {
                    ring.clear();
                    cleared = all.len();
                }
            }
        }
    }

    #[test]
    fn a_short_read_leaves_the_rest_untouched() {
        let mut ring = Ring::new(8);
        ring.push(b"abcdefgh");
        let room = ring.writable();
        room[0] = b'X';
        ring.commit(1);
        assert_eq!(ring.since(0), b"bcdefghX");
        assert_eq!(ring.dropped(), 1);
    }
}
