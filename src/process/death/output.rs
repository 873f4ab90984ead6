//! The last words of a process, out of its output: pure.
//!
//! A process that prints one of the fatal messages dies by it, so that a few lines of other threads may stand behind it. A panic
//! may be caught, so that it counts only as the very last thing, or with the runtime's word that it aborts.

use crate::process::death::cause::AbortReason;

/// How many lines of others may stand behind a message that is always fatal.
const MOST_BEHIND: usize = 10;
/// How much of a message is kept.
const MOST_MESSAGE: usize = 400;

/// What was said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastWords {
    pub(super) said: Said,
    /// The lines that say it.
    pub(super) lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    AllocationFailed {
        bytes: Option<u64>,
    },
    HeapLimit,
    StackOverflow {
        thread: Option<String>,
    },
    Aborts {
        reason: AbortReason,
        thread: Option<String>,
        message: Option<String>,
    },
    /// A panic after which it went on.
    Panicked,
}

struct Panic<'a> {
    thread: Option<&'a str>,
    message: String,
    /// Its first line, and the one behind its message and trace.
    at: usize,
    end: usize,
}

impl LastWords {
    pub(super) fn of(output: &str) -> Option<Self> {
        let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
        let panics: Vec<Panic<'_>> = (0..lines.len()).filter_map(|at| panic_at(&lines, at)).collect();
        let mut last = None;
        for at in 0..lines.len() {
            let found = aborting(&lines, at, &panics).or_else(|| fatal(&lines, at));
            // A runtime repeats in its own words what was said already.
            let repeats =
                matches!(&found, Some((Said::Aborts { reason: AbortReason::Runtime, .. }, _))) && last.is_some();
            if !repeats && let Some((said, shown)) = found {
                last = Some((at, said, shown));
            }
        }
        let is_last = |at: usize| lines[at + 1..].iter().filter(|line| !is_trace(line)).count() <= MOST_BEHIND;
        let panic = panics.last();
        let fatal = last.filter(|(at, ..)| is_last(*at));
        match (fatal, panic) {
            (Some((at, said, shown)), panic) if panic.is_none_or(|panic| panic.at < at) => {
                Some(Self { said, lines: shown })
            }
            (_, Some(panic)) => {
                let is_last = lines[panic.end..].iter().all(|line| is_trace(line));
                let said = if is_last { panic.aborts(AbortReason::Panic) } else { Said::Panicked };
                Some(Self { said, lines: panic.shown(&lines) })
            }
            (Some((_, said, shown)), None) => Some(Self { said, lines: shown }),
            (None, None) => None,
        }
    }
}

impl Panic<'_> {
    fn aborts(&self, reason: AbortReason) -> Said {
        let message = Some(self.message.clone()).filter(|message| !message.is_empty());
        Said::Aborts { reason, thread: self.thread.map(str::to_owned), message }
    }

    fn shown(&self, lines: &[&str]) -> Vec<String> {
        let text = format!("{} {}", lines[self.at], self.message);
        vec![cut(text.trim_end())]
    }
}

/// `thread 'NAME' (ID) panicked at PLACE:`, and its message up to what the runtime writes behind it.
fn panic_at<'a>(lines: &[&'a str], at: usize) -> Option<Panic<'a>> {
    let (before, place) = lines[at].split_once("panicked at ")?;
    let thread = thread_in(before);
    if thread.is_none() && !before.is_empty() {
        return None;
    }
    let behind = &lines[at + 1..];
    let is_end = |line: &&str| line.starts_with("note: ") || line.starts_with("stack backtrace:");
    let is_next = |line: &&str| line.contains("panicked at ") || is_abort(line);
    let length = match behind.iter().position(|line| is_end(line) || is_next(line)) {
        Some(length) if is_end(&behind[length]) => length,
        // Without such an end, a further line of it is known by its indent.
        _ => behind.iter().skip(1).position(|line| !line.starts_with(' ')).map_or(behind.len(), |more| more + 1),
    };
    let length = length.min(behind.iter().position(is_next).unwrap_or(behind.len()));
    let message = behind[..length].iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    let mut message = message.collect::<Vec<_>>().join(" ");
    if message.is_empty() && !place.ends_with(':') {
        // As it was written before Rust 1.73.
        message = place.to_owned();
    }
    let rest = behind[length..].iter().position(|line| !is_trace(line)).unwrap_or(behind.len() - length);
    Some(Panic { thread, message: cut(&message), at, end: at + 1 + length + rest })
}

/// The name out of `thread 'NAME' ` or `thread 'NAME' (ID) `, which other output may stand before.
fn thread_in(before: &str) -> Option<&str> {
    let name = &before[before.rfind("thread '")? + "thread '".len()..];
    name.rfind('\'').map(|end| &name[..end])
}

