//! What the keeper does at the end of a run that is not as it should be: a body that does not end, what is nobody's
//! descendant, what it may not or cannot touch.

use crate::dying::bystanders::Bystanders;
use crate::dying::processes::{Pinned, carriers, end_carriers};
use crate::dying::{CLEAN_WITHIN, Place, Runner, part};
use crate::{LEFT, is_clean, leave, sleepers};
use rustix::process::{Signal, geteuid};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// True in the process that a test's body runs in.
fn is_in_a_body() -> bool {
    std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("TERMLEASH_S_"))
}

fn ledger() -> PathBuf {
    let entries = std::fs::read_dir(std::env::var_os("TERMLEASH_LEDGER").expect("it is said")).expect("there is one");
    entries.map(|entry| entry.expect("an entry").path()).next().expect("it has a session")
}

/// Closes what its own watchdog and its report would need, and blocks.
#[test]
#[expect(unsafe_code, reason = "what a daemon does when it starts, and std does not")]
fn a_body_that_neither_ends_nor_is_ended_by_its_own_watchdog_is_ended_by_the_keeper() {
    if part().is_some() {
        return termleash::test(async |_| {
            // SAFETY: what is closed belongs to others in this process, who have to bear it: that is the test.
            unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
            loop {
                std::thread::park();
            }
        });
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true).with(&[("TERMLEASH_TIMEOUT", "1s")]);
    let ran = place.run("victim");
    is_clean(&place, &bystanders);
    ran.failed()
        .says_once("it did not end within its deadline of 1s, nor did its own watchdog end it")
        .says_once("cause of death: ")
        .says(&[
            "was ended; cause of death: deadline: it did not end",
            "it ended by signal 1 (SIGHUP)",
            "we had sent it signal 1 (SIGHUP)",
            "thread `",
            "sleeping in futex",
            ", in the system call `futex`",
        ]);
    // It has closed the descriptor of its memory, too, if it ever had it.
    ran.says(&["timeline until its process died, read after that: ", " = set-up ", "body 1"]);
}

/// It has used much of its time before, which does not count.
#[test]
fn a_body_that_does_not_end_behind_its_report_is_ended_when_its_time_for_that_is_over() {
    if part().is_some() {
        termleash::test(async |_| {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(())
        });
        let start = Instant::now();
        while is_in_a_body() {
            println!("at its end for {} s", start.elapsed().as_secs());
            std::thread::sleep(Duration::from_secs(1));
        }
        return;
    }
    let bystanders = Bystanders::start();
    // That is no leak.
    let place = Place::new(true).with(&[("TERMLEASH_SETTLE", "100ms"), ("TERMLEASH_LEAKS", "warn")]);
    let start = Instant::now();
    let ran = place.run("victim");
    assert!(start.elapsed() > Duration::from_secs(14), "it had {:?} only", start.elapsed());
    is_clean(&place, &bystanders);
    ran.failed()
        .says(&["it was ended; cause of death: deadline: it did not end within 10s after its report"])
        .says_once("cause of death: ");
    assert!(!ran.text.contains("left behind"), "it was not lost, it was ended:\n{}", ran.text);
}

#[test]
fn what_a_body_has_lost_may_end_by_itself_for_a_while() {
    if part().is_some() {
        return termleash::test(async |_| {
            Command::new("sh").args(["-c", "setsid sleep 0.5 &"]).stdin(Stdio::null()).status()?;
            Ok(())
        });
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true).with(&[("TERMLEASH_SETTLE", "20s")]);
    place.run("victim").passed();
    is_clean(&place, &bystanders);
}

#[test]
fn what_a_body_has_lost_is_a_warning_where_leaks_are() {
    if let Some((_, mark)) = part() {
        return termleash::test(async |_| {
            let script = format!("setsid sleep {mark} &");
            Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status()?;
            Ok(())
        });
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true).with(&[("TERMLEASH_SETTLE", "50ms"), ("TERMLEASH_LEAKS", "warn")]);
    place.run("victim").passed().says(&["left behind, and ended now"]);
    is_clean(&place, &bystanders);
}

