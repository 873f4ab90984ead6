//! What was still alive when a deadline went by, and what each thread waited for.

use crate::harness::scope::Scope;
use crate::probe::waiting;
use std::fmt::Write;

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
            threads.threads.retain(|thread| !thread.name.starts_with("termleash-"));
            for line in threads.lines() {
                let _ = writeln!(text, "{line}");
            }
        }
        Err(cause) => {
            let _ = writeln!(text, "what the threads wait for could not be read: {cause}");
        }
    }
    text
}
