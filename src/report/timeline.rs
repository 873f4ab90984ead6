//! A timeline as a small chart: a line for each session, letters for what happened to it, at most 100 columns.

use crate::event::{Durations, End, Moment, SessionLine, Step, Timeline, What};
use crate::report::text::{bytes, duration};
use crate::report::timeline_series::{self, BAR, NAME, place};
use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

/// How far from its place a letter may stand.
const MOST_SHIFTED: usize = 8;
const MOST_LINES: usize = 20;
/// How many breaches are told in words, and columns of each.
const MOST_BREACHES: usize = 6;
const LONGEST_LINE: usize = 98;

/// What each letter means, in the order of the legend; where there is no room for all, the last is shown.
const LETTERS: [(char, &str); 13] = [
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
    ('!', "survived"),
    ('L', "over a limit"),
];

impl Timeline {
    /// As a small chart with a legend, at most 100 columns wide.
    pub fn render(&self) -> String {
        let mut text = String::from("timeline: ");
        if self.is_of_dead {
            text = "timeline until its process died, read after that: ".into();
        }
        text += &time(self.lasted);
        text += &self.durations.as_ref().map(|durations| parts(durations, self.is_of_dead)).unwrap_or_default();
        text.push('\n');
        let lines = self.shown();
        let mut used = Vec::new();
        for line in &lines {
            let bar = self.bar(line, &mut used);
            let name = short(&line.name);
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name} {bar} {}", amounts(line).trim_end());
        }
        let more = self.dropped.sessions.saturating_add((self.sessions.len() - lines.len()) as u64);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more session{}", if more == 1 { "" } else { "s" });
        }
        let own = self.letters(None);
        if !own.is_empty() {
            let bar = self.bar_of(own, (Duration::ZERO, self.lasted), &mut used);
            let _ = writeln!(text, "  {:<NAME$} {bar}", "the test");
        }
        text += &legend(&used);
        self.write_breaches(&mut text);
        timeline_series::write(self, &mut text);
        if self.dropped.torn > 0 {
            let _ = writeln!(text, "  {} of its records could not be read, and are missing here", self.dropped.torn);
        }
        text.lines().map(str::trim_end).fold(String::new(), |text, line| text + line + "\n")
    }

    /// Those that went wrong first, then those that are still there, then the newest; in their order.
    fn shown(&self) -> Vec<&SessionLine> {
        let is_wrong = |moment: &&Moment| matches!(moment.what, What::Survived { .. } | What::Breach { .. });
        let wrong: Vec<u32> = self.moments.iter().filter(is_wrong).filter_map(|moment| moment.session).collect();
        let mut lines: Vec<&SessionLine> = self.sessions.iter().collect();
        lines.sort_by_key(|line| (!wrong.contains(&line.number), line.ended.is_some(), Reverse(line.from)));
        lines.truncate(MOST_LINES);
        lines.sort_by_key(|line| line.from);
        lines
    }

    /// What happened to a session, or to the whole test.
    fn letters(&self, session: Option<u32>) -> Vec<(Duration, char)> {
        let own = self.moments.iter().filter(|moment| moment.session == session);
        own.filter_map(|moment| Some((moment.at, letter(&moment.what)?))).collect()
    }

    fn bar(&self, line: &SessionLine, used: &mut Vec<usize>) -> String {
        let ended = line.ended.map(|(at, end)| (at, if end == End::Gone { 'x' } else { 'u' }));
        let own = self.letters(Some(line.number));
        let letters = [(line.from, 'a')].into_iter().chain(own).chain(ended).collect();
        self.bar_of(letters, (line.from, line.ended.map_or(self.lasted, |(at, _)| at)), used)
    }

    /// A letter stands where its time is, or a little to the right of it where another stands already: the order shows how a session of an
    /// instant lived, too.
    fn bar_of(
        &self,
        mut letters: Vec<(Duration, char)>,
        (from, until): (Duration, Duration),
        used: &mut Vec<usize>,
    ) -> String {
        letters.sort_by_key(|(at, _)| *at);

        let mut ranks: Vec<Option<usize>> = vec![None; BAR];
        let mut last = None;
        for (at, letter) in letters {
            let rank = LETTERS.iter().position(|(known, _)| *known == letter);
            let true_place = place(self, at);
            let place = match last {
                Some(last) if true_place <= last && ranks[last] == rank => continue,
                Some(last) if last + 1 > (true_place + MOST_SHIFTED).min(BAR - 1) => last,
                Some(last) => true_place.max(last + 1),
                None => true_place,
            };
            ranks[place] = rank.max(ranks[place]);
            last = Some(place);
        }
        let until = place(self, until).max(last.unwrap_or_default());
        let from = place(self, from);
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

    /// A limit that was reached, in words: a letter does not say which.
    fn write_breaches(&self, text: &mut String) {
        let is_breach = |moment: &&Moment| matches!(moment.what, What::Breach { .. });
        let breaches: Vec<&Moment> = self.moments.iter().filter(is_breach).collect();
        for moment in breaches.iter().take(MOST_BREACHES) {
            let line = self.sessions.iter().find(|line| Some(line.number) == moment.session);
            let who = line.map_or_else(|| "the test".into(), |line| format!("session `{}`", line.name));
            let told = plain(&format!("{who} at {}: {}", time(moment.at), moment.what));
            let _ = writeln!(text, "  {}", cut(&told, LONGEST_LINE));
        }
        if breaches.len() > MOST_BREACHES {
            let _ = writeln!(text, "  and {} more times over a limit", breaches.len() - MOST_BREACHES);
        }
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
        What::Survived { .. } => '!',
        What::Breach { .. } => 'L',
        What::Untracked => 'u',
    })
}

