//! Sessions of others on the same backend: whatever they look like, they live.

use crate::checked::checked;
use crate::support::helper;
use std::sync::Arc;
use std::time::Duration;
use termleash::process::ProcessHandle;
use termleash::session::{Created, SessionState};
use termleash::{
    Error, PtyBackend, SessionBackend, SessionSpec, SessionTestHelper,
    session::{BoxError, SessionId},
};

/// A server whose sessions have the ids that the test wants.
struct Named {
    inner: PtyBackend,
    next: parking_lot::Mutex<Vec<&'static str>>,
    ids: parking_lot::Mutex<Vec<(SessionId, SessionId)>>,
}

impl Named {
    fn new(ids: &[&'static str]) -> Arc<Self> {
        let next = parking_lot::Mutex::new(ids.iter().rev().copied().collect());
        Arc::new(Self { inner: PtyBackend::new(), next, ids: parking_lot::Mutex::default() })
    }

    fn inner_id(&self, id: &SessionId) -> Option<SessionId> {
        self.ids.lock().iter().find(|(own, _)| own == id).map(|(_, inner)| inner.clone())
    }
}

impl SessionBackend for Named {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let id = SessionId::new(self.next.lock().pop().ok_or("no id is left")?)?;
        let created = self.inner.create(spec).await?;
        let leader = created.leader_pid().ok_or("no leader")?;
        self.ids.lock().push((id.clone(), created.id().clone()));
        Ok(Created::new(id).with_leader(leader).with_server(std::process::id()))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.inner.kill(&self.inner_id(id).ok_or("unknown session")?).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        match self.inner_id(id) {
            Some(id) => self.inner.state(&id).await,
            None => Ok(SessionState::Unknown),
        }
    }

    async fn discard_record(&self, id: &SessionId) -> Result<(), BoxError> {
        if let Some(inner) = self.inner_id(id) {
            self.inner.discard_record(&inner).await?;
        }
        self.ids.lock().retain(|(own, _)| own != id);
        Ok(())
    }
}

async fn stranger(server: &Arc<Named>, spec: SessionSpec) -> (SessionId, ProcessHandle) {
    let created = server.create(&spec).await.unwrap();
    (created.id().clone(), ProcessHandle::open(created.leader_pid().unwrap()).unwrap())
}

async fn end(server: &Arc<Named>, id: &SessionId) {
    server.kill(id).await.unwrap();
    server.discard_record(id).await.unwrap();
}

#[test]
fn sessions_of_others_live_whatever_their_ids_and_names() {
    checked(async || {
        let server = Named::new(&["build", "build-2", "buil", "build-22", "Build", "late"]);
        let spec = || SessionSpec::new("sleep").arg("1000").name("build");
        let helper = SessionTestHelper::new(Arc::clone(&server));
        let ours = helper.create_tracked_session(spec()).await.unwrap();
        assert_eq!(ours.id().as_str(), "build");
        let leader = ours.leader().unwrap().clone();
        // Ours is a prefix of one, another is a prefix of ours; all have the same name, program and server.
        let mut strangers = Vec::new();
        for _ in 0..5 {
            strangers.push(stranger(&server, spec()).await);
        }
        ours.keep();
        // Killed twice: the trap is a server that takes the nearest id once the exact one is gone.
        for expected in [1, 0] {
            let report = helper.kill_tracked_sessions().await.unwrap();
            assert_eq!(report.outcomes().len(), expected);
        }
        let error = helper.kill_session(&SessionId::new("build").unwrap()).await.unwrap_err();
        assert!(error.is_not_tracked(), "{error}");
        assert!(!leader.is_alive());
        for (id, leader) in strangers {
            assert!(leader.is_alive(), "the stranger's session `{id}` was touched");
            end(&server, &id).await;
        }
    });
}

#[test]
fn a_kill_by_an_id_that_is_not_tracked_is_refused_and_touches_nobody() {
    checked(async || {
        let server = Named::new(&["a"]);
        let (id, leader) = stranger(&server, SessionSpec::new("sleep").arg("1000")).await;
        let helper = SessionTestHelper::new(Arc::clone(&server));
        let error = helper.kill_session(&id).await.unwrap_err();
        assert!(error.is_not_tracked());
        insta::assert_snapshot!(error.to_string(), @"session `a` is not tracked by this helper, so it was not touched: create it with `create_tracked_session`, or hand it over with `track_session`");
        assert!(leader.is_alive());
        end(&server, &id).await;
    });
}

