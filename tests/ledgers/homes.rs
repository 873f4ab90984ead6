//! Homes of servers whose runs are dead, looked for by somebody with another directory for temporary files.

use crate::scene::{Me, Scene};
use std::path::Path;
use termleash::server::ServerGuard;

/// A test process with a server, which waits for its death.
fn serves(me: &Me) {
    let sleeps = format!("echo ready; exec sleep {}", me.nap(0));
    let spec = ServerGuard::command("sh").args(["-c", &sleeps]).without_port().ready_line("ready");
    let server = spec.start_blocking().unwrap();
    me.note("home", server.home().parent().unwrap().display());
    me.wait_for("never");
}

#[test]
fn a_home_that_stands_in_another_directory_for_temporary_files_is_swept_with_its_run() {
    let Some(scene) = Scene::new(serves) else { return };
    // With a short path, or it is not used.
    let place = tempfile::Builder::new().prefix("t").rand_bytes(6).tempdir_in("/tmp").unwrap();
    let temporary = ("TMPDIR", place.path().to_str().unwrap());
    let mut victim = scene.start("victim", &[("TERMLEASH_ISOLATE", "never"), temporary]);
    let home = scene.noted("home");
    assert!(Path::new(&home).starts_with(place.path()), "{home}");
    scene.kill_the_keeper();
    victim.kill();
    let report = scene.sweep();
    assert!(!Path::new(&home).exists(), "{report}");
    assert!(!report.contains("was not removed"), "{report}");
    scene.nothing_is_left();
}
