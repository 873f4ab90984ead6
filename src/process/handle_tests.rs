//! A process that is held, while it lives and after its end.

use super::*;
use crate::backoff::soon;
use std::process::{Command, Stdio};

#[test]
fn the_clock_and_the_kernel_agree_on_a_childs_start() {
    let mut seen = 0;
    for _ in 0..200 {
        let mut child = None;
        let new = NewChild::start(|| {
            let spawned = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn()?;
            let pid = spawned.id();
            child = Some(spawned);
            io::Result::Ok(pid)
        })
        .unwrap();
        let by_kernel = read_stat(&mut reader().unwrap(), new.pid()).unwrap().started;
        let by_clock = new.started().unwrap();
        let mut child = child.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(by_clock, by_kernel);
        seen += usize::from(new.between.is_some_and(|(before, after)| before == after));
    }
    assert!(seen > 0, "the clock was never enough");
}

/// A child that only the handle under test reaps.
fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_zombie_cannot_be_taken_hold_of() {
    let mut child = sleeper();
    let handle = ProcessHandle::open(child.id()).unwrap();
    child.kill().unwrap();
    soon("its end", || !handle.is_alive());
    // Its id and its files are there until it is reaped.
    let stat = read_stat(&mut reader().unwrap(), child.id()).unwrap();
    assert!(stat.is_dead());
    let error = ProcessHandle::open(child.id()).unwrap_err();
    child.wait().unwrap();
    assert!(error.to_string().contains("it has exited"), "{error}");
}

/// Else each process that was ever waited for would cost a descriptor until its end.
#[test]
fn a_watched_process_of_others_is_let_go_with_its_last_handle() {
    let (mut child, pump) = (sleeper(), Pump::get().unwrap());
    let handle = ProcessHandle::open(child.id()).unwrap();
    handle.watch(pump).unwrap();
    let token = handle.inner.pidfd.lock().as_ref().and_then(|watching| watching.token).unwrap();
    let inner = Arc::downgrade(&handle.inner);
    assert!(pump.is_watching(token));
    drop(handle);
    assert!(inner.upgrade().is_none() && !pump.is_watching(token));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[expect(clippy::zombie_processes, reason = "the pump reaps it")]
fn a_child_is_reaped_also_without_a_handle_and_then_nothing_of_it_is_kept() {
    let mut child = sleeper();
    let (send, ended) = std::sync::mpsc::channel();
    let handle =
        ProcessHandle::of_child(NewChild::known_by_pid(child.id()), move || send.send(()).unwrap_or_default()).unwrap();
    let inner = Arc::downgrade(&handle.inner);
    drop(handle);
    child.kill().unwrap();
    ended.recv_timeout(std::time::Duration::from_secs(20)).expect("its end is told");
    assert!(read_stat(&mut reader().unwrap(), child.id()).is_err(), "it is a zombie");
    soon("its handle's end", || inner.upgrade().is_none());
}

#[test]
fn where_the_clock_has_seen_two_ticks_the_kernel_is_asked() {
    let mut child = sleeper();
    let by_kernel = read_stat(&mut reader().unwrap(), child.id()).unwrap().started;
    let new = NewChild { pid: child.id(), between: Some((by_kernel - 1, by_kernel + 1)) };
    let started = new.started().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(started, by_kernel);
}

/// A careless `waitpid(-1)` in the test process takes its status, and not the knowledge of its death.
#[test]
fn a_child_that_somebody_else_has_reaped_is_dead_with_a_lost_status() {
    let mut child = sleeper();
    let handle = ProcessHandle::of_child(NewChild::known_by_pid(child.id()), || {}).unwrap();
    // Held, so that the pump comes second.
    let pidfd = handle.inner.pidfd.lock();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(pidfd);
    soon("its end", || handle.is_known_dead());
    assert_eq!((handle.is_alive(), handle.exit_status()), (false, None));
}

/// By a cookie that nobody has.
fn permit_for(identity: ProcessIdentity) -> Permit {
    let mut reader = reader().unwrap();
    let ourselves = crate::process::tree::ourselves(&mut reader).unwrap();
    let mark = crate::process::rule::Mark::of(Some(crate::process::cookie::Cookie::new()), 0);
    let evidence = crate::process::rule::Evidence {
        identity,
        expected: None,
        is_held: true,
        users: [ourselves.user; 2],
        session: 0,
        cookies: mark.cookie.into_iter().collect(),
        has_variable: false,
        cgroup: None,
        is_keepers_child: false,
        children_started: Vec::new(),
    };
    crate::process::rule::may_signal(&evidence, &mark, &ourselves).unwrap()
}

#[test]
#[should_panic(expected = "a permit is for one process")]
fn a_permit_for_one_process_sends_no_signal_to_another() {
    struct Ended(std::process::Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
    let (one, other) = (Ended(sleeper()), Ended(sleeper()));
    let permit = permit_for(ProcessHandle::open(one.0.id()).unwrap().identity());
    let _ = ProcessHandle::open(other.0.id()).unwrap().signal(&permit, Signal::Cont);
}

#[test]
fn a_process_that_is_no_child_of_ours_is_not_taken_for_one() {
    let error = ProcessHandle::of_child(NewChild::known_by_pid(1), || {}).unwrap_err();
    assert!(error.to_string().contains("not a child of this process"), "{error}");
}

/// It takes signals until it is reaped, and dies of none.
#[test]
fn what_was_sent_is_known_and_what_came_too_late_was_not_sent() {
    let mut child = sleeper();
    let handle = ProcessHandle::open(child.id()).unwrap();
    let (permit, other) = (permit_for(handle.identity()), handle.clone());
    assert!(other.sent().is_empty());
    for signal in [Signal::Cont, Signal::Term, Signal::Term] {
        let _ = handle.signal(&permit, signal).unwrap();
    }
    assert_eq!(other.sent(), [15], "what ends nobody does not count, and nothing counts twice");
    soon("its end", || !handle.is_alive());
    assert!(!handle.signal(&permit, Signal::Kill).unwrap());
    assert_eq!(other.sent(), [15]);
    child.wait().unwrap();
}
