//! On whatever a test runs: runtimes of both kinds, none at all, several tasks and threads at once.

use crate::checked::{checked, checked_blocking, checked_on};
use crate::support::{eventually, helper, lives};
use std::sync::{Arc, Barrier};
use termleash::session::{FakeBackend, Session, SessionSpec};
use termleash::{
    LeakCheck, SessionTestHelper, assert_no_leaks, block_on,
    tracker::{BlockingHelper, KillReport},
};

/// All of it at once: create, talk, close, keep, kill.
async fn round(helper: &SessionTestHelper) -> KillReport {
    let first = helper.create_tracked_session("sh").await.unwrap();
    let second = helper.create_tracked_session("sh").await.unwrap();
    let (one, two) = tokio::join!(first.run("echo one"), second.run("echo two"));
    assert_eq!((one.unwrap().stdout(), two.unwrap().stdout()), ("one", "two"));
    assert!(first.close().await.unwrap().is_proven());
    second.keep();
    helper.kill_tracked_sessions().await.unwrap()
}

/// In a runtime that tokio's own macro makes, so the check is inside.
#[tokio::test]
async fn in_a_current_thread_runtime() {
    let check = LeakCheck::new();
    assert_eq!(round(&helper()).await.outcomes().len(), 1);
    assert_no_leaks!(check.find().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_multi_thread_runtime() {
    let check = LeakCheck::new();
    let helper = helper();
    let of_task = helper.clone();
    assert_eq!(tokio::spawn(async move { round(&of_task).await }).await.unwrap().outcomes().len(), 1);
    assert_eq!(round(&helper).await.outcomes().len(), 1);
    drop(helper);
    assert_no_leaks!(check.find().await);
}

#[test]
fn without_a_runtime() {
    checked_blocking(|| {
        assert_eq!(block_on(round(&helper())).outcomes().len(), 1);
    });
}

/// Nothing of ours needs tokio: here each future is polled by a thread that parks.
#[test]
fn on_an_executor_that_is_not_tokios() {
    checked_blocking(|| {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let helper = helper();
        let mut future = std::pin::pin!(round(&helper));
        let report = loop {
            match future.as_mut().poll(&mut context) {
                std::task::Poll::Ready(report) => break report,
                std::task::Poll::Pending => std::thread::park(),
            }
        };
        assert_eq!(report.outcomes().len(), 1);
    });
}

/// A session made in one runtime is used in another, and closed where there is none.
#[test]
fn a_session_crosses_runtimes() {
    checked_blocking(|| {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let helper = helper();
        let session = runtime().block_on(helper.create_tracked_session("sh")).unwrap();
        assert_eq!(runtime().block_on(session.run("echo here")).unwrap().stdout(), "here");
        assert_eq!(block_on(session.run("echo there")).unwrap().stdout(), "there");
        std::thread::spawn(move || block_on(session.close()).unwrap()).join().unwrap();
        assert_eq!(helper.tracked_count(), 0);
    });
}

#[test]
fn a_test_that_is_not_async_has_the_same_methods() {
    checked_blocking(|| {
        let helper = helper().blocking();
        let session = helper.create_tracked_session("sh").unwrap();
        assert_eq!(session.run("stty size").unwrap().stdout(), "24 80");
        session.resize(30, 90).unwrap();
        assert_eq!(session.window_size().unwrap().cols, 90);
        session.write_line("echo ty''ped").unwrap();
        session.wait_for_text("typed").unwrap();
        session.clear_output().unwrap();
        assert!(!session.output().unwrap().text().contains("typed"));
        session.write("exit 3\r").unwrap();
        assert_eq!(session.wait_for_exit().unwrap().code(), Some(3));
        assert!(session.close().unwrap().was_already_gone());
        let kept: Session = helper.create_tracked_session("sh").unwrap().keep();
        assert!(helper.is_tracked(kept.id()) && helper.tracked_count() == 1);
        assert!(helper.kill_session(kept.id()).unwrap().is_proven());
        helper.track_session("pty-999999").unwrap_err();
        assert!(helper.clear_tracked().is_empty());
        drop(helper.create_tracked_session("sh").unwrap());
        assert!(helper.kill_tracked_sessions().unwrap().is_proven());
    });
}

/// Which would block a thread that others need, perhaps the very server's.
#[cfg(feature = "tokio")]
#[test]
fn a_blocking_method_in_a_runtime_is_an_error_and_does_nothing() {
    checked(async || {
        let helper = helper();
        let error = helper.blocking().create_tracked_session("sh").unwrap_err();
        assert!(error.is_invalid_input());
        insta::assert_snapshot!(error, @"a blocking method was called inside of a tokio runtime, whose thread it would block: use the async method of the same name");
        assert!(helper.blocking().kill_tracked_sessions().is_err());
        assert_eq!(helper.tracked_count(), 0);
        assert!(helper.survivors().unwrap().is_empty());
    });
}

#[cfg(feature = "tokio")]
#[test]
#[should_panic(expected = "block_on was called inside of a tokio runtime, whose thread it would block: write `.await`")]
fn blocking_on_a_future_in_a_runtime_panics_with_what_to_write() {
    checked(async || {
        block_on(async {});
    });
}

#[test]
fn a_thread_for_blocking_work_may_block() {
    checked_on(2, async || {
        let helper = helper().blocking();
        let blocking = move || {
            // Such a thread belongs to the runtime, and blocks nobody.
            std::thread::spawn(move || helper.create_tracked_session("sh").unwrap().close().unwrap()).join().unwrap()
        };
        assert!(tokio::task::spawn_blocking(blocking).await.unwrap().is_proven());
    });
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn eight_tasks_share_a_helper_and_the_kill_at_the_end_proves_all() {
    checked_on(4, async || {
        let helper = helper();
        let start = Arc::new(tokio::sync::Barrier::new(8));
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (helper, start) = (helper.clone(), start.clone());
                tokio::spawn(async move {
                    let mut numbers = Numbers(number);
                    let mut leaders = Vec::new();
                    start.wait().await;
                    for _ in 0..12 {
                        let session = helper.create_tracked_session("sh").await.unwrap();
                        leaders.push(session.leader().unwrap().clone());
                        match numbers.below(5) {
                            0 => drop(session),
                            1 => assert!(session.close().await.unwrap().is_proven()),
                            2 => assert_eq!(session.run("echo $((6 * 7))").await.unwrap().stdout(), "42"),
                            3 => assert!(helper.kill_session(session.id()).await.unwrap().is_proven()),
                            _ => drop(session.keep()),
                        }
                    }
                    leaders
                })
            })
            .collect();
        let mut leaders = Vec::new();
        for task in tasks {
            leaders.extend(task.await.unwrap());
        }
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert!(report.is_proven(), "{report}");
        assert_eq!((leaders.len(), helper.tracked_count()), (96, 0));
        assert!(leaders.iter().all(|leader| !leader.is_alive()));
        assert!(helper.survivors().unwrap().is_empty());
    });
}

/// Kills of all while others still create: each kill proves what it found, and nobody's creation is disturbed.
#[test]
fn kills_and_creations_at_once_do_not_disturb_each_other() {
    checked_on(4, async || {
        let helper = helper();
        let creating: Vec<_> = (0..4)
            .map(|_| {
                let helper = helper.clone();
                tokio::spawn(async move {
                    for _ in 0..10 {
                        helper.create_tracked_session("sh").await.unwrap().keep();
                    }
                })
            })
            .collect();
        while creating.iter().any(|task| !task.is_finished()) {
            let report = helper.kill_tracked_sessions().await.unwrap();
            assert!(report.is_proven(), "{report}");
            tokio::task::yield_now().await;
        }
        for task in creating {
            task.await.unwrap();
        }
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
        assert!(helper.survivors().unwrap().is_empty() && helper.tracked_count() == 0);
    });
}

#[test]
fn threads_share_a_blocking_helper() {
    checked_blocking(|| {
        let helper: BlockingHelper = helper().blocking();
        let start = Barrier::new(6);
        std::thread::scope(|scope| {
            for number in 0..6 {
                let (helper, start) = (helper.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    for round in 0..5 {
                        let session = helper.create_tracked_session("sh").unwrap();
                        let said = format!("{number} {round}");
                        assert_eq!(session.run(&format!("echo {said}")).unwrap().stdout(), said);
                        match round % 3 {
                            0 => drop(session.close().unwrap()),
                            1 => drop(session),
                            _ => drop(session.keep()),
                        }
                    }
                });
            }
        });
        assert!(helper.kill_tracked_sessions().unwrap().is_proven());
        assert!(helper.tracked_count() == 0 && helper.helper().survivors().unwrap().is_empty());
    });
}

