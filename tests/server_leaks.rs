//! The example server under leak check and hunt: each of its leaks is named as what it is and as nothing else, and an honest
//! server is clean, also beside noisy neighbours.

#![cfg(target_os = "linux")]

#[path = "server_leaks/neighbours.rs"]
mod neighbours;
mod on_example;

use neighbours::Neighbours;
use on_example::terminal_server::options::Leak;
use on_example::{api, backend, server, without_marks};
use std::sync::Arc;
use std::time::Duration;
use termleash::leak::{Gauge, HuntReport, Kind, LeakReport, Level, Verdict};
use termleash::server::ServerGuard;
use termleash::session::HttpBackend;
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

/// A server that leaks in this way, or an honest one.
async fn started(leak: &str) -> ServerGuard {
    let arguments = if leak.is_empty() { String::new() } else { format!("--leak {leak}") };
    server(&arguments).start().await.unwrap()
}

/// A session from its creation to the end of its record.
async fn session(helper: &SessionTestHelper) -> termleash::Result<()> {
    helper.create_tracked_session(SessionSpec::new("cat")).await?.close().await.map(drop)
}

/// Sessions of that server. A process that stays and carries a session's marks would end with the session, and be no leak of the
/// server's any more.
fn helper_for(server: &ServerGuard, leak: Option<Leak>) -> SessionTestHelper {
    let api = if leak == Some(Leak::Process) { without_marks() } else { api() };
    SessionTestHelper::new(HttpBackend::new(server.url(), api))
}

/// What one look can see of it.
fn kind_of(leak: Leak) -> Option<Kind> {
    match leak {
        Leak::Descriptor => Some(Kind::Device),
        Leak::Pty => Some(Kind::PtyMaster),
        Leak::Process => Some(Kind::Process),
        Leak::Zombie => Some(Kind::Zombie),
        Leak::Thread => Some(Kind::Thread),
        Leak::Memory | Leak::Record | Leak::Buffer | Leak::Activity => None,
    }
}

fn kinds(report: &LeakReport) -> Vec<(Kind, usize)> {
    report.findings.iter().map(|finding| (finding.item().kind, finding.items.len())).collect()
}

#[test]
fn a_check_names_each_leak_that_can_be_counted_and_no_other() {
    for (name, leak, _) in Leak::ALL {
        // `/bin/true` may be there at just the moment of each look.
        if leak == Leak::Activity {
            continue;
        }
        termleash::block_on(async {
            let server = started(name).await;
            let helper = helper_for(&server, Some(leak));
            // What a server opens for its first session it may keep.
            if kind_of(leak).is_none() {
                session(&helper).await.unwrap();
            }
            let check = server.leak_check().unwrap().level(Level::Fail);
            session(&helper).await.unwrap();
            let report = check.find().await.unwrap();
            let expected: Vec<_> = kind_of(leak).into_iter().map(|kind| (kind, 1)).collect();
            assert_eq!(kinds(&report), expected, "{name}: {report}");
            assert_eq!(report.is_failure(), kind_of(leak).is_some(), "{name}: {report}");
            server.close().await.unwrap();
        });
    }
}

#[test]
fn a_process_that_a_session_left_and_that_carries_its_mark_ends_with_the_session() {
    termleash::block_on(async {
        let server = started("process").await;
        let helper = SessionTestHelper::new(backend(server.url()));
        let check = server.leak_check().unwrap().level(Level::Fail);
        let outcome = helper.create_tracked_session(SessionSpec::new("cat")).await.unwrap().close().await.unwrap();
        assert!(outcome.is_proven() && outcome.survivors().is_empty(), "{outcome}");
        assert!(!outcome.steps().is_empty(), "somebody had to be ended: {outcome}");
        let report = check.find().await.unwrap();
        assert!(report.is_clean(), "{report}");
        server.close().await.unwrap();
    });
}

