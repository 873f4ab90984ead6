//! Each case of the corpus in a process of its own: what leaks is found and called by its kind, and what does not is not.
//!
//! With `CORPUS_PLAIN=1` the bodies run in the test's own process and without any check of ours, so that other tools can
//! judge them: `CORPUS_PLAIN=1 cargo nextest run --test corpus`.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[path = "corpus/mod.rs"]
#[expect(dead_code, reason = "some of it is for the bench `accuracy`")]
mod corpus;

/// Each hunt by another source is run so many times.
#[cfg(target_os = "linux")]
const TIMES: usize = 3;

/// What private memory finds of each kind of leak.
#[cfg(target_os = "linux")]
const WELL_FOUND: usize = 16 << 10;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use corpus::allocator::Source;
    use corpus::{Case, Expected, USUAL_BYTES};
    use libtest_mimic::{Arguments, Trial};

    if corpus::child::is_one() {
        return ExitCode::SUCCESS;
    }
    let is_plain = std::env::var_os("CORPUS_PLAIN").is_some_and(|value| value == "1");
    let trial = |case: &'static Case| {
        Trial::test(case.path(), move || {
            if is_plain {
                corpus::child::plain(case);
                return Ok(());
            }
            is_as_expected(case, Source::Malloc, corpus::child::check(case, 1)?)
        })
    };
    let by = |source: Source, times: usize, bytes: usize, case: &'static Case| {
        let check = move || is_as_expected(case, source, corpus::child::check_by(source, case, times, bytes)?);
        Trial::test(format!("{source}::{}", case.path()), check)
    };
    let mut trials: Vec<Trial> = corpus::all().map(trial).collect();
    if !is_plain {
        let about_memory = || corpus::all().filter(|case| case.is_about_memory());
        trials.extend(about_memory().map(|case| by(Source::Counted, TIMES, USUAL_BYTES, case)));
        // Of less than 16 KiB a round the bench says how much is found so. But it may never cry wolf.
        trials.extend(about_memory().map(|case| match case.expected {
            Expected::Clean => by(Source::Private, TIMES, USUAL_BYTES, case),
            _ => by(Source::Private, 1, 4 * WELL_FOUND, case),
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[cfg(target_os = "linux")]
fn is_as_expected(
    case: &corpus::Case,
    source: corpus::allocator::Source,
    seen: Vec<corpus::child::Seen>,
) -> Result<(), libtest_mimic::Failed> {
    let expected = case.expected_by(source);
    match seen.into_iter().find(|seen| !seen.is_as(expected)) {
        None => Ok(()),
        Some(seen) => Err(format!("{expected} ({}); it was said:\n{}", case.from, seen.text).into()),
    }
}

/// Nothing is looked at on other systems.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