#[test]
fn a_session_made_by_other_means_is_tracked_by_its_id_from_then_on() {
    checked(async || {
        let server = Named::new(&["mine", "theirs"]);
        let (mine, leader) = stranger(&server, SessionSpec::new("sleep").arg("1000")).await;
        let (theirs, their_leader) = stranger(&server, SessionSpec::new("sleep").arg("1000")).await;
        let helper = SessionTestHelper::new(Arc::clone(&server));
        for _ in 0..2 {
            helper.track_session(mine.as_str()).await.unwrap();
            assert_eq!(helper.tracked_count(), 1);
        }
        assert!(helper.is_tracked(&mine) && !helper.is_tracked(&theirs));
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert_eq!(report.outcomes()[0].id(), Some(&mine));
        assert!(!leader.is_alive() && their_leader.is_alive());
        end(&server, &theirs).await;
    });
}

#[test]
fn an_unknown_or_hostile_id_is_not_tracked() {
    checked(async || {
        let helper = helper();
        assert!(helper.track_session("pty-999999").await.unwrap_err().is_unknown_session());
        assert!(helper.track_session("../pty-1").await.unwrap_err().is_invalid_input());
        assert_eq!(helper.tracked_count(), 0);
    });
}

#[test]
fn cleared_sessions_are_left_alone_and_named() {
    checked(async || {
        let server = Arc::new(PtyBackend::new());
        let helper = SessionTestHelper::new(Arc::clone(&server));
        let guard = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.unwrap();
        let (id, leader) = (guard.id().clone(), guard.leader().unwrap().clone());
        assert_eq!(helper.clear_tracked(), std::slice::from_ref(&id));
        assert!(guard.close().await.unwrap_err().is_not_tracked());
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert!(report.outcomes().is_empty() && leader.is_alive());
        assert_eq!(report.cleared(), std::slice::from_ref(&id));
        assert!(report.to_string().contains("left alone: pty-"), "{report}");
        server.kill(&id).await.unwrap();
        server.discard_record(&id).await.unwrap();
    });
}

/// What a tmux that was started anew does: `$0` is somebody else's session now.
#[test]
fn an_id_that_names_another_session_by_now_is_not_killed() {
    checked(async || {
        let server = Named::new(&["first", "second"]);
        let helper = SessionTestHelper::new(Arc::clone(&server));
        let ours = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.unwrap();
        let id = ours.id().clone();
        let (other, their_leader) = stranger(&server, SessionSpec::new("sleep").arg("1000")).await;
        // Our session ends, and the server gives its id to the stranger's.
        end(&server, &id).await;
        let inner = server.inner_id(&other).unwrap();
        server.ids.lock().push((id.clone(), inner));
        let outcome = ours.close().await.unwrap();
        assert!(outcome.notes().iter().any(|note| note.contains("names another session by now")), "{outcome}");
        assert!(their_leader.is_alive(), "the stranger's session was killed by our old id");
        end(&server, &other).await;
    });
}

#[test]
fn a_backend_that_answers_with_a_tracked_id_is_refused_and_its_session_ended() {
    checked(async || {
        let server = Named::new(&["same", "same"]);
        let helper = SessionTestHelper::new(Arc::clone(&server));
        let first = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.unwrap();
        let error: Error = helper.create_tracked_session(SessionSpec::new("sleep").arg("2000")).await.unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("bystanders.rs"), "{error}");
        assert!(first.leader().unwrap().is_alive());
        assert_eq!((helper.tracked_count(), helper.survivors().unwrap().len()), (1, 1));
        let (_, second) = server.ids.lock().pop().unwrap();
        // Asked of the server too: a process that has just started may not show its cookie yet.
        let ended = async {
            while server.inner.state(&second).await.unwrap().is_running() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the second session lives");
        first.close().await.unwrap();
        server.inner.discard_record(&second).await.unwrap();
    });
}
