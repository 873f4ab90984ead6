//! Records of a timeline as words, and back. What comes back may be anything: it was read from a process that is no more.

use crate::event::moment::{Flow, Moment, Sample, Step, Way, What};
use crate::event::name::{LONGEST_NAME, Name, whole};
use crate::event::timeline::{Dropped, End, SessionLine};
use std::time::Duration;

/// Bytes of each text of a breach.
const LONGEST_TEXT: usize = 40;
/// The bit that says that a step is a session's.
const HAS_SESSION: u64 = 1 << 31;

/// Nanoseconds: 584 years of them fit.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(time.subsec_nanos()))
}

fn optional(value: Option<u64>, bit: u32, mask: &mut u64) -> u64 {
    *mask |= u64::from(value.is_some()) << bit;
    value.unwrap_or_default()
}

pub(crate) fn sample(sample: &Sample) -> [u64; 6] {
    let mut mask = 0;
    let values = [sample.memory, sample.descriptors, sample.processes, sample.processor.map(nanos)];
    let [memory, descriptors, processes, processor] =
        [0, 1, 2, 3].map(|bit| optional(values[bit as usize], bit, &mut mask));
    [nanos(sample.at), memory, descriptors, processes, processor, mask]
}

pub(crate) fn sample_of(record: [u64; 6]) -> Sample {
    let [at, memory, descriptors, processes, processor, mask] = record;
    let known = |value: u64, bit: u32| (mask >> bit & 1 == 1).then_some(value);
    Sample {
        at: Duration::from_nanos(at),
        memory: known(memory, 0),
        descriptors: known(descriptors, 1),
        processes: known(processes, 2),
        processor: known(processor, 3).map(Duration::from_nanos),
    }
}

/// Of a session: what it is, without what went through it.
pub(crate) fn session(number: u32, name: &Name, from: Duration, ended: Option<(Duration, End)>) -> [u64; 9] {
    let (at, how) = match ended {
        None => (0, 0),
        Some((at, End::Gone)) => (nanos(at), 1),
        Some((at, End::Untracked)) => (nanos(at), 2),
    };
    let length = name.as_bytes().len() as u64;
    let mut record = [u64::from(number), nanos(from), at, how | length << 8, 0, 0, 0, 0, 0];
    put_text(&mut record[4..], name.as_bytes());
    record
}

/// The same back; `None` for what nobody writes.
pub(crate) fn session_of(record: [u64; 9]) -> Option<SessionLine> {
    let [number, from, at, how, ref text @ ..] = record;
    let ended = match how & 0xFF {
        0 => None,
        1 => Some((Duration::from_nanos(at), End::Gone)),
        2 => Some((Duration::from_nanos(at), End::Untracked)),
        _ => return None,
    };
    Some(SessionLine {
        number: u32::try_from(number).ok()?,
        name: text_of(text, (how >> 8).min(LONGEST_NAME as u64)),
        from: Duration::from_nanos(from),
        ended,
        wrote: Flow::default(),
        read: Flow::default(),
    })
}

/// All writes and all reads of a session.
pub(crate) fn totals_of(record: [u64; 7]) -> (u64, [Flow; 2]) {
    let [number, wrote @ .., read_bytes, read_times, read_until] = record;
    (number, [flow_of(wrote), flow_of([read_bytes, read_times, read_until])])
}

fn flow_of([bytes, times, until]: [u64; 3]) -> Flow {
    Flow { bytes, times, until: Duration::from_nanos(until) }
}

/// A run of reads or writes, of so many before.
pub(crate) fn run_of(record: [u64; 6]) -> Option<Moment> {
    let [_, at, head, flow @ ..] = record;
    let what = match head & 0xFF {
        way if way == Way::Write as u64 => What::Wrote(flow_of(flow)),
        way if way == Way::Read as u64 => What::Read(flow_of(flow)),
        _ => return None,
    };
    Some(Moment { at: Duration::from_nanos(at), session: Some((head >> 32) as u32), what })
}

pub(crate) fn dropped(dropped: &Dropped) -> [u64; 8] {
    let Dropped { sessions, steps, wrote, read, .. } = dropped;
    let [w, r] = [wrote, read].map(|flow| [flow.bytes, flow.times, nanos(flow.until)]);
    [*sessions, *steps, w[0], w[1], w[2], r[0], r[1], r[2]]
}

pub(crate) fn dropped_of(record: [u64; 8]) -> Dropped {
    let [sessions, steps, wb, wt, wu, rb, rt, ru] = record;
    Dropped { sessions, steps, wrote: flow_of([wb, wt, wu]), read: flow_of([rb, rt, ru]), torn: 0 }
}

const KILLS: [Step; 4] = [Step::AskedBackend, Step::HungUp, Step::Terminated, Step::Killed];

/// What is no read or write, by its number.
pub(crate) fn step(number: u64, at: Duration, session: Option<u32>, what: &What) -> [u64; 15] {
    let mut record = [0; 15];
    let [_, _, _, first, second, text @ ..] = &mut record;
    let kind = match what {
        What::Announced => 1,
        What::Created => 2,
        What::Resized { rows, cols } => {
            (*first, *second) = (u64::from(*rows), u64::from(*cols));
            3
        }
        What::Kill { step, pid, was_delivered } => {
            let step = KILLS.iter().position(|known| known == step).unwrap_or_default() as u64;
            *first = step | u64::from(*was_delivered) << 8 | u64::from(pid.is_some()) << 9;
            *second = u64::from(pid.unwrap_or_default());
            4
        }
        What::Gone => 5,
        What::Survived { processes } => {
            *first = *processes as u64;
            6
        }
        What::Untracked => 7,
        What::Breach { limit, value } => {
            let (limit, value) = (whole(limit, LONGEST_TEXT), whole(value, LONGEST_TEXT));
            (*first, *second) = (limit.len() as u64, value.len() as u64);
            put_text(&mut text[..5], limit);
            put_text(&mut text[5..], value);
            8
        }
        // They are kept as runs.
        What::Wrote(_) | What::Read(_) => 0,
    };
    let session = session.map_or(0, |number| u64::from(number) << 32 | HAS_SESSION);
    (record[0], record[1], record[2]) = (number, nanos(at), session | kind);
    record
}

/// The same back; `None` for what nobody writes.
pub(crate) fn step_of(record: [u64; 15]) -> Option<Moment> {
    let [_, at, head, first, second, ref text @ ..] = record;
    let what = match head & 0xFF {
        1 => What::Announced,
        2 => What::Created,
        3 => What::Resized { rows: u16::try_from(first).ok()?, cols: u16::try_from(second).ok()? },
        4 => What::Kill {
            step: *KILLS.get((first & 0xFF) as usize)?,
            pid: if first >> 9 & 1 == 1 { Some(u32::try_from(second).ok()?) } else { None },
            was_delivered: first >> 8 & 1 == 1,
        },
        5 => What::Gone,
        6 => What::Survived { processes: usize::try_from(first).ok()? },
        7 => What::Untracked,
        8 => What::Breach { limit: text_of(&text[..5], first), value: text_of(&text[5..], second) },
        _ => return None,
    };
    let session = (head & HAS_SESSION != 0).then_some((head >> 32) as u32);
    Some(Moment { at: Duration::from_nanos(at), session, what })
}

fn put_text(words: &mut [u64], bytes: &[u8]) {
    for (word, part) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..part.len()].copy_from_slice(part);
        *word = u64::from_le_bytes(whole);
    }
}

fn text_of(words: &[u64], length: u64) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

// Five words each.
const _: () = assert!(LONGEST_NAME == 40 && LONGEST_TEXT == 40);
