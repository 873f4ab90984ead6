//! `TERMLEASH_KEEP=1`: what a test has at its end stays for whoever looks at it, until that one asks for its end.

use crate::scene::{Me, Scene};
use termleash::process::ProcessHandle;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

fn spec(me: &Me, which: u32) -> SessionSpec {
    SessionSpec::shell(format!("trap '' HUP; setsid sleep {} & sleep {} & wait", me.nap(which), me.nap(which + 1)))
}

fn plays(me: &Me) {
    if me.role == "in process" {
        let helper = SessionTestHelper::new(PtyBackend::new());
        let _session = termleash::block_on(helper.create_tracked_session(spec(me, 0))).unwrap().keep();
        me.note("begun", "");
        me.wait_for("go");
        // Its helper never gets to end it.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
    termleash::test(async |t| {
        let _kept = t.session(spec(me, 0)).await?.keep();
        me.note("pid", std::process::id());
        me.wait_for("go");
        if me.role == "fails" {
            return Err("this is to be looked at".into());
        }
        Ok(())
    });
}

const KEEP: (&str, &str) = ("TERMLEASH_KEEP", "1");

/// A test that is over, with what it has: its body first, then its sleepers; and what it has told.
fn kept(scene: &Scene, role: &str) -> (Vec<ProcessHandle>, String) {
    for note in ["pid", "go"] {
        let _ = std::fs::remove_file(scene.path(note));
    }
    let mut runner = scene.start(role, &[KEEP]);
    let body = ProcessHandle::open(scene.noted("pid").parse().unwrap()).unwrap();
    let mut all = vec![body];
    all.extend(scene.sleepers(0..=1));
    scene.note("go");
    let (status, text) = runner.end();
    assert_eq!(status.success(), role == "passes", "{text}");
    (all, text)
}

#[track_caller]
fn all_live(scene: &Scene, all: &[ProcessHandle], text: &str) {
    // Long enough for anybody who would end them.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(all.iter().all(ProcessHandle::is_alive), "{text}");
    assert_eq!((scene.keepers().len(), scene.ledgers().len()), (1, 1), "{text}");
    let body = all[0].pid();
    let by_file = format!("remove {}", scene.ledgers()[0].display());
    for part in [
        &format!("is pid {body} and waits") as &str,
        &format!("gdb -p {body}"),
        &format!("pid {} `sleep {}`", all[1].pid(), scene.nap(0)),
        "to end it all: call `termleash::sweep()`, or",
        &by_file,
    ] {
        assert!(text.contains(part), "{part:?} is not in it:\n{text}");
    }
}

#[test]
fn a_test_that_fails_is_kept_until_a_sweep_is_asked_for() {
    let Some(scene) = Scene::new(plays) else { return };
    let (all, text) = kept(&scene, "fails");
    assert!(text.contains("this is to be looked at"), "{text}");
    all_live(&scene, &all, &text);
    let report = scene.sweep();
    assert!(report.contains("it was kept, and its keeper was told to end it now"), "{report}");
    scene.nothing_is_left();
}

#[test]
fn a_test_that_passes_is_kept_until_its_ledger_is_removed() {
    let Some(scene) = Scene::new(plays) else { return };
    let (all, text) = kept(&scene, "passes");
    all_live(&scene, &all, &text);
    std::fs::remove_file(&scene.ledgers()[0]).unwrap();
    scene.nothing_is_left();
}

/// It would be gone before anybody has looked.
#[test]
fn the_next_run_does_not_end_what_is_kept() {
    let Some(scene) = Scene::new(plays) else { return };
    let (first, text) = kept(&scene, "fails");
    all_live(&scene, &first, &text);
    let (second, _) = kept(&scene, "passes");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(first.iter().chain(&second).all(ProcessHandle::is_alive));
    assert_eq!((scene.keepers().len(), scene.ledgers().len()), (2, 2));
    scene.sweep();
    scene.nothing_is_left();
}

#[test]
fn what_a_process_leaves_that_was_killed_is_kept_by_the_keeper_beside_it() {
    let Some(scene) = Scene::new(plays) else { return };
    for by_file in [false, true] {
        for note in ["begun", "go"] {
            let _ = std::fs::remove_file(scene.path(note));
        }
        let mut victim = scene.start("in process", &[KEEP, ("TERMLEASH_ISOLATE", "never")]);
        scene.noted("begun");
        let all = scene.sleepers(0..=1);
        scene.note("go");
        victim.end();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert!(all.iter().all(ProcessHandle::is_alive));
        if by_file {
            std::fs::remove_file(&scene.ledgers()[0]).unwrap();
        } else {
            let report = scene.sweep();
            assert!(report.contains("it was kept, and its keeper was told to end it now"), "{report}");
        }
        scene.nothing_is_left();
    }
}
