//! A server whose masters lack close-on-exec: each younger session, whoever that belongs to, keeps the terminals of the older ones.

use crate::scene::{Me, Scene};
use crate::server::{Manners, Server};
use termleash::process::{ProcessHandle, Refusal};
use termleash::session::{HttpBackend, SessionId};
use termleash::tracker::KillOutcome;
use termleash::{SessionSpec, SessionTestHelper};

/// A process of its own: what it hands to the sessions it must hand to no other test.
fn serves(me: &Me) {
    let keeps_masters = me.role == "keeps";
    let server = Server::start(Manners { leaks_masters: true, keeps_masters, ..Manners::default() });
    me.note("url", &server.url);
    me.wait_for("the end");
}

fn sleeps() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

async fn created(helper: &SessionTestHelper) -> (SessionId, ProcessHandle) {
    let session = helper.create_tracked_session(sleeps()).await.unwrap().keep();
    (session.id().clone(), session.leader().unwrap().clone())
}

fn named(outcome: &KillOutcome) -> Vec<(u32, Refusal)> {
    outcome.suspects().iter().map(|suspect| (suspect.process.identity.pid(), suspect.why)).collect()
}

#[test]
fn strangers_that_inherited_a_terminals_master_are_named_and_live() {
    let Some(scene) = Scene::new(serves) else { return };
    let mut server = scene.start("server", &[]);
    let url = scene.noted("url");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let [helper, others] = [(); 2].map(|()| SessionTestHelper::new(HttpBackend::vibetunnel(&url)));
        let (_, older) = created(&others).await;
        let (id, leader) = created(&helper).await;
        let (_, younger) = created(&others).await;
        let terminal = std::fs::read_link(format!("/proc/{}/fd/0", leader.pid())).unwrap();
        assert!(terminal.starts_with("/dev/pts"), "{terminal:?}");

        let outcome = helper.kill_session(&id).await.unwrap();
        assert!(outcome.is_proven() && !leader.is_alive(), "{outcome}");
        assert!(terminal.exists(), "nobody holds it: {outcome}");
        assert_eq!(named(&outcome), [(younger.pid(), Refusal::HoldsMaster)], "{outcome}");
        assert!(outcome.to_string().contains("it holds the master of the session's terminal"), "{outcome}");
        assert!(younger.is_alive() && older.is_alive());

        // One that nobody is younger than has a terminal that nobody keeps.
        let (id, _) = created(&helper).await;
        let outcome = helper.kill_session(&id).await.unwrap();
        assert!(outcome.is_proven() && outcome.suspects().is_empty(), "{outcome}");
        assert!(younger.is_alive() && older.is_alive());
        // Where both end nobody is left to be named.
        let report = others.kill_tracked_sessions().await.unwrap();
        assert!(report.outcomes().iter().all(|outcome| outcome.suspects().is_empty()), "{report}");
    });
    scene.note("the end");
    assert!(server.end().0.success());
}

/// A server with that leak is for a leak check of it to find.
#[test]
fn a_server_that_keeps_a_master_itself_is_no_suspect() {
    let Some(scene) = Scene::new(serves) else { return };
    let mut server = scene.start("keeps", &[]);
    let url = scene.noted("url");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let helper = SessionTestHelper::new(HttpBackend::vibetunnel(&url));
        let (id, leader) = created(&helper).await;
        let terminal = std::fs::read_link(format!("/proc/{}/fd/0", leader.pid())).unwrap();
        let outcome = helper.kill_session(&id).await.unwrap();
        assert!(outcome.is_proven() && outcome.suspects().is_empty() && terminal.exists(), "{outcome}");
    });
    scene.note("the end");
    assert!(server.end().0.success());
}
