//! Looking for a text in an output that grows.

use crate::session::ring::Ring;
use crate::session::text::Stripper;

/// What has been looked at so far, and the end of it that may begin the text.
pub(crate) struct Finder<'a> {
    wanted: &'a str,
    stripper: Stripper,
    position: u64,
    clearings: u64,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(wanted: &'a str) -> Self {
        Self { wanted, stripper: Stripper::default(), position: 0, clearings: 0 }
    }

    /// True if the text is in what has come since the last look, or begins before it.
    pub(crate) fn finds(&mut self, ring: &Ring) -> bool {
        let from = self.position.max(ring.start());
        if from > self.position || ring.clearings() != self.clearings {
            // A gap, dropped or cleared: what is before it does not continue after it.
            self.stripper = Stripper::default();
        }
        self.stripper.feed(&ring.since(from));
        self.position = ring.end();
        self.clearings = ring.clearings();
        let is_there = self.stripper.text().contains(self.wanted);
        self.stripper.keep_last(self.wanted.len());
        is_there
    }
}
