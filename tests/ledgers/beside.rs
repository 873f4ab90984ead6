//! A plain helper in a test process, and the keeper that stays beside it from its first session on.

use crate::scene::{Me, Scene, kill, until};
use rustix::process::{Signal, getpid, kill_process};
use std::os::unix::process::ExitStatusExt as _;
use termleash::process::ProcessHandle;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

/// Sleepers that a hang-up does not end, in every way that there is to be one and to be found.
fn shapes(me: &Me, helper: &SessionTestHelper) {
    let scripts = [
        format!("trap '' HUP; sleep {} & wait", me.nap(0)),
        // A session of its own: its cookie is all that it has.
        format!("setsid sleep {} & exec sleep {}", me.nap(1), me.nap(2)),
        format!("nohup sleep {} >/dev/null 2>&1 & exec sleep {}", me.nap(3), me.nap(4)),
        // Its kernel session is all that it has.
        format!("trap '' HUP; env -i sleep {} & wait", me.nap(5)),
    ];
    for script in scripts {
        termleash::block_on(helper.create_tracked_session(SessionSpec::shell(script))).unwrap().keep();
    }
}

fn dies(end: fn()) {
    let Some(scene) = Scene::new(|me| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        shapes(me, &helper);
        me.note("begun", "");
        me.wait_for("go");
        end();
    }) else {
        return;
    };
    let mut victim = scene.in_process("victim");
    scene.noted("begun");
    scene.sleepers(0..=5);
    assert_eq!(scene.ledgers().len(), 1);
    scene.note("go");
    victim.end();
    scene.nothing_is_left();
}

#[test]
fn a_process_that_is_killed_leaves_no_session() {
    dies(|| kill_process(getpid(), Signal::KILL).unwrap());
}

#[test]
fn a_process_that_aborts_leaves_no_session() {
    dies(|| std::process::abort());
}

#[test]
fn a_process_that_exits_leaves_no_session() {
    dies(|| std::process::exit(3));
}

#[test]
fn a_keeper_that_was_killed_is_replaced_at_the_next_session() {
    let Some(scene) = Scene::new(|me| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        shapes(me, &helper);
        me.note("begun", "");
        me.wait_for("go");
        let spec = SessionSpec::shell(format!("trap '' HUP; sleep {} & wait", me.nap(6)));
        termleash::block_on(helper.create_tracked_session(spec)).unwrap().keep();
        me.note("again", "");
        me.wait_for("never");
    }) else {
        return;
    };
    let mut victim = scene.in_process("victim");
    scene.noted("begun");
    scene.sleepers(0..=5);
    let first = scene.kill_the_keeper();
    scene.note("go");
    scene.noted("again");
    scene.sleeper(6);
    let second = until("the second keeper", || scene.keepers().first().copied());
    assert_ne!(first, second);
    victim.kill();
    scene.nothing_is_left();
}

#[test]
fn a_process_without_a_session_has_no_keeper_and_no_ledger() {
    let Some(scene) = Scene::new(|me| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        assert_eq!(helper.tracked_count(), 0);
        me.note("begun", "");
        me.wait_for("never");
    }) else {
        return;
    };
    let mut victim = scene.in_process("victim");
    scene.noted("begun");
    assert_eq!((scene.keepers(), scene.ledger.exists()), (vec![], false));
    victim.kill();
    scene.nothing_is_left();
}

/// It has copies of the helper, of the ledger's descriptor and of whatever knows the keeper.
#[test]
#[expect(unsafe_code, reason = "what a test of a server may do, and std does not: fork without exec")]
fn a_child_that_was_forked_without_exec_ends_nothing_and_keeps_nobody_waiting() {
    let Some(scene) = Scene::new(|me| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        shapes(me, &helper);
        let fork = |then: &dyn Fn()| {
            // SAFETY: the child does what it does in this closure, and then exits at once.
            let child = unsafe { libc::fork() };
            if child == 0 {
                then();
                // SAFETY: as above.
                unsafe { libc::_exit(0) }
            }
            child
        };
        let leaves = fork(&|| {
            // Of what its parent has in the books it can forget its copy only.
            drop(helper.clear_tracked());
            std::process::exit(0)
        });
        let mut status = 0;
        // SAFETY: the child is ours, and the pointer is to an int of ours.
        unsafe { libc::waitpid(leaves, &raw mut status, 0) };
        let stays = fork(&|| loop {
            // SAFETY: it takes nothing.
            unsafe { libc::pause() };
        });
        me.note("child", stays);
        me.wait_for("never");
    }) else {
        return;
    };
    let mut victim = scene.in_process("victim");
    let child: u32 = scene.noted("child").parse().unwrap();
    scene.sleepers(0..=5);
    victim.kill();
    scene.only_these_stay(&[child]);
    assert!(!scene.ledger.exists());
    kill(child);
    scene.nothing_is_left();
}

