//! A test's frame and what a test does within it: checks, hunts and helpers of its own.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::{alone, captured, with};
use std::fs::File;
use std::mem::forget;
use std::sync::Arc;
use std::time::Duration;
use termleash::leak::{Gauge, Ignore, Kind, LeakHunt, Level, Verdict};
use termleash::session::FakeBackend;
use termleash::{LeakCheck, assert_no_leaks, options};

/// The watchdog's thread starts after a tenth of a second.
async fn until_the_watchdog_runs() {
    let is_there = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
            .any(|name| name.trim() == "termleash-watch")
    };
    while !is_there() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_check_and_a_hunt_within_a_test_do_not_see_its_watchdog() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |_| {
            let check = LeakCheck::new();
            let mut hunt = None;
            let rounds = LeakHunt::new().counts_only().run(async |round| {
                if round == 5 {
                    until_the_watchdog_runs().await;
                }
                Ok(())
            });
            hunt.replace(rounds.await?);
            let threads =
                hunt.into_iter().flat_map(|report| report.series).find(|series| series.gauge == Gauge::Threads);
            assert_eq!(threads.map(|series| series.verdict), Some(Verdict::Clean));
            assert!(assert_no_leaks!(check.find().await).is_clean());
            Ok(())
        });
    };
    ran.passed().does_not_say("termleash-watch");
}

#[test]
fn a_check_within_a_test_sees_the_sessions_of_the_test() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "50ms")]) else {
        return termleash::test(async |t| {
            let check = LeakCheck::new();
            let session = t.session("sh").await?.keep();
            let report = check.find().await?;
            let found: Vec<Kind> = report.findings.iter().map(|finding| finding.item().kind).collect();
            assert_eq!(found, [Kind::Session], "{report}");
            assert_eq!(report.findings[0].item().number, session.leader().map(|leader| leader.pid()));
            Ok(())
        });
    };
    ran.passed();
}

#[test]
fn an_error_that_comes_too_late_is_told_beside_the_timeout() {
    let Some(ran) = alone(&[]) else {
        return options().timeout(Duration::from_millis(150)).run(async |_| {
            std::thread::sleep(Duration::from_millis(400));
            Err("the body's own".into())
        });
    };
    ran.failed().says(&["timed out after 150ms", "and failed then: the body's own"]);
}

/// The baseline is looked at more closely than the end is, or the other way round.
#[test]
fn a_level_of_the_test_beside_another_of_the_run_compares_like_with_like() {
    let body = || {
        options().level(Level::Fail).settle_within(Duration::ZERO).run(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    let Some(ran) = alone(&[("TERMLEASH_LEAKS", "paranoid")]) else { return body() };
    ran.failed().says(&["1 leaked", "leaked: file `/etc/hostname`"]).does_not_say("closed and replaced");
}

#[test]
fn what_was_there_when_a_rule_was_made_is_ignored_at_every_level() {
    let Some(ran) = alone(&[]) else {
        let check = LeakCheck::new().level(Level::Paranoid).settle_within(Duration::ZERO);
        let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let check = check.ignore(Ignore::current());
        assert_no_leaks!(check);
        return drop(eventfd);
    };
    ran.passed();
}

/// Beside other tests only what may be theirs is waited for shortly.
#[test]
fn what_must_be_dropped_has_all_its_time_beside_other_tests() {
    let Some(ran) = with(&["--test-threads=2"], &[]) else {
        let check = LeakCheck::new();
        let held = Arc::new(7u64);
        check.must_drop(&held);
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            drop(held);
        });
        let report = assert_no_leaks!(check);
        assert!(report.verdict <= Verdict::Suspicious, "{report}");
        return thread.join().unwrap();
    };
    ran.passed();
}

#[test]
fn at_level_warn_a_leak_is_seen_although_the_test_passes() {
    let Some(ran) = captured(&[("TERMLEASH_LEAKS", "warn"), ("TERMLEASH_SETTLE", "1ms")]) else {
        return termleash::test(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    ran.passed().says(&["termleash: leak check of", "leaked: file `/etc/hostname`"]);
}

#[test]
fn at_level_off_a_hunt_that_finds_something_says_nothing() {
    let Some(ran) = alone(&[("TERMLEASH_LEAKS", "off")]) else {
        let mut kept = Vec::new();
        let report = termleash::block_on(LeakHunt::new().run(async |_| {
            kept.push(File::open("/etc/hostname")?);
            Ok(())
        }));
        assert_no_leaks!(report);
        return;
    };
    ran.passed().does_not_say("leak hunt");
}

#[test]
fn sessions_on_a_backend_of_the_tests_own_end_with_the_test() {
    let Some(ran) = alone(&[]) else {
        let fake = FakeBackend::new().with_processes();
        let server = fake.clone();
        termleash::test(async move |t| {
            let helper = t.helper_on(server);
            helper.create_tracked_session("sh").await?.keep();
            helper.create_tracked_session("sh").await?.keep();
            Ok(())
        });
        assert!(fake.sessions().is_empty(), "{fake:?}");
        return;
    };
    ran.passed();
}

#[test]
fn a_clean_ups_error_is_told_with_what_caused_it() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the server did not stop")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            t.defer(async || Err(Outer(std::io::Error::other("no route")).into()));
            Ok(())
        });
    };
    ran.failed().says(&["failed: the server did not stop: no route"]);
}
