//! SIGKILL at any instant of a run's life, of its runner, its keeper, its body, or several of them: nothing is left, and
//! nobody else is touched. Races get time: each test loops for `TERMLEASH_RACE_SECONDS`, 1 unless said otherwise.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod dying;
#[path = "keeper_races/round.rs"]
mod round;
#[path = "keeper_races/victim.rs"]
mod victim;

use dying::bystanders::Bystanders;
use dying::processes::Pinned;
use dying::race::percentile;
use dying::{CLEAN_WITHIN, Place, Random, part, race_time};
use round::{name_of, round};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use termleash::SessionSpec;

/// What a process of this program does that a test has started.
fn play(part: &str, mark: &str) {
    match part {
        "victim" => victim::run(mark),
        "daemon" => start_a_daemon(mark),
        "spawner" => victim::start_daemons(mark),
        "sweep" => println!("{}", termleash::sweep().expect("a sweep")),
        _ => termleash::test(async |t| {
            assert_eq!(t.session("sh").await?.run("echo next").await?.stdout(), "next");
            Ok(())
        }),
    }
}

fn kill_at_any_instant(has_groups: bool) {
    let bystanders = Bystanders::start();
    let mut random = Random::new();
    let mut times: BTreeMap<u8, Vec<Duration>> = BTreeMap::new();
    let (mut rounds, mut in_groups) = (0u32, 0);
    let start = Instant::now();
    // Each combination at least once.
    while start.elapsed() < race_time() || rounds < 7 {
        let killed = 1 + (rounds % 7) as u8;
        let done = round(killed, has_groups, &mut random, &bystanders);
        times.entry(killed).or_default().push(done.took);
        in_groups += u32::from(done.was_in_a_group);
        rounds += 1;
    }
    println!("{rounds} rounds, {in_groups} of them in a control group; from the kill until all is clean:");
    for (killed, mut times) in times {
        times.sort_unstable();
        let at = |percent| percentile(&times, percent);
        println!("{:>18}: p50 {:>9.1?}  p99 {:>9.1?}  of {}", name_of(killed), at(50), at(99), times.len());
    }
}

#[test]
fn whoever_of_a_run_is_killed_at_any_instant_nothing_is_left_and_nobody_else_is_touched() {
    match part() {
        Some((part, mark)) => play(&part, &mark),
        None => kill_at_any_instant(true),
    }
}

/// Environment-cleared daemons are then only named if the keeper was among the killed.
#[test]
fn the_same_holds_without_a_control_group() {
    match part() {
        Some((part, mark)) => play(&part, &mark),
        None => kill_at_any_instant(false),
    }
}

/// The last look at what there is comes before the end of whoever starts more.
#[test]
fn what_a_body_starts_while_it_ends_itself_is_ended_too() {
    if let Some((part, mark)) = part() {
        return play(&part, &mark);
    }
    let start = Instant::now();
    let mut random = Random::new();
    while start.elapsed() < race_time() {
        let place = Place::new(false).with(&[("TERMLEASH_CREATE_TIMEOUT", "2s"), ("TERMLEASH_GRACE", "40ms")]);
        let mut runner = place.start("spawner");
        let (keeper, body) = runner.keeper_and_body().expect("it runs");
        std::thread::sleep(Duration::from_micros(20_000 + random.below(10_000)));
        keeper.signal(Signal::KILL);
        runner.hold().signal(Signal::KILL);
        assert!(body.ends_within(CLEAN_WITHIN), "it does not end itself");
        if place.ledger().exists() {
            place.run("sweep").passed();
        }
        place.empties(Instant::now(), |_| false);
        place.has_no_ledger(Instant::now());
    }
}

/// It serves whoever asks, as a tmux does that a session has started.
const DAEMON: &str = "until [ -e 'TRIGGER' ]; do sleep 0.02; done; setsid sleep MARK & echo $! >'SERVED'; wait";

fn start_a_daemon(mark: &str) {
    let directory = std::env::var("TEST_DIRECTORY").expect("it is said");
    let daemon = DAEMON.replace("MARK", mark);
    let daemon = daemon.replace("TRIGGER", &format!("{directory}/trigger"));
    let daemon = daemon.replace("SERVED", &format!("{directory}/served"));
    termleash::test(async |t| {
        let script = format!("setsid sh -c \"{daemon}\" & echo daemon: $!.; exec sleep {mark}");
        let script = script.replace("$! >", "\\$! >");
        let session = t.session(SessionSpec::shell(script)).await?;
        session.wait_for_text(".\n").await?;
        let text = session.output()?.text();
        let pid = text.trim().trim_start_matches("daemon: ").trim_end_matches('.');
        // Until then the hang-up of the terminal reaches it.
        while !std::fs::read(format!("/proc/{pid}/cmdline"))?.starts_with(b"sh\0-c\0until") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::fs::write(format!("{directory}/daemon"), pid)?;
        std::future::pending().await
    });
}

#[test]
fn a_daemon_that_serves_others_by_now_and_what_it_serves_outlive_the_sweep_of_a_dead_run() {
    if let Some((part, mark)) = part() {
        return play(&part, &mark);
    }
    let bystanders = Bystanders::start();
    let place = Place::new(false);
    let directory = place.path("").to_string_lossy().into_owned();
    let place = place.with(&[("TERMLEASH_CREATE_TIMEOUT", "200ms"), ("TEST_DIRECTORY", &directory)]);
    let mut runner = place.start("daemon");
    let (keeper, body) = runner.keeper_and_body().expect("it runs");
    let daemon = held_by_file(&place, "daemon");
    // On a busy machine one would see another's end before its own.
    for signal in [Signal::STOP, Signal::KILL] {
        for process in [&keeper, &body, &runner.hold()] {
            process.signal(signal);
        }
    }
    // The time of a late creation, and the second in which a keeper marks that it lives.
    std::thread::sleep(Duration::from_millis(1_500));
    std::fs::write(place.path("trigger"), "").expect("a file");
    let served = held_by_file(&place, "served");
    let start = Instant::now();
    place.run("sweep").passed().says(&["it serves others by now"]).says(&["it started after the session's time"]);
    place.empties(start, |carrier| [daemon.pid, served.pid].contains(&carrier.pid));
    place.has_no_ledger(start);
    assert!(daemon.is_well(), "the daemon was touched:\n{}", place.all_said());
    assert!(served.is_well(), "what it serves was touched:\n{}", place.all_said());
    bystanders.are_well();
    for process in [daemon, served] {
        process.signal(Signal::KILL);
        assert!(process.ends_within(Duration::from_secs(5)));
    }
}

/// A process whose number stands in a file, once it does.
fn held_by_file(place: &Place, name: &str) -> Pinned {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(place.path(name)).unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            return Pinned::open(pid).expect("it lives");
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no {name}:\n{}", place.all_said());
        std::thread::sleep(Duration::from_millis(2));
    }
}
