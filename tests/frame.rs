//! A test's frame, seen from outside: each case runs again in a process of its own, and what that printed is read.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::{alone, with};
use std::fs::File;
use std::mem::forget;
use std::sync::Arc;
use std::time::Duration;
use termleash::leak::{Ignore, Kind, Level};
use termleash::session::BoxError;
use termleash::testing::Flavor;
use termleash::{SessionTestHelper, options};

/// A clean-up that is seen to run.
fn says(text: &str) -> Result<(), BoxError> {
    println!("{text}");
    Ok(())
}

#[test]
fn a_body_that_leaves_its_session_to_the_end_passes_and_is_clean() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let session = t.session("sh").await?;
            assert_eq!(session.run("echo it").await?.stdout(), "it");
            session.keep();
            let other = t.session("sh").await?;
            drop(other);
            t.session("sh").await?.close().await?;
            assert!(t.name().ends_with("passes_and_is_clean"), "{}", t.name());
            Ok(())
        });
    };
    ran.passed().does_not_say("leak check");
}

#[test]
fn a_leak_fails_a_body_that_passed_and_is_named() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        return termleash::test(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    ran.failed().says(&[
        "test `a_leak_fails_a_body_that_passed_and_is_named` passed, and did not end cleanly",
        "1 leaked",
        "leaked: file `/etc/hostname`, descriptor",
        "to do: drop what holds it",
        "(--test-threads=1)",
    ]);
}

#[test]
fn beside_other_tests_a_difference_is_suspicious_told_and_no_failure() {
    let Some(ran) = with(&["--test-threads=2"], &[("TERMLEASH_ISOLATE", "never")]) else {
        return termleash::test(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    ran.passed().says(&[
        "1 suspicious",
        "suspicious: file `/etc/hostname`",
        "run the test alone",
        "other tests may run",
    ]);
}

#[test]
fn under_nextest_and_where_the_test_says_so_it_is_a_failure_beside_others_too() {
    let Some(ran) =
        with(&["--test-threads=2"], &[("NEXTEST_EXECUTION_MODE", "process-per-test"), ("TERMLEASH_ISOLATE", "never")])
    else {
        return termleash::test(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    ran.failed().says(&["leaked: file `/etc/hostname`", "(cargo-nextest)"]);
}

#[test]
fn an_exclusive_test_is_exact() {
    let Some(ran) = with(&["--test-threads=2"], &[]) else {
        return options().exclusive().settle_within(Duration::ZERO).run(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    ran.failed().says(&["leaked: file `/etc/hostname`", "as the check was told"]);
}

#[test]
fn an_error_comes_first_then_the_clean_ups_then_the_leak() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            t.defer(async || Err("the first deferred".into()));
            t.defer(async || Err("the last deferred".into()));
            forget(File::open("/etc/hostname")?);
            Err("the body's own".into())
        });
    };
    ran.failed().says(&[
        "failed: the body's own",
        "tests/frame.rs:",
        "failed: the last deferred",
        "failed: the first deferred",
        "leaked: file `/etc/hostname`",
    ]);
}

#[test]
fn a_panic_goes_on_after_everything_was_cleaned_up_and_told() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let session = t.session("sh").await?;
            t.defer(async move || {
                println!("deferred: {}", session.run("echo alive").await?.stdout());
                Ok(())
            });
            forget(File::open("/etc/hostname")?);
            panic!("the body's own");
        });
    };
    ran.failed().says(&["deferred: alive"]).says(&["the body's own", "panicked, and did not end cleanly", "1 leaked"]);
}

#[test]
fn should_panic_sees_the_bodys_panic() {
    // Of another process it comes as a text of its own.
    let caught = std::panic::catch_unwind(|| termleash::test(async |_| panic!("what it expects")));
    let payload = caught.expect_err("it panics");
    assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("what it expects"));
    let body = || termleash::options().in_process().run(async |_| panic!("what it expects"));
    let payload = std::panic::catch_unwind(body).expect_err("it panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"what it expects"));
}

#[test]
fn two_panics_are_both_told_and_the_bodys_counts() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            t.defer(async || panic!("in the clean-up"));
            t.defer(async || says("and the others run"));
            panic!("in the body");
        });
    };
    ran.failed().says(&["and the others run", "in the body", "in the clean-up", "it panicked: in the clean-up"]);
}

#[test]
fn a_clean_up_that_hangs_is_given_up() {
    let Some(ran) = alone(&[("TERMLEASH_WAIT", "100ms")]) else {
        return termleash::test(async |t| {
            t.defer(async || says("the others run"));
            t.defer(async || {
                std::future::pending::<()>().await;
                Ok(())
            });
            Ok(())
        });
    };
    ran.failed().says(&["the others run", "timed out after 100ms: it was still running, and was given up"]);
}

