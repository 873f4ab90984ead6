//! Hunts over rounds on a process of their own: what is counted, who is blamed, and what the assertion does with it.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::{alone, with};
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use termleash::leak::{Gauge, HuntReport, LeakHunt, Level, Verdict};
use termleash::session::BoxError;
use termleash::session::{Created, SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper, assert_no_leaks, block_on};

fn hunt() -> LeakHunt {
    LeakHunt::new().exclusive().counts_only()
}

fn verdict_of(report: &HuntReport, gauge: Gauge) -> Verdict {
    report.series.iter().find(|series| series.gauge == gauge).unwrap().verdict
}

fn leaks_files(hunt: LeakHunt) -> termleash::Result<HuntReport> {
    let mut kept = Vec::new();
    block_on(hunt.run(async |_| {
        kept.push(File::open("/etc/hostname")?);
        Ok(())
    }))
}

/// A server of which this process has nothing.
struct Elsewhere;

impl SessionBackend for Elsewhere {
    async fn create(&self, _spec: &SessionSpec) -> Result<Created, BoxError> {
        Err("its sessions are there already".into())
    }

    async fn kill(&self, _id: &SessionId) -> Result<(), BoxError> {
        Ok(())
    }

    async fn state(&self, _id: &SessionId) -> Result<SessionState, BoxError> {
        Ok(SessionState::running())
    }
}

#[test]
fn sessions_threads_and_children_are_counted_too() {
    let Some(ran) = alone(&[]) else {
        let helper = SessionTestHelper::new(Elsewhere);
        let sessions = block_on(hunt().run(async |round| Ok(helper.track_session(format!("theirs-{round}")).await?)));
        helper.clear_tracked();
        let mut stops = Vec::new();
        let threads = block_on(hunt().run(async |_| {
            let (stop, stopped) = channel::<()>();
            stops.push((stop, std::thread::spawn(move || stopped.recv().unwrap_or_default())));
            Ok(())
        }));
        for (stop, thread) in stops {
            drop(stop);
            thread.join().unwrap();
        }
        let mut children = Vec::new();
        let processes = block_on(hunt().run(async |_| {
            children.push(Command::new("true").stdin(Stdio::null()).spawn()?);
            Ok(())
        }));
        for mut child in children {
            child.wait().unwrap();
        }
        let hunts = [(Gauge::Sessions, sessions), (Gauge::Threads, threads), (Gauge::Processes, processes)];
        for (gauge, report) in hunts {
            let report = report.unwrap();
            assert_eq!(verdict_of(&report, gauge), Verdict::Leaked, "{report}");
            assert!(report.is_failure() && report.rounds == 7, "{report}");
        }
        return;
    };
    ran.passed();
}

#[test]
fn beside_other_tests_growth_is_suspicious_unless_the_hunt_is_told_to_be_alone() {
    let Some(ran) = with(&["--test-threads=2"], &[]) else {
        let shared = leaks_files(LeakHunt::new().counts_only()).unwrap();
        assert_eq!(shared.verdict, Verdict::Suspicious, "{shared}");
        assert!(shared.left.is_some() && !shared.is_failure(), "{shared}");
        let told = leaks_files(hunt()).unwrap();
        assert_eq!(told.verdict, Verdict::Leaked, "{told}");
        return;
    };
    ran.passed();
}

#[test]
fn the_rounds_that_warm_up_are_run_and_not_measured() {
    let Some(ran) = alone(&[]) else {
        let mut rounds = Vec::new();
        let mut kept = Vec::new();
        let report = block_on(hunt().warmup(4).run(async |round| {
            rounds.push(round);
            if round < 4 {
                kept.push(File::open("/etc/hostname")?);
            }
            Ok(())
        }));
        let report = report.unwrap();
        assert_eq!(rounds, (0..11).collect::<Vec<_>>());
        assert_eq!((report.rounds, verdict_of(&report, Gauge::Descriptors)), (7, Verdict::Clean), "{report}");
        assert!(report.left.is_none() && report.verdict == Verdict::Clean, "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn only_counts_take_the_fewest_rounds_and_memory_is_shown_and_not_judged() {
    let Some(ran) = alone(&[]) else {
        let mut kept = Vec::with_capacity(100);
        let report = block_on(hunt().rounds(18..=60).run(async |_| {
            kept.push(vec![1u8; 32 << 10]);
            Ok(())
        }));
        let report = report.unwrap();
        assert_eq!(report.rounds, 18, "{report}");
        assert!(!report.is_failure() && report.series.iter().any(|series| series.gauge == Gauge::Resident), "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn the_assertion_fails_a_hunt_at_its_level_and_tells_what_passes() {
    let Some(ran) = alone(&[]) else {
        let panics = |found: termleash::Result<HuntReport>| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_no_leaks!(found))).is_err()
        };
        assert!(panics(leaks_files(hunt())));
        assert!(panics(leaks_files(hunt().level(Level::Paranoid))));
        let failing = leaks_files(hunt()).unwrap();
        assert!(std::panic::catch_unwind(|| assert_no_leaks!(failing)).is_err());
        println!("and a warning:");
        let warned = leaks_files(hunt().level(Level::Warn)).unwrap();
        assert_eq!((warned.level, warned.verdict), (Level::Warn, Verdict::Leaked));
        assert_no_leaks!(warned);
        assert!(panics(block_on(hunt().run(async |_| Err("no round".into())))));
        return;
    };
    ran.passed().says(&["leak hunt: leaked after 7 rounds"]);
    // Three panics, of which each is told once by the panic hook, and the warning.
    assert_eq!(ran.text.matches("leak hunt: leaked after 7 rounds").count(), 4, "{}", ran.text);
}

/// The guard still holds what it knows of the session.
#[test]
fn a_session_whose_end_is_proven_is_in_no_book_while_its_guard_is_held() {
    let Some(ran) = alone(&[]) else {
        let check = termleash::LeakCheck::new().settle_within(std::time::Duration::ZERO);
        let helper = SessionTestHelper::new(termleash::PtyBackend::new());
        let report = block_on(async {
            let guard = helper.create_tracked_session("sh").await.unwrap();
            helper.kill_session(&guard.id().clone()).await.unwrap();
            let report = check.find().await.unwrap();
            drop(guard);
            report
        });
        let is_session = |kind| kind == termleash::leak::Kind::Session;
        assert!(!report.findings.iter().any(|finding| is_session(finding.item().kind)), "{report}");
        return;
    };
    ran.passed();
}