#[test]
fn a_keeper_and_its_process_that_die_at_once_are_swept_by_the_next_run() {
    let Some(scene) = Scene::new(|me| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        if me.role == "next" {
            let spec = SessionSpec::new("sleep").arg(me.nap(6));
            termleash::block_on(helper.create_tracked_session(spec)).unwrap().keep();
            me.wait_for("go");
            termleash::block_on(helper.kill_tracked_sessions()).unwrap();
            return;
        }
        shapes(me, &helper);
        me.note("begun", "");
        me.wait_for("never");
    }) else {
        return;
    };
    let mut victim = scene.in_process("victim");
    scene.noted("begun");
    let proof: Vec<ProcessHandle> =
        [0, 1, 3, 5].iter().map(|which| ProcessHandle::open(scene.sleeper(*which)).unwrap()).collect();
    // First the one that would see the other die.
    scene.kill_the_keeper();
    victim.kill();
    assert!(proof.iter().all(ProcessHandle::is_alive));
    let mut next = scene.in_process("next");
    until("the sweep", || (!proof.iter().any(ProcessHandle::is_alive)).then_some(()));
    scene.note("go");
    let (status, text) = next.end();
    assert_eq!(status.signal(), None, "{text}");
    scene.nothing_is_left();
}

/// Whoever reads to the end would wait for the end of the test process.
#[test]
fn a_keeper_holds_nothing_open_that_its_process_has_opened() {
    let Some(scene) = Scene::new(|me| {
        // Passed on to whoever is started: no flag keeps it from that.
        let (reads, writes) = rustix::pipe::pipe().unwrap();
        let helper = SessionTestHelper::new(PtyBackend::new());
        let spec = SessionSpec::new("sleep").arg(me.nap(0));
        termleash::block_on(helper.create_tracked_session(spec)).unwrap().keep();
        termleash::block_on(helper.kill_tracked_sessions()).unwrap();
        drop(writes);
        let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let mut end = [rustix::event::PollFd::new(&reads, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut end, Some(&limit)), Ok(1), "somebody holds the other end");
        me.note("ended", "");
        me.wait_for("go");
    }) else {
        return;
    };
    let mut victim = scene.in_process("victim");
    scene.noted("ended");
    assert_eq!(scene.keepers().len(), 1);
    scene.note("go");
    let (status, text) = victim.end();
    assert!(status.success(), "{text}");
    scene.nothing_is_left();
}

/// A keeper marks that its process lives; without that it would be later than a creation may take.
#[test]
fn what_a_session_has_started_long_after_its_creation_is_ended_when_both_have_died() {
    let Some(scene) = Scene::new(|me| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        let spec = SessionSpec::shell(format!("trap '' HUP; sleep 3; setsid sleep {} & wait", me.nap(0)));
        termleash::block_on(helper.create_tracked_session(spec)).unwrap().keep();
        me.note("begun", "");
        me.wait_for("never");
    }) else {
        return;
    };
    let mut victim = scene.start("victim", &[("TERMLEASH_ISOLATE", "never"), ("TERMLEASH_CREATE_TIMEOUT", "1s")]);
    scene.noted("begun");
    let late = ProcessHandle::open(scene.sleeper(0)).unwrap();
    scene.kill_the_keeper();
    victim.kill();
    let report = scene.sweep();
    assert!(!late.is_alive(), "{report}");
    scene.nothing_is_left();
}
