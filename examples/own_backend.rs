//! A backend of your own, for tmux: what a test needs so that it can create, track and kill sessions on your server.
//!
//! `cargo run --example own_backend` (it needs tmux). Three methods and one duty: a kill of an id ends the session
//! with *exactly* that id, or none. Whether yours does is what `termleash::testing::check_backend` tries; for this one
//! `tests/own_backend.rs` runs it.

use std::ffi::{OsStr, OsString};
use std::time::Duration;
use termleash::session::{Created, Running, SessionState};
use termleash::{
    SessionBackend, SessionSpec, SessionTestHelper,
    session::{BoxError, SessionId},
};

/// A tmux server of our own (3.2 or later, for `new-session -e`): its socket lies in a directory of its own, which goes with this value.
pub(crate) struct Tmux {
    directory: tempfile::TempDir,
}

impl SessionBackend for Tmux {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let size = spec.window_size();
        let mut line = words(["new-session", "-d", "-P", "-F", FORMAT]);
        line.extend(words(["-x", &size.cols.to_string(), "-y", &size.rows.to_string()]));
        if let Some(directory) = spec.directory() {
            line.extend([OsString::from("-c"), directory.into()]);
        }
        // The session's cookie is among these. tmux has no way to remove a variable, so a removal empties it.
        for (name, value) in spec.environment() {
            line.extend(["-e".into(), [name, value.unwrap_or_default()].join(OsStr::new("="))]);
        }
        // tmux gives a single word to a shell, and several to the kernel: with `env` there are always several.
        line.extend([OsString::from("env"), spec.program().to_owned()]);
        line.extend(spec.arguments().iter().cloned());
        let (id, leader, server) = row(&self.tmux(line).await?)?;
        Ok(Created::new(id).with_leader(leader).with_server(server))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.tmux(words(["kill-session", "-t", exact(id)?])).await.map(|_| ())
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        for line in self.tmux(words(["list-sessions", "-F", FORMAT])).await?.lines() {
            let (listed, leader, server) = row(line)?;
            if listed == *id {
                return Ok(Running::new().with_leader(leader).with_server(server).into());
            }
        }
        Ok(SessionState::Unknown)
    }
}

/// A session's id, its first process, and the server's: what makes it possible to prove its end.
const FORMAT: &str = "#{session_id} #{pane_pid} #{pid}";

/// A tmux id is `$` and a number. A target of any other form may be a name, a prefix of one or a pattern, and would
/// end a session of somebody else's: `kill-session -t build` ends `build-2` if there is no `build`.
fn exact(id: &SessionId) -> Result<&str, BoxError> {
    match id.as_str().strip_prefix('$') {
        Some(number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => Ok(id.as_str()),
        _ => {
            Err(format!("`{id}` is no tmux session id such as `$3`: give the id that the creation answered with")
                .into())
        }
    }
}

/// A line in the format above.
fn row(line: &str) -> Result<(SessionId, u32, u32), BoxError> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [id, leader, server] => Ok((SessionId::new(id)?, leader.parse()?, server.parse()?)),
        _ => Err(format!("tmux answered {line:?} instead of an id and two process ids").into()),
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.map(OsString::from).into()
}

impl Tmux {
    /// Starts a server that stays when its last session ends, and reads nobody's configuration.
    pub(crate) async fn start() -> Result<Self, BoxError> {
        // A short path: the address of a socket has at most 107 bytes.
        let tmux = Self { directory: tempfile::Builder::new().prefix("tmux").tempdir()? };
        let line = ["start-server", ";", "set-option", "-g", "exit-empty", "off"];
        tmux.run(&words(line)).await?;
        Ok(tmux)
    }

    /// Runs one tmux command whose words reach it as they are: a `;` at the end of one would begin another command.
    pub(crate) async fn tmux(&self, line: Vec<OsString>) -> Result<String, BoxError> {
        let escaped = line.into_iter().map(|word| match word.as_encoded_bytes() {
            [.., b';'] => {
                let mut word = word.to_string_lossy().into_owned();
                word.insert(word.len() - 1, '\\');
                word.into()
            }
            _ => word,
        });
        self.run(&escaped.collect::<Vec<OsString>>()).await
    }

    /// Never blocks: the server under test, or the test itself, may share this thread.
    async fn run(&self, line: &[OsString]) -> Result<String, BoxError> {
        let mut command = tokio::process::Command::from(self.command());
        let answer = command.args(line).kill_on_drop(true).output().await;
        let answer =
            answer.map_err(|cause| format!("cannot run tmux ({cause}); install it: apt-get install -y tmux"))?;
        if answer.status.success() {
            return Ok(String::from_utf8(answer.stdout)?);
        }
        Err(format!("tmux {}: {}", line[0].display(), String::from_utf8_lossy(&answer.stderr).trim()).into())
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new("tmux");
        command.arg("-S").arg(self.directory.path().join("s")).args(["-f", "/dev/null"]).env_remove("TMUX");
        command.stdin(std::process::Stdio::null());
        command
    }
}

/// The server ends with this value, and every session of it gets a hang-up.
impl Drop for Tmux {
    fn drop(&mut self) {
        // There may be none: then it says so and nothing is left to end.
        let _ = self.command().arg("kill-server").output();
    }
}

/// Two sessions of ours beside a stranger's, on one server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let server = std::sync::Arc::new(Tmux::start().await?);

    // Somebody else works on the same server. Its name is one that ours could be mistaken for.
    let line = words(["new-session", "-d", "-P", "-F", FORMAT, "-s", "build-2", "sleep", "600"]);
    let (stranger, strangers_process, _) = row(&server.tmux(line).await?)?;

    // A test creates its own sessions through the helper, which passes each its cookie.
    let helper = SessionTestHelper::new(server.clone());
    let polite = helper.create_tracked_session(SessionSpec::new("sleep").arg("600")).await?.keep();
    // tmux sends HUP, forgets the session and says "done"; this one lives on. The helper does not take its word.
    let stubborn = SessionSpec::shell("trap '' HUP TERM; exec sleep 600");
    let stubborn = helper.create_tracked_session(stubborn).await?.keep();
    // A moment, so that it has set its trap before it is killed.
    tokio::time::sleep(Duration::from_millis(50)).await;

    let report = helper.kill_tracked_sessions().await?;

    println!("{:<8} {:<10} {:>8}  after the kill of ours", "session", "whose", "process");
    for outcome in report.outcomes() {
        let id = outcome.id().ok_or("a session without an id")?;
        let leader = if id == polite.id() { polite.leader_pid() } else { stubborn.leader_pid() };
        let steps = outcome.steps().iter().filter(|step| step.was_delivered).map(|step| step.action.to_string());
        let steps = steps.collect::<Vec<_>>().join(", ");
        println!("{:<8} {:<10} {:>8}  dead, by: {steps}", id.as_str(), "ours", leader.unwrap_or_default());
    }
    let state = server.state(&stranger).await?;
    let shown = if state.is_running() { "alive" } else { "DEAD" };
    println!("{:<8} {:<10} {strangers_process:>8}  {shown}", stranger.as_str(), "a stranger");
    assert!(state.is_running() && helper.survivors()?.is_empty());
    Ok(())
}