/// A session's thread need not be its maker's: signals of the kernel's about the death of a thread are not used.
#[test]
fn a_session_outlives_the_thread_that_made_it() {
    checked(async || {
        let helper = helper();
        let of_thread = helper.clone();
        let made = std::thread::spawn(move || block_on(of_thread.create_tracked_session("sh")).unwrap());
        let session = tokio::task::spawn_blocking(move || made.join().unwrap()).await.unwrap();
        assert_eq!(session.run("echo alive").await.unwrap().stdout(), "alive");
        let leader = session.leader().unwrap().clone();
        session.close().await.unwrap();
        eventually("its end", || !lives(leader.pid())).await;
    });
}

#[test]
fn public_types_cross_threads_and_futures_can_be_spawned() {
    checked_blocking(|| {
        fn is_thread_safe<T: Send + Sync + 'static>() {}
        fn is_sendable<T: Send>(_: &T) {}
        is_thread_safe::<SessionTestHelper>();
        is_thread_safe::<termleash::tracker::SessionGuard>();
        is_thread_safe::<BlockingHelper>();
        is_thread_safe::<termleash::tracker::BlockingGuard>();
        is_thread_safe::<Session>();
        is_thread_safe::<SessionSpec>();
        is_thread_safe::<termleash::session::SessionId>();
        is_thread_safe::<termleash::PtyBackend>();
        is_thread_safe::<FakeBackend>();
        is_thread_safe::<termleash::Error>();
        is_thread_safe::<termleash::process::KillPolicy>();
        is_thread_safe::<termleash::tracker::KillOutcome>();
        is_thread_safe::<KillReport>();
        is_thread_safe::<termleash::process::ProcessHandle>();
        is_thread_safe::<termleash::process::ProcessIdentity>();
        is_thread_safe::<termleash::session::Terminal>();
        is_thread_safe::<termleash::session::TerminalOutput>();
        is_thread_safe::<termleash::session::Output>();
        is_thread_safe::<termleash::session::CommandOutput>();
        is_thread_safe::<termleash::event::Event>();
        let helper = SessionTestHelper::new(FakeBackend::new());
        is_sendable(&helper.create_tracked_session("bash"));
        is_sendable(&helper.track_session("fake-1"));
        is_sendable(&helper.kill_tracked_sessions());
        let session = block_on(helper.create_tracked_session("bash")).unwrap();
        is_sendable(&session.run("x"));
        is_sendable(&session.wait_for_text("x"));
        is_sendable(&session.wait_for_exit());
        is_sendable(&session.write("x"));
        block_on(session.close()).unwrap();
    });
}
