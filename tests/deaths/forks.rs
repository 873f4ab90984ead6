//! Children that a body has forked without exec: each has all of its pipes and sockets, and is none of its run's three.

use crate::dying::bystanders::Bystanders;
use crate::dying::processes::{Pinned, keeper_of};
use crate::dying::{Place, part};
use crate::{LEFT, is_clean, leave, sleepers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use termleash::{PtyBackend, SessionTestHelper};

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
#[expect(unsafe_code, reason = "an end with what is registered for it outside of std, too")]
fn exit_in_a_fork() -> i32 {
    let child = fork();
    if child == 0 {
        // SAFETY: what it runs on the way is what is tested.
        unsafe { libc::exit(7) }
    }
    status_of(child)
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

/// It drops them as whatever unwinds does, without a scope to keep it from that: its parent hears of its sessions by descriptors that
/// both have.
#[test]
fn a_child_that_was_forked_without_exec_may_drop_its_copies_of_sessions() {
    termleash::test(async |_| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        let session = helper.create_tracked_session("sh").await?;
        let child = fork();
        if child == 0 {
            drop(session);
            drop(helper);
            end_quietly();
        }
        assert_eq!(status_of(child), 0);
        assert_eq!(session.run("echo heard").await?.stdout(), "heard");
        session.write("exit 3\n").await?;
        assert_eq!(session.wait_for_exit().await?.to_string(), "exit status 3");
        drop(session.close().await?);
        Ok(())
    });
}

/// 0 in the child, which ends by itself should it hang.
#[expect(unsafe_code, reason = "what a test of a server may do, and std does not: fork without exec")]
fn fork() -> i32 {
    // SAFETY: what the child does is what is tested.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(20);
        }
        child
    }
}

#[expect(unsafe_code, reason = "an end without what is registered for it, which std has not")]
fn end_quietly() -> ! {
    // SAFETY: it ends this process, and runs nothing.
    unsafe { libc::_exit(0) }
}

#[expect(unsafe_code, reason = "std waits for what it has started only")]
fn status_of(child: i32) -> i32 {
    let mut status = -1;
    // SAFETY: the child is ours, and the pointer is to an int of ours.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

/// Forks as soon as there is a keeper, whose channel its child holds open from then on. In a body there is none.
fn fork_beside_a_keeper() {
    std::thread::spawn(|| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if keeper_of(std::process::id()).is_some() {
                return println!("forked {}.", fork_and_sit());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Its pidfd tells the keeper: the channel does not hang up.
#[test]
fn a_runner_that_is_killed_leaves_nothing_although_a_child_that_it_has_forked_holds_the_keepers_channel() {
    if let Some((_, mark)) = part() {
        fork_beside_a_keeper();
        return termleash::test(async |t| {
            leave(t, &mark).await?;
            std::future::pending().await
        });
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let mut runner = place.start("victim");
    let start = Instant::now();
    let forked = loop {
        let said = place.said("victim");
        let forked = said.split_once("forked ").and_then(|(_, rest)| rest.split_once('.')).map(|(pid, _)| pid.parse());
        if let Some(Ok(pid)) = forked
            && sleepers(&place.mark) == LEFT
        {
            break Pinned::open(pid).expect("it sits there");
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{}", place.all_said());
        std::thread::sleep(Duration::from_millis(2));
    };
    runner.hold().signal(Signal::KILL);
    let start = Instant::now();
    runner.ends_within(Duration::from_secs(5)).expect("it ends");
    place.empties(start, |carrier| carrier.pid == forked.pid);
    place.has_no_ledger(start);
    bystanders.are_well();
    assert!(forked.is_well(), "it is the runner's, and none of the run's");
    forked.signal(Signal::KILL);
    assert!(forked.ends_within(Duration::from_secs(5)));
}

/// A process that goes on as its own child all the time: its number is another one before anybody has looked at it. It heeds
/// nothing, leads a kernel session of its own, has no environment, and holds everything. Should nobody end it, it ends after
/// some seconds by itself.
#[expect(unsafe_code, reason = "what a program may do that hides, and std does not: fork without exec")]
fn hop() {
    const FOR: Duration = Duration::from_secs(12);
    // SAFETY: the child calls nothing but async-signal-safe functions, and writes over the strings that it was started with, of
    // which it has a copy.
    unsafe {
        if libc::fork() != 0 {
            return;
        }
        libc::setsid();
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        let mut variable = libc::environ;
        while !(*variable).is_null() {
            libc::memset((*variable).cast(), 0, libc::strlen(*variable));
            variable = variable.add(1);
        }
        let start = Instant::now();
        while start.elapsed() < FOR {
            if libc::fork() > 0 {
                break;
            }
        }
        libc::_exit(0)
    }
}

#[track_caller]
fn one_that_hops_is_ended(has_groups: bool) {
    let place = Place::new(has_groups);
    let pipe = place.path("pipe");
    let place = place.with(&[("TEST_PIPE", pipe.to_str().expect("plain letters"))]);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let held = File::options().read(true).custom_flags(nonblock).open(&pipe).expect("its end");
    let ran = place.run("victim");
    ran.failed().says(&["signal 6"]);
    // It hangs up when the last one is gone that has its other end.
    let limit = Timespec { tv_sec: 6, tv_nsec: 0 };
    let mut wanted = [PollFd::new(&held, PollFlags::empty())];
    poll(&mut wanted, Some(&limit)).expect("it can be waited for");
    assert!(wanted[0].revents().contains(PollFlags::HUP), "it hops on:\n{}", ran.text);
    assert!(!ran.text.contains("still alive"), "{}", ran.text);
    place.has_no_ledger(Instant::now());
}

fn hops() -> bool {
    if part().is_none() {
        return false;
    }
    let pipe = std::env::var("TEST_PIPE").expect("it is said");
    termleash::test(async |_| {
        let _held = File::options().write(true).open(Path::new(&pipe))?;
        hop();
        std::process::abort()
    });
    true
}

#[test]
fn a_child_that_forks_and_ends_faster_than_it_can_be_looked_at_is_ended() {
    if !hops() {
        one_that_hops_is_ended(true);
    }
}

#[test]
fn a_child_that_forks_and_ends_faster_than_it_can_be_looked_at_is_ended_without_a_control_group() {
    if !hops() {
        one_that_hops_is_ended(false);
    }
}
