//! A test's frame when everything goes wrong at once: panics on the way out, backends that panic or block, forks, no threads.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::alone;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;
use termleash::session::{Created, SessionId, SessionState};
use termleash::{PtyBackend, SessionBackend, SessionSpec, options, session::BoxError};

/// Sessions on real terminals whose server claims them, and does something wrong when it is to kill one.
struct Odd {
    real: PtyBackend,
    kill: fn(),
}

impl Odd {
    fn new(kill: fn()) -> Self {
        Self { real: PtyBackend::new(), kill }
    }
}

impl SessionBackend for Odd {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let created = self.real.create(spec).await?;
        let leader = created.leader_pid().ok_or("it has a leader")?;
        Ok(Created::new(created.id().clone()).with_leader(leader))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        (self.kill)();
        self.real.kill(id).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.real.state(id).await
    }
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("on its way out");
    }
}

/// The watchdog of a frame that a panic went through would abort whatever runs after it.
#[test]
fn a_body_that_panics_when_its_deadline_drops_it_is_cleaned_up_after_and_harms_no_later_test() {
    let Some(ran) = alone(&[]) else {
        let ended = std::panic::catch_unwind(|| {
            options().timeout(Duration::from_millis(150)).run(async |t| {
                t.defer(async || {
                    println!("and it is cleaned up");
                    Ok(())
                });
                let _panics = PanicsOnDrop;
                std::future::pending().await
            });
        });
        let text = *ended.expect_err("it has failed").downcast::<String>().expect("a text");
        println!("{text}");
        // Longer than a watchdog would wait that was forgotten.
        return options().timeout(Duration::from_secs(20)).run(async |_| {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Ok(())
        });
    };
    ran.passed().says(&[
        "and it is cleaned up",
        "timed out after 150ms",
        "panicked when it was dropped: on its way out",
    ]);
}

#[test]
fn a_backend_that_panics_at_the_end_is_a_failure_beside_the_bodys() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "50ms")]) else {
        return termleash::test(async |t| {
            t.helper_on(Odd::new(|| panic!("the client is gone"))).create_tracked_session("sh").await?.keep();
            let _other = t.session("sh").await?.keep();
            Err("the body's own".into())
        });
    };
    ran.failed()
        .says(&["failed: the body's own", "a backend panicked when its sessions were ended: the client is gone"]);
}

/// A synchronous client in an async function: the watchdog must not wait for what it waits for.
#[test]
fn a_backend_that_blocks_the_body_does_not_block_the_watchdog() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        return options().timeout(Duration::from_millis(150)).run(async |t| {
            let helper = t.helper_on(Odd::new(|| std::thread::sleep(Duration::from_secs(1000))));
            helper.create_tracked_session("sh").await?.close().await?;
            Ok(())
        });
    };
    assert_eq!(ran.status.signal(), Some(6), "{}:\n{}", ran.status, ran.text);
    ran.says(&["did not end within its deadline of 150ms", "its sessions could not be killed"]);
}

#[test]
fn a_backend_that_panics_in_the_watchdog_does_not_stop_it() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        return options().timeout(Duration::from_millis(150)).run(async |t| {
            let helper = t.helper_on(Odd::new(|| panic!("the client is gone")));
            helper.create_tracked_session("sh").await?.keep();
            std::thread::sleep(Duration::from_secs(1000));
            Ok(())
        });
    };
    assert_eq!(ran.status.signal(), Some(6), "{}:\n{}", ran.status, ran.text);
}

/// A task that goes on making sessions until the runtime ends.
#[test]
fn what_is_started_while_the_test_ends_is_ended_and_the_bodys_failure_is_told() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let more = t.clone();
            tokio::spawn(async move {
                while let Ok(session) = more.session("sh").await {
                    session.keep();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            tokio::time::sleep(Duration::from_millis(30)).await;
            Err("the body's own".into())
        });
    };
    ran.failed().says(&["failed: the body's own"]).does_not_say("leaked");
}

#[test]
fn a_scope_that_outlives_its_test_creates_nothing() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        let mut kept = None;
        termleash::test(async |t| {
            t.session("sh").await?.close().await?;
            kept = Some(t.clone());
            Ok(())
        });
        let error = termleash::block_on(kept.expect("it was kept").session("sh")).unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("its test had ended"), "{error}");
        return;
    };
    ran.passed();
}

#[test]
fn what_a_task_defers_and_registers_on_its_way_out_is_run_and_found() {
    struct OnDrop(termleash::testing::Scope);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.defer(async || {
                println!("deferred late, and run");
                Ok(())
            });
            let late = Arc::new(7u64);
            self.0.must_drop(&late);
            std::mem::forget(late);
        }
    }
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "50ms")]) else {
        return termleash::test(async |t| {
            let guard = OnDrop(t.clone());
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(guard);
            });
            tokio::task::yield_now().await;
            Ok(())
        });
    };
    ran.failed().says(&["deferred late, and run", "leaked: reference `u64`, 1 strong reference"]);
}

#[test]
fn a_panic_after_the_deadline_says_that_it_was_after_it() {
    let Some(ran) = alone(&[]) else {
        return options().timeout(Duration::from_millis(150)).run_blocking(|t| {
            let session = t.blocking().create_tracked_session("sh")?;
            session.wait_for_text("never").unwrap();
            Ok(())
        });
    };
    ran.failed().says(&["panicked after its deadline of 150ms", "still alive: session `pty-1`"]);
}

/// Its copy of the body must not end the sessions of its parent.
#[test]
#[expect(unsafe_code, reason = "what a test of a server may do, and std does not: fork without exec")]
fn a_child_that_was_forked_within_a_test_cleans_nothing_up() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        let mut is_child = false;
        let mut session = None;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            termleash::testing::test_blocking(|t| {
                let shell = t.blocking().create_tracked_session("sh")?;
                // SAFETY: what the child does from here on is to panic, and to exit below.
                let child = unsafe { libc::fork() };
                is_child = child == 0;
                assert!(!is_child, "the child's copy of the body ends");
                let mut status = 0;
                // SAFETY: the child is ours, and the pointer is to an int of ours.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                assert_eq!(status, 0, "the child came out of its frame");
                assert_eq!(shell.run("echo alive")?.stdout(), "alive");
                session = shell.run("echo $$")?.stdout().parse::<u32>().ok();
                Ok(())
            });
        }));
        if is_child {
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(i32::from(ended.is_ok())) }
        }
        assert!(session.is_some_and(|pid| termleash::process::ProcessHandle::open(pid).is_err()));
        return ended.unwrap();
    };
    ran.passed();
}
