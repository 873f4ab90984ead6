//! Places where no ledger can be: a test runs all the same, with the containment that is left, and says what is missing.

use crate::scene::{Actor, Me, Scene};
use rustix::process::{Signal, geteuid, getpid, kill_process};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

fn stubborn(me: &Me, which: u32) -> SessionSpec {
    SessionSpec::shell(format!("trap '' HUP; setsid sleep {} & sleep {} & wait", me.nap(which), me.nap(which + 1)))
}

fn ledger() -> PathBuf {
    std::env::var_os("TERMLEASH_LEDGER").unwrap().into()
}

/// Waits for a program of its own session.
fn until_it_sleeps(me: &Me, which: u32) {
    let nap = me.nap(which);
    crate::scene::until("the sleeper", || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .any(|line| line == format!("sleep\0{nap}\0"))
            .then_some(())
    });
}

/// What a test does whose ledger has no place.
fn plays(me: &Me) {
    termleash::test(async |t| {
        let session = t.session(stubborn(me, 0)).await?;
        until_it_sleeps(me, 0);
        until_it_sleeps(me, 1);
        if me.role == "crash" {
            kill_process(getpid(), Signal::KILL)?;
        }
        session.close().await?;
        Ok(())
    });
}

/// Isolated and not, passing and crashing.
#[track_caller]
fn runs_all_the_same(scene: &Scene, before: &[&str], why: &str) {
    let warning = "this session is not written down";
    for isolation in ["auto", "never"] {
        let passes = scene.command(before, "passes", &[("TERMLEASH_ISOLATE", isolation)]);
        let (status, text) = scene.spawn(passes).end();
        assert!(status.success() && text.contains("1 passed"), "{isolation}: {status}:\n{text}");
        assert!(text.contains(warning) && text.contains(why), "{isolation}: {why:?} is not in it:\n{text}");
        assert_eq!(text.matches(warning).count(), 1, "{text}");
        scene.only_these_stay(&[]);
    }
    let (status, text) = scene.spawn(scene.command(before, "crash", &[])).end();
    assert_eq!(status.code(), Some(101), "{text}");
    for part in ["crashed: its process was ended by", "containment: a process of its own", "no ledger", why] {
        assert!(text.contains(part), "{part:?} is not in it:\n{text}");
    }
    assert!(!text.contains("RUST_BACKTRACE=1` environment variable to display a backtrace\nthread"), "{text}");
    scene.only_these_stay(&[]);
}

fn make(path: &Path, mode: u32) {
    std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_symbolic_link_in_its_place_is_not_followed() {
    let Some(scene) = Scene::new(plays) else { return };
    let elsewhere = scene.path("elsewhere");
    make(&elsewhere, 0o700);
    symlink(&elsewhere, &scene.ledger).unwrap();
    runs_all_the_same(&scene, &[], "is no directory, or a symbolic link to one");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(scene.ledger.is_symlink());
}

#[test]
fn a_directory_that_others_may_write_to_is_not_used() {
    let Some(scene) = Scene::new(plays) else { return };
    make(&scene.ledger, 0o777);
    runs_all_the_same(&scene, &[], "can be used by others (mode 777)");
    assert_eq!(scene.ledgers(), <[PathBuf; 0]>::default());
}

#[test]
fn a_directory_of_another_user_is_not_used() {
    let Some(scene) = Scene::new(plays) else { return };
    if !geteuid().is_root() {
        return eprintln!("skipped: only root can make a directory of another user");
    }
    make(&scene.ledger, 0o700);
    chown(&scene.ledger, Some(65534), None).unwrap();
    runs_all_the_same(&scene, &[], "belongs to user 65534");
    assert_eq!(scene.ledgers(), <[PathBuf; 0]>::default());
}

/// Words that run a command with a small file system in the ledger's place; `None`, said, for who may not mount one.
fn mounted<'a>(scene: &Scene, script: &'a str) -> Option<[&'a str; 6]> {
    if !scene.ledger.exists() {
        make(&scene.ledger, 0o700);
    }
    let words = ["unshare", "--mount", "sh", "-c", script, "sh"];
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").env("TERMLEASH_LEDGER", &scene.ledger).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(words);
    }
    eprintln!("skipped: this user cannot mount a file system");
    None
}

#[test]
fn a_directory_that_is_read_only_is_no_hindrance() {
    let Some(scene) = Scene::new(plays) else { return };
    let script = r#"mount -t tmpfs -o ro,mode=700 none "$TERMLEASH_LEDGER" && exec "$@""#;
    let Some(before) = mounted(&scene, script) else { return };
    runs_all_the_same(&scene, &before, "Read-only file system");
}

#[test]
fn a_full_disk_is_no_hindrance() {
    let Some(scene) = Scene::new(plays) else { return };
    let script = r#"mount -t tmpfs -o size=4k,mode=700 none "$TERMLEASH_LEDGER" &&
        head -c 4096 /dev/zero >"$TERMLEASH_LEDGER"/fill && exec "$@""#;
    let Some(before) = mounted(&scene, script) else { return };
    runs_all_the_same(&scene, &before, "No space left on device");
}

