//! Threads, tasks, processes, sessions and objects that end.

use super::scene::{Sleeper, brief, helper, later, runtime, tokio_sleeper};
use super::{Body, Case, Expected, Setting};
use Body::{Once, Task};
use std::process::Stdio;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;
use termleash::leak::Kind;
use termleash::{SessionSpec, SessionTestHelper};

pub(super) const CASES: &[Case] = &[
    Case::clean(
        "threads_are_joined",
        "T15: listed for milliseconds after that",
        Once(|_| {
            let threads: Vec<_> = (0..16).map(|_| thread::spawn(|| {})).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }),
    ),
    Case::clean(
        "scoped_threads_end",
        "T15: joined by their scope",
        Once(|_| {
            let sum = Mutex::new(0);
            let add = |one| *sum.lock().unwrap() += one;
            thread::scope(|scope| (0..8).for_each(|one| drop(scope.spawn(move || add(one)))));
        }),
    ),
    Case::clean("a_thread_ends_by_itself", "nobody joins it", Once(|_| later(100, ()))),
    Case::clean(
        "a_runtime_with_many_threads_is_shut_down",
        "T15: idle blocking threads live for 10 s",
        Once(|_| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(4).enable_all().build().unwrap();
            runtime.block_on(async {
                let work = (0..8).map(|_| tokio::task::spawn_blocking(|| {}));
                for one in work.collect::<Vec<_>>() {
                    one.await.unwrap();
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
        }),
    ),
    Case::clean(
        "blocking_work_ends_with_its_runtime",
        "the shutdown need not wait",
        Once(|_| {
            let runtime = runtime();
            runtime.spawn_blocking(|| thread::sleep(Duration::from_millis(50)));
            runtime.shutdown_background();
        }),
    ),
    Case::clean("a_child_is_awaited", "T12: reaped", Once(|_| assert!(brief().status().unwrap().success()))),
    Case::clean("a_child_is_killed_and_awaited", "T12: reaped", Once(|_| Sleeper::quiet().end())),
    Case::clean(
        "a_child_is_reaped_a_while_later",
        "T12: a zombie for 100 ms",
        Once(|_| {
            let mut child = brief().spawn().unwrap();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(100));
                child.wait().unwrap();
            });
        }),
    ),
    Case::clean(
        "a_child_ends_a_while_later",
        "it holds our output, and is awaited in the background",
        Once(|_| {
            let mut command = std::process::Command::new("sleep");
            let mut child = command.arg("0.4").stdin(Stdio::null()).spawn().unwrap();
            thread::spawn(move || child.wait().unwrap());
        }),
    ),
    Case::clean(
        "a_child_of_tokio_is_killed_and_awaited",
        "T4: its pidfd goes with it",
        Task(|_| {
            Box::pin(async {
                let mut child = tokio_sleeper().spawn().unwrap();
                child.kill().await.unwrap();
            })
        }),
    ),
    Case::clean(
        "a_child_of_tokio_dies_with_its_handle",
        "T4: a zombie until the runtime looks",
        Task(|_| {
            Box::pin(async {
                drop(tokio_sleeper().kill_on_drop(true).spawn().unwrap());
            })
        }),
    ),
    Case::clean(
        "a_child_of_tokio_in_a_runtime_of_its_own",
        "T4: awaited",
        Once(|_| {
            runtime().block_on(async {
                let status = tokio::process::Command::from(brief()).status().await.unwrap();
                assert!(status.success());
            });
        }),
    ),
    Case::clean(
        "a_session_is_closed",
        "proven to be dead",
        Once(|_| {
            let helper = helper();
            helper.blocking().create_tracked_session("sh").unwrap().close().unwrap();
        }),
    ),
    Case::clean(
        "a_session_with_a_daemon_is_closed",
        "T12: what it leaves behind is ended, too",
        Once(|_| {
            let daemon = SessionSpec::shell("sleep 100 & exec sleep 100");
            helper().blocking().create_tracked_session(daemon).unwrap().close().unwrap();
        }),
    ),
    Case::clean(
        "a_session_is_closed_by_its_helper",
        "in a runtime that stays",
        Task(|_| {
            Box::pin(async {
                let helper = helper();
                helper.create_tracked_session("cat").await.unwrap().keep();
                assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
            })
        }),
    ),
    Case::clean(
        "a_session_ends_in_the_background",
        "its guard is dropped, as is its helper",
        Once(|_| {
            drop(helper().blocking().create_tracked_session("cat").unwrap());
        }),
    ),
    Case::new(
        "a_neighbour_has_a_session",
        "T1: a check without a scope does not know whose it is",
        Expected::Suspicious(Kind::Session),
        Once(|scene| {
            let helper = helper();
            helper.blocking().create_tracked_session("cat").unwrap().keep();
            scene.keep(EndsItsSessions(helper));
        }),
    )
    .in_setting(Setting::Shared),
    Case::clean(
        "a_server_is_aborted_and_awaited",
        "T16: with its socket",
        Task(|_| {
            Box::pin(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let server = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
                tokio::task::yield_now().await;
                server.abort();
                assert!(server.await.unwrap_err().is_cancelled());
            })
        }),
    ),
    Case::clean(
        "a_timer_is_cancelled",
        "T16: what it held is gone with it",
        Task(|scene| {
            Box::pin(async {
                let manager = Arc::new(Mutex::new(0));
                scene.must_drop(&manager);
                let timer = tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        *manager.lock().unwrap() += 1;
                    }
                });
                tokio::time::sleep(Duration::from_millis(1)).await;
                timer.abort();
            })
        }),
    ),
    Case::clean(
        "session_and_manager_do_not_hold_each_other",
        "a weak reference back",
        Once(|scene| {
            struct Session(Weak<Mutex<Vec<Session>>>);
            let manager = Arc::new(Mutex::new(Vec::new()));
            scene.must_drop(&manager);
            let session = Session(Arc::downgrade(&manager));
            assert!(session.0.upgrade().is_some());
            manager.lock().unwrap().push(session);
        }),
    ),
    Case::clean(
        "a_thread_drops_the_last_reference",
        "80 ms later",
        Once(|scene| {
            let manager = Arc::new(Mutex::new(0));
            scene.must_drop(&manager);
            later(80, manager);
        }),
    ),
];

/// A helper that is dropped with sessions says so in a panic.
struct EndsItsSessions(SessionTestHelper);

impl Drop for EndsItsSessions {
    fn drop(&mut self) {
        self.0.blocking().kill_tracked_sessions().unwrap();
    }
}
