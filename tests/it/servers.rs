//! What a server says and does when its sessions are killed, and what is made of it.

use crate::checked::checked;
use crate::children::in_container;
use crate::support::{Stranger, eventually};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use termleash::process::ProcessHandle;
use termleash::session::{
    BoxFuture, Created, FakeBackend, Fault, Method, Running, SessionState, Terminal, TerminalInput, TerminalOutput,
    WindowSize,
};
use termleash::{
    PtyBackend, SessionBackend, SessionSpec, SessionTestHelper,
    session::{BoxError, SessionId},
};

fn calls(fake: &FakeBackend, method: Method) -> usize {
    fake.calls().iter().filter(|call| call.method == method).count()
}

/// By the time of a kill the id of a session that has ended may be another's.
#[test]
fn a_server_is_not_asked_to_kill_what_it_says_has_ended() {
    checked(async || {
        let fake = FakeBackend::new();
        let helper = SessionTestHelper::new(fake.clone());
        let session = helper.create_tracked_session("bash").await.unwrap().keep();
        fake.exit(session.id(), 3);
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
        assert_eq!((calls(&fake, Method::Kill), calls(&fake, Method::Discard)), (0, 1));
    });
}

/// Nothing is killed by an id of which nobody knows what it means, and nothing is called dead.
#[test]
fn a_server_that_cannot_say_what_an_id_means_is_not_asked_to_kill_it() {
    checked(async || {
        let fake = FakeBackend::new();
        let helper = SessionTestHelper::new(fake.clone());
        let session = helper.create_tracked_session("bash").await.unwrap().keep();
        fake.set_faults([Fault::Fails(Method::State)]);
        let error = helper.kill_tracked_sessions().await.unwrap_err();
        assert!(error.is_survived() && error.to_string().contains("could not say whether it is dead"), "{error}");
        assert_eq!((calls(&fake, Method::Kill), fake.sessions().len()), (0, 1));
        assert!(helper.is_tracked(session.id()));
        fake.set_faults([]);
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
        assert!(fake.sessions().is_empty() && !helper.is_tracked(session.id()));
    });
}

/// While a leader that we hold lives, its id cannot have been given to another.
#[test]
fn a_server_that_cannot_say_is_asked_to_kill_a_session_whose_leader_is_held_and_lives() {
    checked(async || {
        let fake = FakeBackend::new().with_processes();
        let helper = SessionTestHelper::new(fake.clone());
        let session = helper.create_tracked_session("bash").await.unwrap();
        assert!(session.leader().is_some());
        fake.set_faults([Fault::FailsFirst(Method::State, 1)]);
        assert!(session.close().await.unwrap().is_proven());
        assert_eq!(calls(&fake, Method::Kill), 1);
    });
}

/// Success is not taken for a death: the server itself says that the session runs.
#[test]
fn a_kill_that_a_server_ignores_is_an_error_and_can_be_called_again() {
    checked(async || {
        let fake = FakeBackend::new().fault(Fault::IgnoresKill);
        let helper = SessionTestHelper::new(fake.clone());
        helper.create_tracked_session("bash").await.unwrap().keep();
        let error = helper.kill_tracked_sessions().await.unwrap_err();
        assert!(error.is_survived() && error.to_string().contains("its backend still says that it runs"), "{error}");
        assert_eq!(helper.tracked_count(), 1);
        fake.set_faults([]);
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
        assert_eq!((helper.tracked_count(), fake.sessions().len()), (0, 0));
    });
}

#[test]
fn what_no_system_can_pass_on_is_refused_before_a_server_is_asked() {
    checked(async || {
        let fake = FakeBackend::new();
        let helper = SessionTestHelper::new(fake.clone());
        let error = helper.create_tracked_session(SessionSpec::new("bash").arg("a\0b")).await.unwrap_err();
        assert!(error.is_invalid_input(), "{error}");
        assert!(fake.calls().is_empty());
    });
}

