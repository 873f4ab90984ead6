//! Sessions of a server that is a process of its own: nobody's descendants, known by their marks alone.

use crate::scene::{Actor, Me, Scene, until};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use termleash::process::ProcessHandle;
use termleash::session::{BoxError, Created, Running, SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

const SLOW: &str = "TEST_SLOW";

/// Each line a request: it starts a program in a session of its own, with one more variable, and answers with its number.
fn serve(me: &Me) {
    let listener = UnixListener::bind(me.path("socket")).unwrap();
    me.note("serves", "");
    for stream in listener.incoming() {
        let notes = me.path("");
        std::thread::spawn(move || serve_one(stream.unwrap(), &notes));
    }
}

fn serve_one(stream: UnixStream, notes: &std::path::Path) {
    let mut line = String::new();
    BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
    let request: Value = serde_json::from_str(&line).unwrap();
    std::fs::write(notes.join("asked"), "").unwrap();
    // It goes on when its client is dead.
    std::thread::sleep(Duration::from_millis(request["after"].as_u64().unwrap()));
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", request["script"].as_str().unwrap()]).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in request["variables"].as_object().unwrap() {
        command.env(name, value.as_str().unwrap());
    }
    let mut child = command.spawn().unwrap();
    std::fs::write(notes.join("born.part"), child.id().to_string()).unwrap();
    std::fs::rename(notes.join("born.part"), notes.join("born")).unwrap();
    let _ = writeln!(&stream, "{}", child.id());
    let _ = child.wait();
}

/// Its client in the test process. It has no recipe by which others could end a session.
struct Remote {
    socket: PathBuf,
    after: Duration,
    tells_leader: bool,
}

impl Remote {
    fn ask(socket: &std::path::Path, request: &Value) -> String {
        let stream = UnixStream::connect(socket).unwrap();
        writeln!(&stream, "{request}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }
}

impl SessionBackend for Remote {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let cookie = spec.cookie().ok_or("there is one")?;
        let script = spec.arguments()[1].to_str().ok_or("it is text")?;
        let request = json!({"after": u64::try_from(self.after.as_millis())?, "script": script,
            "variables": {cookie.name(): cookie.value()}});
        let socket = self.socket.clone();
        let pid: u32 = tokio::task::spawn_blocking(move || Remote::ask(&socket, &request)).await?.parse()?;
        let created = Created::new(SessionId::new(format!("s{pid}"))?);
        Ok(if self.tells_leader { created.with_leader(pid) } else { created })
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        Err("this server kills nobody".into())
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        Ok(Running::new().into())
    }
}

fn dies() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("it is dead");
}

fn plays(me: &Me) {
    if me.role == "server" {
        return serve(me);
    }
    let after = std::env::var(SLOW).map_or(0, |time| time.parse().unwrap());
    let backend = Remote {
        socket: me.path("socket"),
        after: Duration::from_millis(after),
        tells_leader: !me.role.contains("unknown"),
    };
    let script = format!("trap '' HUP; setsid sleep {} & env -i setsid true; sleep {} & wait", me.nap(0), me.nap(1));
    let (spec, asked, slept) = (SessionSpec::shell(script), me.path("asked"), me.path("slept"));
    let run = async move |helper: SessionTestHelper| -> Result<(), BoxError> {
        if after > 0 {
            let _creates = tokio::spawn(async move { helper.create_tracked_session(spec).await.map(|it| it.keep()) });
            while !asked.exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            dies();
        }
        let _session = helper.create_tracked_session(spec).await?.keep();
        while !slept.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        dies();
    };
    if me.role.contains("in process") {
        termleash::block_on(run(SessionTestHelper::new(backend))).unwrap();
    } else {
        termleash::test(async move |t| run(t.helper_on(backend)).await);
    }
}

/// A server with sessions of others: one without a cookie, one with the cookie of another run.
struct Server {
    actor: Actor,
    others: Vec<ProcessHandle>,
}

