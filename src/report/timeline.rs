//! A timeline as a small chart: a line for each session, letters for what happened to it, at most 100 columns.

use crate::event::{Durations, End, SessionLine, Step, Timeline, What};
use crate::leak::sparkline;
use crate::report::text::{bytes, duration};
use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

/// Characters of a name, of a bar, and lines.
const NAME: usize = 16;
const BAR: usize = 54;
/// How far from its place a letter may stand.
const MOST_SHIFTED: usize = 8;
/// Characters of a series of samples.
const SERIES: usize = 48;
const MOST_LINES: usize = 20;

/// What each letter means, in the order of the legend; where there is no room for all, the last is shown.
const LETTERS: [(char, &str); 12] = [
    ('r', "read"),
    ('w', "wrote"),
    ('z', "resized"),
    ('a', "announced"),
    ('c', "created"),
    ('u', "not tracked any more"),
    ('B', "backend asked to end it"),
    ('H', "HUP"),
    ('T', "TERM"),
    ('K', "KILL"),
    ('x', "gone"),
    ('!', "survived, or over a limit"),
];

impl Timeline {
    /// As a small chart with a legend, at most 100 columns wide.
    pub fn render(&self) -> String {
        let mut text = String::from("timeline: ");
        text += &duration(self.lasted);
        text += &self.durations.as_ref().map(parts).unwrap_or_default();
        text.push('\n');
        let lines = self.shown();
        let mut used = Vec::new();
        for line in &lines {
            let bar = self.bar(line, &mut used);
            let name = short(&line.name);
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<NAME$} {bar} {}", amounts(line).trim_end());
        }
        let more = (self.sessions.len() - lines.len()) as u64 + self.dropped.sessions;
        if more > 0 {
            let _ = writeln!(text, "  and {more} more sessions");
        }
        text += &legend(&used);
        self.write_samples(&mut text);
        text.lines().map(str::trim_end).fold(String::new(), |text, line| text + line + "\n")
    }

    /// Those that are still there first, then the newest; in their order.
    fn shown(&self) -> Vec<&SessionLine> {
        let mut lines: Vec<&SessionLine> = self.sessions.iter().collect();
        lines.sort_by_key(|line| (line.ended.is_some(), Reverse(line.from)));
        lines.truncate(MOST_LINES);
        lines.sort_by_key(|line| line.from);
        lines
    }

    /// Where a moment stands in a bar.
    fn place(&self, at: Duration) -> usize {
        let share = at.as_secs_f64() / self.lasted.as_secs_f64().max(f64::MIN_POSITIVE);
        ((share * BAR as f64) as usize).min(BAR - 1)
    }

    /// A letter stands where its time is, or a little to the right of it where another stands already: the order shows how a session of an
    /// instant lived, too.
    fn bar(&self, line: &SessionLine, used: &mut Vec<usize>) -> String {
        let ended = line.ended.map(|(at, end)| (at, if end == End::Gone { 'x' } else { 'u' }));
        let own = self.moments.iter().filter(|moment| moment.session == Some(line.number));
        let own = own.filter_map(|moment| Some((moment.at, letter(&moment.what)?)));
        let mut letters: Vec<(Duration, char)> = [(line.from, 'a')].into_iter().chain(own).chain(ended).collect();
        letters.sort_by_key(|(at, _)| *at);

        let mut ranks: Vec<Option<usize>> = vec![None; BAR];
        let mut last = None;
        for (at, letter) in letters {
            let rank = LETTERS.iter().position(|(known, _)| *known == letter);
            let true_place = self.place(at);
            let place = match last {
                Some(last) if true_place <= last && ranks[last] == rank => continue,
                Some(last) if last + 1 > (true_place + MOST_SHIFTED).min(BAR - 1) => last,
                Some(last) => true_place.max(last + 1),
                None => true_place,
            };
            ranks[place] = rank.max(ranks[place]);
            last = Some(place);
        }
        let until = self.place(line.ended.map_or(self.lasted, |(at, _)| at)).max(last.unwrap_or_default());
        let from = self.place(line.from);
        let bar = ranks.into_iter().enumerate().map(|(place, rank)| match rank {
            Some(rank) => {
                used.push(rank);
                LETTERS[rank].0
            }
            None if (from..=until).contains(&place) => '─',
            None => ' ',
        });
        bar.collect()
    }

    fn write_samples(&self, text: &mut String) {
        let memory: Vec<u64> = self.samples.iter().filter_map(|sample| sample.memory).collect();
        let descriptors: Vec<u64> = self.samples.iter().filter_map(|sample| sample.descriptors).collect();
        let processes: Vec<u64> = self.samples.iter().filter_map(|sample| sample.processes).collect();
        let processor: Vec<u64> = self
            .samples
            .iter()
            .filter_map(|sample| sample.processor.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
            .collect();
        let plain = |count: u64| count.to_string();
        write_series(text, "memory", &memory, bytes);
        write_series(text, "descriptors", &descriptors, plain);
        write_series(text, "child processes", &processes, plain);
        // It only grows: what it took between two samples is what tells.
        let taken: Vec<u64> = processor.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        write_series(text, "processor", &taken, |micros| duration(Duration::from_micros(micros)));
    }
}

