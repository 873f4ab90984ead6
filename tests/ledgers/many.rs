//! Several sweeps at once, and a sweep beside a run that lives.

use crate::scene::{Me, Scene, until};
use std::fs::{File, TryLockError};
use termleash::process::ProcessHandle;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

fn idles(me: &Me) {
    if me.role == "passes" {
        return termleash::test(async |_| Ok(()));
    }
    let helper = SessionTestHelper::new(PtyBackend::new());
    let spec = SessionSpec::shell(format!("trap '' HUP TERM; sleep {} & wait", me.nap(0)));
    termleash::block_on(helper.create_tracked_session(spec)).unwrap().keep();
    me.note("begun", "");
    me.wait_for("never");
}

/// A dead run whose keeper died first, and the session that is left of it.
fn dead_run(scene: &Scene) -> ProcessHandle {
    let _ = std::fs::remove_file(scene.path("begun"));
    let mut victim = scene.in_process("victim");
    scene.noted("begun");
    let session = ProcessHandle::open(scene.sleeper(0)).unwrap();
    scene.kill_the_keeper();
    victim.kill();
    session
}

#[test]
fn of_two_sweeps_at_once_one_sweeps_and_neither_fails() {
    const ROUNDS: usize = 30;
    let Some(scene) = Scene::new(idles) else { return };
    let rounds = ROUNDS.to_string();
    let mut sweepers = [(); 2].map(|()| scene.start("sweeper", &[("LEDGERS_ROUNDS", &rounds)]));
    for round in 0..ROUNDS {
        let session = dead_run(&scene);
        assert!(session.is_alive());
        // Both wait for this.
        scene.note(&format!("round-{round}"));
        let reports = sweepers.each_mut().map(|sweeper| scene.noted(&format!("swept-{round}-{}", sweeper.pid())));
        let swept = reports.iter().filter(|report| report.contains("swept what")).count();
        assert_eq!(swept, 1, "round {round}: {reports:#?}");
        assert!(!session.is_alive());
        assert!(!scene.ledger.exists(), "round {round}: {reports:#?}");
    }
    for mut sweeper in sweepers {
        let (status, text) = sweeper.end();
        assert!(status.success(), "{text}");
    }
    scene.nothing_is_left();
}

#[test]
fn a_run_that_lives_is_left_alone_with_and_without_its_keeper() {
    let Some(scene) = Scene::new(idles) else { return };
    let mut victim = scene.in_process("victim");
    scene.noted("begun");
    let session = ProcessHandle::open(scene.sleeper(0)).unwrap();
    let is_locked = || matches!(File::open(&scene.ledgers()[0]).unwrap().try_lock(), Err(TryLockError::WouldBlock));
    until("the keeper's lock", || is_locked().then_some(()));
    let reason = "its test process, keeper or body lives";
    let report = scene.sweep();
    assert!(report.contains("no dead run was found") && report.contains(reason), "{report}");
    scene.kill_the_keeper();
    assert!(!is_locked(), "it is the keeper's, and ends with it");
    let report = scene.sweep();
    assert!(report.contains("no dead run was found") && report.contains(reason), "{report}");
    assert!(session.is_alive());
    victim.kill();
    let report = scene.sweep();
    assert!(report.contains("swept what") && !session.is_alive(), "{report}");
    scene.nothing_is_left();
}

#[test]
fn a_dead_run_whose_lock_somebody_holds_is_left_alone() {
    let Some(scene) = Scene::new(idles) else { return };
    let session = dead_run(&scene);
    let held = File::open(&scene.ledgers()[0]).unwrap();
    held.try_lock().unwrap();
    let report = scene.sweep();
    assert!(report.contains("left alone") && report.contains("somebody holds its lock"), "{report}");
    assert!(session.is_alive());
    drop(held);
    let report = scene.sweep();
    assert!(report.contains("swept what") && !session.is_alive(), "{report}");
    scene.nothing_is_left();
}

/// It takes longer to end what heeds no signal than such a run takes.
#[test]
fn a_run_that_is_over_at_once_sweeps_to_the_end_all_the_same() {
    let Some(scene) = Scene::new(idles) else { return };
    let session = dead_run(&scene);
    let (status, text) = scene.start("passes", &[]).end();
    assert!(status.success(), "{text}");
    crate::scene::until("the session's end", || (!session.is_alive()).then_some(()));
    scene.nothing_is_left();
}
