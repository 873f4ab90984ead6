//! Children that a body has forked without exec: each has all of its pipes and sockets, and is none of its run's three.

use crate::dying::bystanders::Bystanders;
use crate::dying::{Place, part};
use crate::{is_clean, leave};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Forks a child that does nothing and holds everything.
#[expect(unsafe_code, reason = "what a test of a server may do, and std does not: fork without exec")]
fn fork_and_sit() -> i32 {
    // SAFETY: the child calls nothing but async-signal-safe functions.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            loop {
                libc::pause();
            }
        }
        child
    }
}

#[track_caller]
fn is_told_soon(says: &str, variables: &[(&str, &str)]) {
    let bystanders = Bystanders::start();
    let place = Place::new(true).with(variables);
    let start = Instant::now();
    let ran = place.run("victim");
    assert!(start.elapsed() < Duration::from_secs(15), "it held somebody up for {:?}", start.elapsed());
    is_clean(&place, &bystanders);
    ran.failed().says(&[says]);
}

#[test]
fn a_child_that_was_forked_without_exec_holds_nobody_up_after_a_crash() {
    match part() {
        Some((_, mark)) => termleash::test(async |t| {
            leave(t, &mark).await?;
            fork_and_sit();
            std::process::abort()
        }),
        None => is_told_soon("signal 6", &[]),
    }
}

#[test]
fn a_child_that_was_forked_without_exec_is_told_and_ended_after_a_test_that_passed() {
    match part() {
        Some(_) => termleash::test(async |_| {
            fork_and_sit();
            Ok(())
        }),
        None => is_told_soon("leaked: child process", &[("TERMLEASH_SETTLE", "50ms")]),
    }
}

/// Its copies of what watches and sweeps do neither.
#[test]
fn a_child_that_was_forked_without_exec_cleans_nothing_when_it_ends() {
    let Some((_, mark)) = part() else {
        let bystanders = Bystanders::start();
        let place = Place::new(true);
        place.run("victim").passed();
        return is_clean(&place, &bystanders);
    };
    termleash::test(async |t| {
        let session = t.session("sh").await?;
        let status = exit_in_a_fork();
        assert_eq!(session.run(&format!("echo {mark}")).await?.stdout(), mark);
        assert_eq!(status, 7 << 8);
        Ok(())
    });
}

/// It ends as a process ends, with what is registered for that.
#[expect(unsafe_code, reason = "what a test of a server may do, and std does not: fork without exec")]
fn exit_in_a_fork() -> i32 {
    // SAFETY: the child exits at once; what it runs on the way is what is tested.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::exit(7);
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        status
    }
}

#[test]
fn a_child_that_was_forked_without_exec_is_ended_by_the_runner_when_the_keeper_is_killed() {
    if let Some((_, mark)) = part() {
        return termleash::test(async |t| {
            leave(t, &mark).await?;
            println!("forked {}", fork_and_sit());
            std::future::pending().await
        });
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let mut runner = place.start("victim");
    let (keeper, _body) = runner.keeper_and_body().expect("it runs");
    let start = Instant::now();
    while !place.said("victim").contains("forked ") {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", place.all_said());
        std::thread::sleep(Duration::from_millis(2));
    }
    keeper.signal(Signal::KILL);
    place.ended(runner, "victim").failed().says(&["its keeper was killed"]);
    is_clean(&place, &bystanders);
}