fn letter(what: &What) -> Option<char> {
    Some(match what {
        What::Announced => 'a',
        What::Created => 'c',
        What::Wrote(_) => 'w',
        What::Read(_) => 'r',
        What::Resized { .. } => 'z',
        What::Kill { step: Step::AskedBackend, .. } => 'B',
        What::Kill { step: Step::HungUp, .. } => 'H',
        What::Kill { step: Step::Terminated, .. } => 'T',
        What::Kill { step: Step::Killed, .. } => 'K',
        What::Gone => 'x',
        What::Survived { .. } | What::Breach { .. } => '!',
        What::Untracked => 'u',
    })
}

fn parts(durations: &Durations) -> String {
    let Durations { set_up, body, clean_up, settle, settled_last } = durations;
    let [set_up, body, clean_up, settle] = [set_up, body, clean_up, settle].map(|part| duration(*part));
    let mut text = format!(" = set-up {set_up}, body {body}, clean-up {clean_up}, settle {settle}");
    if let Some(last) = settled_last {
        let _ = write!(text, "\n  last to settle: {}", last.chars().take(76).collect::<String>());
    }
    text
}

/// Its beginning, without what would move the columns.
fn short(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_control() { '?' } else { c });
    if name.chars().count() <= NAME {
        return plain.collect();
    }
    plain.take(NAME - 1).chain(['…']).collect()
}

fn amounts(line: &SessionLine) -> String {
    let mut text = String::new();
    for (letter, flow) in [('w', line.wrote), ('r', line.read)] {
        if flow.times > 0 {
            let _ = write!(text, "{letter} {} ", bytes(flow.bytes));
        }
    }
    text
}

/// In lines of at most 100 columns.
fn legend(used: &[usize]) -> String {
    let mut lines = vec![String::from(" ")];
    for (rank, (letter, meaning)) in LETTERS.iter().enumerate() {
        if !used.contains(&rank) {
            continue;
        }
        let entry = format!(" {letter} {meaning},");
        if lines.last().is_some_and(|line| line.len() + entry.len() > 100) {
            lines.push(String::from(" "));
        }
        if let Some(line) = lines.last_mut() {
            *line += &entry;
        }
    }
    if used.is_empty() { String::new() } else { lines.join("\n").trim_end_matches(',').to_owned() + "\n" }
}

fn write_series(text: &mut String, name: &str, values: &[u64], amount: impl Fn(u64) -> String) {
    let (Some(least), Some(most)) = (values.iter().min(), values.iter().max()) else { return };
    // What did not change tells nothing.
    if least == most {
        return;
    }
    let group = values.len().div_ceil(SERIES);
    let shown: Vec<f64> =
        values.chunks(group).filter_map(|group| group.iter().max()).map(|most| *most as f64).collect();
    let line = sparkline(&shown);
    let _ = writeln!(text, "  {name:<NAME$} {line} {} to {}", amount(*least), amount(*most));
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
