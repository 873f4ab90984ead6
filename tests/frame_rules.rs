//! The rules of a test's frame that only show when something is wrong, or is told.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::alone;
use std::fs::File;
use std::mem::forget;
use std::sync::Arc;
use std::time::Duration;
use termleash::leak::Level;
use termleash::session::BoxError;
use termleash::session::{Created, FakeBackend, Fault, Method, SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper, block_on, options};

/// A server that holds something, and whose sessions nobody can end.
struct Stubborn(#[expect(dead_code, reason = "held")] File);

impl SessionBackend for Stubborn {
    async fn create(&self, _spec: &SessionSpec) -> Result<Created, BoxError> {
        Err("it has one session, and makes no other".into())
    }

    async fn kill(&self, _id: &SessionId) -> Result<(), BoxError> {
        Err("it does not want to".into())
    }

    async fn state(&self, _id: &SessionId) -> Result<SessionState, BoxError> {
        Ok(SessionState::running())
    }
}

fn stubborn() -> Result<Stubborn, BoxError> {
    Ok(Stubborn(File::open("/etc/hostname")?))
}

#[test]
fn a_session_that_cannot_be_ended_fails_its_test_and_says_why() {
    let Some(ran) = alone(&[]) else {
        return options().settle_within(Duration::ZERO).run(async |t| {
            let helper = t.helper_on(stubborn()?);
            helper.track_session("theirs").await?;
            // So that its drop does not fail the test first.
            forget(helper);
            Ok(())
        });
    };
    ran.failed().says(&["passed, and did not end cleanly", "it does not want to", "leak check of"]);
}

#[test]
fn what_is_not_proven_is_told_once() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let fake = FakeBackend::new().fault(Fault::Fails(Method::State));
            let helper = t.helper_on(fake);
            helper.create_tracked_session("bash").await?.keep();
            Ok(())
        });
    };
    ran.failed().says_once("could not say whether it is dead").says_once("the fake backend was told to fail");
}

#[test]
fn a_helpers_end_does_not_repeat_what_is_not_proven_as_its_last_error() {
    let Some(ran) = alone(&[]) else {
        return block_on(async {
            let helper = SessionTestHelper::new(FakeBackend::new().fault(Fault::Fails(Method::State)));
            helper.create_tracked_session("bash").await.unwrap().keep();
            assert!(helper.kill_tracked_sessions().await.is_err());
        });
    };
    ran.failed().says_once("could not say whether it is dead").says(&["not proven to be gone at the end"]);
}

#[test]
fn what_a_backend_holds_is_dropped_before_the_check() {
    let Some(ran) = alone(&[]) else {
        return options().settle_within(Duration::ZERO).run(async |t| {
            t.helper_on(stubborn()?);
            Ok(())
        });
    };
    ran.passed();
}

#[test]
fn sessions_on_a_backend_of_the_tests_own_are_ended_by_the_frame() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let helper = t.helper_on(termleash::PtyBackend::new());
            helper.create_tracked_session("sh").await?.keep();
            let held = helper.clone();
            t.defer(async move || {
                println!("before: {}", held.tracked_count());
                // Its last handle goes when the process does: its drop ends nothing.
                forget(held);
                Ok(())
            });
            Ok(())
        });
    };
    ran.passed().says(&["before: 1"]).does_not_say("leak check");
}

#[test]
fn a_clean_up_that_defers_another_has_that_run_next() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let t2 = t.clone();
            t.defer(async || {
                println!("the first");
                Ok(())
            });
            t.defer(async move || {
                t2.defer(async || {
                    println!("the one within");
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        });
    };
    ran.passed().says(&["the one within", "the first"]);
}

#[test]
fn one_test_after_another_on_one_thread_is_no_nesting() {
    let Some(ran) = alone(&[]) else {
        termleash::test(async |_| Ok(()));
        assert!(std::panic::catch_unwind(|| termleash::test(async |_| panic!("its own"))).is_err());
        termleash::testing::test_blocking(|_| Ok(()));
        return;
    };
    ran.passed();
}

#[test]
fn a_test_within_a_runtime_is_refused_by_name() {
    let Some(ran) = alone(&[]) else {
        return termleash::block_on(async { termleash::testing::test_blocking(|_| Ok(())) });
    };
    ran.failed().says(&["termleash::test was called inside of a test or of a runtime"]);
}

#[test]
fn a_blocking_body_leaves_no_runtime() {
    let Some(ran) = alone(&[]) else {
        return options().run_blocking(|t| {
            t.blocking().create_tracked_session("sh")?.keep();
            Ok(())
        });
    };
    ran.passed().does_not_say("leak check");
}

/// It has all the time to settle, in the runtime: afterwards it would be dropped in any case.
#[test]
fn a_task_that_is_about_to_drop_an_object_gets_the_time_to() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "60s")]) else {
        return termleash::test(async |t| {
            let held = Arc::new(1u8);
            t.must_drop(&held);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                drop(held);
            });
            Ok(())
        });
    };
    ran.passed();
}

#[test]
fn what_outlives_the_runtime_is_not_said_to_have_ended_with_it() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "1ms")]) else {
        return termleash::test(async |t| {
            let held = Arc::new(1u8);
            t.must_drop(&held);
            forget(held);
            Ok(())
        });
    };
    ran.failed().says(&["leaked: reference `u8`"]).does_not_say("dropped only when the runtime was shut down");
}

#[test]
fn what_a_test_is_told_of_its_name_level_and_time_counts_more_than_the_environment() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "1h"), ("TERMLEASH_LEAKS", "fail")]) else {
        let told = options().name("mine").level(Level::Warn).settle_within(Duration::ZERO);
        told.run(async |t| {
            assert_eq!(t.name(), "mine");
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
        return;
    };
    ran.passed().says(&["leak check of `mine`: 1 leaked", "looked 10 times"]);
}
