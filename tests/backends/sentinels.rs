//! Tests that are killed while their sentinels stand on somebody's server: their keepers end those, and nobody else's sessions.

use crate::keepers::{ROLES, dies};
use crate::scene::{Me, Scene, until};
use termleash::process::ProcessHandle;
use termleash::session::{BoxError, CommandBackend};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

/// A session and one sentinel of each kind.
const MADE: usize = 4;

/// Plants them all, says which processes they are, waits for the test's word and dies.
fn dies_with_sentinels(me: &Me, backend: impl SessionBackend) {
    let (made, part, go) = (me.path("made"), me.path("made.part"), me.path("go"));
    let spec = SessionSpec::new("sleep").arg(me.nap(0)).name("build");
    let run = async move |helper: SessionTestHelper| -> Result<(), BoxError> {
        helper.watch_for_interference().await?;
        let session = helper.create_tracked_session(spec).await?.keep();
        let found = helper.check_interference().await?;
        let sentinels = found.sentinels().iter().map(|sentinel| sentinel.leader);
        let leaders: Option<Vec<u32>> = sentinels.chain([session.leader_pid()]).collect();
        let leaders = leaders.ok_or_else(|| format!("somebody's leader is not known: {found}"))?;
        std::fs::write(&part, leaders.iter().map(|pid| format!("{pid}\n")).collect::<String>())?;
        std::fs::rename(part, made)?;
        until("the test's word", || go.exists().then_some(()));
        dies();
    };
    if me.role.contains("in process") {
        termleash::block_on(run(SessionTestHelper::new(backend))).unwrap();
    } else {
        termleash::test(async move |t| run(t.helper_on(backend)).await);
    }
}

/// Where the server is, for who plays a part.
const SERVER: &str = "TEST_SERVER";

/// In both kinds of process: all of it is there, and gone after the test's death.
fn each_ends_with_its_test(scene: &Scene, server: &str) {
    for (role, isolation) in ROLES {
        for note in ["made", "go"] {
            let _ = std::fs::remove_file(scene.path(note));
        }
        let mut runner = scene.start(role, &[("TERMLEASH_ISOLATE", isolation), (SERVER, server)]);
        let made = scene.noted("made");
        let made: Vec<_> = made.lines().map(|pid| ProcessHandle::open(pid.parse().unwrap()).unwrap()).collect();
        assert!(made.len() == MADE && made.iter().all(ProcessHandle::is_alive), "{role}:\n{}", runner.text());
        scene.note("go");
        let (_, text) = runner.end();
        until("the end of all that it made", || (!made.iter().any(ProcessHandle::is_alive)).then_some(()));
        until("the ledger's end", || (!scene.ledger.exists()).then_some(()));
        assert!(!text.contains("its server"), "{role}:\n{text}");
    }
}

#[test]
fn sentinels_on_tmux_end_with_a_test_that_is_killed() {
    let play = |me: &Me| dies_with_sentinels(me, CommandBackend::tmux(std::env::var(SERVER).unwrap()));
    let Some(scene) = Scene::new(play) else { return };
    let tmux = crate::tmux::Tmux::start();
    // Between them, by its name.
    let theirs = tmux.stranger("build-0");
    each_ends_with_its_test(&scene, tmux.socket().to_str().unwrap());
    assert_eq!(tmux.says(&["list-sessions", "-F", "#{session_id}"]), theirs.as_str());
}

#[cfg(all(feature = "http", feature = "pty"))]
#[test]
fn sentinels_on_the_example_server_end_with_a_test_that_is_killed() {
    use crate::on_example::{backend, server};

    let Some(scene) = Scene::new(|me| dies_with_sentinels(me, backend(std::env::var(SERVER).unwrap()))) else {
        return;
    };
    termleash::block_on(async {
        let server = server("").start().await.unwrap();
        let theirs = SessionTestHelper::new(backend(server.url()));
        let session = theirs.create_tracked_session(SessionSpec::new("cat").name("build-0")).await.unwrap();
        each_ends_with_its_test(&scene, &server.url());
        let asked = backend(server.url());
        for id in asked.list().await.unwrap() {
            // The records of the dead are nobody's to discard but their test's.
            assert_eq!(asked.state(&id).await.unwrap().is_running(), id == *session.id(), "{id}");
        }
        session.close().await.unwrap();
        server.close().await.unwrap();
    });
}
