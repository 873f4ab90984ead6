//! What is late is told with what its threads do: sessions, servers and bodies.

use crate::children::alone;
use std::time::Duration;
use termleash::server::ServerGuard;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, block_on};

/// Root sees the stack, others why not; the innermost frame is the wait channel.
#[track_caller]
fn says_where(text: &str, call: &str) {
    assert!(text.contains("sleeping in "), "{text}");
    assert!(text.contains(&format!(", in the system call `{call}`")), "{text}");
    let of_root = text.contains("; stack: ");
    assert_ne!(of_root, text.contains("not available: "), "{text}");
}

#[test]
fn a_session_at_its_deadline_says_what_its_leader_and_its_foreground_wait_for() {
    let helper = SessionTestHelper::new(PtyBackend::new());
    block_on(async {
        let session =
            helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "-i"])).await.expect("it starts");
        // The shell gives its terminal to what it runs.
        session.write_line("echo re''ady; sleep 1000").await.expect("it reads");
        session.wait_for_text("ready").await.expect("it says so");
        let limit = Duration::from_millis(500);
        let error = loop {
            let error = session.wait_for_text_within("what never comes", limit).await.expect_err("it never comes");
            if error.to_string().contains("in the foreground is `sleep`") {
                break error;
            }
        };
        let text = error.to_string();
        let (_, told) = text.split_once("; its leader is `bash` (pid ").expect("it is named");
        says_where(told, "clock_nanosleep");
        let error = session.wait_for_exit_within(limit).await.expect_err("it lives").to_string();
        says_where(&error, "clock_nanosleep");
        session.close().await.expect("it ends");
    });
}

#[test]
fn a_server_that_is_not_ready_or_does_not_end_says_what_its_threads_do() {
    block_on(async {
        let spec = ServerGuard::command("sleep").args(["1000"]).without_port().ready_line("what never comes");
        let error = spec.ready_within(Duration::from_millis(500)).start().await.expect_err("it is not ready");
        let text = error.to_string();
        let (_, threads) = text.split_once("its threads:\n    thread `sleep` (tid ").expect("it has one");
        says_where(threads, "clock_nanosleep");
    });
}

/// By its own watchdog, and by its keeper where that cannot.
#[test]
fn a_body_that_blocks_says_where() {
    let Some(ran) = alone(&[("TERMLEASH_TIMEOUT", "300ms")]) else {
        return termleash::test(async |_| {
            let (read, write) = std::io::pipe()?;
            let mut read = std::io::BufReader::new(read);
            std::io::BufRead::read_line(&mut read, &mut String::new())?;
            drop(write);
            Ok(())
        });
    };
    ran.failed().says_once("blocks its thread").says(&[
        "thread `",
        "sleeping in ",
        ", in the system call `read` of descriptor ",
    ]);
    assert_ne!(
        ran.text.contains("; stack: "),
        ran.text.contains("stacks in the kernel are not available: "),
        "{}",
        ran.text
    );
}
