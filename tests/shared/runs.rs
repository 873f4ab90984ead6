//! Which tests there are, which members a real run has, and what a nextest that is missing makes of the tests.

#[path = "book.rs"]
mod book;
#[path = "../servers/program.rs"]
mod program;
#[path = "../seen/mod.rs"]
mod seen;

use book::{Book, cargo, cargo_command, hold, is_member, lines, word};
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::{ExitCode, Stdio};
use termleash::options;

/// In each of the two test programs of a run.
const MEMBERS: usize = 4;

const NEEDED: &str = "needs cargo-nextest: cargo install --locked cargo-nextest";

pub(crate) fn main() -> ExitCode {
    // For a process that is started as a server.
    program::run();
    let arguments = Arguments::from_args();
    if is_member() {
        let members = (1..=MEMBERS).map(|member| member_of_a_run(format!("member_{member}")));
        return libtest_mimic::run(&arguments, members.collect()).exit_code();
    }
    let mut nextest = cargo_command();
    nextest.args(["nextest", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let is_missing = !nextest.status().is_ok_and(|status| status.success());
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let trial = |name: &str, run: fn()| {
        let run = move || {
            if is_missing {
                return Err(NEEDED.into());
            }
            run();
            Ok(())
        };
        let trial = Trial::test(name, run).with_ignored_flag(is_missing && !is_ci);
        if is_missing { trial.with_kind(NEEDED) } else { trial }
    };
    let trials = vec![
        trial(
            "all_tests_of_a_run_share_a_server_that_ends_with_it",
            all_tests_of_a_run_share_a_server_that_ends_with_it,
        ),
        trial("two_runs_at_once_have_a_server_each", two_runs_at_once_have_a_server_each),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn member_of_a_run(name: String) -> Trial {
    let again = ["--exact".to_owned(), name.clone(), "--test-threads=1".into(), "--nocapture".into()];
    Trial::test(name.clone(), move || -> Result<(), Failed> {
        options().name(name).rerun_with(again).run(async |_| hold().await);
        Ok(())
    })
}

fn run(book: &Book) {
    let ran = cargo(book, &["nextest", "run", "--no-fail-fast", "--test-threads=4"]);
    assert!(ran.status.success() && ran.text.contains("8 passed"), "{}", ran.text);
    // By nextest's own word nobody of the run holds a test's output open after its end.
    assert!(!ran.text.to_lowercase().contains("leaky"), "{}", ran.text);
}

fn all_tests_of_a_run_share_a_server_that_ends_with_it() {
    let book = Book::new();
    run(&book);
    book.all_had_one(2 * MEMBERS);
}

fn two_runs_at_once_have_a_server_each() {
    let books = [Book::new(), Book::new()];
    std::thread::scope(|scope| books.iter().for_each(|book| drop(scope.spawn(|| run(book)))));
    books.iter().for_each(|book| book.all_had_one(2 * MEMBERS));
    let servers = books.map(|book| word(&lines(&book.path())[0], 0));
    assert_ne!(servers[0], servers[1]);
}
