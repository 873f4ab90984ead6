//! What is killed: a test that makes, uses, drops and kills sessions of every shape, and plain daemons, for ever.

use crate::dying::Random;
use std::process::{Command, Stdio};
use std::time::Duration;
use termleash::{SessionSpec, session::BoxError, testing::Scope};

/// More at once than that is no better test, only a slower one.
const MOST_KEPT: usize = 8;
/// Nobody kills it: its test has died.
const MOST_ROUNDS: u32 = 400;

/// Whatever outlives its leader; `MARK` is told apart by its argument.
const SHAPES: [&str; 8] = [
    "sleep MARK & sleep MARK",
    "nohup sleep MARK >/dev/null 2>&1 & exec sleep MARK",
    "trap '' HUP; sleep MARK & sleep MARK",
    "setsid sleep MARK & exec sleep MARK",
    "setsid env -i sleep MARK & exec sleep MARK",
    "trap '' HUP TERM; while :; do sleep 0.01; done; : MARK",
    "(trap '' HUP; while :; do setsid sleep 0.02; sleep 0.005; done) & exec sleep MARK",
    "(setsid env -i sh -c 'trap \"\" HUP TERM; sleep MARK; :' &); exec sleep MARK",
];

/// Started by the test itself, as any program is.
const DAEMONS: [&str; 4] = [
    "setsid sleep MARK >/dev/null 2>&1 &",
    "setsid env -i sleep MARK >/dev/null 2>&1 &",
    "nohup sleep MARK >/dev/null 2>&1 &",
    "(trap '' HUP TERM; (setsid env -i sleep MARK &) ; sleep MARK) >/dev/null 2>&1 &",
];

pub(crate) fn run(mark: &str) {
    termleash::test(async |t| live(t, mark, &mut Random::of(std::process::id().into())).await);
}

async fn live(t: &Scope, mark: &str, random: &mut Random) -> Result<(), BoxError> {
    let mut kept = 0;
    for _ in 0..MOST_ROUNDS {
        match random.below(8) {
            0 => {
                let script = DAEMONS[random.below(4) as usize].replace("MARK", mark);
                Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status()?;
            }
            1 => {
                let bash = t.session(SessionSpec::new("bash").args(["--norc", "-i", "-s", mark])).await?;
                bash.run(&format!("sleep {mark} & disown; sleep {mark} & echo on")).await?;
                keep_or_end(bash, random, &mut kept).await?;
            }
            2 => {
                let shell = t.session("sh").await?;
                shell.run("echo used").await?;
                shell.run(&format!("sleep {mark} & echo")).await?;
                keep_or_end(shell, random, &mut kept).await?;
            }
            _ => {
                let script = SHAPES[random.below(8) as usize].replace("MARK", mark);
                let session = t.session(SessionSpec::shell(script)).await?;
                tokio::time::sleep(Duration::from_micros(random.below(3_000))).await;
                keep_or_end(session, random, &mut kept).await?;
            }
        }
        if kept >= MOST_KEPT {
            t.helper().kill_tracked_sessions().await?;
            kept = 0;
        }
    }
    std::future::pending().await
}

async fn keep_or_end(
    session: termleash::tracker::SessionGuard,
    random: &mut Random,
    kept: &mut usize,
) -> Result<(), BoxError> {
    match random.below(6) {
        0 => drop(session.close().await?),
        1 => drop(session),
        _ => {
            session.keep();
            *kept += 1;
        }
    }
    Ok(())
}

/// Daemons one after the other, for as long as it lives.
pub(crate) fn start_daemons(mark: &str) {
    let mut random = Random::of(std::process::id().into());
    termleash::testing::test_blocking(|_| {
        for _ in 0..MOST_ROUNDS {
            Command::new("setsid").args(["sleep", mark]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
            std::thread::sleep(Duration::from_micros(random.below(6_000)));
        }
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
}
