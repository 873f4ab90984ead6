//! What several tests need: helpers, strangers, and a way to wait that has an end.

pub(crate) use crate::seen::lives;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use termleash::{PtyBackend, SessionTestHelper};

pub(crate) fn helper() -> SessionTestHelper {
    SessionTestHelper::new(PtyBackend::new())
}

/// A process of somebody else's, ended and reaped when it is dropped.
pub(crate) struct Stranger {
    child: Child,
}

impl Stranger {
    pub(crate) fn new(command: &mut Command) -> Self {
        Self { child: command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap() }
    }

    /// A kernel session of its own, with this as its input.
    pub(crate) fn with(input: impl Into<Stdio>) -> Self {
        let mut command = Command::new("setsid");
        command.args(["sleep", "1000"]).stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap() }
    }

    pub(crate) fn sleeping() -> Self {
        Self::new(Command::new("sleep").arg("1000"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Alive, and not a zombie.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until it holds; the deadline is only for a test that fails.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come true within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a shell printed as the id of a process that it started.
pub(crate) fn pid_in(text: &str) -> u32 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a process id: {text:?}"))
}

/// The text with `N` for each number, or place in a file, that stands after one of these: the same in every run.
pub(crate) fn masked(text: &str, prefixes: &[&str]) -> String {
    let mut masked = text.to_owned();
    for prefix in prefixes {
        let mut pieces = masked.split(prefix);
        let mut next = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let rest = piece.trim_start_matches(|char: char| char.is_ascii_digit());
            let is_place = rest.starts_with(':') && rest[1..].starts_with(|char: char| char.is_ascii_digit());
            let rest = if is_place { rest[1..].trim_start_matches(|char: char| char.is_ascii_digit()) } else { rest };
            next += prefix;
            next += if rest.len() < piece.len() { "N" } else { "" };
            next += rest;
        }
        masked = next;
    }
    masked
}

/// Waits until a session has ended and all that it printed is there: its exit may be known before its last output has
/// come through the kernel, and its terminal is closed after both.
pub(crate) async fn over(session: &termleash::session::Session) -> termleash::process::ExitStatus {
    let status = session.wait_for_exit().await.unwrap();
    eventually("the closing of the terminal", || session.window_size().is_err()).await;
    status
}

/// Prints by itself that it is the terminal's foreground job: a key that comes sooner is the shell's.
pub(crate) const FOREGROUND: &str = "sh -c 'printf star; echo ted; exec sleep 1000'";
