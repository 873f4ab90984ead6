//! Servers that lie, processes that run away, and tests that do odd things: nobody else is hurt, and "proven" is true.

use crate::checked::checked;
use crate::support::{Stranger, eventually, helper, lives};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use termleash::process::ProcessHandle;
use termleash::session::{Created, Running, SessionState};
use termleash::{
    PtyBackend, SessionBackend, SessionSpec, SessionTestHelper,
    process::KillPolicy,
    session::{BoxError, SessionId},
};

/// Names any process as a session's leader, and any as its server.
struct Liar {
    leader: u32,
    server: u32,
    is_killed: AtomicBool,
}

impl Liar {
    fn new(leader: u32, server: u32) -> Self {
        Self { leader, server, is_killed: AtomicBool::new(false) }
    }
}

impl SessionBackend for Liar {
    async fn create(&self, _: &SessionSpec) -> Result<Created, BoxError> {
        Ok(Created::new(SessionId::new("lie")?).with_leader(self.leader).with_server(self.server))
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        self.is_killed.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        if self.is_killed.load(Ordering::Relaxed) {
            return Ok(SessionState::Exited(None));
        }
        Ok(Running::new().with_leader(self.leader).with_server(self.server).into())
    }
}

/// A stranger that leads a kernel session, as every terminal's shell does.
async fn strangers_shell() -> Stranger {
    let stranger = Stranger::new(Command::new("setsid").args(["sleep", "1000"]));
    let command = format!("/proc/{}/cmdline", stranger.pid());
    eventually("its exec", || std::fs::read(&command).unwrap().starts_with(b"sleep")).await;
    // Start times are known in ticks of 10 ms: what starts in the tick of a request is in time.
    tokio::time::sleep(Duration::from_millis(30)).await;
    stranger
}

#[test]
fn everything_descends_from_process_one_which_therefore_proves_nothing() {
    checked(async || {
        let mut stranger = strangers_shell().await;
        // Its parent is this test, which is not the server either: it is named as such only where it is.
        for server in [1, u32::MAX, 0] {
            let helper = SessionTestHelper::new(Liar::new(stranger.pid(), server));
            helper.track_session("lie").await.unwrap();
            let report = helper.kill_tracked_sessions().await.unwrap();
            assert!(stranger.is_alive(), "server {server}: {report}");
            assert!(report.to_string().contains("by its backend's word and its cookie only"), "{report}");
        }
    });
}

#[test]
fn a_leader_that_started_before_the_request_or_is_none_is_not_believed() {
    checked(async || {
        let mut stranger = strangers_shell().await;
        for leader in [stranger.pid(), 1, std::process::id(), std::os::unix::process::parent_id(), 0, u32::MAX] {
            let helper = SessionTestHelper::new(Liar::new(leader, std::process::id()));
            let session = helper.create_tracked_session("x").await.unwrap();
            assert!(session.leader().is_none(), "{leader} was believed");
            let outcome = session.close().await.unwrap();
            assert!(stranger.is_alive() && outcome.suspects().is_empty(), "{outcome}");
        }
    });
}

/// Creates on a pty, after a while.
struct Slow(PtyBackend);

impl SessionBackend for Slow {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.0.create(spec).await
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.0.kill(id).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.0.state(id).await
    }

    async fn discard_record(&self, id: &SessionId) -> Result<(), BoxError> {
        self.0.discard_record(id).await
    }
}

#[test]
fn a_session_that_is_born_after_its_helpers_end_is_ended_at_birth() {
    checked(async || {
        let backend = Arc::new(Slow(PtyBackend::new()));
        let helper = SessionTestHelper::new(Arc::clone(&backend));
        let creation = tokio::spawn(helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")));
        tokio::task::yield_now().await;
        drop(helper);
        let error = creation.await.unwrap().unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("its helper or its test had ended"), "{error}");
        assert!(backend.0.list().await.unwrap().is_empty());
    });
}

