//! What settled last, of each kind that a leak check waits for, for real.

use crate::children::alone;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long something stays: on a busy machine, too, a check has looked by then.
const A_WHILE: Duration = Duration::from_millis(1500);
/// So that a check waits for it on any machine.
const PATIENT: (&str, &str) = ("TERMLEASH_SETTLE", "20s");

#[test]
fn a_thread_that_ends_late_settled_last() {
    let Some(ran) = alone(&[PATIENT]) else {
        return termleash::test(async |_| {
            std::thread::Builder::new().name("late-one".into()).spawn(|| std::thread::sleep(A_WHILE))?;
            Err("its own failure".into())
        });
    };
    ran.failed().says(&["failed: its own failure", "timeline: ", "last to settle: thread `late-one`"]);
}

#[test]
#[expect(unsafe_code, reason = "a signal's disposition")]
fn a_child_process_that_ends_late_settled_last() {
    let Some(ran) = alone(&[PATIENT]) else {
        return termleash::test(async |_| {
            // Nobody need reap it then, and nothing else goes with it.
            // SAFETY: no code runs by it, and no other child is waited for.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            Command::new("sleep").arg("1.5").stdin(Stdio::null()).spawn()?;
            Err("its own failure".into())
        });
    };
    ran.failed().says(&["failed: its own failure", "timeline: ", "last to settle: child process `sleep"]);
}

#[test]
fn an_object_that_a_task_drops_late_settled_last() {
    let Some(ran) = alone(&[PATIENT]) else {
        return termleash::test(async |t| {
            let object = Arc::new("it");
            t.must_drop(&object);
            tokio::spawn(async move {
                tokio::time::sleep(A_WHILE).await;
                drop(object);
            });
            Err("its own failure".into())
        });
    };
    ran.failed().says(&["failed: its own failure", "timeline: ", "last to settle: ", "str"]);
}

#[test]
fn where_nothing_had_to_be_waited_for_nothing_is_named() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            t.session("sh").await?.close().await?;
            Err("its own failure".into())
        });
    };
    ran.failed().says(&["timeline: "]).does_not_say("last to settle");
}
