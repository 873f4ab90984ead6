//! The incident that termleash was made after, on a real server: two test suites on the VibeTunnel that also has a person's terminals.
//!
//! ```text
//! cargo run --features http --example incident
//! ```
//!
//! First as it was: suite A cleans up by listing all sessions and ending them; suite B ends none, until the server's memory is
//! used up. Then the same tests with a `SessionTestHelper`. A table shows both. It takes less than a minute, and leaves nothing.
//! Without VibeTunnel it says how to install it, and exits with status 2.

#[path = "../tests/real_servers/patience.rs"]
pub(crate) mod patience;
#[path = "../tests/real_servers/web.rs"]
pub(crate) mod web;

use patience::{PATIENCE, become_patient};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use termleash::server::{ServerEnd, ServerGuard};
use termleash::session::{BoxError, HttpBackend};
use termleash::{SessionSpec, SessionTestHelper};
use web::ask;

const INSTALL: &str = "VibeTunnel is missing: install it by tests/real_servers/install.sh";
const PROGRAM: &str = "vibetunnel-1.0.0-beta.15.1/node_modules/vibetunnel/dist/vibetunnel-cli";
/// What the server may have for its data. Each session costs it a thread with its stack, about 10 MiB.
const LIMIT_KIB: u64 = 360_000;
/// With a session each: more than it has memory for.
const TESTS: usize = 40;
const TERMINALS: usize = 2;