impl Server {
    fn new(scene: &Scene) -> Self {
        let actor = scene.start("server", &[]);
        scene.noted("serves");
        let other = format!("TERMLEASH_S_{:016x}", scene.serial());
        let variables = [json!({}), json!({other: "01920000000070008000000000000001"})];
        for (which, variables) in (10..).zip(variables) {
            let request =
                json!({"after": 0, "script": format!("exec sleep {}", scene.nap(which)), "variables": variables});
            Remote::ask(&scene.path("socket"), &request);
        }
        let others = scene.sleepers(10..=11);
        ["asked", "born"].iter().for_each(|note| std::fs::remove_file(scene.path(note)).unwrap());
        Self { actor, others }
    }

    /// It and they live on, and are all that is left.
    #[track_caller]
    fn must_be_untouched(mut self, scene: &Scene) {
        let mut all: Vec<u32> = self.others.iter().map(ProcessHandle::pid).collect();
        all.push(self.actor.pid());
        scene.only_these_stay(&all);
        until("the ledger's end", || (!scene.ledger.exists()).then_some(()));
        assert!(self.others.iter().all(ProcessHandle::is_alive));
        self.actor.kill();
        self.others.iter().for_each(|other| crate::scene::kill(other.pid()));
        scene.only_these_stay(&[]);
    }
}

#[test]
fn sessions_of_a_server_end_with_their_test_by_their_marks_and_the_server_does_not() {
    let Some(scene) = Scene::new(plays) else { return };
    for (role, isolation) in [("isolated", "auto"), ("unknown leader", "auto"), ("in process", "never")] {
        for note in ["slept", "socket", "serves"] {
            let _ = std::fs::remove_file(scene.path(note));
        }
        let server = Server::new(&scene);
        let mut runner = scene.start(role, &[("TERMLEASH_ISOLATE", isolation)]);
        let ours = scene.sleepers(0..=1);
        scene.note("slept");
        let (_, text) = runner.end();
        until("the sessions' end", || (!ours.iter().any(ProcessHandle::is_alive)).then_some(()));
        server.must_be_untouched(&scene);
        if isolation == "auto" {
            assert!(
                text.contains("crashed: its process was ended by") && text.contains("ended what it left"),
                "{text}"
            );
            assert!(text.contains(&format!("`sleep {}`", scene.nap(0))), "{text}");
        }
        let tells = "its server was not asked to end it: its backend `ledgers::remote::Remote` alone";
        assert_eq!(text.contains(tells), role == "unknown leader", "{text}");
    }
}

const TIME: (&str, &str) = ("TERMLEASH_CREATE_TIMEOUT", "1s");

#[test]
fn a_session_that_is_born_after_its_tests_death_is_ended() {
    let Some(scene) = Scene::new(plays) else { return };
    for (role, isolation) in [("isolated", "auto"), ("in process", "never")] {
        for note in ["asked", "born", "socket", "serves"] {
            let _ = std::fs::remove_file(scene.path(note));
        }
        let server = Server::new(&scene);
        let mut runner = scene.start(role, &[("TERMLEASH_ISOLATE", isolation), TIME, (SLOW, "300")]);
        let (_, text) = runner.end();
        // It may be gone before anybody else sees it.
        let born = scene.noted("born");
        server.must_be_untouched(&scene);
        assert_eq!(text.contains(&format!("pid {born} ")), isolation == "auto", "{text}");
    }
}

/// Nobody is left to ask its server for it.
#[test]
fn a_session_that_is_born_after_its_time_is_nobodys_and_the_report_says_so() {
    let Some(scene) = Scene::new(plays) else { return };
    let server = Server::new(&scene);
    let (status, text) = scene.start("isolated", &[TIME, (SLOW, "4000")]).end();
    assert_eq!(status.code(), Some(101), "{text}");
    assert!(text.contains("it was being created, and nothing with its mark came in time"), "{text}");
    let late = scene.sleepers(0..=1);
    std::thread::sleep(Duration::from_millis(200));
    assert!(late.iter().all(ProcessHandle::is_alive) && !scene.ledger.exists(), "{text}");
    for (pid, line) in scene.living() {
        if line.contains(&scene.nap(0)) || line.contains(&scene.nap(1)) {
            crate::scene::kill(pid);
        }
    }
    server.must_be_untouched(&scene);
}
