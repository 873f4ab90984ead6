//! A test comes to what its body came to, and not to what another libtest makes of that.

use crate::children::{Ran, alone, binary, captured, is_child};
use crate::{here, own_name, process_of};
use std::panic::panic_any;
use termleash::session::BoxError;

/// Its body ran in a process of its own.
#[track_caller]
fn was_apart(ran: &Ran) {
    assert_ne!(process_of(ran, "outside"), process_of(ran, "the body"));
}

fn in_this_file(name: &str) -> String {
    format!("outcomes::{name}")
}

#[test]
fn a_body_that_passes_has_a_process_of_its_own() {
    let Some(ran) = alone(&[]) else {
        here("outside");
        return termleash::test(async |t| {
            here("the body");
            assert_eq!(t.name(), own_name());
            Ok(())
        });
    };
    ran.passed();
    was_apart(&ran);
}

#[test]
fn behind_a_test_its_process_has_no_child() {
    let Some(ran) = alone(&[]) else {
        termleash::test(async |_| Ok(()));
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let children = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")));
        return assert_eq!(children.collect::<Result<String, _>>().unwrap(), "");
    };
    ran.passed();
}

#[test]
fn an_error_fails_the_test_with_its_text_said_once() {
    let Some(ran) = captured(&[]) else { return termleash::test(async |_| Err("no route".into())) };
    ran.failed().says_once(&format!("test `{}` failed: no route", own_name())).says(&["1 failed"]);
}

#[test]
fn a_panic_fails_the_test_and_is_told_once_with_its_place() {
    let Some(ran) = captured(&[]) else { return termleash::test(async |_| panic!("a str")) };
    ran.failed().says_once("a str").says(&["panicked at tests/styles/outcomes.rs", "a str"]);
}

#[test]
fn a_panic_with_arguments_does_the_same() {
    let number = 7;
    let Some(ran) = captured(&[]) else { return termleash::test(async |_| panic!("a string, {number}")) };
    ran.failed().says_once("a string, 7");
}

#[test]
fn a_panic_that_is_no_text_fails_the_test() {
    let Some(ran) = captured(&[]) else { return termleash::test(async |_| panic_any(7)) };
    ran.failed().says(&["panicked at tests/styles/outcomes.rs", "1 failed"]);
}

#[test]
#[should_panic]
fn a_panic_that_is_expected_passes() {
    termleash::test(async |_| panic!("as expected"));
}

#[test]
#[should_panic(expected = "with a payload that is no text")]
fn a_panic_that_is_expected_and_no_text_passes() {
    termleash::test(async |_| panic_any(7));
}

#[test]
#[should_panic(expected = "as expected, 7")]
fn a_panic_with_the_text_that_is_expected_passes() {
    let number = 7;
    termleash::test(async |_| panic!("it is as expected, {number}"));
}

#[test]
#[should_panic(expected = "no route")]
fn an_error_with_the_text_that_is_expected_passes() {
    termleash::test(async |_| Err("no route".into()));
}

#[test]
#[should_panic(expected = "the right text")]
fn another_panic_where_another_is_expected() {
    assert!(is_child(), "the right text");
    termleash::test(async |_| panic!("another text"));
}

#[test]
fn a_panic_with_another_text_than_is_expected_fails_the_test() {
    let ran = binary(&["--exact", &in_this_file("another_panic_where_another_is_expected")], &[]);
    ran.failed().says(&["panic did not contain expected string", "another text", "the right text", "1 failed"]);
}

#[test]
#[should_panic]
fn no_panic_where_one_is_expected() {
    assert!(is_child());
    termleash::test(async |_| Ok(()));
}

#[test]
fn a_body_that_passes_where_a_panic_is_expected_fails_the_test() {
    let ran = binary(&["--exact", &in_this_file("no_panic_where_one_is_expected")], &[]);
    ran.failed().says(&["test did not panic as expected", "1 failed"]);
}

#[test]
#[ignore = "another test runs it"]
fn an_ignored_one() {
    here("outside");
    termleash::test(async |_| {
        here("the body");
        Ok(())
    });
}

#[test]
fn an_ignored_test_runs_when_it_is_asked_for() {
    for ask in ["--ignored", "--include-ignored"] {
        let ran = binary(&["--exact", &in_this_file("an_ignored_one"), "--nocapture", ask], &[]);
        ran.passed();
        was_apart(&ran);
    }
    let ran = binary(&["--exact", &in_this_file("an_ignored_one"), "--nocapture"], &[]);
    ran.says(&["1 ignored"]).does_not_say("the body");
}

