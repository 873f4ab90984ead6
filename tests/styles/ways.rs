//! However a test process is called, the process below it runs one test: arguments and variables of the harness.

use crate::children::{binary, captured, is_child, with};
use crate::{here, own_name, process_of};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

/// Small tests that run beside each other; one's name is the beginning of another's.
mod beside {
    use crate::own_name;

    macro_rules! tests {
        ($($name:ident)*) => {
            $(#[test]
            fn $name() {
                termleash::options().level(termleash::leak::Level::Warn).run(async |t| {
                    assert_eq!(t.name(), own_name());
                    println!("the body of {} runs", t.name());
                    Ok(())
                });
            })*
        };
    }
    tests! { one two three four five six seven seventy }
}

const BESIDE: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "seventy"];

#[test]
fn any_number_of_test_threads_runs_each_body_once() {
    let threads = |count: &'static str| (["ways::beside", "--nocapture", count], [("NO_COLOR", "1")]);
    let by_variable =
        |count: &'static str| (["ways::beside", "--nocapture", "--color=never"], [("RUST_TEST_THREADS", count)]);
    for (arguments, variables) in
        [threads("--test-threads=1"), threads("--test-threads=8"), by_variable("1"), by_variable("8")]
    {
        let ran = binary(&arguments, &variables);
        assert!(ran.status.success(), "{arguments:?}:\n{}", ran.text);
        ran.says_once("running 8 tests").says_once("8 passed").does_not_say("running 1 test");
        // The process of `seven` has not run `seventy`, too.
        ran.does_not_say("made fewer calls");
        for name in BESIDE {
            ran.says_once(&format!("the body of ways::beside::{name} runs"));
        }
    }
}

#[test]
fn a_filter_that_is_no_whole_name_runs_what_it_names_once() {
    let ran = binary(&["ways::beside::t", "--skip", "three", "--nocapture"], &[]);
    ran.says_once("1 passed").says_once("the body of ways::beside::two runs").does_not_say("::three runs");
}

#[test]
fn the_outer_harness_has_its_options_for_itself() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let log_path = log.path().to_str().unwrap();
    let options = ["--format=terse", "--show-output", "--color=never", "--test-threads=4", "--logfile", log_path];
    let ran = binary(&[&["ways::beside::one"], &options[..]].concat(), &[("RUST_TEST_NOCAPTURE", "0")]);
    ran.says(&["---- ways::beside::one stdout ----", "the body of ways::beside::one runs", "1 passed"]);
    ran.says_once("the body of ways::beside::one runs").says_once("running 1 test").says_once("test result: ");
    let logged = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(logged.matches("ways::beside::one").count(), 1, "{logged}");
}

#[test]
fn a_backtrace_is_the_bodys() {
    #[inline(never)]
    fn a_function_of_the_test() {
        panic!("with a backtrace");
    }
    let Some(ran) = captured(&[("RUST_BACKTRACE", "1")]) else {
        return termleash::test(async |_| {
            a_function_of_the_test();
            Ok(())
        });
    };
    ran.failed().says_once("with a backtrace").says_once("stack backtrace:").says(&[
        "with a backtrace",
        "stack backtrace:",
        "a_function_of_the_test",
    ]);
}

#[test]
fn the_variables_of_the_harness_do_not_change_what_runs() {
    let variables =
        [("RUST_TEST_THREADS", "3"), ("RUST_TEST_NOCAPTURE", "1"), ("NEXTEST_EXECUTION_MODE", "process-per-test")];
    let Some(ran) = with(&[], &variables) else {
        here("outside");
        return termleash::test(async |_| {
            here("the body");
            Ok(())
        });
    };
    ran.passed();
    assert_ne!(process_of(&ran, "outside"), process_of(&ran, "the body"));
}

/// A leak's report has colours on a terminal.
#[test]
fn colours_are_shown_on_a_terminal_also_by_a_body_and_not_where_they_are_unwanted() {
    if is_child() {
        return leaks_a_file();
    }
    let helper = SessionTestHelper::new(PtyBackend::new()).blocking();
    for (no_color, has_colours) in [("", true), ("1", false)] {
        let spec = SessionSpec::new(std::env::current_exe().unwrap())
            .args(["--exact", &own_name(), "--nocapture", "--test-threads=1", "--color=never"])
            .env("TEST_CHILD", "1")
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .size(50, 250);
        let session = helper.create_tracked_session(spec).unwrap();
        session.wait_for_exit().unwrap();
        let bytes = session.output().unwrap().bytes().to_vec();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("leaked") && text.contains("test result: FAILED"), "{text}");
        assert_eq!(text.contains("\x1b["), has_colours, "{text:?}");
        session.close().unwrap();
    }
}

/// Its process runs no other test, whatever the test process does.
#[test]
fn a_bodys_leak_is_its_own_with_any_number_of_test_threads() {
    for threads in ["--test-threads=1", "--test-threads=8"] {
        let Some(ran) = with(&[threads], &[]) else { return leaks_a_file() };
        ran.failed().says(&["leaked: file `/etc/hostname`"]).does_not_say("suspicious");
    }
}

fn leaks_a_file() {
    termleash::testing::test_blocking(|_| {
        std::mem::forget(std::fs::File::open("/etc/hostname")?);
        Ok(())
    });
}

#[test]
fn a_variable_of_the_librarys_own_that_somebody_has_set_is_no_success() {
    let ran = crate::children::binary(&["--list"], &[("TERMLEASH_KEEPER", "900")]);
    ran.failed().says(&["the variable TERMLEASH_KEEPER is the library's own"]);
}