async fn hunted(server: &ServerGuard, leak: Option<Leak>, rounds: usize) -> HuntReport {
    let helper = helper_for(server, leak);
    let lists = Arc::new(backend(server.url()));
    // The stack of a thread is memory, too, and less than this.
    let hunt = server.leak_hunt().level(Level::Fail).gate(32 << 10).sessions_per_round(1);
    let hunt = hunt.rounds(if leak.is_some() { 18 } else { rounds }..=rounds);
    let hunt = hunt.records(move || {
        let lists = lists.clone();
        async move { Ok(lists.list().await?.len() as u64) }
    });
    hunt.run(async |_| Ok(session(&helper).await?)).await.unwrap()
}

fn leaked(report: &HuntReport) -> Vec<Gauge> {
    report.series.iter().filter(|series| series.verdict == Verdict::Leaked).map(|series| series.gauge).collect()
}

/// What many rounds see of it; the first must be there, and nothing beside all of them.
fn gauges_of(leak: Leak) -> &'static [Gauge] {
    match leak {
        Leak::Descriptor => &[Gauge::Descriptors],
        Leak::Pty => &[Gauge::PtyMasters],
        Leak::Process => &[Gauge::Processes],
        Leak::Zombie => &[Gauge::Zombies],
        Leak::Thread => &[Gauge::Threads],
        Leak::Memory | Leak::Buffer => &[Gauge::Resident],
        Leak::Record => &[Gauge::Records],
        Leak::Activity => &[Gauge::Processor, Gauge::Forks],
    }
}

#[test]
fn a_hunt_names_each_leak_and_no_other() {
    for (name, leak, _) in Leak::ALL {
        termleash::block_on(async {
            let server = started(name).await;
            let report = hunted(&server, Some(leak), 60).await;
            let (found, expected) = (leaked(&report), gauges_of(leak));
            assert!(!found.is_empty() && found.iter().all(|gauge| expected.contains(gauge)), "{name}: {report}");
            assert!(report.is_failure(), "{name}: {report}");
            server.close().await.unwrap();
        });
    }
}

#[test]
fn an_honest_server_is_clean_over_200_rounds() {
    termleash::block_on(async {
        let server = started("").await;
        let report = silent(&server).await;
        assert_eq!(report.rounds, 200, "{report}");
        server.close().await.unwrap();
    });
}

#[test]
fn an_honest_server_is_clean_over_200_rounds_beside_noisy_neighbours() {
    let neighbours = Neighbours::start();
    termleash::block_on(async {
        let server = started("").await;
        silent(&server).await;
        server.close().await.unwrap();
    });
    neighbours.stop();
}

/// Neither a failure nor a suspicion, in any of the series.
async fn silent(server: &ServerGuard) -> HuntReport {
    let check = server.leak_check().unwrap().level(Level::Fail).settle_within(Duration::from_secs(10));
    let report = hunted(server, None, 200).await;
    assert!(!report.is_failure() && leaked(&report).is_empty(), "{report}");
    let suspicious = report.series.iter().any(|series| series.verdict == Verdict::Suspicious);
    assert!(!suspicious && report.left.is_none(), "{report}");
    let left = check.find().await.unwrap();
    assert!(!left.is_failure(), "{left}");
    report
}

#[test]
fn beside_noisy_neighbours_each_leak_is_named_and_no_other() {
    let neighbours = Neighbours::start();
    for (name, leak, _) in Leak::ALL {
        let Some(kind) = kind_of(leak) else { continue };
        termleash::block_on(async {
            let server = started(name).await;
            let helper = helper_for(&server, Some(leak));
            let check = server.leak_check().unwrap().level(Level::Fail);
            session(&helper).await.unwrap();
            let report = check.find().await.unwrap();
            assert_eq!(kinds(&report), [(kind, 1)], "{name}: {report}");
            server.close().await.unwrap();
        });
    }
    neighbours.stop();
}
