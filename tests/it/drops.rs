//! What becomes of sessions whose guard, helper or future is dropped: they end, nobody deadlocks, and it is told.

use crate::checked::{checked, checked_blocking, checked_on};
use crate::support::{eventually, helper, lives, masked};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use termleash::process::ProcessHandle;
use termleash::session::{Created, FakeBackend, Fault, Method, Session, SessionState};
use termleash::{
    PtyBackend, SessionBackend, SessionSpec, SessionTestHelper, block_on,
    process::KillPolicy,
    session::{BoxError, SessionId},
    tracker::SessionGuard,
};
use tokio::sync::{mpsc, oneshot};

fn sleeping() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

fn stubborn() -> SessionSpec {
    SessionSpec::shell("trap '' HUP TERM; echo ready; while :; do sleep 1000; done")
}

fn leader(session: &Session) -> ProcessHandle {
    session.leader().expect("a pty session has a leader").clone()
}

/// The text of the panic, numbers left out; `None` if there was none.
fn panic_of(act: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(act)).err()?;
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(masked(&text.expect("a panic with a text"), &["pty-", "drops.rs:"]))
}

/// Drops a helper with two live sessions and gives what it says.
fn dropped_with_live_sessions(helper: SessionTestHelper, sessions: [SessionGuard; 2]) -> String {
    let leaders = sessions.each_ref().map(|session| leader(session));
    let _kept = sessions.map(SessionGuard::keep);
    let text = panic_of(|| drop(helper)).expect("a forgotten session is a failure of the test");
    // The drop has waited for their end.
    assert!(leaders.iter().all(|leader| !leader.is_alive() && !lives(leader.pid())));
    text
}

async fn two_sessions(helper: &SessionTestHelper) -> [SessionGuard; 2] {
    let first = helper.create_tracked_session(sleeping()).await.unwrap();
    [first, helper.create_tracked_session("cat").await.unwrap()]
}

#[test]
fn a_helper_dropped_in_a_current_thread_runtime_ends_its_sessions_and_says_which() {
    checked(async || {
        let helper = helper();
        let sessions = two_sessions(&helper).await;
        insta::assert_snapshot!(dropped_with_live_sessions(helper, sessions), @r"
    a SessionTestHelper was dropped while these sessions were alive:
      session `pty-N` (`sleep 1000`), made at tests/it/drops.rs:N
      session `pty-N` (`cat`), made at tests/it/drops.rs:N
    They were ended now. End the test with `helper.kill_tracked_sessions().await?`, or close each with `session.close().await?`: then a failure is told to the test.
    ");
    });
}

#[test]
fn a_helper_dropped_in_a_multi_thread_runtime_ends_its_sessions_and_says_which() {
    checked_on(2, async || {
        let helper = helper();
        let sessions = two_sessions(&helper).await;
        // In a task, so on a worker's thread.
        let dropped = tokio::spawn(async move { dropped_with_live_sessions(helper, sessions) });
        assert!(dropped.await.unwrap().contains("dropped while these sessions were alive"));
    });
}

#[test]
fn a_helper_dropped_outside_of_any_runtime_ends_its_sessions_and_says_which() {
    checked_blocking(|| {
        let helper = helper();
        let sessions = block_on(two_sessions(&helper));
        assert!(dropped_with_live_sessions(helper, sessions).contains("dropped while these sessions were alive"));
    });
}

/// A second panic would abort the process and hide the first.
#[test]
fn a_helper_dropped_while_unwinding_ends_its_sessions_and_lets_the_tests_own_panic_through() {
    checked_blocking(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let text = panic_of(|| {
            let helper = helper();
            let session = block_on(helper.create_tracked_session(stubborn())).unwrap().keep();
            sender.send(leader(&session)).unwrap();
            panic!("the test's own failure");
        });
        assert_eq!(text.as_deref(), Some("the test's own failure"));
        assert!(!receiver.recv().unwrap().is_alive());
    });
}

#[test]
fn a_guard_dropped_while_unwinding_in_a_task_ends_its_session() {
    checked(async || {
        let helper = helper();
        let of_task = helper.clone();
        let (sender, receiver) = oneshot::channel();
        let task = tokio::spawn(async move {
            let session = of_task.create_tracked_session(sleeping()).await.unwrap();
            sender.send(leader(&session)).unwrap();
            panic!("the task's own failure");
        });
        assert!(task.await.unwrap_err().is_panic());
        let leader = receiver.await.unwrap();
        eventually("the session's end", || !leader.is_alive() && helper.tracked_count() == 0).await;
    });
}

