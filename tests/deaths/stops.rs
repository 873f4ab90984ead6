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

/// Which of a run's processes are stopped.
type Choose = fn(runner: Pinned, keeper: Pinned, body: Pinned) -> Vec<Pinned>;

const CHOICES: [(&str, Choose); 4] = [
    ("the runner", |runner, _, _| vec![runner]),
    ("the keeper", |_, keeper, _| vec![keeper]),
    ("the body", |_, _, body| vec![body]),
    ("all three", |runner, keeper, body| vec![body, keeper, runner]),
];

/// Each in a run of its own, side by side: all that they do is to wait.
#[test]
fn whoever_of_a_run_is_stopped_is_waited_for() {
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
    // By this name a run comes to this test again.
    let test = std::thread::current().name().expect("libtest names its threads").to_owned();
    let stop = |(who, choose): (&'static str, Choose)| {
        let stop = move || {
            println!("{who}:");
            let was_in_time = |seconds: &u64| was_stopped_in_time(Duration::from_secs(*seconds), choose);
            assert!(DEADLINES.iter().any(was_in_time), "this machine is too busy");
        };
        (who, std::thread::Builder::new().name(test.clone()).spawn(stop).expect("a thread"))
    };
    let stopped: Vec<_> = CHOICES.map(stop).into_iter().map(|(who, thread)| (who, thread.join().is_ok())).collect();
    assert!(stopped.iter().all(|(_, was_waited_for)| *was_waited_for), "waited for: {stopped:?}");
}

/// False if it was not, and nothing was tried.
fn was_stopped_in_time(deadline: Duration, choose: Choose) -> bool {
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
