//! A server that has died: whoever answers at its address by now never had its sessions.

use crate::checked::checked;
use parking_lot::Mutex;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use termleash::session::{BoxError, Created, SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

/// Says nothing of any session, and names a process as its own.
struct Mute {
    server: Mutex<Option<Child>>,
    leaders: Mutex<Vec<Child>>,
    tells_leader: bool,
}

impl Mute {
    fn start(tells_leader: bool) -> Arc<Self> {
        let server = Command::new("sleep").arg("2000").stdin(Stdio::null()).spawn().unwrap();
        Arc::new(Self { server: Mutex::new(Some(server)), leaders: Mutex::default(), tells_leader })
    }

    fn die(&self) {
        if let Some(mut server) = self.server.lock().take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.die();
        self.leaders.lock().drain(..).for_each(|mut leader| drop((leader.kill(), leader.wait())));
    }
}

impl SessionBackend for Mute {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let mut command = Command::new("sleep");
        for (name, value) in spec.environment() {
            command.env(name, value.unwrap_or_default());
        }
        let leader = command.arg("2000").stdin(Stdio::null()).spawn()?;
        let pid = leader.id();
        self.leaders.lock().push(leader);
        let server = self.server.lock().as_ref().map(Child::id).ok_or("it is dead")?;
        let created = Created::new(SessionId::new(format!("mute-{pid}"))?).with_server(server);
        Ok(if self.tells_leader { created.with_leader(pid) } else { created })
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        Err("nobody is there".into())
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        Err("nobody is there".into())
    }
}

#[test]
fn what_has_died_with_its_server_is_proven_and_said_once() {
    checked(async || {
        let server = Mute::start(true);
        let helper = SessionTestHelper::new(Arc::clone(&server));
        helper.create_tracked_session("true").await.unwrap().keep();
        server.die();
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert!(report.is_proven() && helper.tracked_count() == 0, "{report}");
        let text = report.to_string();
        assert!(text.contains("its server is dead, and with that what it knew of the session"), "{text}");
        assert_eq!(text.matches("could not be asked what it does").count(), 1, "{text}");
    });
}

/// The process is dead, and the server may show a session that hangs for ever.
#[test]
fn while_its_server_lives_and_says_nothing_no_session_is_proven() {
    checked(async || {
        let server = Mute::start(true);
        let helper = SessionTestHelper::new(Arc::clone(&server));
        helper.create_tracked_session("true").await.unwrap().keep();
        let error = helper.kill_tracked_sessions().await.unwrap_err();
        assert!(error.to_string().contains("could not say whether it is dead"), "{error}");
        server.die();
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
    });
}

/// Nobody knows which processes it had.
#[test]
fn a_session_without_a_leader_is_not_proven_by_its_servers_death() {
    checked(async || {
        let server = Mute::start(false);
        let helper = SessionTestHelper::new(Arc::clone(&server));
        helper.create_tracked_session("true").await.unwrap().keep();
        server.die();
        let error = helper.kill_tracked_sessions().await.unwrap_err();
        assert!(error.to_string().contains("could not say whether it is dead"), "{error}");
        helper.clear_tracked();
    });
}
