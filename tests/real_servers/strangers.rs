//! Other people's sessions on the same server, however much they look like ours.

use crate::trials::dying::processes::Pinned;
use crate::trials::real::{Kind, Real, new_mark, none_carries, until, until_carried, until_sleeping};
use crate::trials::tmux::Tmux;
use crate::trials::web::ask;
use rustix::process::Signal;
use std::process::{Child, Command, Stdio};
use termleash::SessionSpec;
use termleash::session::{BoxError, SessionBackend};
use termleash::testing::Scope;

pub(crate) async fn one_made_by_other_means_ends_once_it_is_tracked(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.helper(t), new_mark());
    let theirs = real.sleeper("theirs");
    let script = format!("sleep {mark} & setsid sleep {mark} & exec sleep {mark}");
    let id = real.make("ours", &["sh", "-c", &script]);
    until_sleeping(&mark, 3);
    helper.track_session(&id).await?;
    helper.track_session(&id).await?;
    assert_eq!(helper.tracked_count(), 1);
    let report = helper.kill_tracked_sessions().await?;
    assert!(report.is_proven(), "{report}");
    assert!(!real.runs(&id));
    real.has(&theirs);
    real.end(&theirs.id);
    // What left the session carries no mark of ours, unless the server gives it one.
    if kind == Kind::VibeTunnel {
        none_carries(&mark);
    }
    crate::trials::dying::processes::end_carriers(&mark);
    Ok(())
}

/// VibeTunnel tells each session its id, which no other session ever has.
pub(crate) async fn the_servers_own_variable_is_a_mark(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, ours, theirs) = (real.helper(t), new_mark(), new_mark());
    let daemon =
        |mark: &str| format!("setsid sh -c 'trap \"\" HUP TERM; sleep {mark}; sleep {mark}' & exec sleep {mark}");
    let id = real.make("ours", &["sh", "-c", &daemon(&ours)]);
    let other = real.make("theirs", &["sh", "-c", &daemon(&theirs)]);
    until_carried(&ours, 3);
    until_carried(&theirs, 3);
    helper.track_session(&id).await?;
    let report = helper.kill_tracked_sessions().await?;
    assert!(report.is_proven(), "{report}");
    none_carries(&ours);
    until_carried(&theirs, 3);
    helper.track_session(&other).await?;
    helper.kill_tracked_sessions().await?;
    none_carries(&theirs);
    Ok(())
}

pub(crate) async fn nobody_elses_session_is_touched(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let helper = real.helper(t);
    let mut others = vec![real.sleeper("build-2"), real.sleeper("older")];
    // Ours, whose name is a prefix of theirs.
    let ours = helper.create_tracked_session(SessionSpec::new("sleep").arg("2000").name("build")).await?.keep();
    if kind != Kind::Tmux {
        // Which has no two sessions of one name.
        others.push(real.sleeper("build"));
    }
    others.extend([real.sleeper("build-3"), real.sleeper("younger")]);
    let report = helper.kill_tracked_sessions().await?;
    assert!(report.is_proven() && !real.runs(ours.id()), "{report}");
    others.iter().for_each(|other| real.has(other));
    helper.kill_tracked_sessions().await?;
    others.iter().for_each(|other| real.has(other));
    others.iter().for_each(|other| real.end(&other.id));
    Ok(())
}

pub(crate) async fn a_second_kill_reaches_nobody(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let helper = real.helper(t);
    let ours = helper.create_tracked_session(SessionSpec::new("sleep").arg("2000").name("build")).await?.keep();
    let others = [real.sleeper("build-2"), real.sleeper("build-3")];
    helper.kill_session(ours.id()).await?;
    for _ in 0..3 {
        assert!(helper.kill_session(ours.id()).await.unwrap_err().is_not_tracked());
        // The server itself, asked again by the backend, has none of this id; whatever it says, nobody else ends.
        let _ = match &real {
            Real::Tmux(it) => it.backend().kill(ours.id()).await,
            Real::VibeTunnel(it) => it.backend().kill(ours.id()).await,
            Real::Screen(it) => it.backend().kill(ours.id()).await,
        };
        others.iter().for_each(|other| real.has(other));
    }
    others.iter().for_each(|other| real.end(&other.id));
    Ok(())
}

/// It ends with the test that it belongs to.
struct Anew(Child);

impl Drop for Anew {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tmux that was started anew counts from `$0` again; VibeTunnel knows its sessions no more.
pub(crate) async fn a_restarted_server_has_none_of_ours(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let (helper, mark) = (real.helper(t), new_mark());
    let stubborn = format!("trap '' HUP TERM; sleep {mark}; sleep {mark}");
    let ours = helper.create_tracked_session(SessionSpec::shell(stubborn)).await?.keep();
    until_carried(&mark, 2);
    let server = real.server().ok_or("it has one")?;
    Pinned::open(server.pid()).ok_or("it lives")?.signal(Signal::KILL);
    server.wait_for_exit().await?;
    let (theirs, _anew, again);
    match &real {
        Real::Tmux(it) => {
            let mut command = Command::new("tmux");
            command.args(["-D", "-f", "/dev/null", "-S"]).arg(it.socket()).stdin(Stdio::null()).stdout(Stdio::null());
            _anew = Some(Anew(command.spawn()?));
            let it = Tmux::at(&it.socket().to_string_lossy());
            until("the new server", || it.ask(&["display-message", "-p", "up"]).contains("up").then_some(()));
            theirs = real.sleeper("theirs");
            assert_eq!(theirs.id, *ours.id(), "it counts from the beginning");
            again = None;
        }
        Real::VibeTunnel(it) => {
            _anew = None;
            // A home of its own, and the port of the old one.
            let port = it.url().rsplit(':').next().ok_or("a port")?.to_owned();
            let spec = crate::trials::vibetunnel::VibeTunnel::spec(&[]).args(["--port", &port]).without_port();
            again = Some(t.server(spec).await?);
            until("the new server", || (ask(it.url(), "GET", "/api/health", None).0 == 200).then_some(()));
            theirs = real.sleeper("theirs");
        }
        Real::Screen(_) => return Ok(()),
    }
    let report = helper.kill_tracked_sessions().await?;
    assert!(report.is_proven(), "{report}");
    none_carries(&mark);
    real.has(&theirs);
    real.end(&theirs.id);
    drop(again);
    Ok(())
}
