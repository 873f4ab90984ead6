//! A tmux server that others use: a clean-up by list, and one by name, are found by the sentinels that stand in their way.
//!
//! Where tmux is missing these are listed as ignored, with the command that installs it. With `CI` set they run, and fail.

use libtest_mimic::{Arguments, Failed, Trial};
use std::ffi::OsString;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use termleash::leak::Verdict;
use termleash::session::{BoxError, Created, Running, SessionId, SessionState};
use termleash::tracker::{Fate, Others, Role};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

fn main() -> ExitCode {
    let is_missing = Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let trial = |name: &str, run: fn() -> Result<(), Failed>| {
        let trial = Trial::test(name, run).with_ignored_flag(is_missing && !is_ci);
        if is_missing { trial.with_kind("needs tmux: apt-get install -y tmux") } else { trial }
    };
    let mut trials = Vec::new();
    // They need proof of a process's death.
    if cfg!(target_os = "linux") {
        trials.extend([
            trial("nobody_interferes", || on_tmux(nobody_interferes)),
            trial("whoever_lists_and_kills_all_is_found", || on_tmux(whoever_lists_and_kills_all_is_found)),
            trial("a_kill_by_a_name_that_is_a_prefix_is_found", || on_tmux(a_kill_by_a_name_that_is_a_prefix_is_found)),
            trial("a_server_that_ends_is_no_interference", || on_tmux(a_server_that_ends_is_no_interference)),
        ]);
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn on_tmux(body: impl AsyncFnOnce(Arc<Tmux>)) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { body(Arc::new(Tmux::start())).await });
    Ok(())
}

const FORMAT: &str = "#{session_id} #{pane_pid} #{pid}";

/// A server in the foreground, our own child: it stays when its last session ends, and is ended by its process id.
struct Tmux {
    server: Child,
    directory: tempfile::TempDir,
}

impl Tmux {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("tmux").tempdir().unwrap();
        let mut command = Self::command(directory.path());
        let server = command.arg("-D").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let tmux = Self { server, directory };
        let end = Instant::now() + Duration::from_secs(20);
        // A client would start another server as long as this one does not listen.
        while !tmux.directory.path().join("s").exists() || tmux.rows().is_err() {
            assert!(Instant::now() < end, "tmux does not listen");
            std::thread::yield_now();
        }
        tmux
    }

    fn command(directory: &std::path::Path) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(directory.join("s")).args(["-f", "/dev/null"]).env_remove("TMUX").stdin(Stdio::null());
        command
    }

    fn told<A: Into<OsString>>(&self, words: impl IntoIterator<Item = A>) -> Result<String, BoxError> {
        let mut command = Self::command(self.directory.path());
        // `-N`: never starts a server.
        let output: Output = command.arg("-N").args(words.into_iter().map(Into::into)).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
        }
    }

    fn rows(&self) -> Result<Vec<(SessionId, u32, u32)>, BoxError> {
        self.told(["list-sessions", "-F", FORMAT])?.lines().map(row).collect()
    }

    fn has_ended(&self, cause: &str) -> bool {
        let pid = self.server.id();
        let is_alive = termleash::process::ProcessHandle::open(pid).is_ok_and(|server| server.is_alive());
        !is_alive && (cause.contains("no server running") || cause.contains("server exited"))
    }

    /// Somebody else's.
    fn stranger(&self, name: &str) -> SessionId {
        let text = self.told(["new-session", "-d", "-P", "-F", FORMAT, "-s", name, "sleep", "1000"]).unwrap();
        row(text.trim()).unwrap().0
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn row(line: &str) -> Result<(SessionId, u32, u32), BoxError> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [id, leader, server] => Ok((SessionId::new(id)?, leader.parse()?, server.parse()?)),
        _ => Err(format!("tmux answered {line:?}").into()),
    }
}

