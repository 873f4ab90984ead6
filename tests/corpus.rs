//! Each case of the corpus in a process of its own: what leaks is found and called by its kind, and what does not is not.
//!
//! With `CORPUS_PLAIN=1` the bodies run in the test's own process and without any check of ours, so that other tools can
//! judge them: `CORPUS_PLAIN=1 cargo nextest run --test corpus`.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[path = "corpus/mod.rs"]
#[expect(dead_code, reason = "some of it is for the bench `accuracy`")]
mod corpus;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use libtest_mimic::{Arguments, Failed, Trial};

    if corpus::child::is_one() {
        return ExitCode::SUCCESS;
    }
    let is_plain = std::env::var_os("CORPUS_PLAIN").is_some_and(|value| value == "1");
    let trial = |case: &'static corpus::Case| {
        Trial::test(case.path(), move || {
            if is_plain {
                corpus::child::plain(case);
                return Ok(());
            }
            let seen = corpus::child::check(case, 1)?.remove(0);
            if seen.is_as(case.expected) {
                return Ok(());
            }
            Err(Failed::from(format!("{} ({}); it was said:\n{}", case.expected, case.from, seen.text)))
        })
    };
    libtest_mimic::run(&Arguments::from_args(), corpus::all().map(trial).collect()).exit_code()
}

/// Nothing is looked at on other systems.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
