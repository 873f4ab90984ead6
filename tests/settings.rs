//! What `TERMLEASH_…` variables do, good ones and malformed ones, and which variables reach no session.
//!
//! In a binary of its own: each test runs again in a child process that has the variables from its start.

#![cfg(target_os = "linux")]

#[path = "it/checked.rs"]
mod checked;

use checked::{checked_alone, checked_blocking};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use termleash::process::KillAction;
use termleash::session::{FakeBackend, Fault, Method};
use termleash::{Error, PtyBackend, SessionBackend, SessionSpec, SessionTestHelper, block_on, tracker::BlockingGuard};

/// Says that this process is the child in which a test's body runs, and which of them.
const CHILD: &str = "SETTINGS_CHILD";

/// In the test's process: runs this test again with the variables set. In that one: runs the body.
fn with(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    with_checked_by(checked_alone, test, variables, body);
}

/// Not under the leak check in that process: it reads the variables too, and refuses malformed ones.
fn with_malformed<F: FnOnce()>(test: &str, variables: &[(&str, &str)], body: F) {
    with_checked_by(|body: F| body(), test, variables, body);
}

fn with_checked_by<F: FnOnce()>(checked: fn(F), test: &str, variables: &[(&str, &str)], body: F) {
    let which = variables.iter().map(|(name, value)| format!("{name}={value};")).collect::<String>();
    if let Some(child) = std::env::var_os(CHILD) {
        if child == which.as_str() {
            checked(body);
            println!("the body has run to its end");
        }
        return;
    }
    checked_blocking(|| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs(variables.iter().copied())
            .env(CHILD, &which)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let has_run = text.contains("the body has run to its end") && text.contains("1 passed");
        assert!(output.status.success() && has_run, "with {which} {}:\n{text}", output.status);
    });
}

fn helper() -> SessionTestHelper {
    SessionTestHelper::new(PtyBackend::new())
}

/// Waits until all that it printed is there: its terminal is closed after that.
fn over(session: &BlockingGuard) {
    session.wait_for_exit().unwrap();
    let start = Instant::now();
    while session.window_size().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "its terminal is not closed within 20 s");
        std::thread::yield_now();
    }
}

fn names(error: &Error, variable: &str, value: &str, good: &str) {
    let text = error.to_string();
    assert!(error.is_invalid_input(), "{text}");
    assert!(text.contains(&format!("{variable} is `{value}`")) && text.contains(good), "{text}");
}

#[test]
fn a_malformed_variable_is_an_error_that_names_it_its_value_and_a_good_one() {
    let cases = [
        ("TERMLEASH_GRACE", "soon", "`500ms`"),
        ("TERMLEASH_GRACE", "", "`500ms`"),
        ("TERMLEASH_WAIT", "-1s", "`500ms`"),
        ("TERMLEASH_WAIT", "10", "`500ms`"),
        ("TERMLEASH_CREATE_TIMEOUT", "5 parsecs", "`500ms`"),
        ("TERMLEASH_MAX_OUTPUT", "much", "`64KiB`"),
        ("TERMLEASH_MAX_OUTPUT", "1B", "`64KiB`"),
        ("TERMLEASH_MAX_OUTPUT", "5TiB", "`64KiB`"),
    ];
    for (variable, value, good) in cases {
        let test = "a_malformed_variable_is_an_error_that_names_it_its_value_and_a_good_one";
        with_malformed(test, &[(variable, value)], || {
            let helper = helper();
            let error = block_on(helper.create_tracked_session("sh")).unwrap_err();
            names(&error, variable, value, good);
            names(&block_on(helper.track_session("pty-1")).unwrap_err(), variable, value, good);
            let nobody = block_on(helper.kill_tracked_sessions()).unwrap();
            assert!(nobody.is_proven() && nobody.outcomes().is_empty() && helper.tracked_count() == 0);
            assert!(helper.survivors().unwrap().is_empty());
        });
    }
}

/// So that there is no session whose end would depend on a value that cannot be read.
#[test]
fn a_malformed_variable_is_an_error_of_a_backend_that_is_used_without_a_helper() {
    let test = "a_malformed_variable_is_an_error_of_a_backend_that_is_used_without_a_helper";
    for variable in ["TERMLEASH_GRACE", "TERMLEASH_WAIT", "TERMLEASH_MAX_OUTPUT"] {
        with_malformed(test, &[(variable, "soon")], || {
            let backend = PtyBackend::new().max_output(8192);
            let error = block_on(backend.create(&SessionSpec::new("sleep").arg("1000"))).expect_err("an error");
            names(error.downcast_ref().expect("one of ours"), variable, "soon", "such as");
            assert!(block_on(backend.list()).unwrap().is_empty());
        });
    }
}