/// Cleared while a kill waited for its turn: the session is nobody's to end any more.
#[test]
fn a_session_that_is_cleared_while_a_kill_waits_for_its_turn_is_left_alone() {
    checked(async || {
        let fake = FakeBackend::new();
        let helper = SessionTestHelper::new(fake.clone());
        let session = helper.create_tracked_session("bash").await.unwrap().keep();
        fake.set_faults([Fault::Hangs(Method::State)]);
        let (first, second) = (helper.clone(), helper.clone());
        let first = tokio::spawn(async move { first.kill_tracked_sessions().await });
        eventually("the first kill's question", || calls(&fake, Method::State) == 1).await;
        let second = tokio::spawn(async move { second.kill_tracked_sessions().await });
        // Its one poll: it finds that it is not its turn.
        tokio::task::yield_now().await;
        assert_eq!(helper.clear_tracked(), std::slice::from_ref(session.id()));
        fake.set_faults([]);
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let report = second.await.unwrap().unwrap();
        assert!(report.outcomes().is_empty() && report.cleared().len() == 1, "{report}");
        assert_eq!((calls(&fake, Method::Kill), fake.sessions().len()), (0, 1));
    });
}

/// A server that can be started anew, as another process: it counts from `$0` again.
struct Restarting {
    server: Mutex<Stranger>,
    kills: AtomicUsize,
}

impl Restarting {
    fn start() -> Arc<Self> {
        Arc::new(Self { server: Mutex::new(Stranger::sleeping()), kills: AtomicUsize::new(0) })
    }

    fn restart(&self) {
        *self.server.lock() = Stranger::sleeping();
    }
}

impl SessionBackend for Restarting {
    async fn create(&self, _: &SessionSpec) -> Result<Created, BoxError> {
        Ok(Created::new(SessionId::new("$0")?).with_server(self.server.lock().pid()))
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        self.kills.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        Ok(Running::new().with_server(self.server.lock().pid()).into())
    }
}

/// A server that says nothing of itself, and has given the same id to a session whose leader has the same number.
struct Recurring {
    leader: Mutex<Option<Stranger>>,
    kills: AtomicUsize,
}

impl SessionBackend for Recurring {
    async fn create(&self, _: &SessionSpec) -> Result<Created, BoxError> {
        let leader = self.leader.lock().insert(Stranger::sleeping()).pid();
        Ok(Created::new(SessionId::new("1")?).with_leader(leader).with_server(std::process::id()))
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        self.kills.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        let leader = self.leader.lock().as_ref().map(Stranger::pid);
        Ok(leader.map_or(SessionState::Unknown, |pid| Running::new().with_leader(pid).into()))
    }
}

fn stranger_with_the_number(pid: u32) -> Stranger {
    for _ in 0..1000 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let stranger = Stranger::sleeping();
        if stranger.pid() == pid {
            return stranger;
        }
    }
    panic!("{pid} is not to be had");
}

#[test]
fn an_id_whose_leaders_number_is_anothers_is_not_killed() {
    if let Some(ran) = in_container() {
        ran.passed();
        return;
    }
    checked(async || {
        let server = Arc::new(Recurring { leader: Mutex::default(), kills: AtomicUsize::new(0) });
        let helper = SessionTestHelper::new(Arc::clone(&server));
        let session = helper.create_tracked_session("bash").await.unwrap().keep();
        let pid = session.leader_pid().unwrap();
        drop(server.leader.lock().take());
        // Start times are known in ticks of 10 ms.
        tokio::time::sleep(Duration::from_millis(30)).await;
        *server.leader.lock() = Some(stranger_with_the_number(pid));
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert_eq!(server.kills.load(Ordering::Relaxed), 0, "somebody's new `1` was killed");
        let notes = report.outcomes()[0].notes();
        assert!(notes.iter().any(|note| note.contains("another process has")), "{report}");
    });
}

#[test]
fn an_id_of_a_server_that_was_started_anew_is_not_killed() {
    checked(async || {
        for is_handed_over in [false, true] {
            let server = Restarting::start();
            let helper = SessionTestHelper::new(Arc::clone(&server));
            if is_handed_over {
                helper.track_session("$0").await.unwrap();
            } else {
                helper.create_tracked_session("bash").await.unwrap().keep();
            }
            server.restart();
            let result = helper.kill_tracked_sessions().await;
            assert_eq!(server.kills.load(Ordering::Relaxed), 0, "somebody's new `$0` was killed");
            if is_handed_over {
                // Neither cookie nor leader: of our own nothing is known, and nothing is proven.
                let error = result.unwrap_err();
                assert!(error.is_survived() && error.to_string().contains("refused to kill"), "{error}");
                assert_eq!(helper.clear_tracked().len(), 1);
            } else {
                let report = result.unwrap();
                let notes = report.outcomes()[0].notes();
                assert!(notes.iter().any(|note| note.contains("its server was")), "{report}");
            }
        }
    });
}

