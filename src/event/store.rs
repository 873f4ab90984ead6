//! What a recorder keeps: rings of fixed size that are allocated once. What grew with the test would be found as a leak of the test's.

use crate::event::encode::{self, nanos};
use crate::event::memory::{
    DROPPED, FLOWS, HEAD, MOST_MOMENTS, MOST_SAMPLES, MOST_SESSIONS, Memory, PARTS, SAMPLES, SESSIONS, STEPS, TOTALS,
};
use crate::event::moment::{Sample, Way, What};
use crate::event::name::Name;
use crate::event::timeline::{Dropped, End};
use std::collections::VecDeque;
use std::time::Duration;

/// Reads of one session that are so near to each other are one moment.
const MERGED_WITHIN: u64 = 20_000_000;
/// By which a head is known, with the version of what stands behind it.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tmlsh\0\0\x01");

/// Where it stands, behind the parts of a test, that whoever wants to know of that knows.
pub(crate) const TOLD: usize = 3;

/// What must be known of a session to go on with it; the rest is written, and not looked at.
struct Line {
    name: Name,
    from: Duration,
    ended: Option<(Duration, End)>,
    /// Which runs the next write and the next read may join.
    open: [Option<Open>; 2],
}

/// A run of reads or writes.
#[derive(Clone, Copy)]
struct Open {
    number: u64,
    /// When the last of them was.
    until: u64,
}

pub(crate) struct Store {
    memory: Memory,
    /// The newest sessions, and the number of the first of them.
    lines: VecDeque<Line>,
    first_line: u32,
    /// How many there were of each.
    steps: u64,
    flows: u64,
    dropped: Dropped,
    /// When each part began, and 1 if whoever wants to know of the test has been told.
    parts: [u64; 4],
    samples: Samples,
}