#[test]
fn for_ever_is_a_deadline_and_a_grace_like_any_other() {
    checked(async || {
        let helper = helper().with_policy(KillPolicy::default().grace(Duration::MAX));
        let session = helper.create_tracked_session("cat").await.unwrap();
        session.write_line("it").await.unwrap();
        session.wait_for_text_within("it", Duration::MAX).await.unwrap();
        assert!(session.close().await.unwrap().is_proven());
    });
}

/// Each of its lives is one fork long, each in a kernel session of its own, and it ignores what can be ignored.
#[test]
fn a_process_that_hops_by_fork_and_exit_is_caught_or_told_and_never_called_gone() {
    checked(async || {
        let folder = tempfile::tempdir().unwrap();
        let (script, stop) = (folder.path().join("hop.sh"), folder.path().join("stop"));
        let hop = format!("[ -e '{}' ] && exit\nsetsid sh '{}' &\n", stop.display(), script.display());
        std::fs::write(&script, hop).unwrap();
        let helper = helper().with_policy(KillPolicy::default().grace(Duration::from_millis(20)));
        for _ in 0..3 {
            let session = helper.create_tracked_session("sh").await.unwrap();
            session
                .run(&format!("trap '' HUP TERM; setsid sh '{}' </dev/null >/dev/null 2>&1 &", script.display()))
                .await
                .unwrap();
            match session.close().await {
                Ok(outcome) => {
                    for _ in 0..100 {
                        let left = helper.survivors().unwrap();
                        assert!(left.is_empty(), "{left:?} hops on after {outcome}");
                    }
                }
                Err(cause) => assert!(cause.is_survived(), "{cause}"),
            }
        }
        std::fs::write(&stop, "").unwrap();
        helper.kill_tracked_sessions().await.unwrap();
    });
}

/// An executor of the test's whose waker panics: everybody else's waits go on.
#[test]
fn a_waker_that_panics_stops_nobody_elses_wait() {
    checked(async || {
        #[derive(Default)]
        struct Panics(AtomicUsize);
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
                panic!("an executor's own fault");
            }
        }
        let helper = helper();
        let session = helper.create_tracked_session("cat").await.unwrap();
        let panics = Arc::new(Panics::default());
        let waker = Waker::from(Arc::clone(&panics));
        let waiting = loop {
            let mut waiting = Box::pin(session.wait_for_text_within("never", Duration::from_millis(10)));
            // On a busy machine the deadline may have passed already.
            if waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                break waiting;
            }
        };
        session.write_line("it").await.unwrap();
        session.wait_for_text("it").await.unwrap();
        // By what was printed, and by the deadline.
        eventually("both wakes", || panics.0.load(Ordering::SeqCst) == 2).await;
        drop(waiting);
        assert!(session.close().await.unwrap().is_proven());
    });
}

/// A server's child that ended by itself long before the kill: what has its number by then is not its.
#[test]
fn the_end_of_a_servers_leader_is_noticed_when_it_ends_and_not_when_the_kill_begins() {
    checked(async || {
        let server = Arc::new(PtyBackend::new());
        let made = server.create(&SessionSpec::new("sleep").arg("1000")).await.unwrap();
        let leader = made.leader_pid().unwrap();
        let helper = SessionTestHelper::new(Liar::new(leader, std::process::id()));
        helper.track_session("lie").await.unwrap();
        let session = helper.session(&SessionId::new("lie").unwrap()).unwrap();
        let held: ProcessHandle = session.leader().expect("a child of the server").clone();
        server.kill(made.id()).await.unwrap();
        // Nobody of the test waits for it.
        eventually("its end", || !lives(leader)).await;
        eventually("the notice of its end", || format!("{held:?}").contains("has_ended: true")).await;
        helper.clear_tracked();
        server.discard_record(made.id()).await.unwrap();
    });
}