#[test]
fn a_thread_with_another_name_than_its_tests_is_told_what_to_do() {
    let Some(ran) = alone(&[]) else {
        let worker = std::thread::Builder::new().name("a worker".into());
        let call = || termleash::test(async |_| Ok(()));
        return assert!(worker.spawn(call).unwrap().join().is_err(), "it passed");
    };
    ran.passed().says(&[
        "test `a worker` was not run: its own process ended",
        "--exact a worker",
        "not named after one",
        "options().in_process()",
        "rerun_with",
    ]);
}

#[test]
fn a_thread_without_a_name_runs_its_body_in_the_test_process() {
    let Some(ran) = alone(&[]) else {
        here("outside");
        let call = || {
            termleash::test(async |_| {
                here("the body");
                Err("no route".into())
            });
        };
        return assert!(std::thread::spawn(call).join().is_err(), "it passed");
    };
    ran.passed().says(&["no route", "containment: in the test process", "rerun_with"]);
    assert_eq!(process_of(&ran, "outside"), process_of(&ran, "the body"));
}

#[test]
fn a_body_that_is_killed_or_ends_its_process_is_a_crash_and_says_how() {
    const WAY: &str = "TEST_WAY";
    for (way, how) in [("kill", "signal 9"), ("abort", "signal 6"), ("exit", "status 0")] {
        let Some(ran) = captured(&[(WAY, way)]) else {
            return termleash::test(async |_| {
                println!("its last words");
                match std::env::var(WAY)?.as_str() {
                    "kill" => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?,
                    "abort" => std::process::abort(),
                    _ => std::process::exit(0),
                }
                Ok(())
            });
        };
        ran.failed().says_once("its last words").says(&["crashed: its process was ended by ", how, "containment: "]);
    }
}

#[test]
fn a_function_that_returns_a_result_passes() -> Result<(), BoxError> {
    let number: u32 = "7".parse()?;
    termleash::test(async |_| {
        assert_eq!(number, 7);
        Ok(())
    });
    Ok(())
}

#[test]
fn a_function_that_returns_an_error_behind_its_call_fails() -> Result<(), BoxError> {
    let Some(ran) = captured(&[]) else {
        termleash::test(async |_| Ok(()));
        return Err("of the function".into());
    };
    ran.failed().says_once("of the function").says(&["1 failed"]);
    Ok(())
}

#[test]
fn a_test_with_a_name_of_its_own_is_found_by_its_threads() {
    let Some(ran) = captured(&[]) else {
        return termleash::options().name("my own name").run(async |t| {
            assert_eq!(t.name(), "my own name");
            Err("no route".into())
        });
    };
    ran.failed().says_once("test `my own name` failed: no route");
}

#[test]
#[should_panic(expected = "crashed: its process was ended by signal 6")]
fn a_crash_is_no_panic_that_was_expected_whatever_its_text_says() {
    let Some(ran) = captured(&[]) else { return termleash::isolated(|| std::process::abort()) };
    ran.failed().says(&["crashed: its process was ended by signal 6", "1 failed"]);
    // As the attribute wants it of this process.
    panic!("crashed: its process was ended by signal 6");
}

#[expect(unsafe_code, reason = "an end without what is registered for it, which std has not")]
fn exit_with(status: i32) -> ! {
    // SAFETY: it ends the process, and runs nothing.
    unsafe { libc::_exit(status) }
}

#[expect(unsafe_code, reason = "what C code registers for the end of its process")]
fn at_exit(act: extern "C" fn()) {
    // SAFETY: a function that needs nothing of what has been taken down by then.
    unsafe { libc::atexit(act) };
}

#[test]
fn a_crash_at_the_end_of_a_process_fails_the_test_that_had_passed() {
    extern "C" fn crash() {
        std::process::abort();
    }
    let Some(ran) = captured(&[]) else { return termleash::isolated(|| at_exit(crash)) };
    ran.failed().says(&["passed, and its process was ended by signal 6 (SIGABRT) after that"]);
}

/// As a leak sanitizer does.
#[test]
fn a_status_of_failure_after_success_fails_the_test() {
    extern "C" fn fail() {
        exit_with(23);
    }
    let Some(ran) = captured(&[]) else { return termleash::isolated(|| at_exit(fail)) };
    ran.failed().says(&["passed, and its process was ended by exit status 23 after that"]);
}

#[test]
fn what_fails_behind_the_closure_in_its_process_alone_fails_the_test() {
    let mut seen = None;
    let Some(ran) = captured(&[]) else {
        termleash::test(async |_| {
            seen = Some(1);
            Ok(())
        });
        // The runner's copy has seen nothing.
        return assert!(seen.is_none_or(|seen| seen == 2), "what was seen is wrong");
    };
    ran.failed().says(&["what stands behind the closure", "what was seen is wrong"]);
}
