//! Sweeps across PID namespaces: numbers that mean somebody else, and owners that seem dead because they cannot be seen.

use crate::scene::{Me, Scene, until};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use termleash::process::ProcessHandle;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

/// A container, as far as processes go; where this user cannot have one, why not is said.
const CONTAINER: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];

fn has_containers() -> bool {
    let tried = Command::new(CONTAINER[0]).args(&CONTAINER[1..]).arg("true").stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: this user cannot make a PID namespace with a /proc of its own");
    }
    can
}

/// A test process with a session that a hang-up does not end.
fn holds_a_session(me: &Me, which: u32) -> SessionTestHelper {
    let helper = SessionTestHelper::new(PtyBackend::new());
    let spec = SessionSpec::shell(format!("trap '' HUP; sleep {} & wait", me.nap(which)));
    termleash::block_on(helper.create_tracked_session(spec)).unwrap().keep();
    helper
}

fn idles(me: &Me) {
    let _helper = holds_a_session(me, 0);
    me.note("begun", "");
    me.wait_for("never");
}

#[test]
fn a_host_and_its_container_that_share_a_directory_leave_each_others_runs_alone() {
    let Some(scene) = Scene::new(idles) else { return };
    if !has_containers() {
        return;
    }
    let reason = "lives, or belongs to another boot or container";
    for (victim, sweeper) in [(&CONTAINER[..], &[][..]), (&[], &CONTAINER[..])] {
        let _ = std::fs::remove_file(scene.path("begun"));
        let mut outer = scene.spawn(scene.command(victim, "victim", &[("TERMLEASH_ISOLATE", "never")]));
        scene.noted("begun");
        let session = ProcessHandle::open(scene.sleeper(0)).unwrap();
        let (status, text) = scene.spawn(scene.command(sweeper, "sweeper", &[])).end();
        assert!(status.success() && text.contains("no dead run was found") && text.contains(reason), "{text}");
        assert!(session.is_alive());
        // Its test process first, which is process 1 of the container, or not.
        let inner =
            scene.living().into_iter().filter(|(_, line)| line.contains("--exact") && !line.contains("unshare"));
        inner.for_each(|(pid, _)| crate::scene::kill(pid));
        let _ = outer.end();
        scene.only_these_stay(&[]);
        // The end of a container takes its keeper, and nobody outside can prove that nothing lives in it.
        scene.ledgers().iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let _ = std::fs::remove_dir(&scene.ledger);
    }
}

/// A process with a given number, which a PID namespace can give out.
fn reborn(pid: u32, me: &Me) -> Option<Child> {
    for _ in 0..50 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut command = Command::new("sleep");
        let mut child = command.arg(me.nap(9)).stdin(Stdio::null()).stdout(Stdio::null()).spawn().ok()?;
        if child.id() == pid {
            return Some(child);
        }
        child.kill().ok()?;
        child.wait().ok()?;
    }
    None
}

/// Its number is free afterwards if this process, which is process 1 of the container, gets to reap it.
fn end(pid: u32) {
    let handle = ProcessHandle::open(pid).unwrap();
    crate::scene::kill(pid);
    until("its end", || (!handle.is_alive()).then_some(()));
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
}

/// Process 1 of a container: test process, keeper and session die, and another process gets the number of the session's leader.
fn recycles(me: &Me) {
    if me.role == "victim" {
        let helper = holds_a_session(me, 0);
        let leader = helper.tracked_ids().first().and_then(|id| helper.session(id)?.leader().map(ProcessHandle::pid));
        me.note("leader", leader.unwrap());
        return me.wait_for("never");
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(std::env::args().skip(1)).env("LEDGERS_ROLE", "victim").env("TERMLEASH_ISOLATE", "never");
    let mut victim = command.stdin(Stdio::null()).spawn().unwrap();
    let leader: u32 = until("the leader", || std::fs::read_to_string(me.path("leader")).ok()).parse().unwrap();
    let ledger = std::env::var("TERMLEASH_LEDGER").unwrap();
    // Those of a container have its numbers.
    let keeper = until("the keeper", || {
        let all =
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        all.filter_map(|name| name.parse::<u32>().ok()).find(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"termleash-keeper"))
        })
    });
    let sleeper = until("the sleeper", || {
        let list = std::fs::read_to_string(format!("/proc/{leader}/task/{leader}/children")).unwrap();
        list.split_whitespace().next()?.parse::<u32>().ok()
    });
    end(keeper);
    victim.kill().unwrap();
    victim.wait().unwrap();
    end(leader);
    end(sleeper);
    let Some(mut stranger) = reborn(leader, me) else {
        return me.note("report", "skipped: no process got the number");
    };
    assert!(Path::new(&ledger).exists());
    let report = termleash::sweep().unwrap();
    let lives = stranger.try_wait().unwrap().is_none();
    let _ = stranger.kill();
    let _ = stranger.wait();
    me.note("report", format!("{report}\nlives: {lives}"));
}

#[test]
fn a_process_with_the_number_of_a_dead_leader_is_left_alone() {
    let Some(scene) = Scene::new(recycles) else { return };
    if !has_containers() {
        return;
    }
    let (status, text) = scene.spawn(scene.command(&CONTAINER, "process 1", &[])).end();
    assert!(status.success(), "{status}:\n{text}");
    let report = scene.noted("report");
    if report.starts_with("skipped") {
        return eprintln!("{report}");
    }
    assert!(report.contains("had left: 0 ended") && report.contains("lives: true"), "{report}");
    scene.nothing_is_left();
}
