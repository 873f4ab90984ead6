//! What runs in a session: shells that are typed to, and programs that do not want to end.

use crate::trials::dying::processes::carriers;
use crate::trials::real::{Kind, Real, new_mark, none_carries, stubborn, until, until_sleeping};
use termleash::SessionSpec;
use termleash::process::KillAction;
use termleash::session::BoxError;
use termleash::testing::Scope;

pub(crate) async fn an_interactive_shell_is_typed_to_and_ends(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.helper(t), new_mark());
    let bash = SessionSpec::new("bash").args(["--norc", "-i", "-s", &mark]).env("PS1", "ready> ");
    let session = helper.create_tracked_session(bash).await?.keep();
    assert!(session.leader().is_some(), "its leader is proven");
    until("a prompt", || real.text(session.id()).contains("ready>").then_some(()));
    real.type_line(session.id(), "echo answer=$((6*7)); sleep 2000 &");
    until("the answer", || real.text(session.id()).contains("answer=42").then_some(()));
    let report = helper.kill_tracked_sessions().await?;
    assert!(report.is_proven(), "{report}");
    none_carries(&mark);
    until("the server to know", || (!real.runs(session.id())).then_some(()));
    Ok(())
}

pub(crate) async fn a_program_that_ignores_hang_up_and_term_ends(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.helper(t), new_mark());
    let directory = tempfile::tempdir()?;
    let ready = directory.path().join("ready");
    let session = helper.create_tracked_session(stubborn(&mark, &ready)).await?;
    until("the program to begin", || ready.exists().then_some(()));
    let outcome = session.close().await?;
    assert!(outcome.is_proven(), "{outcome}");
    none_carries(&mark);
    let actions: Vec<_> = outcome.steps().iter().map(|step| step.action).collect();
    assert!(actions.contains(&KillAction::AskedBackend), "{actions:?}");
    // VibeTunnel sends KILL to the leader itself, in the end; the children are ours to end, everywhere.
    assert!(actions.contains(&KillAction::Killed), "{actions:?}");
    assert!(helper.survivors()?.is_empty());
    Ok(())
}

/// With its environment cleared as well it carries no mark: it is named, and ends with the server.
pub(crate) async fn what_left_its_session_ends_and_what_hid_as_well_is_named(
    t: &Scope,
    kind: Kind,
) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark, hidden) = (real.helper(t), new_mark(), new_mark());
    let theirs = real.sleeper("theirs");
    let line = format!(
        "setsid sleep {mark} & nohup sleep {mark} >/dev/null 2>&1 & (trap '' HUP; sleep {mark}) & exec sleep {mark}"
    );
    helper.create_tracked_session(SessionSpec::shell(line)).await?.keep();
    let line = format!("setsid env -i sleep {hidden} & exec sleep {mark}");
    helper.create_tracked_session(SessionSpec::shell(line)).await?.keep();
    until_sleeping(&mark, 5);
    until_sleeping(&hidden, 1);
    let report = helper.kill_tracked_sessions().await?;
    assert!(report.is_proven(), "{report}");
    none_carries(&mark);
    let left: Vec<u32> = carriers(&hidden).iter().map(|carrier| carrier.pid).collect();
    let named: Vec<u32> = report
        .outcomes()
        .iter()
        .flat_map(|outcome| outcome.suspects())
        .map(|suspect| suspect.process.identity.pid())
        .collect();
    assert!(left.iter().all(|pid| named.contains(pid)), "{left:?} live, and are not named:\n{report}");
    real.has(&theirs);
    // What nobody may end who cannot prove whose it is, the test ends that knows it.
    crate::trials::dying::processes::end_carriers(&hidden);
    real.end(&theirs.id);
    Ok(())
}

pub(crate) async fn a_session_that_ended_by_itself_is_gone_already(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.helper(t), new_mark());
    let bash = SessionSpec::new("bash").args(["--norc", "-i", "-s", &mark]).env("PS1", "ready> ");
    let session = helper.create_tracked_session(bash).await?.keep();
    until("a prompt", || real.text(session.id()).contains("ready>").then_some(()));
    real.type_line(session.id(), "exit 3");
    until("its end", || (!real.runs(session.id())).then_some(()));
    let leader = session.leader().ok_or("its leader is proven")?;
    leader.wait_gone().await?;
    let report = helper.kill_tracked_sessions().await?;
    assert!(report.is_proven() && report.outcomes()[0].was_already_gone(), "{report}");
    none_carries(&mark);
    Ok(())
}
