//! A timeline from what a recorder has written, in this process or in one that has died: then nothing of it is taken for granted.

use crate::event::encode;
use crate::event::memory::{DROPPED, FLOWS, HEAD, Memory, PARTS, SAMPLES, SESSIONS, STEPS, Slot, TOTALS, Table};
use crate::event::moment::{Moment, What};
use crate::event::store::{MAGIC, TOLD};
use crate::event::timeline::{Durations, SessionLine, Timeline};
use std::collections::BTreeSet;
use std::time::Duration;

/// Of which call of its process a recorder was, and when that began on the system's clock; `None` if nobody has written it.
pub(crate) fn head(memory: &Memory) -> Option<(u32, Duration)> {
    match memory.get(&HEAD, 0) {
        Slot::Whole([MAGIC, call, begun]) => Some((u32::try_from(call).ok()?, Duration::from_nanos(begun))),
        _ => None,
    }
}

/// What has been written until this time; what says to be of a later one is none of it.
pub(crate) fn timeline(memory: &Memory, test: Option<String>, lasted: Duration) -> Timeline {
    let mut torn = 0;
    let mut timeline = Timeline { test, lasted, ..Timeline::default() };
    if let Some(dropped) = rows(memory, &DROPPED, &mut torn).pop() {
        timeline.dropped = encode::dropped_of(dropped);
    }
    timeline.samples = rows(memory, &SAMPLES, &mut torn).into_iter().map(encode::sample_of).collect();
    timeline.samples.sort_by_key(|sample| sample.at);
    timeline.samples.dedup_by_key(|sample| sample.at);

    timeline.sessions = sessions(memory, &mut torn);
    let steps = rows(memory, &STEPS, &mut torn).into_iter().map(|record| (record[0], encode::step_of(record)));
    let mut moments: Vec<(u64, Option<Moment>)> = steps.collect();
    let runs = rows(memory, &FLOWS, &mut torn).into_iter().map(|record| (record[0], encode::run_of(record)));
    moments.extend(runs);
    // Steps of one time stay in the order in which they were written.
    moments.sort_by_key(|(number, _)| *number);
    let before = moments.len();
    let numbers: BTreeSet<u32> = timeline.sessions.iter().map(|line| line.number).collect();
    let known = moments.into_iter().filter_map(|(_, moment)| moment);
    timeline.moments = known.collect();
    torn += (before - timeline.moments.len()) as u64;
    // Those of sessions that were dropped are not among them.
    timeline.moments.retain(|moment| moment.session.is_none_or(|number| numbers.contains(&number)));
    timeline.moments.sort_by_key(|moment| moment.at);

    let kept = timeline.moments.len() + timeline.samples.len() + timeline.sessions.len();
    timeline.moments.retain(|moment| moment.at <= lasted && until(&moment.what) <= lasted);
    timeline.samples.retain(|sample| sample.at <= lasted);
    timeline.sessions.retain(|line| is_within(line, lasted));
    torn += (kept - timeline.moments.len() - timeline.samples.len() - timeline.sessions.len()) as u64;
    timeline.dropped.torn = torn;
    timeline
}

fn until(what: &What) -> Duration {
    match what {
        What::Wrote(flow) | What::Read(flow) => flow.until,
        _ => Duration::ZERO,
    }
}

fn is_within(line: &SessionLine, lasted: Duration) -> bool {
    let ended = line.ended.map_or(Duration::ZERO, |(at, _)| at);
    [line.from, ended, line.wrote.until, line.read.until].into_iter().all(|at| at <= lasted)
}

fn sessions(memory: &Memory, torn: &mut u64) -> Vec<SessionLine> {
    let mut sessions = Vec::new();
    for row in 0..SESSIONS.rows {
        let line = match memory.get(&SESSIONS, row) {
            Slot::Empty => continue,
            // It stands where its number says.
            Slot::Whole(record) => {
                encode::session_of(record).filter(|line| line.number as usize % SESSIONS.rows == row)
            }
            Slot::Torn => None,
        };
        let Some(mut line) = line else {
            *torn += 1;
            continue;
        };
        match memory.get(&TOTALS, row) {
            Slot::Whole(record) if record[0] == u64::from(line.number) => {
                (_, [line.wrote, line.read]) = encode::totals_of(record);
            }
            _ => *torn += 1,
        }
        sessions.push(line);
    }
    // By when they were announced, which their numbers say unless those have begun anew.
    sessions.sort_by_key(|line| (line.from, line.number));
    sessions
}

fn rows<const N: usize>(memory: &Memory, table: &Table<N>, torn: &mut u64) -> Vec<[u64; N]> {
    let mut records = Vec::new();
    for row in 0..table.rows {
        match memory.get(table, row) {
            Slot::Empty => {}
            Slot::Whole(record) => records.push(record),
            Slot::Torn => *torn += 1,
        }
    }
    records
}

/// How long the parts of a test took until its end, or its process's. What the clean-up has waited until it settled is that part's.
pub(crate) fn durations(memory: &Memory, end: Duration, waited: Duration, settled_last: Option<String>) -> Durations {
    let record = match memory.get(&PARTS, 0) {
        Slot::Whole(record) => record,
        Slot::Empty | Slot::Torn => [0; 4],
    };
    let [body, clean_up, settle, _] = record.map(|at| if at == 0 { end } else { Duration::from_nanos(at).min(end) });
    let cleaning = settle.saturating_sub(clean_up);
    let waited = waited.min(cleaning);
    Durations {
        set_up: body,
        body: clean_up.saturating_sub(body),
        clean_up: cleaning - waited,
        settle: end.saturating_sub(settle) + waited,
        settled_last,
    }
}

/// True if whoever wants to know of the test knows.
pub(crate) fn is_told(memory: &Memory) -> bool {
    matches!(memory.get(&PARTS, 0), Slot::Whole(record) if record[TOLD] != 0)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