/// In a process that is then killed: which of its sessions end with it.
fn fills_up(me: &Me) {
    let helper = SessionTestHelper::new(PtyBackend::new());
    let create = |spec| termleash::block_on(helper.create_tracked_session(spec)).unwrap();
    let _first = create(stubborn(me, 0)).keep();
    let fill = ledger().join("fill");
    std::fs::write(&fill, vec![0; 1 << 16]).unwrap_err();
    // There is room in its last block still.
    for _ in 0..8 {
        termleash::block_on(create(SessionSpec::new("true").arg("x".repeat(500))).close()).unwrap();
    }
    let _unwritten = create(SessionSpec::new("sleep").arg(me.nap(2))).keep();
    std::fs::remove_file(fill).unwrap();
    let _third = create(stubborn(me, 4)).keep();
    [0, 1, 2, 4, 5].iter().for_each(|which| until_it_sleeps(me, *which));
    me.note("begun", "");
    me.wait_for("never");
}

#[test]
fn a_disk_that_has_room_again_is_written_to_again() {
    let Some(scene) = Scene::new(fills_up) else { return };
    let script = r#"mount -t tmpfs -o size=16k,mode=700 none "$TERMLEASH_LEDGER" && exec "$@""#;
    let Some(before) = mounted(&scene, script) else { return };
    let mut victim = scene.spawn(scene.command(&before, "victim", &[("TERMLEASH_ISOLATE", "never")]));
    scene.noted("begun");
    victim.kill();
    let text = victim.text();
    assert!(text.contains("this session is not written down") && text.contains("cannot be written"), "{text}");
    scene.only_these_stay(&[]);
}

fn loses_its_directory(me: &Me) {
    let remove = || std::fs::remove_dir_all(ledger()).unwrap();
    if me.role == "in process" {
        let helper = SessionTestHelper::new(PtyBackend::new());
        let create = |spec| termleash::block_on(helper.create_tracked_session(spec)).unwrap().keep();
        let _first = create(stubborn(me, 0));
        until_it_sleeps(me, 0);
        // Its keeper has it open by now, unless it is slow to start.
        me.note("ready", "");
        me.wait_for("go");
        remove();
        me.note("removed", "");
        me.wait_for("go on");
        let _second = create(stubborn(me, 2));
        [2, 3].iter().for_each(|which| until_it_sleeps(me, *which));
        me.note("begun", "");
        return me.wait_for("never");
    }
    termleash::test(async |t| {
        if me.role == "at once" {
            remove();
        }
        let _first = t.session(stubborn(me, 0)).await?;
        if me.role != "at once" {
            remove();
        }
        let _second = t.session(stubborn(me, 2)).await?;
        [0, 1, 2, 3].iter().for_each(|which| until_it_sleeps(me, *which));
        if me.role == "crash" {
            kill_process(getpid(), Signal::KILL)?;
        }
        Ok(())
    });
}

#[test]
fn a_directory_that_is_deleted_in_the_middle_of_a_run_is_not_missed() {
    let Some(scene) = Scene::new(loses_its_directory) else { return };
    for role in ["passes", "at once"] {
        let (status, text) = scene.start(role, &[]).end();
        assert!(status.success(), "{role}: {text}");
        assert!(!text.contains("panicked"), "{text}");
        scene.nothing_is_left();
    }
    let (status, text) = scene.start("crash", &[]).end();
    assert_eq!(status.code(), Some(101), "{text}");
    assert!(text.contains("ended what it left"), "{text}");
    scene.nothing_is_left();
}

/// A test process whose ledger is removed once its keeper has it.
fn without_directory(scene: &Scene) -> Actor {
    let victim = scene.in_process("in process");
    scene.noted("ready");
    scene.sleepers(0..=1);
    crate::scene::until("the keeper's record", || {
        let records = scene.ledgers().into_iter().flat_map(|path| crate::scene::records(&path));
        records.into_iter().any(|record| record["kind"] == "keeper").then_some(())
    });
    scene.note("go");
    scene.noted("removed");
    victim
}

#[test]
fn a_keeper_beside_ends_everything_by_a_ledger_that_was_deleted() {
    let Some(scene) = Scene::new(loses_its_directory) else { return };
    let mut victim = without_directory(&scene);
    scene.note("go on");
    scene.noted("begun");
    victim.kill();
    scene.nothing_is_left();
}

#[test]
fn a_ledger_whose_keeper_died_after_it_was_deleted_is_made_anew() {
    let Some(scene) = Scene::new(loses_its_directory) else { return };
    let mut victim = without_directory(&scene);
    scene.kill_the_keeper();
    scene.note("go on");
    scene.noted("begun");
    let [first, detached] = [scene.sleeper(0), scene.sleeper(1)];
    victim.kill();
    let text = victim.text();
    assert!(text.contains("was removed, and its keeper has died"), "{text}");
    // Nobody knows of the first session any more, and its shell ignores the hang-up.
    let left: Vec<u32> = scene.living().into_iter().map(|(pid, _)| pid).collect();
    assert!(left.contains(&first) && left.contains(&detached), "{text}");
    let shell = scene.living().into_iter().find(|(_, line)| line.contains("trap") && line.contains(&scene.nap(0)));
    scene.only_these_stay(&[first, detached, shell.unwrap().0]);
    assert!(!scene.ledger.exists());
}
