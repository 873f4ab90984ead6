//! A program with a `main` of its own that opts in by `rerun_with`: its first argument says what it is to do, and without
//! one that is known it tries all of them.

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::{Command, ExitCode, Output, Stdio};

type Tried = Result<(), Failed>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("subject"), Some(what)) => subject(&what),
        _ => trials(),
    }
}

/// The program that opts in.
fn subject(what: &str) -> ExitCode {
    println!("main is in process {}.", std::process::id());
    let options = || termleash::options().name(what).rerun_with(["subject", what]);
    match what {
        "none" => termleash::options().name(what).run(async |_| {
            println!("the body is in process {}.", std::process::id());
            Ok(())
        }),
        "fails" => options().run(async |_| {
            println!("the body runs");
            Err("no route".into())
        }),
        "dies" => options().run(async |_| std::process::abort()),
        "misses" => termleash::options().name(what).rerun_with(["subject", "another"]).run(async |_| Ok(())),
        "two" => {
            for call in ["the first", "the second"] {
                options().run(async |_| {
                    println!("{call} runs in process {}.", std::process::id());
                    Ok(())
                });
            }
        }
        // By other arguments another process begins, also where the first would go on.
        "each" => call_each(&["each-1", "each-2"]),
        "each-1" => call_each(&["each-1", "unasked"]),
        "each-2" => call_each(&["each-2"]),
        "passes" => options().run(async |t| {
            println!("the body of {} is in process {}.", t.name(), std::process::id());
            eprintln!("and says so");
            Ok(())
        }),
        _ => println!("there is no `{what}`"),
    }
    println!("main goes on");
    ExitCode::from(7)
}

fn call_each(calls: &[&str]) {
    for call in calls {
        termleash::options().name(*call).rerun_with(["subject", *call]).run(async |_| {
            println!("{call} runs");
            Ok(())
        });
    }
}

fn trials() -> ExitCode {
    let mut all = Vec::new();
    if cfg!(target_os = "linux") {
        let trial = |name: &str, run: fn() -> Tried| Trial::test(name, run);
        all.extend([
            trial("a_body_that_passes_runs_apart_and_main_goes_on", a_body_that_passes_runs_apart_and_main_goes_on),
            trial(
                "without_arguments_for_it_a_body_runs_in_the_program",
                without_arguments_for_it_a_body_runs_in_the_program,
            ),
            trial("a_body_that_fails_ends_main_as_a_panic_does", a_body_that_fails_ends_main_as_a_panic_does),
            trial("a_body_that_dies_is_told_by_its_signal", a_body_that_dies_is_told_by_its_signal),
            trial("arguments_that_miss_the_call_are_an_error", arguments_that_miss_the_call_are_an_error),
            trial(
                "calls_by_the_same_arguments_are_answered_by_one_process",
                calls_by_the_same_arguments_are_answered_by_one_process,
            ),
            trial("calls_by_other_arguments_have_each_their_own", calls_by_other_arguments_have_each_their_own),
        ]);
    }
    libtest_mimic::run(&Arguments::from_args(), all).exit_code()
}

struct Ran {
    output: Output,
    text: String,
}

fn run(what: &str) -> Result<Ran, Failed> {
    let output = Command::new(std::env::current_exe()?)
        .args(["subject", what])
        .env("RUST_BACKTRACE", "0")
        .env_remove("NEXTEST_EXECUTION_MODE")
        .stdin(Stdio::null())
        .output()?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(Ran { output, text })
}

impl Ran {
    #[track_caller]
    fn ended_with(&self, status: i32) {
        assert_eq!(self.output.status.code(), Some(status), "{}", self.text);
    }

    #[track_caller]
    fn says_once(&self, part: &str) {
        assert_eq!(self.text.matches(part).count(), 1, "how often {part:?} is in it:\n{}", self.text);
    }

    #[track_caller]
    fn does_not_say(&self, part: &str) {
        assert!(!self.text.contains(part), "{part:?} is in it:\n{}", self.text);
    }

    #[track_caller]
    fn process_after(&self, part: &str) -> &str {
        self.says_once(part);
        let after = self.text.split_once(part).and_then(|(_, after)| after.split_once('.'));
        after.unwrap_or_else(|| panic!("no number after {part:?}:\n{}", self.text)).0
    }
}

fn a_body_that_passes_runs_apart_and_main_goes_on() -> Tried {
    let ran = run("passes")?;
    ran.ended_with(7);
    ran.says_once("and says so");
    ran.says_once("main goes on");
    assert_ne!(ran.process_after("main is in process "), ran.process_after("the body of passes is in process "));
    Ok(())
}

fn without_arguments_for_it_a_body_runs_in_the_program() -> Tried {
    let ran = run("none")?;
    ran.ended_with(7);
    assert_eq!(ran.process_after("main is in process "), ran.process_after("the body is in process "));
    Ok(())
}

fn a_body_that_fails_ends_main_as_a_panic_does() -> Tried {
    let ran = run("fails")?;
    ran.ended_with(101);
    for part in ["main is in process", "the body runs", "test `fails` failed: no route"] {
        ran.says_once(part);
    }
    ran.does_not_say("main goes on");
    Ok(())
}

fn a_body_that_dies_is_told_by_its_signal() -> Tried {
    let ran = run("dies")?;
    ran.ended_with(101);
    ran.says_once("test `dies` crashed: its process was ended by signal 6");
    Ok(())
}

fn arguments_that_miss_the_call_are_an_error() -> Tried {
    let ran = run("misses")?;
    ran.ended_with(101);
    ran.says_once("test `misses` was not run: its own process ended (exit status 7)");
    ran.says_once("It was started with [\"subject\", \"another\"], as `rerun_with` says");
    ran.does_not_say("--exact");
    // What the other process printed.
    ran.says_once("there is no `another`");
    Ok(())
}

fn calls_by_the_same_arguments_are_answered_by_one_process() -> Tried {
    let ran = run("two")?;
    ran.ended_with(7);
    assert_eq!(ran.process_after("the first runs in process "), ran.process_after("the second runs in process "));
    Ok(())
}

fn calls_by_other_arguments_have_each_their_own() -> Tried {
    let ran = run("each")?;
    ran.ended_with(7);
    ran.says_once("each-1 runs");
    ran.says_once("each-2 runs");
    ran.does_not_say("unasked");
    Ok(())
}