fn main() -> ExitCode {
    let Some(program) = program() else {
        eprintln!("{INSTALL}");
        return ExitCode::from(2);
    };
    become_patient();
    println!(
        "Twice the same two suites on VibeTunnel, which may use {} MiB. This takes less than a minute.",
        LIMIT_KIB >> 10
    );
    match termleash::block_on(replay(&program)) {
        Ok(sides) => {
            print!("{}", table(&sides));
            ExitCode::SUCCESS
        }
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

/// Where VibeTunnel is, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let root = std::env::var_os("TERMLEASH_REAL_SERVERS").map(PathBuf::from);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let program = root.unwrap_or_else(|| target.join("real-servers")).join(PROGRAM);
    std::path::absolute(program).ok().filter(|program| program.exists())
}

/// What came of the suites, one way or the other.
pub(crate) struct Side {
    /// How many of the person's terminals live after suite A, and after suite B.
    pub(crate) terminals: [usize; 2],
    /// What the server had for its data, in KiB: at first and at most.
    pub(crate) memory: [u64; 2],
    /// How many tests of suite B ran.
    pub(crate) tests: usize,
    /// How the server ended, if it did not live to the end.
    pub(crate) died: Option<String>,
    /// Sessions of the suites that are still there, or were when the server died.
    pub(crate) left: usize,
    /// What was said of the test that leaks.
    pub(crate) told: Option<String>,
    took: Duration,
}

/// Both ways, one after the other, on a server each.
pub(crate) async fn replay(program: &PathBuf) -> Result<[Side; 2], BoxError> {
    let before = Shared::start(program).await?;
    let without = before.suites(false).await?;
    let after = Shared::start(program).await?;
    let with = after.suites(true).await?;
    Ok([without, with])
}

/// The server that the suites share with a person.
struct Shared {
    server: ServerGuard,
    url: String,
}

impl Shared {
    async fn start(program: &PathBuf) -> Result<Self, BoxError> {
        let line = format!("ulimit -c 0; ulimit -d {LIMIT_KIB}; exec node \"$@\"");
        let spec = ServerGuard::command("sh").args(["-c", line.as_str(), "sh"]).arg(program);
        let spec = spec.args(["--bind", "127.0.0.1", "--no-auth", "--no-mdns", "--push-disabled"]).port_flag("--port");
        let server = spec.ready_http("/api/health").start().await?;
        Ok(Self { url: server.url(), server })
    }

    async fn suites(self, has_helper: bool) -> Result<Side, BoxError> {
        let start = Instant::now();
        let mut terminals: Vec<String> = (0..TERMINALS).filter_map(|_| self.open(&["bash", "-i"])).collect();
        let mut side = Side {
            terminals: [0; 2],
            memory: [self.memory(), 0],
            tests: 0,
            died: None,
            left: 0,
            told: None,
            took: start.elapsed(),
        };
        if has_helper {
            self.suite_a_with_helper().await?
        } else {
            self.suite_a()
        }
        side.terminals[0] = terminals.iter().filter(|id| self.runs(id)).count();
        // The person opens those again that were lost.
        terminals.retain(|id| self.runs(id));
        terminals.extend((terminals.len()..TERMINALS).filter_map(|_| self.open(&["bash", "-i"])));
        let mut unanswered = 0;
        while side.tests < TESTS && self.server.is_alive() {
            side.memory[1] = self.memory().max(side.memory[1]);
            if has_helper {
                side.told = self.test_with_helper(side.tests).await?.or(side.told);
            } else if self.open(&["sleep", "1000"]).is_none() {
                // On its way out: an abort takes its time.
                unanswered += 1;
                if unanswered > 50 {
                    return Err("VibeTunnel neither answers nor ends".into());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            side.tests += 1;
        }
        side.left = if self.server.is_alive() { self.all().len().saturating_sub(terminals.len()) } else { side.tests };
        side.terminals[1] = terminals.iter().filter(|id| self.runs(id)).count();
        if !self.server.is_alive() {
            side.died = Some(self.server.wait_for_exit().await?.to_string());
        }
        let _: ServerEnd = self.server.close().await?;
        side.took = start.elapsed();
        Ok(side)
    }

    /// Three sessions for its tests; and afterwards nothing must be left, whosesoever it is.
    fn suite_a(&self) {
        (0..3).for_each(|_| drop(self.open(&["sleep", "1000"])));
        for id in self.all() {
            ask(&self.url, "DELETE", &format!("/api/sessions/{id}"), None);
        }
    }

    fn backend(&self) -> HttpBackend {
        HttpBackend::vibetunnel(&self.url).timeout(PATIENCE)
    }

    async fn suite_a_with_helper(&self) -> Result<(), BoxError> {
        let helper = SessionTestHelper::new(self.backend());
        for _ in 0..3 {
            helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await?.keep();
        }
        helper.kill_tracked_sessions().await?;
        Ok(())
    }

    /// A test of suite B: it makes a session, and one of them forgets it. What is said of that one.
    async fn test_with_helper(&self, number: usize) -> Result<Option<String>, BoxError> {
        let helper = SessionTestHelper::new(self.backend());
        let session = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await?;
        if number != TESTS / 2 {
            // VibeTunnel takes half a second for that.
            session.close().await?;
            return Ok(None);
        }
        session.keep();
        // As at the end of a test: whoever leaves a session fails there.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let dropped = std::panic::catch_unwind(AssertUnwindSafe(|| drop(helper)));
        std::panic::set_hook(hook);
        Ok(dropped.err().and_then(|told| told.downcast_ref::<String>().cloned()))
    }

    /// Opens a session as a browser does; `None` if the server does not answer.
    fn open(&self, command: &[&str]) -> Option<String> {
        let body =
            json!({"command": command, "workingDir": "/tmp", "name": "x", "cols": 80, "rows": 24, "titleMode": "none"});
        let (_, answer) = ask(&self.url, "POST", "/api/sessions", Some(&body));
        Some(serde_json::from_str::<Value>(&answer).ok()?["sessionId"].as_str()?.to_owned())
    }

    fn all(&self) -> Vec<String> {
        let (_, answer) = ask(&self.url, "GET", "/api/sessions", None);
        let all = serde_json::from_str::<Value>(&answer).unwrap_or_default();
        all.as_array().into_iter().flatten().filter_map(|one| Some(one["id"].as_str()?.to_owned())).collect()
    }

    fn runs(&self, id: &str) -> bool {
        let (_, answer) = ask(&self.url, "GET", &format!("/api/sessions/{id}"), None);
        serde_json::from_str::<Value>(&answer).is_ok_and(|session| session["status"] == "running")
    }

    /// What its limit is about, in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

/// What a row says of a side.
type Told = fn(&Side) -> String;

/// Both sides, for a person.
pub(crate) fn table(sides: &[Side; 2]) -> String {
    let rows: [(&str, Told); 6] = [
        ("the person's terminals after suite A", |side| format!("{} of {TERMINALS} live", side.terminals[0])),
        ("the person's terminals after suite B", |side| format!("{} of {TERMINALS} live", side.terminals[1])),
        ("the server", |side| match &side.died {
            Some(how) => format!("died in test {} ({how})", side.tests),
            None => format!("lives after {} tests", side.tests),
        }),
        ("its memory, at first and at most", |side| {
            format!("{} and {} MiB", side.memory[0] >> 10, side.memory[1] >> 10)
        }),
        ("sessions that the suites left", |side| side.left.to_string()),
        ("time", |side| format!("{:.0?}", side.took)),
    ];
    let mut text = format!("\n{:38} {:42} with termleash\n", "", "list and kill all, or nobody");
    for (name, of) in rows {
        text += &format!("{name:38} {:42} {}\n", of(&sides[0]), of(&sides[1]));
    }
    let told = sides[1].told.as_deref().unwrap_or("(nothing was said, which must not be)");
    text + &format!("\nWhich test forgot a session? The first way nobody can tell. With termleash it fails:\n{told}\n")
}
