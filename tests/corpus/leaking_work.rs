//! Threads, tasks, processes, sessions and objects that outlive a test.

use super::scene::{Sleeper, brief, helper, pty, runtime, tokio_sleeper, until_dead};
use super::{Body, Case, Setting};
use Body::{Once, Task};
use std::fs::File;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use termleash::leak::Kind;

#[expect(clippy::zombie_processes, reason = "that is what they are for")]
pub(super) const CASES: &[Case] = &[
    Case::leaks(
        "a_reader_waits_for_the_end_of_a_terminal",
        "T10: the master is dropped, its duplicate lives in the thread that reads",
        Kind::Thread,
        Once(|scene| {
            let (master, slave) = pty();
            let mut duplicate = File::from(master.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut duplicate, &mut std::io::sink()));
            drop(master);
            scene.keep(slave);
        }),
    ),
    Case::leaks(
        "a_thread_waits_for_a_channel",
        "T15: a worker whose sender is kept by its manager",
        Kind::Thread,
        Once(|scene| {
            let (sender, receiver) = channel::<()>();
            thread::spawn(move || receiver.recv());
            scene.keep(sender);
        }),
    ),
    Case::leaks(
        "the_timer_of_a_session_is_never_cancelled",
        "a thread per session that wakes up until the process ends",
        Kind::Thread,
        Once(|_| {
            thread::spawn(|| {
                loop {
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }),
    ),
    Case::leaks(
        "an_accept_loop_is_never_stopped",
        "a control socket whose thread has no way to end",
        Kind::Thread,
        Once(|_| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            thread::spawn(move || while listener.accept().is_ok() {});
        }),
    ),
    Case::leaks(
        "blocking_work_never_ends",
        "`spawn_blocking` around a read: the runtime's shutdown gives it up",
        Kind::Thread,
        Once(|scene| {
            let (sender, receiver) = channel::<()>();
            let runtime = runtime();
            runtime.spawn_blocking(move || receiver.recv());
            runtime.shutdown_timeout(Duration::from_millis(10));
            scene.keep(sender);
        }),
    ),
    Case::leaks(
        "the_workers_of_a_runtime_stay",
        "T16: a multi-thread runtime that is kept by what it runs",
        Kind::Thread,
        Once(|scene| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            scene.keep(builder.worker_threads(2).enable_all().build().unwrap());
        }),
    ),
    Case::leaks(
        "a_thread_stays_that_ended_others_hide",
        "T15: threads come and go beside the one that stays",
        Kind::Thread,
        Once(|scene| {
            let (sender, receiver) = channel::<()>();
            thread::spawn(move || receiver.recv());
            (0..10).for_each(|_| thread::spawn(|| {}).join().unwrap());
            scene.keep(sender);
        }),
    ),
    Case::leaks(
        "a_thread_is_found_after_a_report",
        "T22: the baseline rolls forward, and what comes later is new",
        Kind::Thread,
        Once(|scene| {
            scene.keep(File::open("/dev/null").unwrap());
            scene.look();
            let (sender, receiver) = channel::<()>();
            thread::spawn(move || receiver.recv());
            scene.keep(sender);
        }),
    ),
    Case::leaks(
        "a_child_is_never_reaped",
        "T12: `Child` is dropped without `wait`",
        Kind::Zombie,
        Once(|_| {
            let child = brief().spawn().unwrap();
            until_dead(child.id());
        }),
    ),
    Case::leaks(
        "a_child_becomes_a_zombie_that_was_alive_before",
        "T12: killed, and not awaited",
        Kind::Zombie,
        Once(|_| {
            let mut child = brief().stdin(Stdio::piped()).spawn().unwrap();
            child.kill().unwrap();
            until_dead(child.id());
        }),
    ),
    Case::leaks(
        "a_child_is_never_killed",
        "a helper program without an end",
        Kind::Process,
        Once(|scene| scene.keep(Sleeper::quiet())),
    ),
    Case::leaks(
        "a_child_keeps_our_output_open",
        "the same, with what it inherits by default",
        Kind::Process,
        Once(|scene| scene.keep(Sleeper::new(Stdio::inherit))),
    ),
    Case::leaks(
        "a_child_of_tokio_is_dropped",
        "T4: without `kill_on_drop` nothing ends it",
        Kind::Process,
        Task(|_| Box::pin(async { drop(tokio_sleeper().spawn().unwrap()) })),
    ),
    Case::leaks(
        "the_guard_of_a_session_is_forgotten",
        "the test returned early, and its session was in a struct that is leaked",
        Kind::Session,
        Once(|_| {
            let helper = helper();
            std::mem::forget((helper.blocking().create_tracked_session("sh").unwrap(), helper));
        }),
    ),
    Case::leaks(
        "what_must_be_gone_stays_beside_other_tests",
        "T1: what a registry knows is exact wherever it runs",
        Kind::Reference,
        Once(|scene| {
            let manager = Arc::new(Manager::default());
            scene.must_drop(&manager);
            scene.keep(manager);
        }),
    )
    .in_setting(Setting::Shared),
    Case::leaks(
        "session_and_manager_hold_each_other",
        "a cycle of `Arc`",
        Kind::Reference,
        Once(|scene| {
            let manager = Arc::new(Manager::default());
            scene.must_drop(&manager);
            let session = Arc::new(Session { _manager: Arc::clone(&manager) });
            manager.sessions.lock().unwrap().push(session);
        }),
    ),
    Case::leaks(
        "a_task_holds_what_must_be_gone",
        "the timer of a session, spawned and never aborted",
        Kind::Reference,
        Task(|scene| {
            Box::pin(async {
                let session = Arc::new(Manager::default());
                scene.must_drop(&session);
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        drop(session.sessions.lock());
                    }
                });
            })
        }),
    ),
    Case::leaks(
        "a_callback_holds_what_must_be_gone",
        "T23: a global list of hooks that nobody takes theirs out of",
        Kind::Reference,
        Once(|scene| {
            static HOOKS: Mutex<Vec<Box<dyn Fn() + Send>>> = Mutex::new(Vec::new());
            let manager = Arc::new(Manager::default());
            scene.must_drop(&manager);
            HOOKS.lock().unwrap().push(Box::new(move || drop(manager.sessions.lock())));
        }),
    ),
];

#[derive(Default)]
struct Manager {
    sessions: Mutex<Vec<Arc<Session>>>,
}

struct Session {
    _manager: Arc<Manager>,
}