fn is_abort(line: &str) -> bool {
    ["thread caused non-unwinding panic. aborting.", "thread panicked while p"]
        .iter()
        .any(|text| line.starts_with(text))
}

/// The runtime says that it aborts by a panic.
fn aborting(lines: &[&str], at: usize, panics: &[Panic<'_>]) -> Option<(Said, Vec<String>)> {
    if !is_abort(lines[at]) {
        return None;
    }
    let before: Vec<&Panic<'_>> = panics.iter().filter(|panic| panic.at < at).collect();
    let mut shown: Vec<String> = Vec::new();
    let Some((last, earlier)) = before.split_last() else {
        shown.push(cut(lines[at]));
        return Some((Said::Aborts { reason: AbortReason::DoublePanic, thread: None, message: None }, shown));
    };
    let of_thread = |panic: &&&Panic<'_>| panic.thread == last.thread;
    let mut earlier = earlier.iter().rev().filter(of_thread);
    let (reason, own) = match last.message.as_str() {
        "panic in a function that cannot unwind" => (AbortReason::CannotUnwind, earlier.next()),
        "panic in a destructor during cleanup" => (AbortReason::DoublePanic, earlier.next()),
        _ => (AbortReason::DoublePanic, Some(last)),
    };
    let own = own.unwrap_or(last);
    let mut said = own.aborts(reason);
    if reason == AbortReason::DoublePanic
        && let Some(first) = earlier.next()
        && let Said::Aborts { message: Some(message), .. } = &mut said
    {
        *message = cut(&format!("{message} (the first was: {})", first.message));
        shown.extend(first.shown(lines));
    }
    shown.extend(own.shown(lines));
    shown.push(cut(lines[at]));
    Some((said, shown))
}

/// What a process prints that dies by it.
fn fatal(lines: &[&str], at: usize) -> Option<(Said, Vec<String>)> {
    let line = lines[at];
    let has = |texts: &[&str]| texts.iter().any(|text| line.contains(text));
    let from = |text: &str| line.find(text).map(|start| cut(&line[start..]));
    let aborts = |reason, message: String| Said::Aborts { reason, thread: None, message: Some(message) };
    let mut shown = vec![cut(line)];
    let said = if let Some((_, rest)) = line.split_once("memory allocation of ") {
        Said::AllocationFailed { bytes: Some(rest.strip_suffix(" bytes failed")?.parse().ok()?) }
    } else if has(&["JavaScript heap out of memory"]) {
        Said::HeapLimit
    } else if let Some((before, "")) = line.split_once(" has overflowed its stack") {
        Said::StackOverflow { thread: Some(thread_in(before)?.to_owned()) }
    } else if line.ends_with("' failed.") && has(&[": Assertion `"]) {
        aborts(AbortReason::Assertion, from("Assertion `")?)
    } else if has(&["Assertion failed: ", "): assertion failed: "]) {
        aborts(AbortReason::Assertion, from("Assertion failed: ").or_else(|| from("assertion failed: "))?)
    } else if has(&HEAP) {
        aborts(AbortReason::HeapCorruption, cut(line))
    } else if has(&["stack smashing detected", "buffer overflow detected"]) {
        aborts(AbortReason::Overrun, cut(line))
    } else if let Some(what) = line.strip_prefix("terminate called ") {
        let what = what.trim_start_matches("after throwing an instance of ").trim_matches('\'');
        if what == "std::bad_alloc" {
            Said::AllocationFailed { bytes: None }
        } else {
            let said = lines.get(at + 1).and_then(|line| line.trim_start().strip_prefix("what():"));
            shown.extend(said.map(|said| cut(&format!("what(): {}", said.trim()))));
            let said = said.map(|said| format!(": {}", said.trim())).unwrap_or_default();
            aborts(AbortReason::Exception, cut(&format!("{what}{said}")))
        }
    } else {
        aborts(AbortReason::Runtime, line.strip_prefix("fatal runtime error: ")?.to_owned())
    };
    Some((said, shown))
}

/// glibc's words about a heap that is damaged.
const HEAP: [&str; 9] = [
    "double free or corruption",
    "free(): double free",
    "free(): invalid",
    "malloc(): ",
    "realloc(): invalid",
    "munmap_chunk(): invalid",
    "corrupted size vs. prev_size",
    "corrupted double-linked list",
    "invalid fastbin entry",
];

/// A blank line, a note, or a part of a backtrace.
fn is_trace(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_frame = number.len() < line.len() && number.starts_with(": ");
    let begins = ["note: ", "stack backtrace:", "at ", "-----", "fatal runtime error: "];
    line.is_empty() || is_frame || begins.iter().any(|text| line.starts_with(text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