fn parts(durations: &Durations, is_of_dead: bool) -> String {
    let Durations { set_up, body, clean_up, settle, settled_last } = durations;
    let parts = [("set-up", set_up), ("body", body), ("clean-up", clean_up), ("settle", settle)];
    // What a dead one has not come to.
    let parts = parts.into_iter().filter(|(_, length)| !is_of_dead || !length.is_zero());
    let parts: Vec<String> = parts.map(|(name, length)| format!("{name} {}", time(*length))).collect();
    let mut text = format!(" = {}", parts.join(", "));
    if let Some(last) = settled_last {
        let _ = write!(text, "\n  {}", cut(&plain(&format!("last to settle: {last}")), LONGEST_LINE));
    }
    text
}

/// Long ones as people say them.
fn time(length: Duration) -> String {
    if length < Duration::from_secs(120) {
        return duration(length);
    }
    humantime::format_duration(Duration::from_secs(length.as_secs())).to_string()
}

/// A name in its column, also where its characters take two.
fn short(name: &str) -> String {
    let text = cut(&plain(name), NAME);
    let rest = NAME - width(&text);
    text + &" ".repeat(rest)
}

/// Without what would move what stands behind it, or would not be seen.
fn plain(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{300}'..='\u{36F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' |
            '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E0FFF}')
    };
    text.chars().map(|c| if is_hidden(c) { '?' } else { c }).collect()
}

/// Its beginning, if it has more columns.
fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.into();
    }
    let mut left = most - 1;
    let fits = |c: &char| {
        let columns = columns(*c);
        let is_room = columns <= left;
        left -= if is_room { columns } else { left };
        is_room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// How many a terminal gives it, by the blocks of UAX #11 that are wide as a whole; a rare character beside them moves its line.
fn columns(c: char) -> usize {
    let is_wide = matches!(c, '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{303E}' | '\u{3041}'..='\u{A4CF}' |
        '\u{AC00}'..='\u{D7A3}' | '\u{F900}'..='\u{FAFF}' | '\u{FE30}'..='\u{FE6F}' | '\u{FF00}'..='\u{FF60}' |
        '\u{FFE0}'..='\u{FFE6}' | '\u{1F300}'..='\u{1F64F}' | '\u{1F680}'..='\u{1F6FF}' | '\u{1F900}'..='\u{1F9FF}' |
        '\u{20000}'..='\u{3FFFD}');
    if is_wide { 2 } else { 1 }
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

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