/// A terminal of a server's, which tells whether it was closed.
#[derive(Clone, Default)]
struct Input(Arc<AtomicBool>);

impl TerminalInput for Input {
    fn write<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async { Ok(()) })
    }

    fn resize(&self, _: WindowSize) -> Result<(), BoxError> {
        Ok(())
    }

    fn size(&self) -> Result<WindowSize, BoxError> {
        Err("it has none".into())
    }

    fn close(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct WithTerminal(FakeBackend, Input);

impl SessionBackend for WithTerminal {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let terminal = Terminal::new(self.1.clone(), TerminalOutput::new(100));
        Ok(self.0.create(spec).await?.with_terminal(terminal))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.0.kill(id).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.0.state(id).await
    }
}

#[test]
fn the_terminal_of_a_servers_session_is_closed_with_it() {
    checked(async || {
        let input = Input::default();
        let helper = SessionTestHelper::new(WithTerminal(FakeBackend::new(), input.clone()));
        let session = helper.create_tracked_session("bash").await.unwrap();
        assert!(!input.0.load(Ordering::Relaxed));
        assert!(session.close().await.unwrap().is_proven());
        assert!(input.0.load(Ordering::Relaxed));
    });
}

/// A server that forgets a session when it is asked to kill it, and does nothing.
#[derive(Default)]
struct Forgetful(PtyBackend, AtomicBool);

impl SessionBackend for Forgetful {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        self.0.create(spec).await
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        self.1.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        let SessionState::Running(running) = self.0.state(id).await? else { return Ok(SessionState::Unknown) };
        let is_forgotten = self.1.load(Ordering::Relaxed);
        let running = running.with_server(std::process::id());
        Ok(if is_forgotten { SessionState::Unknown } else { running.into() })
    }
}

/// The leader of a session that was handed over is proven, and its time begins with that, not with the handing over.
#[test]
fn a_session_that_was_handed_over_is_ended_by_its_leader_where_the_server_only_forgets_it() {
    checked(async || {
        let server = Arc::new(Forgetful::default());
        let created = server.create(&SessionSpec::new("sleep").arg("1000")).await.unwrap();
        let leader = ProcessHandle::open(created.leader_pid().unwrap()).unwrap();
        let start = Instant::now();
        // Some ticks of the clock that process start times are given in.
        eventually("later", || start.elapsed() > Duration::from_millis(30)).await;
        let helper = SessionTestHelper::new(Arc::clone(&server));
        helper.track_session(created.id()).await.unwrap();
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert!(!leader.is_alive(), "{report}");
        assert!(report.outcomes()[0].suspects().is_empty(), "{report}");
    });
}

/// The number of the server that has answered is another's when it is looked up, so many times.
struct Dying {
    server: Mutex<Stranger>,
    dies: AtomicUsize,
    kills: AtomicUsize,
}

impl SessionBackend for Dying {
    async fn create(&self, _: &SessionSpec) -> Result<Created, BoxError> {
        unreachable!("nobody asks for one")
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        self.kills.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        if self.dies.load(Ordering::Relaxed) > 0 {
            self.dies.fetch_sub(1, Ordering::Relaxed);
            // Start times are known in ticks of 10 ms.
            tokio::time::sleep(Duration::from_millis(30)).await;
            *self.server.lock() = Stranger::sleeping();
        }
        Ok(Running::new().with_server(self.server.lock().pid()).into())
    }
}