#[test]
fn a_deadline_drops_the_body_and_names_what_was_alive() {
    let Some(ran) = alone(&[]) else {
        return options().timeout(Duration::from_millis(200)).run(async |t| {
            let _session = t.session("sh").await?;
            t.defer(async || says("and it is cleaned up"));
            std::future::pending().await
        });
    };
    ran.failed()
        .says(&[
            "and it is cleaned up",
            "timed out after 200ms",
            "still alive: session `pty-1` (`sh`), made at tests/frame.rs:",
        ])
        .says(&["thread `", "sleeping"])
        .does_not_say("thread `termleash-")
        .does_not_say("leak check");
}

#[test]
fn the_deadline_of_all_tests_is_a_variable() {
    let Some(ran) = alone(&[("TERMLEASH_TIMEOUT", "150ms")]) else {
        return termleash::test(async |_| std::future::pending().await);
    };
    ran.failed().says(&["timed out after 150ms"]);
}

#[test]
fn a_late_success_is_a_timeout() {
    let Some(ran) = alone(&[]) else {
        return options().timeout(Duration::from_millis(200)).run(async |_| {
            std::thread::sleep(Duration::from_millis(600));
            Ok(())
        });
    };
    ran.failed().says(&["timed out after 200ms"]);
}

/// What it waits for dies with its session, so that it comes back by itself.
#[test]
fn a_body_that_blocks_on_its_session_is_freed_by_the_watchdog() {
    let Some(ran) = alone(&[]) else {
        return options().timeout(Duration::from_millis(200)).run(async |t| {
            let session = t.session("sh").await?;
            let leader = session.leader().ok_or("it has a leader")?.clone();
            // Blocks the thread of the runtime until the shell is dead.
            while leader.is_alive() {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
    };
    ran.failed().says(&["timed out after 200ms", "still alive: session `pty-1`"]).does_not_say("aborted");
}

#[test]
fn a_body_that_blocks_for_ever_is_reported_and_the_process_aborts() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        return options().timeout(Duration::from_millis(200)).run(async |t| {
            let session = t.session("sh").await?;
            println!("the shell is pid {}", session.leader().ok_or("it has a leader")?.pid());
            std::thread::sleep(Duration::from_secs(1000));
            Ok(())
        });
    };
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(ran.status.signal(), Some(6), "{}:\n{}", ran.status, ran.text);
    ran.says(&[
        "did not end within its deadline of 200ms, and blocks its thread",
        "still alive: session `pty-1` (`sh`), made at tests/frame.rs:",
        "(tid ",
        "sleeping in ",
        "to do: let it await instead of block",
    ]);
    let shell = ran.text.split("the shell is pid ").nth(1).and_then(|rest| rest.lines().next());
    let pid: u32 = shell.and_then(|pid| pid.trim().parse().ok()).expect("it printed a pid");
    assert!(termleash::process::ProcessHandle::open(pid).is_err(), "the shell lives: pid {pid}");
}

/// Stopped for longer than its deadline, and then continued, it has all its time left.
#[test]
fn time_spent_stopped_does_not_count() {
    let Some(ran) = alone(&[]) else {
        return options().timeout(Duration::from_millis(900)).run(async |_| {
            let own = std::process::id().to_string();
            let script = format!("kill -STOP {own}; sleep 1.5; kill -CONT {own}");
            let mut child = tokio::process::Command::new("sh").args(["-c", &script]).spawn()?;
            child.wait().await?;
            Ok(())
        });
    };
    ran.passed();
}

#[test]
fn a_blocking_body_has_sessions_and_a_deadline_too() {
    let Some(ran) = alone(&[]) else {
        return options().timeout(Duration::from_millis(300)).run_blocking(|t| {
            t.defer(async || says("and it is cleaned up"));
            let session = t.blocking().create_tracked_session("sh")?;
            assert_eq!(session.run("echo it")?.stdout(), "it");
            // It ends when the watchdog kills its session.
            session.wait_for_exit()?;
            Ok(())
        });
    };
    ran.failed().says(&["and it is cleaned up", "timed out after 300ms", "still alive: session `pty-1` (`sh`)"]);
}

#[test]
fn what_must_be_dropped_and_is_not_is_named_with_its_count_and_place() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "200ms")]) else {
        return termleash::test(async |t| {
            let (held, forgotten, dropped) = (Arc::new(7u64), Arc::new(String::from("x")), Arc::new(1u8));
            t.must_drop(&held);
            t.must_drop(&forgotten);
            t.must_drop(&dropped);
            forget(Arc::clone(&forgotten));
            forget(forgotten);
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
            Ok(())
        });
    };
    ran.failed()
        .says(&[
            "2 leaked",
            "leaked: reference `u64`, 1 strong reference",
            "dropped only when the runtime was shut down",
        ])
        .says(&["leaked: reference `alloc::string::String`, 2 strong references", "made at tests/frame.rs:"])
        .does_not_say("`u8`");
}

