//! What a test used, as a line of small bars below its sessions: what stands above each other is of one time.

use crate::event::{Sample, Timeline};
use crate::leak::sparkline;
use crate::report::text::{bytes, duration};
use std::fmt::Write;
use std::time::Duration;

/// Columns of a name, and of a bar.
pub(crate) const NAME: usize = 16;
pub(crate) const BAR: usize = 54;

/// Where a moment stands in a bar.
pub(crate) fn place(timeline: &Timeline, at: Duration) -> usize {
    let share = at.as_secs_f64() / timeline.lasted.as_secs_f64().max(f64::MIN_POSITIVE);
    ((share * BAR as f64) as usize).min(BAR - 1)
}

/// A time, and how much it was then.
type Values = Vec<(Duration, u64)>;

pub(crate) fn write(timeline: &Timeline, text: &mut String) {
    let plain = |count: u64| count.to_string();
    let percent = |percent: u64| format!("{percent} %");
    let own = &timeline.samples;
    write_series(timeline, text, "memory", &values(own, |sample| sample.memory), bytes);
    write_series(timeline, text, "descriptors", &values(own, |sample| sample.descriptors), plain);
    write_series(timeline, text, "child processes", &values(own, |sample| sample.processes), plain);
    write_series(timeline, text, "% of a core", &shares(own), percent);

    let theirs = &timeline.sessions_use;
    write_series(timeline, text, "sessions' memory", &values(theirs, |sample| sample.memory), bytes);
    write_series(timeline, text, "  descriptors", &values(theirs, |sample| sample.descriptors), plain);
    write_series(timeline, text, "  processes", &values(theirs, |sample| sample.processes), plain);
    write_series(timeline, text, "  % of a core", &shares(theirs), percent);
    if timeline.is_of_dead {
        write_last(timeline, text);
    }
}

fn values(samples: &[Sample], of: impl Fn(&Sample) -> Option<u64>) -> Values {
    samples.iter().filter_map(|sample| Some((sample.at, of(sample)?))).collect()
}

/// Processor time only grows: what it took between two samples, in hundredths of that time, is what tells.
fn shares(samples: &[Sample]) -> Values {
    let known: Vec<(Duration, Duration)> =
        samples.iter().filter_map(|sample| Some((sample.at, sample.processor?))).collect();
    // It stands where its time begins.
    let share = |pair: &[(Duration, Duration)]| {
        let [(from, before), (to, after)] = [pair[0], pair[1]];
        let time = to.saturating_sub(from).as_secs_f64().max(f64::MIN_POSITIVE);
        (from, (after.saturating_sub(before).as_secs_f64() / time * 100.0).round() as u64)
    };
    known.windows(2).map(share).collect()
}

/// The greatest value of each column of time; where there is none, it is as it was.
fn write_series(timeline: &Timeline, text: &mut String, name: &str, values: &Values, amount: impl Fn(u64) -> String) {
    let each = || values.iter().map(|(_, value)| *value);
    let (Some(least), Some(most)) = (each().min(), each().max()) else { return };
    // What did not change tells nothing.
    if least == most {
        return;
    }
    let mut columns = [None; BAR];
    for (at, value) in values {
        let column: &mut Option<u64> = &mut columns[place(timeline, *at)];
        *column = (*column).max(Some(*value));
    }
    let mut last = None;
    let mut known = Vec::new();
    for column in columns {
        last = column.or(last);
        known.extend(last.map(|value| value as f64));
    }
    let bar = " ".repeat(BAR - known.len()) + &sparkline(&known);
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {name:<NAME$} {bar} {} to {}", amount(least), amount(most));
}

/// In numbers, and how long before the end that was.
fn write_last(timeline: &Timeline, text: &mut String) {
    let Some(last) = timeline.samples.last() else { return };
    let before = duration(timeline.lasted.saturating_sub(last.at));
    let mut used = Vec::new();
    used.extend(last.memory.map(|count| format!("{} of memory", bytes(count))));
    used.extend(last.descriptors.map(|count| format!("{count} descriptors")));
    used.extend(last.processes.map(|count| format!("{count} child processes")));
    used.extend(last.processor.map(|time| format!("{} of processor time", duration(time))));
    let _ = writeln!(text, "  last sample, {before} before its end: {}", used.join(", "));
}
