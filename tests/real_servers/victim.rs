//! What a process of this program does that a test has started: a suite on a server that somebody else has started.

use crate::trials::LIMIT;
use crate::trials::real::{Real, stubborn};
use rustix::process::{Signal, getpid, kill_process};
use std::path::PathBuf;
use std::time::Duration;
use termleash::session::BoxError;
use termleash::testing::Scope;
use termleash::{SessionSpec, SessionTestHelper, options};

/// Where the server is.
pub(crate) const ADDRESS: &str = "TEST_SERVER";
/// How many sessions a suite has at once.
pub(crate) const SESSIONS: &str = "TEST_SESSIONS";
/// A file that says: all sessions are there.
pub(crate) const READY: &str = "TEST_READY";
/// A file that a suite waits for before it ends.
pub(crate) const GO: &str = "TEST_GO";

/// By this argument a body is told apart from its keeper.
const BODY: &str = "--include-ignored";

fn path(name: &str) -> PathBuf {
    std::env::var_os(name).expect("it is said").into()
}

/// An interactive shell, one that ignores what is polite, and one whose child leaves it.
pub(crate) async fn fill(helper: &SessionTestHelper, mark: &str, directory: &std::path::Path) -> Result<(), BoxError> {
    let ready = directory.join("stubborn");
    helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "-i", "-s", mark])).await?.keep();
    helper.create_tracked_session(stubborn(mark, &ready)).await?.keep();
    let line = format!("setsid sleep {mark} & exec sleep {mark}");
    helper.create_tracked_session(SessionSpec::shell(line)).await?.keep();
    while !ready.exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

pub(crate) fn play(part: &str, mark: &str) {
    let real = Real::at(&std::env::var(ADDRESS).expect("it is said"));
    let limit = if part == "timeout" { Duration::from_secs(25) } else { LIMIT };
    let options = options().name("victim").timeout(limit).rerun_with([BODY]);
    match part {
        "suite" | "lasting suite" => options.run(async |t| suite(t, &real, mark).await),
        _ => options.run(async |t| {
            let helper = real.helper(t);
            fill(&helper, mark, path(READY).parent().expect("a directory")).await?;
            std::fs::write(path(READY), "")?;
            match part {
                "panic" => panic!("as a test does"),
                "error" => Err("as a test does".into()),
                "timeout" => std::future::pending().await,
                "kill" => Ok(kill_process(getpid(), Signal::KILL)?),
                // Until somebody kills the runner.
                _ => std::future::pending().await,
            }
        }),
    }
}

/// Makes sessions, one after the other, and says when all are there; ends well if it is let.
async fn suite(t: &Scope, real: &Real, mark: &str) -> Result<(), BoxError> {
    let helper = real.helper(t);
    let count: usize = std::env::var(SESSIONS)?.parse()?;
    for number in 0..count {
        let spec = match number % 3 {
            0 => SessionSpec::new("sleep").arg(mark),
            1 => SessionSpec::new("bash").args(["--norc", "-i", "-s", mark]),
            _ => SessionSpec::shell(format!("trap '' HUP; setsid sleep {mark} & sleep {mark}; sleep {mark}")),
        };
        helper.create_tracked_session(spec).await?.keep();
    }
    std::fs::write(path(READY), "")?;
    while !path(GO).exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
