//! Processes of a run that are stopped for longer than its test may take: nobody takes that for an end.

use crate::dying::bystanders::Bystanders;
use crate::dying::processes::{Pinned, carriers};
use crate::dying::{Place, part, race_time};
use crate::{LEFT, is_clean, leave, sleepers};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Deadlines of the test, in seconds: the next one where a machine is too busy to come so far in half of it.
const DEADLINES: [u64; 3] = [4, 16, 64];

/// Longer than the deadline; 30 s where races get their time.
fn stopped_for(deadline: Duration) -> Duration {
    let least = if race_time() >= Duration::from_secs(30) { 30 } else { 0 };
    Duration::from_secs(least).max(deadline + Duration::from_secs(2))
}

fn is_stopped_and_goes_on(choose: fn(runner: Pinned, keeper: Pinned, body: Pinned) -> Vec<Pinned>) {
    if let Some((_, mark)) = part() {
        let end = std::env::var("TEST_END").expect("it is said");
        return termleash::test(async |t| {
            leave(t, &mark).await?;
            while !std::fs::exists(&end)? {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            end_them(&mark);
            Ok(())
        });
    }
    let was_in_time = |seconds: &u64| was_stopped_in_time(Duration::from_secs(*seconds), choose);
    assert!(DEADLINES.iter().any(was_in_time), "this machine is too busy");
}

/// False if it was not, and nothing was tried.
fn was_stopped_in_time(
    deadline: Duration,
    choose: fn(runner: Pinned, keeper: Pinned, body: Pinned) -> Vec<Pinned>,
) -> bool {
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let end = place.path("end");
    let limit = format!("{}s", deadline.as_secs());
    let variables = [("TERMLEASH_TIMEOUT", limit.as_str()), ("TEST_END", end.to_str().expect("plain letters"))];
    let place = place.with(&variables);
    let begun = Instant::now();
    let mut runner = place.start("victim");
    let (keeper, body) = runner.keeper_and_body().expect("it runs");
    let is_late = || begun.elapsed() > deadline / 2;
    while sleepers(&place.mark) < LEFT && !is_late() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let pids = || carriers(&place.mark).iter().map(|carrier| carrier.pid).collect::<Vec<_>>();
    let before = pids();
    let stopped = choose(runner.hold(), keeper, body);
    for process in &stopped {
        process.signal(Signal::STOP);
    }
    let is_in_time = !is_late();
    if is_in_time {
        std::thread::sleep(stopped_for(deadline));
        assert_eq!(pids(), before, "somebody has ended:\n{}", place.all_said());
    }
    for process in &stopped {
        process.signal(Signal::CONT);
    }
    std::fs::write(&end, "").expect("a file");
    let ran = place.ended(runner, "victim");
    if is_in_time {
        ran.passed();
    }
    is_clean(&place, &bystanders);
    is_in_time
}

/// The test leaves nothing: what is left at its end would fail it.
fn end_them(mark: &str) {
    for carrier in carriers(mark).iter().filter(|carrier| carrier.command.starts_with("sleep ")) {
        if let Some(process) = Pinned::open(carrier.pid) {
            process.signal(Signal::KILL);
            process.ends_within(Duration::from_secs(5));
        }
    }
}

#[test]
fn a_stopped_runner_is_waited_for() {
    is_stopped_and_goes_on(|runner, _, _| vec![runner]);
}

#[test]
fn a_stopped_keeper_is_waited_for() {
    is_stopped_and_goes_on(|_, keeper, _| vec![keeper]);
}

#[test]
fn a_stopped_body_is_waited_for() {
    is_stopped_and_goes_on(|_, _, body| vec![body]);
}

#[test]
fn all_three_may_be_stopped() {
    is_stopped_and_goes_on(|runner, keeper, body| vec![body, keeper, runner]);
}
