//! Runners that are ended by somebody: whoever pressed Ctrl-C, a time limit, a terminal that was closed.

use crate::dying::bystanders::Bystanders;
use crate::dying::processes::Pinned;
use crate::dying::{Place, Runner, part};
use crate::{LEFT, is_clean, leave, sleepers};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The victim's part; the test goes on elsewhere.
fn is_victim() -> bool {
    let Some((_, mark)) = part() else { return false };
    termleash::test(async |t| {
        leave(t, &mark).await?;
        std::future::pending().await
    });
    true
}

#[track_caller]
fn until_it_has_left_them(place: &Place, runner: &mut Runner) -> (Pinned, Pinned) {
    let both = runner.keeper_and_body().unwrap_or_else(|| panic!("it ended:\n{}", place.all_said()));
    let start = Instant::now();
    while sleepers(&place.mark) < LEFT {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", place.all_said());
        std::thread::sleep(Duration::from_millis(2));
    }
    both
}

/// As a terminal and a test runner do, to the runner's whole group; it has not been waited for, so the number is its own.
fn signal_group(runner: &Runner, signal: Signal) {
    let group = Pid::from_raw(runner.pid().cast_signed()).expect("a number of a process");
    kill_process_group(group, signal).expect("it is there");
}

fn is_ended_by(signal: Signal) {
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let mut runner = Runner::of(place.command("victim").process_group(0).spawn().expect("it starts"));
    until_it_has_left_them(&place, &mut runner);
    signal_group(&runner, signal);
    let status = runner.ends_within(Duration::from_secs(5)).expect("it ends");
    assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    is_clean(&place, &bystanders);
}

#[test]
fn ctrl_c_leaves_nothing() {
    if !is_victim() {
        is_ended_by(Signal::INT);
    }
}

#[test]
fn a_termination_of_its_group_leaves_nothing() {
    if !is_victim() {
        is_ended_by(Signal::TERM);
    }
}

#[test]
fn a_quit_from_the_keyboard_leaves_nothing() {
    if !is_victim() {
        is_ended_by(Signal::QUIT);
    }
}

/// As nextest does: its variables, TERM to the group, and KILL to the group after a grace, here of a test that ignores TERM.
#[test]
fn the_time_limit_of_a_test_runner_leaves_nothing() {
    if is_victim() {
        return;
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let inner = place.command("victim");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' TERM; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("NEXTEST", "1").env("NEXTEST_EXECUTION_MODE", "process-per-test");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut runner = Runner::of(command.spawn().expect("it starts"));
    until_it_has_left_them(&place, &mut runner);
    signal_group(&runner, Signal::TERM);
    assert!(runner.ends_within(Duration::from_millis(300)).is_none(), "it does not ignore TERM");
    assert_eq!(sleepers(&place.mark), LEFT, "something was ended while the runner lives");
    signal_group(&runner, Signal::KILL);
    is_clean(&place, &bystanders);
}

#[test]
fn a_closed_terminal_leaves_nothing() {
    if is_victim() {
        return;
    }
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
    let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("of plain letters");
    let slave = || std::fs::File::options().read(true).write(true).open(&name).expect("its other end");
    let inner = place.command("victim");
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(slave()).stdout(slave()).stderr(slave());
    let mut runner = Runner::of(command.spawn().expect("it starts"));
    drop(command);
    until_it_has_left_them(&place, &mut runner);
    drop(master);
    let status = runner.ends_within(Duration::from_secs(5)).expect("it ends");
    assert_eq!(status.signal(), Some(Signal::HUP.as_raw()), "{status}");
    is_clean(&place, &bystanders);
}

/// Its standard error is the runner's, and whoever reads that may have read enough: what a keeper has to say there, should it
/// ever, must not end it.
#[test]
fn a_keeper_outlives_whoever_reads_its_standard_error() {
    const PIPE: u64 = 1 << (13 - 1);
    termleash::test(async |_| {
        let keeper = std::os::unix::process::parent_id();
        let status = std::fs::read_to_string(format!("/proc/{keeper}/status"))?;
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it is there").trim();
        assert_eq!(u64::from_str_radix(ignored, 16)? & PIPE, PIPE, "{status}");
        Ok(())
    });
}

/// All that is open when its first word has come is closed, and what the crate keeps open to look by would be another file then.
#[test]
fn a_keeper_that_waits_for_its_first_word_keeps_nothing_open_to_look_by() {
    use std::os::fd::AsRawFd as _;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a channel");
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).expect("it is passed on");
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env("TERMLEASH_KEEPER", theirs.as_raw_fd().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut keeper = command.spawn().expect("it starts");
    drop(theirs);
    // It looks ten times a second whether its runner is stopped.
    std::thread::sleep(Duration::from_millis(500));
    let open = std::fs::read_dir(format!("/proc/{}/fd", keeper.id())).expect("it waits");
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    drop(ours);
    let status = keeper.wait().expect("it is our child");
    assert_eq!(status.code(), Some(101), "nobody has said what is to be kept");
    assert!(!open.is_empty() && open.iter().all(|path| !path.starts_with("/proc")), "{open:?}");
}
