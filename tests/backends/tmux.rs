//! Sessions on a real tmux server, on a socket of its own.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use termleash::process::ProcessHandle;
use termleash::session::{CommandBackend, SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

/// A tmux server in the foreground, our own child; ended by its process with this value.
pub(crate) struct Tmux {
    directory: tempfile::TempDir,
    child: Child,
}

impl Tmux {
    pub(crate) fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("tmux").tempdir().unwrap();
        let child = serve(&directory.path().join("s"));
        Self { directory, child }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn backend(&self) -> CommandBackend {
        CommandBackend::tmux(self.socket())
    }

    /// What tmux itself says.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        ask(&self.socket(), arguments)
    }

    /// A session of somebody else's, by its id.
    pub(crate) fn stranger(&self, name: &str) -> SessionId {
        let words = ["new-session", "-d", "-P", "-F", "#{session_id}", "-s", name, "sleep", "1000"];
        SessionId::new(self.says(&words)).unwrap()
    }

    pub(crate) fn has(&self, id: &SessionId) -> bool {
        self.says(&["list-sessions", "-F", "#{session_id}"]).lines().any(|line| line == id.as_str())
    }

    /// Killed, with all that it has; and another one on the same socket, which counts from `$0`.
    fn restart(&mut self) {
        self.end();
        self.child = serve(&self.socket());
    }

    fn end(&mut self) {
        let panes = self.says(&["list-panes", "-a", "-F", "#{pane_pid}"]);
        let _ = self.child.kill();
        let _ = self.child.wait();
        panes.lines().filter_map(|pid| pid.parse().ok()).for_each(crate::scene::kill);
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.end();
    }
}

/// Into a file: a client hands its output on to the server, which need not close it by the client's end.
fn ask(socket: &std::path::Path, arguments: &[&str]) -> String {
    let mut output = tempfile::tempfile().unwrap();
    let mut command = Command::new("tmux");
    command.arg("-N").arg("-S").arg(socket).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(output.try_clone().unwrap()).status().unwrap();
    let mut text = String::new();
    output.seek(SeekFrom::Start(0)).unwrap();
    output.read_to_string(&mut text).unwrap();
    text.trim().to_owned()
}

fn serve(socket: &std::path::Path) -> Child {
    let mut command = Command::new("tmux");
    command.arg("-D").arg("-S").arg(socket).args(["-f", "/dev/null"]).env_remove("TMUX");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("start tmux; install it: apt-get install -y tmux");
    let pid = child.id().to_string();
    crate::scene::until("the tmux server", || (ask(socket, &["display-message", "-p", "#{pid}"]) == pid).then_some(()));
    child
}

fn sleeps() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

#[tokio::test]
async fn sessions_are_ended_by_id_and_no_name_is_taken_for_one() {
    let tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let theirs = tmux.stranger("build-2");
    let session = helper.create_tracked_session(sleeps().name("build")).await.unwrap();
    let id = session.id().clone();
    for _ in 0..2 {
        assert_eq!(tmux.backend().state(&SessionId::new("$999").unwrap()).await.unwrap(), SessionState::Unknown);
        assert!(
            tmux.backend().kill(&SessionId::new("build").unwrap()).await.unwrap_err().to_string().contains("is no id")
        );
    }
    let outcome = session.close().await.unwrap();
    assert!(outcome.is_proven() && outcome.notes().is_empty(), "{outcome}");
    // Now `build` is a prefix of theirs alone.
    let backend = tmux.backend();
    assert_eq!(backend.state(&id).await.unwrap(), SessionState::Unknown);
    assert!(backend.kill(&id).await.is_err() && tmux.has(&theirs) && !tmux.has(&id));
    assert_eq!(backend.list().await.unwrap(), [theirs]);
}

