//! A session's output: the last bytes of it, and where they stand in all that it ever wrote.

use serde::Serialize;
use std::collections::VecDeque;

/// The last `limit` bytes.
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    limit: usize,
    /// How many bytes came before the first that is kept.
    dropped: u64,
}

/// A part of the output, as text.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) text: String,
    /// Where the text begins: as asked, or at the first byte that is kept.
    pub(crate) from: u64,
    /// Where to go on.
    pub(crate) next: u64,
    /// Bytes from the place that was asked for which are kept no longer.
    pub(crate) dropped: u64,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, dropped: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(self.limit);
        let (skip, bytes) = bytes.split_at(skipped);
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.bytes.extend(bytes);
        self.dropped += (excess + skip.len()) as u64;
    }

    /// As if it had been written to until it is full.
    pub(crate) fn fill(&mut self) {
        self.push(&vec![b'.'; self.limit]);
    }

    /// All that is kept from this place on. A character whose last bytes are still to come is left for the next call,
    /// unless the output `is_over`.
    pub(crate) fn part(&self, asked: u64, is_over: bool) -> Part {
        let end = self.dropped + self.bytes.len() as u64;
        let from = asked.clamp(self.dropped, end);
        let mut bytes: Vec<u8> = self.bytes.range((from - self.dropped) as usize..).copied().collect();
        if !is_over {
            bytes.truncate(bytes.len() - unfinished(&bytes));
        }
        let next = from + bytes.len() as u64;
        Part {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            from,
            next,
            dropped: self.dropped.saturating_sub(asked),
        }
    }
}

/// How many bytes at the end begin a character that is not complete.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(lead) = tail.iter().rposition(|byte| byte & 0b1100_0000 != 0b1000_0000) else { return 0 };
    let needs = match tail[lead] {
        0b1100_0000..0b1110_0000 => 2,
        0b1110_0000..0b1111_0000 => 3,
        0b1111_0000..0b1111_1000 => 4,
        _ => 1,
    };
    let has = tail.len() - lead;
    if has < needs { has } else { 0 }
}
