//! What was still alive when a deadline went by, and what each thread waited for.

use crate::harness::scope::Scope;
use crate::probe::waiting;
use std::fmt::Write;

/// More threads than this are counted.
const MOST_THREADS: usize = 30;

/// The lines of a report.
pub(crate) fn describe(scope: &Scope) -> String {
    let mut text = String::new();
    for helper in scope.helpers() {
        for line in helper.tracked_lines() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "still alive: {line}");
        }
    }
    for line in scope.servers().alive() {
        let _ = writeln!(text, "still alive: {line}");
    }
    match waiting::of_all_threads() {
        Ok(mut threads) => {
            threads.retain(|thread| !thread.name.starts_with("termleash-"));
            for thread in threads.iter().take(MOST_THREADS) {
                let _ = writeln!(text, "{thread}");
            }
            if let Some(more) = threads.len().checked_sub(MOST_THREADS).filter(|more| *more > 0) {
                let _ = writeln!(text, "and {more} more threads");
            }
        }
        Err(cause) => {
            let _ = writeln!(text, "what the threads wait for could not be read: {cause}");
        }
    }
    text
}
