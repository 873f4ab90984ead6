//! Many at once, without a server, and without anybody who asks for it.

use crate::trials::dying::processes::{Pinned, carriers};
use crate::trials::real::{Kind, Real, new_mark, none_carries, stubborn, until, until_carried};
use rustix::process::Signal;
use std::time::Instant;
use termleash::SessionSpec;
use termleash::process::KillAction;
use termleash::session::BoxError;
use termleash::testing::Scope;

const MANY: usize = 20;

/// As many shells, which ignore TERM: VibeTunnel takes seconds for each.
pub(crate) async fn twenty_end_together(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.helper(t), new_mark());
    let theirs = real.sleeper("theirs");
    let shell = || SessionSpec::new("bash").args(["--norc", "-i", "-s", &mark]);
    let alone = helper.create_tracked_session(shell()).await?;
    let start = Instant::now();
    alone.close().await?;
    let one = start.elapsed();
    for _ in 0..MANY {
        helper.create_tracked_session(shell()).await?.keep();
    }
    let shells = || carriers(&mark).iter().filter(|carrier| carrier.command.starts_with("bash")).count();
    until("all shells", || (shells() == MANY).then_some(()));
    let start = Instant::now();
    let report = helper.kill_tracked_sessions().await?;
    let all = start.elapsed();
    assert!(report.is_proven() && report.outcomes().len() == MANY, "{report}");
    none_carries(&mark);
    real.has(&theirs);
    for outcome in report.outcomes() {
        // Its server was asked, and has it no more.
        assert!(outcome.steps().iter().any(|step| step.action == KillAction::AskedBackend && step.was_delivered));
        assert!(outcome.id().is_some_and(|id| !real.runs(id)), "{outcome}");
    }
    if let Real::VibeTunnel(it) = &real {
        // Its records, too, but for the one that was nobody's to discard.
        assert_eq!(it.records(), [theirs.id.to_string()]);
    }
    real.end(&theirs.id);
    // How long it takes is the server's own matter, and the machine's: the bench `vibetunnel/kill20` measures that side by side.
    println!("{kind}: one ends in {one:.0?}, {MANY} together in {all:.0?}");
    Ok(())
}

pub(crate) async fn a_servers_death_leaves_no_session_of_ours(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.helper(t), new_mark());
    let directory = tempfile::tempdir()?;
    let ready = directory.path().join("ready");
    helper.create_tracked_session(stubborn(&mark, &ready)).await?.keep();
    helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "-i", "-s", &mark])).await?.keep();
    until("the program to begin", || ready.exists().then_some(()));
    let server = real.server().ok_or("it has one")?;
    Pinned::open(server.pid()).ok_or("it lives")?.signal(Signal::KILL);
    server.wait_for_exit().await?;
    let ended = helper.kill_tracked_sessions().await?;
    none_carries(&mark);
    assert!(ended.is_proven(), "{ended}");
    Ok(())
}

pub(crate) async fn a_dropped_helper_ends_its_sessions(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.lone_helper(), new_mark());
    let theirs = real.sleeper("theirs");
    let directory = tempfile::tempdir()?;
    let ready = directory.path().join("ready");
    helper.create_tracked_session(stubborn(&mark, &ready)).await?.keep();
    helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "-i", "-s", &mark])).await?.keep();
    until("the program to begin", || ready.exists().then_some(()));
    // Whoever forgets sessions is told where they were made.
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(helper))).unwrap_err();
    let told = told.downcast_ref::<String>().ok_or("a text")?;
    assert!(told.contains("killing.rs") && told.contains("They were ended now"), "{told}");
    until_carried(&mark, 0);
    real.has(&theirs);
    real.end(&theirs.id);
    Ok(())
}
