//! Every way of dying that a test has, and what is left then: nothing, and whoever reads is told how it died.

#![cfg(all(target_os = "linux", feature = "tokio"))]

#[path = "deaths/bodies.rs"]
mod bodies;
mod dying;
#[path = "deaths/ends.rs"]
mod ends;
#[path = "deaths/forks.rs"]
mod forks;
#[path = "deaths/many.rs"]
mod many;
#[path = "deaths/runners.rs"]
mod runners;
#[path = "deaths/servers.rs"]
mod servers;
#[path = "deaths/stops.rs"]
mod stops;

use dying::bystanders::Bystanders;
use dying::processes::carriers;
use dying::{CLEAN_WITHIN, Place};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use termleash::{SessionSpec, session::BoxError, testing::Scope};

/// How many processes [`leave`] leaves.
const LEFT: usize = 4;

/// What outlives whoever started it: a session that ignores the hang-up, its child in a session of its own, and daemons,
/// one of them without an environment.
async fn leave(t: &Scope, mark: &str) -> Result<(), BoxError> {
    let script = format!("trap '' HUP TERM; setsid sleep {mark} & exec sleep {mark}");
    t.session(SessionSpec::shell(script)).await?.keep();
    for daemon in ["setsid sleep", "setsid env -i sleep"] {
        let script = format!("{daemon} {mark} >/dev/null 2>&1 &");
        Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status()?;
    }
    // All of them have become what they are to be.
    let start = Instant::now();
    while sleepers(mark) < LEFT {
        if start.elapsed() > CLEAN_WITHIN {
            return Err(format!("only these have started: {:?}", carriers(mark)).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn sleepers(mark: &str) -> usize {
    carriers(mark).iter().filter(|carrier| carrier.command.starts_with("sleep ")).count()
}

/// Nothing of the run is left, and nobody else was touched.
#[track_caller]
fn is_clean(place: &Place, bystanders: &Bystanders) {
    let start = Instant::now();
    place.empties(start, |_| false);
    place.has_no_ledger(start);
    bystanders.are_well();
}
