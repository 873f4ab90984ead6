//! Blocks, added up by the stack that made them: a table without clock, stack or lock of its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What one stack has made. In sums, since a block that was looked at stands for several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Site {
    /// Return addresses, the innermost first.
    pub(crate) stack: Box<[usize]>,
    pub(crate) made: Sum,
    pub(crate) live: Sum,
    /// What was alive when the most of this site was.
    pub(crate) most: Sum,
    /// What was alive when the most of all sites was.
    pub(crate) at_peak: Sum,
    /// The microseconds that its blocks have lived.
    pub(crate) lifetimes: f64,
    /// Which of the peaks `at_peak` is of.
    peak_number: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) blocks: f64,
    pub(crate) bytes: f64,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    site: usize,
    is: Sum,
    since: u64,
}

/// All that was looked at.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    sites: Vec<Site>,
    by_stack: HashMap<Box<[usize]>, usize>,
    blocks: HashMap<usize, Block>,
    live: f64,
    most: f64,
    peak_at: u64,
    peaks: u64,
}

impl Sites {
    /// A block at this address that stands for so many of its size. Times are microseconds since the beginning. False if there was one
    /// at this address, whose end was not seen.
    pub(crate) fn made(&mut self, address: usize, size: usize, stands_for: f64, stack: &[usize], now: u64) -> bool {
        let was_known = self.freed(address, now);
        let number = match self.by_stack.get(stack) {
            Some(number) => *number,
            None => {
                self.sites.push(Site { stack: stack.into(), ..Site::default() });
                self.by_stack.insert(stack.into(), self.sites.len() - 1);
                self.sites.len() - 1
            }
        };
        let is = Sum { blocks: stands_for, bytes: size as f64 * stands_for };
        let site = &mut self.sites[number];
        site.note_peak(self.peaks);
        site.made.add(is, 1.0);
        site.live.add(is, 1.0);
        if site.live.bytes > site.most.bytes {
            site.most = site.live;
        }
        self.blocks.insert(address, Block { site: number, is, since: now });
        self.live += is.bytes;
        if self.live > self.most {
            (self.most, self.peak_at) = (self.live, now);
            self.peaks += 1;
        }
        !was_known
    }

    /// True if it was known.
    pub(crate) fn freed(&mut self, address: usize, now: u64) -> bool {
        let Entry::Occupied(entry) = self.blocks.entry(address) else { return false };
        let block = entry.remove();
        let site = &mut self.sites[block.site];
        site.note_peak(self.peaks);
        site.live.add(block.is, -1.0);
        site.lifetimes += now.saturating_sub(block.since) as f64 * block.is.blocks;
        self.live -= block.is.bytes;
        true
    }

    /// As it is now: the blocks that live have lived until now.
    pub(crate) fn read(&self, now: u64) -> (Vec<Site>, u64) {
        let mut sites = self.sites.clone();
        sites.iter_mut().for_each(|site| site.note_peak(self.peaks));
        for block in self.blocks.values() {
            sites[block.site].lifetimes += now.saturating_sub(block.since) as f64 * block.is.blocks;
        }
        (sites, self.peak_at)
    }
}

impl Site {
    /// A site that has not changed since the last peak has now what it had then: written down before it changes, so that a new
    /// peak costs nothing for each site.
    fn note_peak(&mut self, peaks: u64) {
        if self.peak_number != peaks {
            (self.at_peak, self.peak_number) = (self.live, peaks);
        }
    }
}

impl Sum {
    fn add(&mut self, other: Self, sign: f64) {
        // Parts of blocks do not cancel to the last digit.
        self.blocks = (self.blocks + sign * other.blocks).max(0.0);
        self.bytes = (self.bytes + sign * other.bytes).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(blocks: u32, bytes: u32) -> Sum {
        Sum { blocks: blocks.into(), bytes: bytes.into() }
    }

    fn of<'a>(sites: &'a [Site], stack: &[usize]) -> &'a Site {
        sites.iter().find(|site| &*site.stack == stack).unwrap()
    }

    #[test]
    fn blocks_are_added_up_by_stack_whoever_frees_them() {
        let mut sites = Sites::default();
        sites.made(1, 100, 1.0, &[7, 8], 0);
        sites.made(2, 50, 1.0, &[7, 8], 10);
        sites.made(3, 30, 2.0, &[9], 20);
        assert!(sites.freed(1, 30));
        assert!(!sites.freed(1, 31), "an address is free once");
        let (read, peak_at) = sites.read(40);
        let first = of(&read, &[7, 8]);
        assert_eq!((first.made, first.live, first.most), (sum(2, 150), sum(1, 50), sum(2, 150)));
        assert_eq!(first.lifetimes, 30.0 + 30.0, "one has lived from 0 to 30, the other from 10 until now");
        assert_eq!((of(&read, &[9]).live, peak_at), (sum(2, 60), 20));
    }

    #[test]
    fn at_the_peak_each_site_has_what_it_had_then() {
        let mut sites = Sites::default();
        sites.made(1, 100, 1.0, &[1], 0);
        sites.made(2, 900, 1.0, &[2], 1);
        sites.freed(2, 2);
        sites.made(3, 10, 1.0, &[3], 3);
        sites.freed(1, 4);
        let (read, peak_at) = sites.read(5);
        let at_peak: Vec<_> = [1, 2, 3].map(|stack| of(&read, &[stack]).at_peak.bytes).into();
        assert_eq!((at_peak, peak_at), (vec![100.0, 900.0, 0.0], 1));
    }

    #[test]
    fn an_address_that_is_used_again_is_another_block() {
        let mut sites = Sites::default();
        assert!(sites.made(1, 100, 1.0, &[1], 0));
        assert!(!sites.made(1, 40, 1.0, &[2], 5));
        let (read, _) = sites.read(5);
        assert_eq!((of(&read, &[1]).live, of(&read, &[2]).live), (sum(0, 0), sum(1, 40)));
    }
}
