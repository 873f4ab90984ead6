//! A test on a server that dies in each of its ways: its sessions end, and those of others do not.

use crate::trials::dying::processes::until_none;
use crate::trials::dying::{CLEAN_WITHIN, Place};
use crate::trials::real::{Kind, Real, until};
use crate::trials::victim::{ADDRESS, READY};
use rustix::process::Signal;
use std::time::Instant;
use termleash::session::BoxError;
use termleash::testing::Scope;

/// How it ends, and what of its text says so.
const ENDS: [(&str, &str); 5] = [
    ("panic", "as a test does"),
    ("error", "as a test does"),
    ("timeout", "timed out"),
    ("kill", "crashed"),
    ("runner", ""),
];

pub(crate) async fn however_a_test_ends_its_sessions_do_and_no_others(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let strangers = [real.sleeper("older"), real.sleeper("build-2")];
    for (end, says) in ENDS {
        let place = Place::new(true);
        let ready = place.path("ready").to_string_lossy().into_owned();
        let place = place.with(&[(ADDRESS, &real.address()), (READY, &ready)]);
        let runner = place.start_for(end, &[]);
        if end == "runner" {
            until("its sessions", || std::path::Path::new(&ready).exists().then_some(()));
            let keeper = crate::trials::dying::processes::keeper_of(runner.pid()).ok_or("it has a keeper")?;
            runner.hold().signal(Signal::KILL);
            assert!(keeper.ends_within(CLEAN_WITHIN), "its keeper lives on");
        } else {
            let ran = place.ended(runner, end);
            assert!(!ran.status.success() && ran.text.contains(says), "{end}: {}", ran.text);
            assert!(std::path::Path::new(&ready).exists(), "{}", ran.text);
        }
        let left = until_none(&place.mark, Instant::now(), CLEAN_WITHIN, |_| false);
        left.unwrap_or_else(|left| panic!("{end}: {left:#?}\n{}", place.all_said()));
        place.has_no_ledger(Instant::now());
        strangers.iter().for_each(|stranger| real.has(stranger));
        if let Real::VibeTunnel(it) = &real {
            // Its records, too: whoever cleans up has asked the server.
            let records = it.records();
            assert_eq!(records.len(), strangers.len(), "{end}: {records:?}\n{}", place.all_said());
        }
    }
    strangers.iter().for_each(|stranger| real.end(&stranger.id));
    Ok(())
}