#[test]
fn a_dropped_guard_ends_its_session_in_the_background_and_the_helpers_end_is_silent() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session(stubborn()).await.unwrap();
        session.wait_for_text("ready").await.unwrap();
        let leader = leader(&session);
        drop(session);
        // It takes at least the grace to end this one, and the drop has not waited for that.
        assert!(leader.is_alive());
        drop(helper);
        // But this one has.
        assert!(!leader.is_alive());
    });
}

#[test]
fn dropped_guards_need_nobody_to_wait_for_them() {
    checked(async || {
        let helper = helper();
        let mut leaders = Vec::new();
        for _ in 0..10 {
            let session = helper.create_tracked_session(sleeping()).await.unwrap();
            leaders.push(leader(&session));
            drop(session);
        }
        eventually("the end of all", || leaders.iter().all(|leader| !leader.is_alive())).await;
        eventually("their leaving of the books", || helper.tracked_count() == 0).await;
        assert!(helper.kill_tracked_sessions().await.unwrap().outcomes().is_empty());
    });
}

#[test]
fn a_kept_session_is_left_to_the_helper() {
    checked(async || {
        let helper = helper();
        let session: Session = helper.create_tracked_session("sh").await.unwrap().keep();
        assert_eq!(session.run("echo alive").await.unwrap().stdout(), "alive");
        assert!(helper.is_tracked(session.id()));
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert_eq!((report.outcomes().len(), report.outcomes()[0].id()), (1, Some(session.id())));
        assert!(!leader(&session).is_alive());
    });
}

#[test]
fn a_guard_that_outlives_its_helper_has_nothing_left_to_do() {
    checked(async || {
        for closes in [true, false] {
            let helper = helper();
            let session = helper.create_tracked_session(sleeping()).await.unwrap();
            let leader = leader(&session);
            // The guard does not keep the helper: its end is the end of all its sessions.
            assert!(panic_of(|| drop(helper)).is_some());
            assert!(!leader.is_alive());
            if closes {
                assert!(session.close().await.unwrap().is_proven());
            } else {
                assert_eq!(panic_of(|| drop(session)), None);
            }
        }
    });
}

#[test]
fn only_the_last_handle_of_a_helper_ends_its_sessions() {
    checked(async || {
        let first = helper();
        let session = first.create_tracked_session(sleeping()).await.unwrap().keep();
        let (second, blocking) = (first.clone(), first.blocking());
        drop(first);
        drop(second);
        assert!(leader(&session).is_alive());
        let last = blocking.helper().clone();
        drop(blocking);
        assert!(leader(&session).is_alive() && last.tracked_count() == 1);
        assert!(panic_of(|| drop(last)).is_some());
        assert!(!leader(&session).is_alive());
    });
}

#[test]
fn a_helper_whose_sessions_are_ended_or_cleared_is_dropped_in_silence() {
    checked(async || {
        let server = Arc::new(PtyBackend::new());
        let helper = SessionTestHelper::new(Arc::clone(&server));
        helper.create_tracked_session(sleeping()).await.unwrap().close().await.unwrap();
        let cleared = helper.create_tracked_session(sleeping()).await.unwrap().keep();
        helper.clear_tracked();
        drop(helper);
        assert!(leader(&cleared).is_alive());
        server.kill(cleared.id()).await.unwrap();
        server.discard_record(cleared.id()).await.unwrap();
    });
}

/// What a server in the test's own runtime is asked.
enum Request {
    Create(SessionSpec, oneshot::Sender<Result<Created, BoxError>>),
    Kill(SessionId, oneshot::Sender<Result<(), BoxError>>),
    State(SessionId, oneshot::Sender<Result<SessionState, BoxError>>),
}

/// A server that is a task of the test's own runtime: while that runtime's only thread is blocked, it cannot answer.
struct InProcess {
    requests: mpsc::UnboundedSender<Request>,
}

impl InProcess {
    fn start() -> Self {
        let (requests, mut incoming) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let server = PtyBackend::new();
            while let Some(request) = incoming.recv().await {
                match request {
                    Request::Create(spec, answer) => {
                        let created = server.create(&spec).await.map(|created| {
                            let leader = created.leader_pid().expect("a pty session has a leader");
                            Created::new(created.id().clone()).with_leader(leader).with_server(std::process::id())
                        });
                        let _ = answer.send(created);
                    }
                    Request::Kill(id, answer) => drop(answer.send(server.kill(&id).await)),
                    Request::State(id, answer) => drop(answer.send(server.state(&id).await)),
                }
            }
        });
        Self { requests }
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, BoxError>>) -> Request) -> Result<T, BoxError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(ask(answer)).map_err(|_| "the server has ended")?;
        answered.await?
    }
}