#[test]
fn the_grace_is_what_the_variable_says_unless_the_helper_says_otherwise() {
    let test = "the_grace_is_what_the_variable_says_unless_the_helper_says_otherwise";
    with(test, &[("TERMLEASH_GRACE", "1s 200ms")], || {
        let killed_at = |helper: SessionTestHelper| {
            let script = "trap '' HUP TERM; echo ready; while :; do sleep 1000; done";
            let session = block_on(helper.create_tracked_session(SessionSpec::shell(script))).unwrap();
            block_on(session.wait_for_text("ready")).unwrap();
            let outcome = block_on(session.close()).unwrap();
            outcome.steps().iter().find(|step| step.action == KillAction::Killed).expect("it ignores the rest").at
        };
        // Twice the default, and then some.
        assert!(killed_at(helper()) >= Duration::from_millis(1200));
        let of_its_own = termleash::process::KillPolicy::default().grace(Duration::from_millis(100));
        assert!(killed_at(helper().with_policy(of_its_own)) >= Duration::from_millis(100));
    });
}

#[test]
fn the_output_is_kept_as_far_as_the_variable_says_unless_the_backend_says_otherwise() {
    let test = "the_output_is_kept_as_far_as_the_variable_says_unless_the_backend_says_otherwise";
    with(test, &[("TERMLEASH_MAX_OUTPUT", "4KiB")], || {
        let kept = |backend: PtyBackend| {
            let helper = SessionTestHelper::new(backend).blocking();
            let spec = SessionSpec::shell("head -c 100000 /dev/zero | tr '\\0' x");
            let session = helper.create_tracked_session(spec).unwrap();
            over(&session);
            let output = session.output().unwrap();
            session.close().unwrap();
            (output.bytes().len(), output.dropped_bytes())
        };
        assert_eq!(kept(PtyBackend::new()), (4096, 100_000 - 4096));
        assert_eq!(kept(PtyBackend::new().max_output(1 << 20)), (100_000, 0));
    });
}

#[test]
fn every_wait_ends_when_the_variable_says_and_tells_of_it() {
    with("every_wait_ends_when_the_variable_says_and_tells_of_it", &[("TERMLEASH_WAIT", "300ms")], || {
        let helper = helper().blocking();
        let session = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).unwrap();
        // More lines than a terminal holds for a program that does not read them.
        let unread = session.write("a line\r".repeat(100_000)).unwrap_err();
        let errors = [
            unread,
            session.wait_for_text("never").unwrap_err(),
            session.wait_for_exit().unwrap_err(),
            session.run("echo hi").unwrap_err(),
        ];
        for error in &errors {
            assert!(error.is_timeout() && error.to_string().starts_with("timed out after 300ms: "), "{error}");
            assert!(error.to_string().contains(session.id().as_str()), "{error}");
        }
        let text = errors[0].to_string();
        assert!(text.contains("typing 700000 bytes") && text.contains("its program does not read them"), "{text}");
        // Whatever was typed, it ends like any other.
        assert!(session.close().unwrap().is_proven());
    });
}

#[test]
fn a_creation_may_take_as_long_as_the_variable_says() {
    let test = "a_creation_may_take_as_long_as_the_variable_says";
    with(test, &[("TERMLEASH_CREATE_TIMEOUT", "200ms")], || {
        let helper = SessionTestHelper::new(FakeBackend::new().fault(Fault::Hangs(Method::Create)));
        let error = block_on(helper.create_tracked_session("bash")).unwrap_err();
        assert!(error.is_timeout() && error.to_string().starts_with("timed out after 200ms: "), "{error}");
        assert!(block_on(helper.kill_tracked_sessions()).unwrap().is_proven());
    });
}

#[test]
fn what_is_ours_or_of_another_terminal_reaches_no_session_but_an_outer_suites_mark_does() {
    let outer = ("TERMLEASH_S_0123456789abcdef", "01939b1c4e2f7d3a8b5c6d7e8f901234");
    let variables = [
        ("TERMLEASH_WAIT", "1m"),
        ("TERMLEASH_OF_A_LATER_RELEASE", "1"),
        ("NEXTEST_RUN_ID", "1"),
        ("LINES", "7"),
        ("COLUMNS", "9"),
        ("TERM", "dumb"),
        ("ANYTHING_ELSE", "passes"),
        outer,
    ];
    let test = "what_is_ours_or_of_another_terminal_reaches_no_session_but_an_outer_suites_mark_does";
    with(test, &variables, || {
        let helper = helper().blocking();
        let prints = |spec: SessionSpec| {
            let session = helper.create_tracked_session(spec).unwrap();
            over(&session);
            let text = session.output().unwrap().text();
            session.close().unwrap();
            text
        };
        let text = prints(SessionSpec::new("env"));
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        for withheld in ["TERMLEASH_WAIT", "TERMLEASH_OF_A_LATER_RELEASE", "NEXTEST_RUN_ID", "LINES", "COLUMNS"] {
            assert_eq!(value(withheld), None, "{text}");
        }
        assert_eq!((value("TERM"), value("ANYTHING_ELSE")), (Some("xterm-256color"), Some("passes")));
        assert_eq!(value(outer.0), Some(outer.1));
        assert_eq!(prints(SessionSpec::new("tput").arg("cols").size(24, 132)), "132\n");
        // What the test says itself is what the session gets.
        let said = prints(SessionSpec::new("env").env("NEXTEST_RUN_ID", "2").env("COLUMNS", "3"));
        assert!(said.contains("NEXTEST_RUN_ID=2\n") && said.contains("COLUMNS=3\n"), "{said}");
    });
}
