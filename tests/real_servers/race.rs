//! Two suites at once on one server, and one is killed in the middle.

use crate::trials::dying::processes::{carriers, until_none};
use crate::trials::dying::race::{Rounds, kill_at_any_instant, told};
use crate::trials::dying::{CLEAN_WITHIN, Place, Random};
use crate::trials::real::{Kind, Real, Stranger, until, until_sleeping};
use crate::trials::victim::{ADDRESS, GO, READY, SESSIONS};
use std::time::{Duration, Instant};
use termleash::session::BoxError;
use termleash::testing::Scope;

/// How many sessions each suite has.
const COUNT: usize = 4;

pub(crate) async fn two_suites_on_one_server_and_one_is_killed(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let mut random = Random::new();
    let (mut times, rounds) = (Vec::new(), Rounds::begin());
    while rounds.go_on(times.len()) {
        let real = Real::start(kind, t).await?;
        let strangers = [real.sleeper("older"), real.sleeper("build-2")];
        // VibeTunnel gets slower with each session that has ended: see `docs/servers.md`.
        let most = if kind == Kind::VibeTunnel { times.len() + 4 } else { usize::MAX };
        while rounds.go_on(times.len()) && times.len() < most {
            let younger = real.sleeper("younger");
            times.push(round(&real, &mut random, &strangers, &younger));
            real.end(&younger.id);
        }
        strangers.iter().for_each(|stranger| real.end(&stranger.id));
        if let Some(server) = real.server() {
            server.close().await?;
        }
    }
    println!("{kind}: {}", told(times));
    Ok(())
}

/// The first suite is killed; the second goes on, and ends well when it is let.
fn round(real: &Real, random: &mut Random, strangers: &[Stranger], younger: &Stranger) -> Duration {
    let count = COUNT.to_string();
    let suite = || {
        let place = Place::new(true);
        let (ready, go) = (place.path("ready"), place.path("go"));
        let variables = [(READY, ready.to_string_lossy().into_owned()), (GO, go.to_string_lossy().into_owned())];
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        place.with(&variables).with(&[
            (ADDRESS, &real.address()),
            (SESSIONS, &count),
            ("TERMLEASH_CREATE_TIMEOUT", "2s"),
        ])
    };
    let (first, second) = (suite(), suite());
    let (mut killed, living) = (first.start_for("suite", &[]), second.start_for("suite", &[]));
    let has_sessions = || until("its sessions", || first.path("ready").exists().then_some(()));
    let (keeper, at) = kill_at_any_instant(&mut killed, random, has_sessions);
    let left = until_none(&first.mark, at, CLEAN_WITHIN * 2, |_| false);
    let took = left.unwrap_or_else(|left| panic!("survivors: {left:#?}\n{}", first.all_said()));
    assert!(keeper.ends_within(CLEAN_WITHIN), "its keeper lives on");
    first.has_no_ledger(Instant::now());
    until("the other suite's sessions", || second.path("ready").exists().then_some(()));
    // Each of its sessions, with what they start: one may be a moment away from its exec.
    until_sleeping(&second.mark, 4);
    assert_eq!(carriers(&second.mark).iter().filter(|carrier| carrier.command.starts_with("bash")).count(), 1);
    strangers.iter().chain([younger]).for_each(|stranger| real.has(stranger));
    std::fs::write(second.path("go"), "").expect("it is let go");
    let ran = second.ended(living, "suite");
    assert!(ran.status.success(), "the other suite failed:\n{}", ran.text);
    let left = until_none(&second.mark, Instant::now(), CLEAN_WITHIN, |_| false);
    left.unwrap_or_else(|left| panic!("survivors: {left:#?}\n{}", second.all_said()));
    strangers.iter().chain([younger]).for_each(|stranger| real.has(stranger));
    took
}