impl SessionBackend for InProcess {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        self.ask(|answer| Request::Create(spec.clone(), answer)).await
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.ask(|answer| Request::Kill(id.clone(), answer)).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.ask(|answer| Request::State(id.clone(), answer)).await
    }
}

#[test]
fn a_guard_dropped_beside_its_server_in_one_thread_does_not_wait_for_that() {
    checked(async || {
        let helper = SessionTestHelper::new(InProcess::start());
        let session = helper.create_tracked_session(sleeping()).await.unwrap();
        let leader = leader(&session);
        drop(session);
        // Without giving the server's task a turn: the processes come first.
        let start = Instant::now();
        while leader.is_alive() {
            assert!(start.elapsed() < Duration::from_secs(20), "its process waits for the server, which waits for us");
            std::thread::yield_now();
        }
        assert_eq!(helper.tracked_count(), 1, "the server has not been heard yet");
        eventually("the server's word", || helper.tracked_count() == 0).await;
        // In silence: the guard was dropped in time, and its session is proven gone.
        drop(helper);
    });
}

#[test]
fn a_session_of_a_server_in_the_same_thread_is_closed_and_killed_as_any_other() {
    checked(async || {
        let helper = SessionTestHelper::new(InProcess::start());
        let [first, second] = two_sessions(&helper).await;
        let leaders = [leader(&first), leader(&second)];
        assert!(first.close().await.unwrap().is_proven());
        second.keep();
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
        assert!(leaders.iter().all(|leader| !leader.is_alive()));
    });
}

/// The drop waits a while for the server's word, which cannot come, and not for ever.
#[test]
fn a_helper_dropped_beside_its_server_in_one_thread_ends_the_processes_and_says_what_is_not_proven() {
    checked(async || {
        let helper = SessionTestHelper::new(InProcess::start());
        let session = helper.create_tracked_session(sleeping()).await.unwrap().keep();
        let text = panic_of(|| drop(helper)).expect("a session that is not proven gone is a failure of the test");
        assert!(!leader(&session).is_alive());
        insta::assert_snapshot!(text, @r"
    a SessionTestHelper was dropped while these sessions were alive:
      session `pty-N` (`sleep 1000`), made at tests/it/drops.rs:N
    End the test with `helper.kill_tracked_sessions().await?`, or close each with `session.close().await?`: then a failure is told to the test.
    not proven to be gone at the end of a SessionTestHelper:
      session `pty-N` (`sleep 1000`), made at tests/it/drops.rs:N
        its backend did not answer within the 5 s that a drop waits: does it live in the runtime that the drop blocks? Then await `kill_tracked_sessions` before
    ");
    });
}

/// Creates on a pty, late, and whether or not somebody still waits for the answer: as a server does.
#[derive(Default)]
struct Late {
    server: Arc<PtyBackend>,
    born: Arc<parking_lot::Mutex<Vec<ProcessHandle>>>,
    gate: Arc<tokio::sync::Notify>,
}

impl SessionBackend for Late {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let (server, born, gate, spec) = (self.server.clone(), self.born.clone(), self.gate.clone(), spec.clone());
        let creation = tokio::spawn(async move {
            gate.notified().await;
            let created = server.create(&spec).await.unwrap();
            let leader = created.leader_pid().expect("a pty session has a leader");
            born.lock().push(ProcessHandle::open(leader).unwrap());
            Created::new(created.id().clone()).with_leader(leader).with_server(std::process::id())
        });
        Ok(creation.await?)
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.server.kill(id).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.server.state(id).await
    }
}

#[test]
fn a_session_born_after_its_creation_was_given_up_is_found_by_its_cookie() {
    checked(async || {
        let server = Late::default();
        let (born, gate) = (server.born.clone(), server.gate.clone());
        let helper = SessionTestHelper::new(server);
        let creation = helper.create_tracked_session(stubborn());
        // Long enough for the request to be made; its answer waits for the gate.
        let given_up = tokio::time::timeout(Duration::from_millis(50), creation).await;
        assert!(given_up.is_err());
        assert_eq!((helper.tracked_count(), born.lock().len()), (0, 0), "it has no id yet, and no process");
        // Born while the kill is looking for it.
        let (report, ()) = tokio::join!(helper.kill_tracked_sessions(), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            gate.notify_one();
        });
        let report = report.unwrap();
        assert_eq!(born.lock().len(), 1, "it was born");
        assert!(!born.lock()[0].is_alive(), "and is left: {report}");
        let [outcome] = report.outcomes() else { panic!("one was asked for: {report}") };
        assert!(outcome.is_proven() && outcome.id().is_none() && !outcome.was_already_gone(), "{outcome}");
        assert!(helper.survivors().unwrap().is_empty());
        // It is out of the books: the next kill has nothing to do.
        assert!(helper.kill_tracked_sessions().await.unwrap().outcomes().is_empty());
    });
}