#[test]
fn a_keeper_that_dies_behind_the_report_fails_the_test_also_where_leaks_are_warnings() {
    if part().is_some() {
        termleash::test(async |_| Ok(()));
        if is_in_a_body() {
            // It has passed on what it was told by then.
            std::thread::sleep(Duration::from_secs(1));
            let keeper = rustix::process::getppid().expect("it has one");
            rustix::process::kill_process(keeper, Signal::KILL).expect("it is ours");
            std::thread::sleep(Duration::from_secs(60));
        }
        return;
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true).with(&[("TERMLEASH_LEAKS", "warn")]);
    let ran = place.run("victim");
    is_clean(&place, &bystanders);
    ran.failed().says(&["passed, and did not end cleanly"]).says(&["its keeper was killed"]);
}

/// As a server would start it that got the body's environment.
#[test]
fn what_carries_the_mark_of_a_dead_body_and_is_nobodys_descendant_is_ended() {
    if let Some((_, mark)) = part() {
        return termleash::test(async |t| {
            t.session("true").await?.close().await?;
            let cookie = std::env::vars().find(|(name, _)| name.starts_with("TERMLEASH_S_"));
            let (name, value) = cookie.ok_or("it is marked")?;
            println!("cookie {name}={value}.");
            while !carriers(&mark).iter().any(|carrier| carrier.command.starts_with("sleep ")) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            std::process::abort()
        });
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let runner = place.start("victim");
    let start = Instant::now();
    let cookie = loop {
        let said = place.said("victim");
        if let Some((cookie, _)) = said.split_once("cookie ").and_then(|(_, rest)| rest.split_once('.')) {
            break cookie.to_owned();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{}", place.all_said());
        std::thread::sleep(Duration::from_millis(2));
    };
    let (name, value) = cookie.split_once('=').expect("a variable");
    let mut outside = Command::new("sleep").arg(&place.mark).env(name, value).stdin(Stdio::null()).spawn().expect("it");
    let ran = place.ended(runner, "victim");
    let ended = outside.try_wait().expect("it is our child");
    let _ = outside.kill().and_then(|()| outside.wait());
    is_clean(&place, &bystanders);
    ran.failed().says(&["signal 6"]);
    assert!(ended.is_some(), "it was left:\n{}", ran.text);
}

#[test]
fn a_ledger_that_a_test_has_damaged_is_named_and_the_rest_of_it_heeded() {
    if let Some((part, mark)) = part() {
        return termleash::test(async |t| {
            leave(t, &mark).await?;
            if part == "all" {
                std::fs::write(ledger(), "nonsense\n")?;
            } else {
                std::fs::File::options().append(true).open(ledger())?.write_all(b"nonsense\n")?;
            }
            std::process::abort()
        });
    }
    for (part, says) in [
        ("line", "1 records of the ledger could not be read: what they named was not looked for"),
        ("all", "the ledger could not be read, so that nothing was looked for by it"),
    ] {
        let bystanders = Bystanders::start();
        let place = Place::new(true);
        let ran = place.run(part);
        is_clean(&place, &bystanders);
        ran.failed().says(&[&format!("not done: {says}")]);
    }
}

/// As a `sudo` in a test.
#[test]
fn a_child_of_another_user_is_named_and_lives_and_the_ledger_leads_to_its_control_group() {
    if let Some((part, mark)) = part() {
        if part == "sweep" {
            return println!("{}", termleash::sweep().expect("a sweep"));
        }
        return termleash::test(async |t| {
            if part != "alone" {
                let words = ["env", "-i", "setpriv", "--reuid=65534", "--clear-groups", "sleep", &mark];
                Command::new("setsid").args(words).stdin(Stdio::null()).spawn()?;
            }
            leave(t, &mark).await?;
            let group = std::fs::read_to_string("/proc/self/cgroup")?;
            println!("is in a group: {}.", group.contains("/termleash-"));
            std::process::abort()
        });
    }
    if !geteuid().is_root() {
        return eprintln!("skipped: only root can start a process of another user");
    }
    let bystanders = Bystanders::start();
    for has_groups in [true, false] {
        // Whoever is waited for is so each time, for 5 s. What else takes time takes it of a run without that child, too.
        let in_time = (0..3).find_map(|_| {
            let place = Place::new(has_groups);
            let timed = |part| {
                let start = Instant::now();
                (place.run(part), start.elapsed())
            };
            let (alone, beside) = timed("alone");
            alone.failed();
            let (ran, took) = timed("victim");
            if took < beside + Duration::from_secs(4) {
                return Some((place, ran));
            }
            end_carriers(&place.mark);
            place.run("sweep").passed();
            None
        });
        let (place, ran) = in_time.expect("it is waited for, and is not to be signalled");
        let left: Vec<_> = carriers(&place.mark).iter().filter_map(|carrier| Pinned::open(carrier.pid)).collect();
        let is_well = left.iter().all(Pinned::is_well);
        let has_ledger = place.ledger().exists();
        for process in &left {
            process.signal(Signal::KILL);
            process.ends_within(Duration::from_secs(5));
        }
        ran.failed().says(&["suspect, not signalled: "]).says(&["it belongs to another user"]);
        assert!(left.len() == 1 && is_well, "{} are left:\n{}", left.len(), ran.text);
        assert_eq!(has_ledger, ran.text.contains("is in a group: true."), "{}", ran.text);
        if has_ledger {
            place.run("sweep").passed();
        }
        is_clean(&place, &bystanders);
    }
}

/// One that was there before is nobody's to name.
#[test]
fn what_a_run_may_have_lost_with_its_keeper_is_named_and_what_was_there_before_is_not() {
    if let Some((part, mark)) = part() {
        return leaves_and_waits(&part, &mark);
    }
    let bystanders = Bystanders::start();
    let place = Place::new(false);
    let nap = format!("{}1", place.mark);
    let early = format!("setsid env -i sleep {nap} >/dev/null 2>&1 & echo $!");
    let early = Command::new("sh").args(["-c", &early]).stdin(Stdio::null()).output().expect("a shell");
    let early = String::from_utf8_lossy(&early.stdout).trim().parse().expect("a number");
    let early = Pinned::open(early).expect("it lives");
    // Start times are in ticks of 10 ms, and nobody tells two of one tick apart.
    std::thread::sleep(Duration::from_millis(30));
    let (runner, keeper, _) = with_left(&place);
    keeper.signal(Signal::KILL);
    let ran = place.ended(runner, "victim");
    let left: Vec<_> = carriers(&place.mark).into_iter().filter(|carrier| carrier.pid != early.pid).collect();
    let all = left.iter().filter_map(|carrier| Pinned::open(carrier.pid)).chain([early]);
    for process in all {
        assert!(process.is_well(), "it proves nothing, and was signalled:\n{}", ran.text);
        process.signal(Signal::KILL);
        process.ends_within(Duration::from_secs(5));
    }
    is_clean(&place, &bystanders);
    ran.failed().says(&["its keeper was killed"]).says(&["it started during the run, which may have lost it"]);
    assert_eq!(left.len(), 1, "{left:?}:\n{}", ran.text);
    ran.says(&[&format!("suspect, not signalled: pid {} ", left[0].pid)]);
    assert!(!ran.text.contains(&nap), "{}", ran.text);
}

/// Each in a session of its own: one at work, and one that somebody has stopped.
const HEED: [&str; 2] = [
    "trap '' HUP; trap 'echo >FILE; exit' TERM; sleep MARK & echo >FILE.ready; wait",
    "trap '' HUP; trap 'echo >FILE; exit' TERM; echo >FILE.ready; kill -STOP $$; sleep MARK & wait",
];

/// A busy machine may let them have no part of that time, but not each time.
#[test]
fn what_a_crash_leaves_may_heed_a_polite_signal_first() {
    if let Some((_, mark)) = part() {
        let directory = std::env::var("TEST_DIRECTORY").expect("it is said");
        return termleash::test(async |_| {
            for (index, script) in HEED.iter().enumerate() {
                let file = format!("{directory}/{index}");
                let script = script.replace("FILE", &file).replace("MARK", &mark);
                Command::new("setsid").args(["sh", "-c", &script]).stdin(Stdio::null()).spawn()?;
                while !std::fs::exists(format!("{file}.ready"))? {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            std::process::abort()
        });
    }
    let bystanders = Bystanders::start();
    let mut heeded = [false; 2];
    for _ in 0..10 {
        let place = Place::new(true);
        let directory = place.path("").to_string_lossy().into_owned();
        let place = place.with(&[("TEST_DIRECTORY", &directory)]);
        place.run("victim").failed();
        is_clean(&place, &bystanders);
        for (index, has) in heeded.iter_mut().enumerate() {
            *has |= place.path(&index.to_string()).exists();
        }
        if heeded == [true; 2] {
            return;
        }
    }
    panic!("they got no time: {heeded:?}");
}

/// A victim that has left what it leaves, its keeper and its body.
fn with_left(place: &Place) -> (Runner, Pinned, Pinned) {
    let mut runner = place.start("victim");
    let (keeper, body) = runner.keeper_and_body().expect("it runs");
    let start = Instant::now();
    while !place.said("victim").contains("it has left them") {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", place.all_said());
        std::thread::sleep(Duration::from_millis(2));
    }
    (runner, keeper, body)
}

fn leaves_and_waits(part: &str, mark: &str) {
    if part == "sweep" {
        return println!("{}", termleash::sweep().expect("a sweep"));
    }
    termleash::test(async |t| {
        leave(t, mark).await?;
        println!("it has left them");
        std::future::pending().await
    });
}

/// Stopped first, so that none sees another's end before its own.
fn kill_at_once(processes: [&Pinned; 2]) {
    for signal in [Signal::STOP, Signal::KILL] {
        processes.iter().for_each(|process| process.signal(signal));
    }
    assert!(processes.iter().all(|process| process.ends_within(CLEAN_WITHIN)));
}

#[test]
fn a_body_that_is_left_alone_ends_what_is_its_own_and_itself() {
    if let Some((part, mark)) = part() {
        return leaves_and_waits(&part, &mark);
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let (runner, keeper, body) = with_left(&place);
    let ledger = std::fs::read_to_string(place.ledger().join(format!("{}.ledger", place.runs()[0]))).expect("it");
    let says_who = format!(r#""kind":"identified","id":0,"leader":{{"pid":{},"#, body.pid);
    kill_at_once([&keeper, &runner.hold()]);
    // Without a control group it finds by marks only.
    place.empties(Instant::now(), |carrier| carrier.is_cleared);
    assert!(place.ledger().exists(), "a body never removes it");
    place.run("sweep").passed().says(&["swept what"]);
    end_carriers(&place.mark);
    is_clean(&place, &bystanders);
    assert!(ledger.contains(&says_who), "a sweep would not wait for the body:\n{ledger}");
}

#[test]
fn a_keeper_that_is_left_alone_is_left_to_it_and_ends_everything() {
    if let Some((part, mark)) = part() {
        return leaves_and_waits(&part, &mark);
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true);
    let (runner, keeper, body) = with_left(&place);
    keeper.signal(Signal::STOP);
    kill_at_once([&body, &runner.hold()]);
    place.run("sweep").passed().says(&["no dead run was found"]).says(&["its test process, keeper or body lives"]);
    assert_eq!(sleepers(&place.mark), LEFT, "{}", place.all_said());
    let ledger = place.ledger().join(format!("{}.ledger", place.runs()[0]));
    assert!(std::fs::File::open(ledger).expect("it is there").try_lock().is_err(), "it holds the lock");
    keeper.signal(Signal::CONT);
    is_clean(&place, &bystanders);
}
