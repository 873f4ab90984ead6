//! `TERMLEASH_LOG`: what happens, printed as it happens.

use crate::event::moment::{Sample, What};
use crate::event::name::Name;
use crate::settings::Log;
use once_cell::sync::OnceCell;
use std::io::Write;
use std::time::Duration;

struct Live {
    log: Log,
    print: fn(&str),
}

static LIVE: OnceCell<Live> = OnceCell::new();

/// Prints from now on what the setting says; the first who says where counts.
pub(crate) fn print_by(log: Log, print: fn(&str)) {
    if log != Log::Off {
        let _ = LIVE.set(Live { log, print });
    }
}

/// For a helper outside of any test: to standard error itself, since a test's captured output comes at its end.
pub(crate) fn print_to_stderr(text: &str) {
    // There is nobody to tell that standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

pub(crate) fn is_on() -> bool {
    LIVE.get().is_some()
}

/// True if reads, writes and samples are wanted, too.
pub(crate) fn is_of_all() -> bool {
    LIVE.get().is_some_and(|live| live.log == Log::All)
}

pub(crate) fn step(test: Option<&str>, at: Duration, session: Option<Name>, what: &What) {
    let Some(live) = LIVE.get() else { return };
    let session = session.map(|name| format!("session `{}` ", name.text())).unwrap_or_default();
    (live.print)(&line(test, at, &format!("{session}{what}")));
}

pub(crate) fn sample(test: Option<&str>, sample: &Sample) {
    let Some(live) = LIVE.get().filter(|live| live.log == Log::All) else { return };
    let kib = |bytes: u64| format!(" {} KiB", bytes >> 10);
    let count = |count: u64, what: &str| format!(" {count} {what}");
    let mut text = "uses".to_owned();
    text += &sample.memory.map(kib).unwrap_or_default();
    text += &sample.descriptors.map(|number| count(number, "descriptors")).unwrap_or_default();
    text += &sample.processes.map(|number| count(number, "child processes")).unwrap_or_default();
    text += &sample.processor.map(|time| format!(" {time:.3?} of processor time")).unwrap_or_default();
    (live.print)(&line(test, sample.at, &text));
}

/// As one string, so that it is one write.
fn line(test: Option<&str>, at: Duration, text: &str) -> String {
    let test = test.map(|name| format!("{name} ")).unwrap_or_default();
    format!("termleash: {test}+{:.6}s {text}\n", at.as_secs_f64())
}
