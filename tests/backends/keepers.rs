//! Tests that are killed amid sessions on real servers: their keepers ask those servers, by the recipes in the ledger.

use crate::scene::{Me, Scene, until};
use std::path::Path;
use termleash::process::ProcessHandle;
use termleash::session::{BoxError, CommandBackend};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

pub(crate) fn dies() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("it is dead");
}

/// Makes a session, waits for the test's word and dies.
fn dies_with_a_session(me: &Me, backend: impl SessionBackend) {
    let spec = SessionSpec::new("sleep").arg(me.nap(0));
    let (slept, role, ledger) = (me.path("slept"), me.role.clone(), me.path("l"));
    let (record, made) = (me.path("records"), me.path("made"));
    let run = async move |helper: SessionTestHelper| -> Result<(), BoxError> {
        let _session = helper.create_tracked_session(spec).await?.keep();
        std::fs::write(made, "")?;
        while !slept.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        std::fs::write(record, ledgers(&ledger))?;
        dies();
    };
    if role.contains("in process") {
        termleash::block_on(run(SessionTestHelper::new(backend))).unwrap();
    } else {
        termleash::test(async move |t| run(t.helper_on(backend)).await);
    }
}

fn ledgers(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned()).collect()
}

pub(crate) const ROLES: [(&str, &str); 2] = [("isolated", "auto"), ("in process", "never")];

#[test]
fn a_session_on_tmux_ends_with_its_test_and_the_others_there_do_not() {
    let Some(scene) =
        Scene::new(|me| dies_with_a_session(me, CommandBackend::tmux(std::env::var("TEST_SOCKET").unwrap())))
    else {
        return;
    };
    let tmux = crate::tmux::Tmux::start();
    let theirs = tmux.stranger("theirs");
    let socket = tmux.socket();
    for (role, isolation) in ROLES {
        let _ = std::fs::remove_file(scene.path("slept"));
        let socket = ("TEST_SOCKET", socket.to_str().unwrap());
        let mut runner = scene.start(role, &[("TERMLEASH_ISOLATE", isolation), socket]);
        let ours = ProcessHandle::open(scene.sleeper(0)).unwrap();
        scene.note("slept");
        let (_, text) = runner.end();
        until("the session's end", || (!ours.is_alive()).then_some(()));
        until("the ledger's end", || (!scene.ledger.exists()).then_some(()));
        assert_eq!(tmux.says(&["list-sessions", "-F", "#{session_id}"]), theirs.as_str());
        assert!(!text.contains("its server"), "{text}");
        assert!(scene.noted("records").contains(&format!("\"server\":{{\"pid\":{}", tmux.pid())));
    }
}

#[cfg(feature = "http")]
mod by_http {
    use super::*;
    use crate::server::{Manners, Server};
    use termleash::session::HttpBackend;

    const SECRET: &str = "hush-9f8e7d6c";
    const TOKEN: (&str, &str) = ("TEST_TOKEN", SECRET);

    fn plays(me: &Me) {
        if me.role == "server" {
            let dies_of_creation = me.path("frail").exists();
            let manners = Manners { is_opaque: true, dies_of_creation, secret: Some(SECRET), ..Manners::default() };
            let server = Server::start(manners);
            me.note("url", &server.url);
            me.wait_for("the end");
            return;
        }
        let url = std::fs::read_to_string(me.path("url")).unwrap();
        let backend = HttpBackend::vibetunnel(url).auth_header("Authorization: Bearer {secret}");
        dies_with_a_session(me, backend.secret_from("TEST_TOKEN"));
    }

    /// The server passes on no mark and names no leader: only its own kill can end the session.
    #[test]
    fn a_session_without_any_mark_is_ended_by_the_server_that_made_it() {
        let Some(scene) = Scene::new(plays) else { return };
        let mut server = scene.start("server", &[]);
        let url = scene.noted("url");
        let theirs = a_session_of_somebodys(&url, &scene.nap(1));
        for (role, isolation) in ROLES {
            let _ = std::fs::remove_file(scene.path("slept"));
            let mut runner = scene.start(role, &[("TERMLEASH_ISOLATE", isolation), TOKEN]);
            let ours = ProcessHandle::open(scene.sleeper(0)).unwrap();
            scene.note("slept");
            let (_, text) = runner.end();
            until("the session's end", || (!ours.is_alive()).then_some(()));
            until("the ledger's end", || (!scene.ledger.exists()).then_some(()));
            assert!(scene.sleeper(1) > 0 && !text.contains("its server"), "{text}");
            let records = scene.noted("records");
            assert!(records.contains("TEST_TOKEN") && !(records + &text).contains(SECRET), "{text}");
        }
        drop(theirs);
        scene.note("the end");
        assert!(server.end().0.success());
    }

    #[test]
    fn what_keeps_a_server_from_being_asked_is_told() {
        let Some(scene) = Scene::new(plays) else { return };
        let mut server = scene.start("server", &[]);
        scene.noted("url");
        let runner = scene.start("isolated", &[TOKEN]);
        // The session runs before the server has answered: one that is killed until then was never heard of.
        until("the answer", || scene.path("made").exists().then_some(()));
        server.kill();
        says_that_the_server_is_gone(&scene, runner);
    }

    /// A moment later it could not be said any more which process the server was.
    #[test]
    fn a_server_that_dies_of_its_answer_is_known_to_be_gone() {
        let Some(scene) = Scene::new(plays) else { return };
        scene.note("frail");
        let mut server = scene.start("server", &[]);
        scene.noted("url");
        let runner = scene.start("isolated", &[TOKEN]);
        until("the answer", || scene.path("made").exists().then_some(()));
        server.end();
        says_that_the_server_is_gone(&scene, runner);
    }

    fn says_that_the_server_is_gone(scene: &Scene, mut runner: crate::scene::Actor) {
        let ours = ProcessHandle::open(scene.sleeper(0)).unwrap();
        scene.note("slept");
        let (_, text) = runner.end();
        assert!(text.contains("its server could not be made to end it") && text.contains("is gone"), "{text}");
        assert!(ours.is_alive());
        crate::scene::kill(ours.pid());
    }

    /// Its record, for as long as the test looks at it.
    fn a_session_of_somebodys(url: &str, nap: &str) -> String {
        use std::io::{Read as _, Write as _};
        let body = serde_json::json!({"command": ["env", "sleep", nap], "workingDir": "/"}).to_string();
        let mut stream = std::net::TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        let head =
            format!("POST /api/sessions HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: {}", body.len());
        write!(stream, "{head}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}
