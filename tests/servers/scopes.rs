//! Servers of a `termleash::test`: they end after the sessions, leave nothing, and show their logs if it fails.

#![cfg(feature = "tokio")]

use crate::children::{self, Ran};
use crate::{script, serving};
use termleash::server::Server;

#[test]
fn a_server_ends_with_the_test_and_leaves_nothing() {
    termleash::test(async |t| {
        let server = t.server(serving("serve")).await?;
        let again = t.server(serving("serve in a child")).await?;
        assert_ne!(server.port(), again.port());
        let shell = t.session("sh").await?;
        assert_eq!(shell.run("echo $((6 * 7))").await?.stdout(), "42");
        shell.keep();
        Ok(())
    });
}

#[test]
fn a_guard_that_is_dropped_at_the_end_of_a_test_is_waited_for() {
    termleash::test(async |_| {
        let _server = serving("serve").start().await?;
        let text = "trap 'sleep 0.3; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        let _other = script(text).ready_line("ready").start().await?;
        Ok(())
    });
}

#[test]
fn a_server_that_was_closed_by_the_test_is_not_ended_again() {
    termleash::test(async |t| {
        let server: Server = t.server(serving("serve")).await?;
        let first = server.close().await?;
        assert_eq!(server.close().await?, first);
        Ok(())
    });
}

#[test]
fn a_test_that_fails_shows_the_end_of_the_log() {
    let Some(ran) = children::alone(&[]) else {
        return termleash::test(async |t| {
            t.server(script("echo it was the cache; exec sleep 1000").ready_line("cache")).await?;
            Err("the answer was wrong".into())
        });
    };
    ran.failed().says(&["the answer was wrong", "the last lines of its log:", "  | it was the cache", "containment"]);
}

#[test]
fn a_test_that_panics_shows_the_end_of_the_log() {
    let Some(ran) = children::alone(&[]) else {
        return termleash::test(async |t| {
            t.server(script("echo it was the cache; exec sleep 1000").ready_line("cache")).await?;
            panic!("the answer was wrong");
        });
    };
    ran.failed().says(&["the answer was wrong", "panicked; the server `sh -c", "  | it was the cache"]);
}

#[test]
fn a_server_that_dies_fails_the_test() {
    let Some(ran) = children::alone(&[]) else {
        return termleash::test(async |t| {
            let text = "echo ready; until [ -e $HOME/end ]; do sleep 0.01; done";
            let server = t.server(script(text).ready_line("ready")).await?;
            std::fs::write(server.home().join("end"), "")?;
            while server.is_alive() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Ok(())
        });
    };
    ran.failed().says(&["passed, and did not end cleanly", "died during the test: by exit status 0"]);
}

/// What its sessions' end cannot be proven for, since nobody can be asked any more.
#[test]
fn a_server_that_dies_is_told_before_its_sessions_and_each_once() {
    let Some(ran) = children::alone(&[]) else {
        return termleash::test(async |t| {
            let server = t.server(script("echo it was the cache; exec sleep 1000").ready_line("cache")).await?;
            t.helper().track_with("s-1", |_| async { Err("no route to it".into()) })?;
            crate::seen::kill(server.pid());
            crate::seen::soon("its end", || !server.is_alive());
            Ok(())
        });
    };
    let parts = ["died during the test: by signal 9", "  | it was the cache", "session `s-1`", "no route to it"];
    ran.failed().says(&parts).says_once("  | it was the cache").says_once("NOT proven gone");
    ran.does_not_say("end of a SessionTestHelper");
}

#[test]
fn a_deadline_names_the_servers_that_are_alive() {
    let Some(ran) = children::alone(&[]) else {
        return termleash::options().timeout(std::time::Duration::from_millis(500)).run(async |t| {
            t.server(script("echo ready; exec sleep 1000").ready_line("ready")).await?;
            std::future::pending().await
        });
    };
    ran.failed().says(&["timed out after 500ms", "still alive: the server `sh -c", "to do: end what it waits for"]);
}

#[test]
fn a_server_in_the_test_process_ends_too() {
    let Some(ran): Option<Ran> = children::alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        return termleash::test(async |t| {
            t.server(serving("serve")).await?;
            let _dropped = serving("serve").start().await?;
            Ok(())
        });
    };
    ran.passed();
}