#[test]
fn a_process_that_was_started_after_the_question_is_not_the_server_that_has_answered() {
    checked(async || {
        let server = |dies| {
            let (server, dies) = (Mutex::new(Stranger::sleeping()), AtomicUsize::new(dies));
            Arc::new(Dying { server, dies, kills: AtomicUsize::new(0) })
        };
        let id = SessionId::new("$0").unwrap();
        let (one, both) = (server(1), server(2));
        let error = SessionTestHelper::new(both).track_session(&id).await.unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("has ended since it answered"), "{error}");
        // Asked again, the next one has answered, and lives: the session is its own, until it is started anew.
        let helper = SessionTestHelper::new(Arc::clone(&one));
        helper.track_session(&id).await.unwrap();
        *one.server.lock() = Stranger::sleeping();
        let error = helper.kill_tracked_sessions().await.unwrap_err();
        assert!(error.is_survived() && error.to_string().contains("is another process"), "{error}");
        assert_eq!((one.kills.load(Ordering::Relaxed), helper.clear_tracked().len()), (0, 1));
    });
}

#[test]
fn two_tasks_that_hand_over_the_same_session_at_once_track_it_once() {
    checked(async || {
        let fake = FakeBackend::new();
        let id = fake.spawn_bystander("theirs").unwrap();
        let helper = SessionTestHelper::new(fake.clone().fault(Fault::Slow(Method::State, Duration::from_millis(20))));
        let (first, second) = tokio::join!(helper.track_session(&id), helper.track_session(&id));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(calls(&fake, Method::State), 2, "neither has come too late to be at once");
        assert_eq!(helper.kill_tracked_sessions().await.unwrap().outcomes().len(), 1);
        assert!(fake.sessions().is_empty());
    });
}

#[test]
fn a_leader_that_is_not_believed_is_told_of() {
    checked(async || {
        let fake = FakeBackend::new().with_processes().fault(Fault::NamesLeader(std::process::id()));
        let helper = SessionTestHelper::new(fake.clone());
        let session = helper.create_tracked_session("bash").await.unwrap();
        assert!(session.leader().is_none());
        // From here on it tells the truth of the leader, which then is not the one that it named: not its own any more.
        let outcome = session.close().await.unwrap();
        let is_told = |note: &String| note.contains("its end is proven by its backend's word and its cookie only");
        assert!(outcome.notes().iter().any(is_told), "{outcome}");
        assert!(fake.sessions().is_empty(), "its cookie is proof enough");
    });
}

/// A kill that ends after its session was cleared takes only that one out of the books.
#[test]
fn a_younger_session_with_the_id_of_one_that_was_cleared_stays_tracked() {
    checked(async || {
        let fake = FakeBackend::new();
        let helper = SessionTestHelper::new(fake.clone());
        let old = helper.create_tracked_session("bash").await.unwrap().keep();
        fake.set_faults([Fault::Slow(Method::Discard, Duration::from_millis(300))]);
        let of_kill = helper.clone();
        let kill = tokio::spawn(async move { of_kill.kill_tracked_sessions().await });
        eventually("the discarding", || calls(&fake, Method::Discard) == 1).await;
        helper.clear_tracked();
        fake.set_faults([Fault::ReusesDeadId]);
        let young = helper.create_tracked_session("bash").await.unwrap().keep();
        assert_eq!(young.id(), old.id());
        kill.await.unwrap().unwrap();
        assert!(helper.is_tracked(young.id()) && helper.tracked_count() == 1);
        fake.set_faults([]);
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
    });
}

/// Else each session that was ever killed would cost its record and its output until the backend's end.
#[test]
fn a_pty_backend_keeps_no_record_of_a_session_that_was_killed() {
    checked(async || {
        let server = Arc::new(PtyBackend::new());
        let helper = SessionTestHelper::new(Arc::clone(&server));
        let closed = helper.create_tracked_session("cat").await.unwrap();
        let kept = helper.create_tracked_session("cat").await.unwrap().keep();
        closed.close().await.unwrap();
        assert_eq!(server.list().await.unwrap(), [kept.id().clone()]);
        helper.kill_tracked_sessions().await.unwrap();
        assert_eq!(server.list().await.unwrap(), []);
    });
}

/// Used without a helper, the backend's own end is that of its terminals, and that is a hang-up.
#[test]
fn a_pty_backend_that_is_dropped_hangs_up_on_its_sessions() {
    checked(async || {
        let server = PtyBackend::new();
        let created = server.create(&SessionSpec::new("sleep").arg("1000")).await.unwrap();
        let leader = ProcessHandle::open(created.leader_pid().unwrap()).unwrap();
        drop(server);
        eventually("the hang-up", || !leader.is_alive()).await;
    });
}
