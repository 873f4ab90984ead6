//! The servers themselves under the leak hunt: rounds of sessions that are made and killed.

use crate::trials::dying::processes::Pinned;
use crate::trials::real::{Kind, Real};
use crate::trials::vibetunnel::VibeTunnel;
use rustix::process::Signal;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use termleash::SessionSpec;
use termleash::leak::{Gauge, HuntReport, LeakHunt, Verdict};
use termleash::server::Server;
use termleash::session::BoxError;
use termleash::testing::Scope;

/// Collects garbage on a signal, which Node.js does not offer by itself.
const COLLECTOR: &str = "process.on('SIGUSR2', () => { global.gc(); global.gc(); });";
/// For the collection to be over: its signal has no answer.
const COLLECTED: Duration = Duration::from_millis(150);

fn rounds() -> Result<Option<usize>, BoxError> {
    Ok(std::env::var("TERMLEASH_HUNT_ROUNDS").ok().map(|text| text.parse()).transpose()?)
}

async fn hunt(real: &Real, t: &Scope, server: &Server, hunt: LeakHunt) -> Result<HuntReport, BoxError> {
    let helper = real.helper(t);
    let report = hunt
        .sessions_per_round(1)
        .run(async |_| {
            helper.create_tracked_session(SessionSpec::new("sleep").arg("2000")).await?.close().await?;
            Ok(())
        })
        .await?;
    println!("{report}");
    assert!(server.is_alive());
    Ok(report)
}

/// tmux does nothing by itself: what it does would be seen in any window.
fn quick(server: &Server) -> LeakHunt {
    LeakHunt::on(server.process()).exclusive().quiet_window(Duration::from_millis(10))
}

/// Descriptors, memory: all flat, over 200 rounds.
pub(crate) async fn rounds_leave_nothing_in_tmux(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let server = real.server().ok_or("it has one")?;
    let rounds = rounds()?.unwrap_or(200);
    let report = hunt(&real, t, server, quick(server).rounds(rounds..=rounds)).await?;
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    Ok(())
}

/// Processes that come and go, of nobody's concern.
struct Neighbours(Child);

impl Drop for Neighbours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn noisy_neighbours_change_nothing(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let server = real.server().ok_or("it has one")?;
    let mut neighbours = Command::new("sh");
    neighbours.args(["-c", "while :; do sleep 0.01 & sleep 0.02; done"]).stdin(Stdio::null());
    let _neighbours = Neighbours(neighbours.spawn()?);
    let mut terminals = Vec::new();
    for _ in 0..50 {
        terminals.push(t.session(SessionSpec::new("cat")).await?);
    }
    let rounds = rounds()?.unwrap_or(200);
    let report = hunt(&real, t, server, quick(server).rounds(rounds..=rounds)).await?;
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    Ok(())
}

/// Its timer for each session runs on when that has ended, and starts a `ps` twice a second: nothing that can be counted grows,
/// and the server gets slower with each session. The windows after each round are shorter than that timer, and what they see is chance; the long
/// one in the end sees it.
pub(crate) async fn what_vibetunnel_does_for_ended_sessions_is_found(t: &Scope, _: Kind) -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    let collector = directory.path().join("collector.js");
    std::fs::write(&collector, COLLECTOR)?;
    let node = ["--expose-gc", "-r", collector.to_str().ok_or("text")?];
    let vibetunnel = VibeTunnel::start_with(t, &node).await?;
    let server = vibetunnel.server().ok_or("it has one")?.clone();
    let (url, pid) = (vibetunnel.url().to_owned(), server.pid());
    let rounds = rounds()?.unwrap_or(30);
    let watched = LeakHunt::on(server.process())
        .exclusive()
        .rounds(rounds..=rounds)
        .records(async move || Ok(VibeTunnel::at(&url).records().len() as u64))
        .before_sample(async move || {
            Pinned::open(pid).ok_or("it has ended")?.signal(Signal::USR2);
            tokio::time::sleep(COLLECTED).await;
            Ok(())
        });
    let report = hunt(&Real::VibeTunnel(vibetunnel), t, &server, watched).await?;
    let is_leaked = |gauge: Gauge| {
        let series = report.series.iter().find(|series| series.gauge == gauge).expect("it is measured");
        series.verdict == Verdict::Leaked
    };
    assert!(is_leaked(Gauge::Forks), "{report}");
    // Memory is judged by chance here: what a timer holds is little beside what Node.js keeps for itself.
    for gauge in
        [Gauge::Descriptors, Gauge::PtyMasters, Gauge::Threads, Gauge::Processes, Gauge::Zombies, Gauge::Records]
    {
        assert!(!is_leaked(gauge), "{report}");
    }
    Ok(())
}
