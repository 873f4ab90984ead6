//! 32 tests at once, each with a keeper of its own that can tell its orphans from those of the others.

use crate::dying::bystanders::Bystanders;
use crate::dying::processes::{carriers, until_none};
use crate::dying::{CLEAN_WITHIN, Place, Runner, part};
use crate::is_clean;
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TESTS: usize = 32;
/// What each of them leaves, none with an environment: nothing but its parent tells whose it is.
const EACH: usize = 3;

/// What each does in a run that a test below has started.
fn one_of_many(number: usize) {
    let Some((_, mark)) = part() else { return };
    let end = std::env::var("TEST_END").expect("it is said");
    termleash::test(async |_| {
        let script = format!("for i in 1 2 3; do setsid env -i sleep {mark}{number:02} >/dev/null 2>&1 & done");
        Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status()?;
        // The odd ones wait for what becomes of them when the even ones crash.
        while number % 2 == 1 && !std::fs::exists(&end)? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::process::abort()
    });
}

macro_rules! one_of_many {
    ($($name:ident $number:literal),* $(,)?) => {$(
        #[test]
        #[ignore = "a part of the tests below, which start it"]
        fn $name() {
            one_of_many($number);
        }
    )*};
}

one_of_many! {
    one_of_many_00 0, one_of_many_01 1, one_of_many_02 2, one_of_many_03 3, one_of_many_04 4, one_of_many_05 5,
    one_of_many_06 6, one_of_many_07 7, one_of_many_08 8, one_of_many_09 9, one_of_many_10 10, one_of_many_11 11,
    one_of_many_12 12, one_of_many_13 13, one_of_many_14 14, one_of_many_15 15, one_of_many_16 16, one_of_many_17 17,
    one_of_many_18 18, one_of_many_19 19, one_of_many_20 20, one_of_many_21 21, one_of_many_22 22, one_of_many_23 23,
    one_of_many_24 24, one_of_many_25 25, one_of_many_26 26, one_of_many_27 27, one_of_many_28 28, one_of_many_29 29,
    one_of_many_30 30, one_of_many_31 31,
}

/// Starts them all, and waits until the even ones have crashed and what they left is gone.
fn start(has_groups: bool) -> (Bystanders, Place, Runner) {
    let bystanders = Bystanders::start();
    let place = Place::new(has_groups);
    let end = place.path("end");
    let place = place.with(&[("TEST_END", end.to_str().expect("plain letters")), ("TERMLEASH_TIMEOUT", "60s")]);
    let threads = format!("--test-threads={TESTS}");
    let mut command = place.command_for("victim", &["one_of_many_", "--ignored", "--nocapture", &threads]);
    let runner = Runner::of(command.spawn().expect("it starts"));
    let left_by = |number: usize| carriers(&format!("{}{number:02}", place.mark)).len();
    let start = Instant::now();
    while (1..TESTS).step_by(2).any(|number| left_by(number) < EACH)
        || place.said("victim").matches("crashed: ").count() < TESTS / 2
    {
        assert!(start.elapsed() < Duration::from_secs(40), "{}", place.all_said());
        std::thread::sleep(Duration::from_millis(20));
    }
    for even in (0..TESTS).step_by(2) {
        let mark = format!("{}{even:02}", place.mark);
        until_none(&mark, Instant::now(), CLEAN_WITHIN, |_| false).expect("what it left is gone");
    }
    for odd in (1..TESTS).step_by(2) {
        assert_eq!(left_by(odd), EACH, "{odd}:\n{}", place.all_said());
    }
    (bystanders, place, runner)
}

#[track_caller]
fn each_keeper_ends_its_own(has_groups: bool) {
    let (bystanders, place, runner) = start(has_groups);
    std::fs::write(place.path("end"), "").expect("a file");
    let ran = place.ended(runner, "victim");
    is_clean(&place, &bystanders);
    ran.failed().says(&["32 failed"]);
    assert_eq!(ran.text.matches("ended what it left, 3 in").count(), TESTS, "{}", ran.text);
}

#[test]
fn each_of_many_keepers_ends_exactly_its_own() {
    each_keeper_ends_its_own(true);
}

#[test]
fn each_of_many_keepers_without_control_groups_ends_exactly_its_own() {
    each_keeper_ends_its_own(false);
}

#[test]
fn all_of_many_keepers_clean_up_when_their_common_runner_is_killed() {
    let (bystanders, place, mut runner) = start(true);
    runner.hold().signal(Signal::KILL);
    runner.ends_within(Duration::from_secs(5)).expect("it ends");
    is_clean(&place, &bystanders);
}