#[test]
fn the_end_of_a_helper_looks_for_a_session_whose_creation_was_given_up() {
    checked(async || {
        let server = Late::default();
        let (born, gate) = (server.born.clone(), server.gate.clone());
        let helper = SessionTestHelper::new(server);
        let given_up = tokio::time::timeout(Duration::from_millis(50), helper.create_tracked_session(sleeping())).await;
        assert!(given_up.is_err());
        gate.notify_one();
        eventually("its birth", || born.lock().len() == 1).await;
        drop(helper);
        let leader = born.lock()[0].clone();
        eventually("its end", || !leader.is_alive()).await;
    });
}

#[test]
fn a_creation_that_is_never_answered_is_an_error_that_says_what_may_still_come() {
    checked(async || {
        let helper = SessionTestHelper::new(FakeBackend::new().fault(Fault::Hangs(Method::Create)));
        let error = helper.create_tracked_session("bash").await.unwrap_err();
        assert!(error.is_timeout());
        insta::assert_snapshot!(error, @"timed out after 5s: the backend did not answer to the creation of `bash`; should it still come to be, the helper's kill finds it by its cookie; `TERMLEASH_CREATE_TIMEOUT` gives it more time");
        assert_eq!(helper.tracked_count(), 0);
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
    });
}

#[test]
fn a_close_that_is_given_up_halfway_is_finished_by_the_helper() {
    checked(async || {
        let hours = Duration::from_secs(3600);
        let helper = helper().with_policy(KillPolicy::default().grace(hours));
        let session = helper.create_tracked_session(stubborn()).await.unwrap();
        session.wait_for_text("ready").await.unwrap();
        let leader = leader(&session);
        let given_up = tokio::time::timeout(Duration::from_millis(50), session.close()).await;
        assert!(given_up.is_err() && leader.is_alive());
        assert_eq!(helper.tracked_count(), 1);
        let helper = helper.with_policy(KillPolicy::default().grace(Duration::from_millis(50)));
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert!(report.is_proven() && !leader.is_alive(), "{report}");
        assert_eq!(helper.tracked_count(), 0);
    });
}

#[test]
fn a_kill_of_all_that_is_given_up_halfway_can_be_called_again() {
    checked(async || {
        let helper = helper().with_policy(KillPolicy::default().grace(Duration::from_secs(3600)));
        let session = helper.create_tracked_session(stubborn()).await.unwrap();
        session.wait_for_text("ready").await.unwrap();
        let leader = leader(&session.keep());
        for _ in 0..3 {
            let given_up = tokio::time::timeout(Duration::from_millis(20), helper.kill_tracked_sessions()).await;
            assert!(given_up.is_err() && leader.is_alive() && helper.tracked_count() == 1);
        }
        let helper = helper.with_policy(KillPolicy::default().grace(Duration::ZERO));
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
        assert!(!leader.is_alive());
    });
}

/// Two kills of one session at once: one does it, both tell the same.
#[test]
fn a_close_and_a_kill_of_all_at_once_agree() {
    checked(async || {
        let helper = helper();
        for _ in 0..20 {
            let session = helper.create_tracked_session(sleeping()).await.unwrap();
            let (closed, killed) = tokio::join!(session.close(), helper.kill_tracked_sessions());
            assert!(closed.unwrap().is_proven() && killed.unwrap().is_proven());
            assert_eq!(helper.tracked_count(), 0);
        }
    });
}

/// A backend of the user's that panics must not leave the test waiting, and its panic must not be lost.
struct Panicking(PtyBackend);

impl SessionBackend for Panicking {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let created = self.0.create(spec).await?;
        Ok(Created::new(created.id().clone()).with_leader(created.leader_pid().ok_or("no leader")?))
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        panic!("a bug in this backend")
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        panic!("a bug in this backend")
    }
}

#[test]
fn a_helper_dropped_with_a_backend_that_panics_ends_the_processes_and_says_what_is_not_proven() {
    checked(async || {
        let helper = SessionTestHelper::new(Panicking(PtyBackend::new()));
        let session = helper.create_tracked_session(sleeping()).await.unwrap().keep();
        let text = panic_of(|| drop(helper)).expect("a session that is not proven gone is a failure of the test");
        assert!(!leader(&session).is_alive());
        assert!(text.contains("not proven to be gone"), "{text}");
    });
}