/// tmux expands formats in both, and runs what stands in `#(…)` in a shell.
#[tokio::test]
async fn neither_a_name_nor_a_directory_is_taken_for_a_format() {
    let tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let place = tempfile::tempdir().unwrap();
    let ran = place.path().join("ran");
    for text in ["#(touch ran)", "#{pid}", "##", "a#[b]##[c]#S", "100%H"] {
        let directory = place.path().join(text);
        std::fs::create_dir(&directory).unwrap();
        let spec = SessionSpec::new("sh").args(["-c", "pwd > ../at.part; mv ../at.part ../at; exec sleep 1000"]);
        // tmux has no `.` in a name, since it ends one.
        let name = text.replace("ran", &ran.to_str().unwrap().replace('.', "_"));
        let session = helper.create_tracked_session(spec.current_dir(&directory).name(&name)).await.unwrap();
        let at = crate::scene::until("where it is", || std::fs::read_to_string(place.path().join("at")).ok());
        assert_eq!(at.trim_end(), directory.to_str().unwrap());
        let named = tmux.says(&["list-sessions", "-F", "#{session_name}"]);
        assert!(named.lines().any(|line| line == name), "{named}");
        session.close().await.unwrap();
        std::fs::remove_file(place.path().join("at")).unwrap();
    }
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[tokio::test]
async fn what_a_session_is_asked_for_reaches_its_program_as_it_is() {
    let tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let directory = tempfile::tempdir().unwrap();
    let script = "pwd > out; printf '%s|' \"$0\" \"$@\" \"$A\" \"${HOME-none}\" >> out; stty size >> out; mv out done; sleep 1000";
    let spec = SessionSpec::new("sh").args(["-c", script, "a b", "$HOME", "#{pid}", "x;", ";"]);
    let spec = spec.env("A", "it's \"so\";").env_remove("HOME").current_dir(directory.path()).size(33, 99);
    let session = helper.create_tracked_session(spec).await.unwrap();
    let text = crate::scene::until("the output", || std::fs::read_to_string(directory.path().join("done")).ok());
    let wanted = format!("{}\na b|$HOME|#{{pid}}|x;|;|it's \"so\";|none|", directory.path().display());
    assert!(text.starts_with(&wanted), "{text}");
    assert!(text.contains(" 99\n"), "{text}");
    session.close().await.unwrap();
}

/// Behind env(1), where tmux is given the program, it would be a variable, and its first argument the program.
#[tokio::test]
async fn a_program_with_an_equals_sign_in_its_path_is_no_variable() {
    let tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a=b");
    std::fs::create_dir(&path).unwrap();
    let program = format!("{}{}/bin/sh", path.display(), "/..".repeat(path.components().count()));
    let done = directory.path().join("done");
    for spec in [SessionSpec::new(&program), SessionSpec::new(&program).env_remove("HOME")] {
        let script = "echo \"$A $1\" > part; mv part done; exec sleep 1000";
        let spec = spec.args(["-c", script, "sh", "x=y"]).env("A", "v").current_dir(directory.path());
        let session = helper.create_tracked_session(spec).await.unwrap();
        let text = crate::scene::until("the output", || std::fs::read_to_string(&done).ok());
        assert_eq!(text, "v x=y\n");
        assert!(session.close().await.unwrap().is_proven());
        std::fs::remove_file(&done).unwrap();
    }
}

#[tokio::test]
async fn what_heeds_no_hang_up_and_what_has_left_its_session_is_ended_too() {
    let tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let theirs = tmux.stranger("theirs");
    let script = "trap '' HUP TERM; setsid sleep 1001 & sleep 1002 & sleep 1003";
    let _session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap().keep();
    crate::scene::until("its processes", || (helper.survivors().unwrap().len() == 4).then_some(()));
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert!(report.is_proven(), "{report}");
    assert!(helper.survivors().unwrap().is_empty() && tmux.has(&theirs));
}

#[tokio::test]
async fn a_session_made_by_other_means_and_one_that_ended_by_itself() {
    let tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let keeps_the_server = tmux.stranger("keeps the server");
    let handed = tmux.stranger("handed over");
    helper.track_session(&handed).await.unwrap();
    let brief = helper.create_tracked_session("true").await.unwrap();
    // tmux forgets a session when its terminal is closed, a moment before its process has ended.
    let lives = || brief.leader().is_some_and(ProcessHandle::is_alive);
    crate::scene::until("its end", || (!tmux.has(brief.id()) && !lives()).then_some(()));
    let outcome = brief.close().await.unwrap();
    assert!(outcome.was_already_gone(), "{outcome}");
    assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
    assert!(!tmux.has(&handed) && tmux.has(&keeps_the_server));
}

#[tokio::test]
async fn the_same_id_on_a_server_that_was_started_anew_is_somebody_elses() {
    let mut tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let backend = std::sync::Arc::new(tmux.backend());
    let other = SessionTestHelper::new(std::sync::Arc::clone(&backend));
    let _first = helper.create_tracked_session(sleeps()).await.unwrap().keep();
    let ours = other.create_tracked_session(sleeps()).await.unwrap().keep();
    tmux.restart();
    let theirs = [tmux.stranger("a"), tmux.stranger("b")];
    assert_eq!(theirs[1], *ours.id());
    // Asked without a look before: in one step with the kill, tmux itself compares.
    let error = backend.kill(ours.id()).await.unwrap_err().to_string();
    assert!(error.contains("the server is another one"), "{error}");
    for helper in [helper, other] {
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert!(report.outcomes()[0].notes()[0].contains("its id names another session by now"), "{report}");
    }
    assert!(theirs.iter().all(|id| tmux.has(id)));
}

#[tokio::test]
async fn no_command_starts_a_server_and_without_one_nothing_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let backend = CommandBackend::tmux(&socket);
    let error = backend.create(&sleeps()).await.unwrap_err().to_string();
    assert!(error.contains("found no server") && !socket.exists(), "{error}");
    assert_eq!(backend.state(&SessionId::new("$0").unwrap()).await.unwrap(), SessionState::Unknown);
    assert_eq!(backend.list().await.unwrap(), []);
}

/// Its last session is the end of a tmux server, which answers to nobody then.
#[tokio::test]
async fn the_last_session_of_a_server_is_proven_to_be_gone() {
    let tmux = Tmux::start();
    let helper = SessionTestHelper::new(tmux.backend());
    let session = helper.create_tracked_session(sleeps()).await.unwrap();
    let leader: ProcessHandle = session.leader().unwrap().clone();
    let outcome = session.close().await.unwrap();
    assert!(outcome.is_proven() && !leader.is_alive(), "{outcome}");
}

#[test]
fn a_leak_check_around_it_is_clean() {
    let tmux = Tmux::start();
    let socket = tmux.socket();
    termleash::test(async move |t| {
        let helper = t.helper_on(CommandBackend::tmux(&socket));
        for _ in 0..3 {
            helper.create_tracked_session(sleeps()).await?.close().await?;
        }
        Ok(())
    });
}