impl Store {
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            memory,
            lines: VecDeque::new(),
            first_line: 0,
            steps: 0,
            flows: 0,
            dropped: Dropped::default(),
            parts: [0; 4],
            samples: Samples { kept: 0, every: 1, skipped: 0 },
        }
    }

    /// Says of which call of its process this is, and when that began, on a clock that others have, too.
    pub(crate) fn is_of_call(&self, call: u32, begun: Duration) {
        self.memory.put(&HEAD, 0, [MAGIC, u64::from(call), nanos(begun)]);
    }

    /// From now on in memory of its own: another test has that of this one.
    pub(crate) fn move_out(&mut self) {
        self.memory = self.memory.copied();
    }

    /// A copy of the process, forked without exec, must not write into its parent's memory.
    #[inline]
    fn own_memory(&mut self) -> &Memory {
        if !self.memory.is_ours() {
            self.move_out();
        }
        &self.memory
    }

    /// The first time counts.
    pub(crate) fn begins(&mut self, part: usize, at: Duration) {
        if self.parts[part] == 0 {
            // Nought says that it has not begun.
            self.parts[part] = nanos(at).max(1);
            let parts = self.parts;
            self.own_memory().put(&PARTS, 0, parts);
        }
    }

    /// Whoever wants to know of the test knows: nobody else need tell.
    pub(crate) fn mark_told(&mut self) {
        self.begins(TOLD, Duration::ZERO);
    }

    /// A new session, by its number.
    pub(crate) fn add(&mut self, name: Name, at: Duration) -> u32 {
        self.own_memory().make_rings();
        if self.lines.len() == MOST_SESSIONS {
            self.lines.pop_front();
            self.first_line = self.first_line.wrapping_add(1);
            self.dropped.sessions += 1;
            self.write_dropped();
        }
        self.lines.reserve_exact(MOST_SESSIONS - self.lines.len());
        self.lines.push_back(Line { name, from: at, ended: None, open: [None; 2] });
        let number = self.first_line.wrapping_add(self.lines.len() as u32 - 1);
        self.memory.put(&TOTALS, number as usize, [u64::from(number), 0, 0, 0, 0, 0, 0]);
        self.write_session(number);
        number
    }

    fn line(&mut self, number: u32) -> Option<&mut Line> {
        self.lines.get_mut(number.wrapping_sub(self.first_line) as usize)
    }

    fn write_session(&mut self, number: u32) {
        if let Some(Line { name, from, ended, .. }) = self.line(number) {
            let record = encode::session(number, name, *from, *ended);
            self.own_memory().put(&SESSIONS, number as usize, record);
        }
    }

    fn write_dropped(&mut self) {
        let record = encode::dropped(&self.dropped);
        self.own_memory().put(&DROPPED, 0, record);
    }

    pub(crate) fn rename(&mut self, number: u32, name: Name) {
        if let Some(line) = self.line(number) {
            line.name = name;
            self.write_session(number);
        }
    }

    /// Its name, for as long as it is kept.
    pub(crate) fn name(&mut self, number: u32) -> Option<Name> {
        self.line(number).map(|line| line.name)
    }

    /// What is no read or write.
    pub(crate) fn step(&mut self, session: Option<u32>, at: Duration, what: &What) {
        if let Some((number, line)) = session.and_then(|number| Some((number, self.line(number)?))) {
            // What comes after it does not join what came before.
            line.open = [None; 2];
            let end = match what {
                What::Gone => Some(End::Gone),
                What::Untracked => Some(End::Untracked),
                _ => None,
            };
            if let Some(end) = end {
                line.ended = Some((at, end));
                self.write_session(number);
            }
        }
        let number = self.steps;
        self.steps += 1;
        let memory = self.own_memory();
        memory.make_rings();
        memory.put(&STEPS, number as usize, encode::step(number, at, session, what));
        if number >= MOST_MOMENTS as u64 {
            self.dropped.steps += 1;
            self.write_dropped();
        }
    }

    pub(crate) fn flow(&mut self, session: u32, at: Duration, way: Way, bytes: u64) {
        let one = [bytes, 1, nanos(at)];
        self.own_memory();
        let Some(line) = self.lines.get_mut(session.wrapping_sub(self.first_line) as usize) else {
            return self.drop_flow(way, one);
        };
        let first = 1 + 3 * way as usize;
        self.memory.change(&TOTALS, session as usize, first, |totals| sum(totals, one));

        let open = &mut line.open[way as usize];
        if let Some(run) = open.as_mut().filter(|run| self.flows - run.number <= MOST_MOMENTS as u64)
            && one[2].saturating_sub(run.until) <= MERGED_WITHIN
        {
            run.until = one[2];
            return self.memory.change(&FLOWS, run.number as usize, 3, |flow| sum(flow, one));
        }
        let number = self.flows;
        *open = Some(Open { number, until: one[2] });
        self.flows += 1;
        let gone = (number >= MOST_MOMENTS as u64).then(|| self.memory.load(&FLOWS, number as usize));
        let head = u64::from(session) << 32 | way as u64;
        self.memory.put(&FLOWS, number as usize, [number, one[2], head, one[0], one[1], one[2]]);
        if let Some([_, _, head, flow @ ..]) = gone {
            self.drop_flow(if head & 1 == Way::Write as u64 { Way::Write } else { Way::Read }, flow);
        }
    }

    fn drop_flow(&mut self, way: Way, [bytes, times, until]: [u64; 3]) {
        let sum = if way == Way::Write { &mut self.dropped.wrote } else { &mut self.dropped.read };
        sum.bytes = sum.bytes.wrapping_add(bytes);
        sum.times = sum.times.wrapping_add(times);
        sum.until = sum.until.max(Duration::from_nanos(until));
        self.write_dropped();
    }

    pub(crate) fn sample(&mut self, sample: &Sample) {
        self.own_memory();
        self.samples.add(&self.memory, sample);
    }

    /// What there is now, for as long as this lives.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// Bytes, times, and until when.
fn sum(before: [u64; 3], [bytes, times, until]: [u64; 3]) -> [u64; 3] {
    [before[0].wrapping_add(bytes), before[1].wrapping_add(times), before[2].max(until)]
}

/// A long test keeps every second one, then every fourth, and so on: the whole of its time stays in sight.
struct Samples {
    kept: usize,
    /// One of so many is kept, and how many have come since the last of those.
    every: u32,
    skipped: u32,
}

impl Samples {
    fn add(&mut self, memory: &Memory, sample: &Sample) {
        self.skipped += 1;
        if self.skipped < self.every {
            return;
        }
        self.skipped = 0;
        if self.kept == MOST_SAMPLES {
            self.kept = MOST_SAMPLES / 2;
            for row in 0..self.kept {
                memory.put(&SAMPLES, row, memory.load(&SAMPLES, 2 * row));
            }
            for row in self.kept..MOST_SAMPLES {
                memory.clear(&SAMPLES, row);
            }
            self.every = self.every.saturating_mul(2);
        }
        memory.put(&SAMPLES, self.kept, encode::sample(sample));
        self.kept += 1;
    }
}