#[test]
fn what_ends_with_a_deferred_clean_up_is_dropped_in_time() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let service = Arc::new(7u64);
            t.must_drop(&service);
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let task = tokio::spawn(async move {
                let _ = stopped.await;
                drop(service);
            });
            t.defer(async move || {
                drop(stop);
                Ok(task.await?)
            });
            Ok(())
        });
    };
    ran.passed();
}

#[test]
fn a_blocking_task_that_never_ends_is_a_leaked_thread_and_does_not_hang_the_test() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "200ms")]) else {
        return options().flavor(Flavor::MultiThread(2)).run(async |_| {
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(1000)));
            Ok(())
        });
    };
    // The thread keeps the runtime that it belongs to, too.
    ran.failed().says(&["leaked: 2 epolls", "leaked: thread `tokio", "shut the runtime down"]);
}

#[test]
fn a_runtime_with_threads_that_is_used_leaves_nothing() {
    let Some(ran) = alone(&[]) else {
        return options().flavor(Flavor::MultiThread(3)).run(async |t| {
            let t = t.clone();
            let task = tokio::spawn(async move { t.session("sh").await?.run("echo it").await });
            assert_eq!(task.await??.stdout(), "it");
            tokio::task::spawn_blocking(|| ()).await?;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            tokio::net::TcpStream::connect(listener.local_addr()?).await?;
            Ok(())
        });
    };
    ran.passed().does_not_say("leak check");
}

#[test]
fn levels_ease_a_suite_in() {
    let body = || {
        termleash::test(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    for (level, says) in [("off", ""), ("warn", "leaked: file `/etc/hostname`")] {
        let Some(ran) = alone(&[("TERMLEASH_LEAKS", level)]) else { return body() };
        ran.passed().says(&[says]);
    }
    let ran = alone(&[("TERMLEASH_LEAKS", "paranoid")]).expect("the parent");
    ran.failed().says(&["leaked: file `/etc/hostname`"]);
    let ran = alone(&[("TERMLEASH_LEAKS", "loud")]).expect("the parent");
    ran.failed().says(&["was not run", "TERMLEASH_LEAKS is `loud`", "`off`, `warn`, `fail` or `paranoid`"]);
    let ran = alone(&[("TERMLEASH_REQUIRE", "fds,ports")]).expect("the parent");
    ran.failed().says(&["was not run", "TERMLEASH_REQUIRE is `fds,ports`", "there is no probe `ports`"]);
}

#[test]
fn what_is_ignored_by_rule_is_not_counted() {
    let Some(ran) = alone(&[]) else {
        return options().ignore(Ignore::named(Kind::File, "/etc/host*")).run(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    ran.passed();
}

#[test]
fn a_test_within_a_test_is_refused_by_name() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |_| {
            termleash::test(async |_| Ok(()));
            Ok(())
        });
    };
    ran.failed().says(&["termleash::test was called inside of a test or of a runtime", "a plain `#[test]` function"]);
}

#[test]
fn a_blocking_test_within_a_blocking_test_is_refused_too() {
    let Some(ran) = alone(&[]) else {
        return termleash::testing::test_blocking(|_| {
            termleash::testing::test_blocking(|_| Ok(()));
            Ok(())
        });
    };
    ran.failed().says(&["termleash::test was called inside of a test"]);
}

#[test]
fn at_level_paranoid_a_session_that_is_left_shows_the_stack_of_its_creation() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "1ms")]) else {
        let check = termleash::LeakCheck::new().level(Level::Paranoid);
        let helper = SessionTestHelper::new(termleash::PtyBackend::new());
        let report = termleash::block_on(async {
            helper.create_tracked_session("sh").await.unwrap().keep();
            check.find().await.unwrap()
        });
        println!("{report}");
        termleash::block_on(helper.kill_tracked_sessions()).unwrap();
        return;
    };
    ran.passed().says(&[
        "leaked: session `sh`",
        "made at tests/frame.rs:",
        "stack of its creation:",
        "at_level_paranoid",
    ]);
}