impl SessionBackend for Tmux {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let mut words: Vec<OsString> = ["new-session", "-d", "-P", "-F", FORMAT].map(OsString::from).into();
        if let Some(name) = spec.session_name() {
            words.extend([OsString::from("-s"), name.into()]);
        }
        for (name, value) in spec.environment() {
            words.extend(["-e".into(), [name, value.unwrap_or_default()].join(std::ffi::OsStr::new("="))]);
        }
        words.extend([OsString::from("env"), spec.program().to_owned()]);
        words.extend(spec.arguments().iter().cloned());
        let (id, leader, server) = row(self.told(words)?.trim())?;
        Ok(Created::new(id).with_leader(leader).with_server(server))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.told(["kill-session", "-t", id.as_str()]).map(drop)
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        let rows = match self.rows() {
            // Its sessions have ended with it.
            Err(cause) if self.has_ended(&cause.to_string()) => return Ok(SessionState::Unknown),
            rows => rows?,
        };
        let found = rows.into_iter().find(|(listed, ..)| listed == id);
        let running = |(_, leader, server)| Running::new().with_leader(leader).with_server(server).into();
        Ok(found.map_or(SessionState::Unknown, running))
    }

    async fn list(&self) -> Result<Vec<SessionId>, BoxError> {
        Ok(self.rows()?.into_iter().map(|(id, ..)| id).collect())
    }
}

async fn watched(server: &Arc<Tmux>) -> SessionTestHelper {
    let helper = SessionTestHelper::new(Arc::clone(server));
    helper.watch_for_interference().await.unwrap();
    helper.create_tracked_session(SessionSpec::new("cat").name("build")).await.unwrap().keep();
    helper
}

async fn nobody_interferes(server: Arc<Tmux>) {
    let stranger = server.stranger("work");
    let helper = watched(&server).await;
    let report = helper.kill_tracked_sessions().await.unwrap();
    let found = report.interference().unwrap();
    assert!(found.is_clean() && found.sentinels().len() == 3, "{found}");
    assert!(matches!(found.others(), Others::Listed { stayed, .. } if *stayed == [stranger.clone()]), "{found}");
    assert_eq!(server.list().await.unwrap(), [stranger]);
}

async fn whoever_lists_and_kills_all_is_found(server: Arc<Tmux>) {
    let stranger = server.stranger("work");
    let helper = watched(&server).await;
    for (id, ..) in server.rows().unwrap() {
        server.told(["kill-session", "-t", id.as_str()]).unwrap();
    }
    let error = helper.kill_tracked_sessions().await.unwrap_err();
    assert!(error.is_interfered(), "{error}");
    let found = error.kill_report().unwrap().interference().unwrap();
    assert_eq!((found.verdict(), found.vanished().count()), (Verdict::Interfered, 3), "{found}");
    // A stranger's end is listed, and not judged.
    assert!(matches!(found.others(), Others::Listed { vanished, .. } if *vanished == [stranger]), "{found}");
    assert_eq!(server.list().await.unwrap(), []);
}

/// Somebody ends `build` by its name, twice: the second time tmux takes it for a prefix.
async fn a_kill_by_a_name_that_is_a_prefix_is_found(server: Arc<Tmux>) {
    let helper = watched(&server).await;
    for _ in 0..2 {
        server.told(["kill-session", "-t", "build"]).unwrap();
    }
    let error = helper.kill_tracked_sessions().await.unwrap_err();
    let found = error.kill_report().unwrap().interference().unwrap();
    let gone: Vec<_> = found.vanished().map(|sentinel| &sentinel.role).collect();
    assert_eq!(gone, [&Role::Prefix { of: "build".into() }], "{found}");
    assert!(found.to_string().contains("end `build` by its id"), "{found}");
    assert_eq!(server.list().await.unwrap(), []);
}

async fn a_server_that_ends_is_no_interference(server: Arc<Tmux>) {
    let helper = watched(&server).await;
    // It ends its sessions first.
    server.told(["kill-server"]).unwrap();
    while server.rows().is_ok() || termleash::process::ProcessHandle::open(server.server.id()).is_ok() {
        std::thread::yield_now();
    }
    let error = helper.kill_tracked_sessions().await.unwrap_err();
    let found = error.kill_report().unwrap().interference().unwrap();
    assert_eq!(found.verdict(), Verdict::CouldNotCheck, "{error}");
    assert!(found.sentinels().iter().all(|sentinel| matches!(sentinel.fate, Fate::ServerEnded(_))), "{found}");
}
