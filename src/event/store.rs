//! What a recorder keeps: rings of fixed size that are allocated once. What grew with the test would be found as a leak of the test's.

use crate::event::moment::{Flow, Moment, Sample, What};
use crate::event::timeline::{Dropped, End, SessionLine};
use std::collections::VecDeque;
use std::time::Duration;

const MOST_SESSIONS: usize = 128;
/// Of each kind: the many reads of one session must not push out the lives of all.
const MOST_MOMENTS: usize = 512;
const MOST_SAMPLES: usize = 120;
/// Reads of one session that are so near to each other are one moment.
const MERGED_WITHIN: Duration = Duration::from_millis(20);
/// Bytes of a name.
const LONGEST_NAME: usize = 40;

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Write,
    Read,
}

/// The beginning of a name, in place.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; LONGEST_NAME],
    length: usize,
}

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let length = (0..=text.len().min(LONGEST_NAME)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let mut bytes = [0; LONGEST_NAME];
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { bytes, length }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.length]).into_owned()
    }
}

struct Line {
    name: Name,
    from: Duration,
    ended: Option<(Duration, End)>,
    /// Of writes, and of reads.
    totals: [Flow; 2],
    /// Which moments the next write and the next read may join.
    open: [Option<u64>; 2],
}

/// The newest moments, each with a number of its own for ever.
struct Ring {
    moments: VecDeque<Moment>,
    first: u64,
}

impl Ring {
    fn new() -> Self {
        let blank = Moment { at: Duration::ZERO, session: None, what: What::Announced };
        let mut moments = VecDeque::with_capacity(MOST_MOMENTS);
        // Its pages are touched now, and not one by one in the course of the test.
        moments.resize(MOST_MOMENTS, blank);
        moments.clear();
        Self { moments, first: 0 }
    }

    fn get(&mut self, number: u64) -> Option<&mut Moment> {
        self.moments.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The number of the new one, and the one that had to go.
    fn push(&mut self, moment: Moment) -> (u64, Option<Moment>) {
        let gone = if self.moments.len() == MOST_MOMENTS { self.moments.pop_front() } else { None };
        self.first += u64::from(gone.is_some());
        self.moments.push_back(moment);
        (self.first + self.moments.len() as u64 - 1, gone)
    }
}

pub(crate) struct Store {
    lines: VecDeque<Line>,
    first_line: u32,
    steps: Ring,
    flows: Ring,
    dropped: Dropped,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            lines: VecDeque::with_capacity(MOST_SESSIONS),
            first_line: 0,
            steps: Ring::new(),
            flows: Ring::new(),
            dropped: Dropped::default(),
        }
    }

    /// A new session, by its number.
    pub(crate) fn add(&mut self, name: Name, at: Duration) -> u32 {
        if self.lines.len() == MOST_SESSIONS {
            self.lines.pop_front();
            self.first_line = self.first_line.wrapping_add(1);
            self.dropped.sessions += 1;
        }
        self.lines.push_back(Line { name, from: at, ended: None, totals: Default::default(), open: [None; 2] });
        self.first_line.wrapping_add(self.lines.len() as u32 - 1)
    }

    fn line(&mut self, number: u32) -> Option<&mut Line> {
        self.lines.get_mut(number.wrapping_sub(self.first_line) as usize)
    }

    pub(crate) fn rename(&mut self, number: u32, name: Name) {
        if let Some(line) = self.line(number) {
            line.name = name;
        }
    }

    /// Its name, for as long as it is kept.
    pub(crate) fn name(&mut self, number: u32) -> Option<Name> {
        self.line(number).map(|line| line.name)
    }

    /// What is no read or write.
    pub(crate) fn step(&mut self, session: Option<u32>, at: Duration, what: What) {
        if let Some(line) = session.and_then(|number| self.line(number)) {
            // What comes after it does not join what came before.
            line.open = [None; 2];
            match what {
                What::Gone => line.ended = Some((at, End::Gone)),
                What::Untracked => line.ended = Some((at, End::Untracked)),
                _ => {}
            }
        }
        if self.steps.push(Moment { at, session, what }).1.is_some() {
            self.dropped.steps += 1;
        }
    }

    pub(crate) fn flow(&mut self, session: u32, at: Duration, way: Way, bytes: u64) {
        let dropped = &mut self.dropped;
        let Some(line) = self.lines.get_mut(session.wrapping_sub(self.first_line) as usize) else {
            let sum = if way == Way::Write { &mut dropped.wrote } else { &mut dropped.read };
            return add(sum, Flow { bytes, times: 1, until: at });
        };
        let one = Flow { bytes, times: 1, until: at };
        add(&mut line.totals[way as usize], one);
        if let Some(open) = line.open[way as usize].and_then(|number| self.flows.get(number))
            && let What::Wrote(flow) | What::Read(flow) = &mut open.what
            && at.saturating_sub(flow.until) <= MERGED_WITHIN
        {
            return add(flow, one);
        }
        let what = if way == Way::Write { What::Wrote(one) } else { What::Read(one) };
        let (number, gone) = self.flows.push(Moment { at, session: Some(session), what });
        line.open[way as usize] = Some(number);
        match gone.map(|moment| moment.what) {
            Some(What::Wrote(flow)) => add(&mut dropped.wrote, flow),
            Some(What::Read(flow)) => add(&mut dropped.read, flow),
            _ => {}
        }
    }

    pub(crate) fn sessions(&self) -> Vec<SessionLine> {
        let line = |(index, line): (usize, &Line)| SessionLine {
            number: self.first_line.wrapping_add(index as u32),
            name: line.name.text(),
            from: line.from,
            ended: line.ended,
            wrote: line.totals[Way::Write as usize],
            read: line.totals[Way::Read as usize],
        };
        self.lines.iter().enumerate().map(line).collect()
    }

    /// In order, those of dropped sessions not among them.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        let is_known = |moment: &&Moment| {
            moment.session.is_none_or(|number| (number.wrapping_sub(self.first_line) as usize) < self.lines.len())
        };
        let mut moments: Vec<Moment> =
            self.steps.moments.iter().chain(&self.flows.moments).filter(is_known).cloned().collect();
        moments.sort_by_key(|moment| moment.at);
        moments
    }

    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }
}

/// A long test keeps every second one, then every fourth, and so on: the whole of its time stays in sight.
pub(crate) struct Samples {
    kept: Vec<Sample>,
    /// One of so many is kept, and how many have come since the last of those.
    every: u32,
    skipped: u32,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self { kept: Vec::with_capacity(MOST_SAMPLES), every: 1, skipped: 0 }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.skipped += 1;
        if self.skipped < self.every {
            return;
        }
        self.skipped = 0;
        if self.kept.len() == MOST_SAMPLES {
            let mut is_kept = false;
            self.kept.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.every = self.every.saturating_mul(2);
        }
        self.kept.push(sample);
    }

    pub(crate) fn kept(&self) -> Vec<Sample> {
        self.kept.clone()
    }
}

fn add(sum: &mut Flow, more: Flow) {
    sum.bytes += more.bytes;
    sum.times += more.times;
    sum.until = sum.until.max(more.until);
}
