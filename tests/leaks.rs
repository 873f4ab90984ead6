//! Leak checks on a process of their own: what they find, what they leave alone, and what they say when they cannot look.

#![cfg(target_os = "linux")]

mod children;

use children::alone;
use rustix::process::{WaitId, WaitIdOptions};
use std::fs::File;
use std::mem::forget;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;
use termleash::leak::{Gauge, Ignore, Kind, LeakHunt, LeakReport, Resource, Verdict};
use termleash::{LeakCheck, PtyBackend, SessionTestHelper, assert_no_leaks, block_on};

/// What is left is looked at ten times, and no longer.
fn soon(check: &LeakCheck) -> LeakReport {
    check.find_blocking().unwrap()
}

fn check() -> LeakCheck {
    LeakCheck::new().settle_within(Duration::ZERO)
}

fn kinds(report: &LeakReport) -> Vec<Kind> {
    report.findings.iter().map(|finding| finding.item().kind).collect()
}

#[test]
fn a_clean_check_costs_one_look() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        drop(File::open("/etc/hostname").unwrap());
        let report = soon(&check);
        assert_eq!((report.verdict, report.settled.looks), (Verdict::Clean, 1), "{report}");
        assert!(report.memory.is_some_and(|memory| memory.after > 0 && memory.peak >= memory.after / 2));
        assert!(report.memory.is_some_and(|memory| memory.private.is_none()), "it is dear");
        return;
    };
    ran.passed();
}

#[test]
fn what_goes_within_the_time_is_clean_late() {
    let Some(ran) = alone(&[]) else {
        let check = LeakCheck::new();
        let file = File::open("/etc/hostname").unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(file);
        });
        let report = soon(&check);
        assert_eq!(report.verdict, Verdict::SettledLate, "{report}");
        assert!(report.settled.took >= Duration::from_millis(50), "{report}");
        return thread.join().unwrap();
    };
    ran.passed();
}

#[test]
fn one_leak_of_each_kind_is_found() {
    let Some(ran) = alone(&[]) else {
        LeakCheck::self_test().unwrap().assert_found();
        // And all of it is gone again.
        assert_no_leaks!(LeakCheck::new());
        return;
    };
    ran.passed();
}

#[test]
fn what_was_reported_once_is_not_reported_again() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        forget(File::open("/etc/hostname").unwrap());
        assert_eq!(kinds(&soon(&check)), [Kind::File]);
        assert_eq!(soon(&check).verdict, Verdict::Clean);
        forget(File::open("/etc/passwd").unwrap());
        let report = soon(&check);
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].item().name, "/etc/passwd");
        return;
    };
    ran.passed();
}

#[test]
fn what_was_closed_and_replaced_at_its_number_is_called_so() {
    let Some(ran) = alone(&[]) else {
        let old = File::open("/etc/hostname").unwrap();
        let check = check();
        let new = File::open("/etc").unwrap();
        let mut target = OwnedFd::from(old);
        // What a close of a number that is not one's own, and an open after it, come to.
        rustix::io::dup2(&new, &mut target).unwrap();
        drop(new);
        let report = soon(&check);
        assert_eq!(report.verdict, Verdict::Interfered, "{report}");
        let item = report.findings[0].item();
        assert_eq!((item.kind, item.number), (Kind::Directory, u32::try_from(target.as_raw_fd()).ok()));
        assert!(report.to_string().contains("in the place of a file (inode "), "{report}");
        return;
    };
    ran.passed();
}

/// Shells and runners pass on descriptors with far numbers.
#[test]
fn what_was_inherited_is_no_leak_wherever_its_number_is() {
    let Some(ran) = alone(&[]) else {
        let file = File::open("/etc/hostname").unwrap();
        let _far = rustix::io::fcntl_dupfd_cloexec(&file, 251).unwrap();
        let check = check();
        assert_eq!(soon(&check).verdict, Verdict::Clean);
        let farther = rustix::io::fcntl_dupfd_cloexec(&file, 700).unwrap();
        let report = soon(&check);
        assert_eq!(report.findings[0].item().number, u32::try_from(farther.as_raw_fd()).ok(), "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn a_child_is_a_leak_alive_and_dead_until_it_is_waited_for() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let report = soon(&check);
        assert_eq!(kinds(&report), [Kind::Process], "{report}");
        assert_eq!(report.findings[0].item().name, "sleep 1000");
        child.kill().unwrap();
        let (pid, until_dead) =
            (rustix::process::Pid::from_child(&child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        rustix::process::waitid(WaitId::Pid(pid), until_dead).unwrap();
        // It was reported alive; dead, and not reaped, it is another thing.
        let report = soon(&check);
        assert_eq!(kinds(&report), [Kind::Zombie], "{report}");
        child.wait().unwrap();
        assert!(soon(&check).is_clean());
        return;
    };
    ran.passed();
}

#[test]
fn a_session_that_is_left_is_one_finding_with_its_place_and_what_belongs_to_it() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let helper = SessionTestHelper::new(PtyBackend::new());
        let report = block_on(async {
            let session = helper.create_tracked_session("sh").await.unwrap().keep();
            // The runtime that runs this is no part of it.
            let report = check.find().await.unwrap();
            let finding = report.findings.iter().find(|finding| finding.item().kind == Kind::Session).unwrap().clone();
            assert_eq!(finding.item().number, session.leader().map(|leader| leader.pid()));
            assert!(
                !kinds(&report).iter().any(|kind| [Kind::PtyMaster, Kind::Pidfd, Kind::Process].contains(kind)),
                "{report}"
            );
            helper.kill_tracked_sessions().await.unwrap();
            finding
        });
        let item = report.item();
        assert!(item.made_at.as_ref().is_some_and(|place| place.starts_with("tests/leaks.rs:")), "{item:?}");
        assert!(item.notes.iter().any(|note| note.starts_with("it holds descriptors ")), "{item:?}");
        return;
    };
    ran.passed();
}

/// Which is how a forgotten copy of a master is told from a program that still runs.
#[test]
fn a_pty_that_is_left_says_who_holds_the_other_side() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let slave = rustix::pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let side = File::options().read(true).write(true).open(&slave).unwrap();
        let mut child = Command::new("sleep").arg("1000").stdin(side).spawn().unwrap();
        let report = soon(&check);
        let text = report.to_string();
        assert!(text.contains(&format!("leaked: pty master of {slave}")), "{text}");
        assert!(text.contains(&format!("{slave} is open in pid {} `sleep 1000`", child.id())), "{text}");
        assert!(report.memory.is_some_and(|memory| memory.private.is_some_and(|bytes| bytes > 0)), "{text}");
        child.kill().unwrap();
        child.wait().unwrap();
        let other = rustix::io::fcntl_dupfd_cloexec(&master, 3).unwrap();
        let text = soon(&check).to_string();
        assert!(text.contains(&format!("no other process has {slave} open")), "{text}");
        return drop((master, other));
    };
    ran.passed();
}

#[test]
fn a_guard_that_is_dropped_is_closed_in_the_background_and_no_leak() {
    let Some(ran) = alone(&[]) else {
        let helper = SessionTestHelper::new(PtyBackend::new());
        let check = LeakCheck::new();
        let blocking = helper.blocking();
        drop(blocking.create_tracked_session("sh").unwrap());
        drop(blocking);
        let report = soon(&check);
        assert!(report.is_clean(), "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn rules_take_out_what_they_say_and_one_that_matched_nothing_is_named() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let shared = File::open("/etc/hostname").unwrap();
        let check = check
            .ignore(Ignore::current())
            .ignore(Ignore::path("/etc/pass*"))
            .ignore(Ignore::at_most(1, Kind::Directory, "/etc"))
            .ignore(Ignore::named(Kind::Thread, "rayon-*"));
        let (one, two) = (File::open("/etc").unwrap(), File::open("/etc").unwrap());
        let passwd = File::open("/etc/passwd").unwrap();
        let report = soon(&check);
        assert_eq!(kinds(&report), [Kind::Directory], "{report}");
        assert_eq!(report.findings[0].items.len(), 1);
        let matched: Vec<usize> = report.ignored.iter().map(|ignored| ignored.matched).collect();
        assert_eq!(matched, [1, 1, 1, 0]);
        assert!(report.to_string().contains("the rule to ignore thread `rayon-*` matched nothing"), "{report}");
        return drop((shared, one, two, passwd));
    };
    ran.passed();
}

#[test]
fn a_check_of_some_resources_sees_no_others() {
    let Some(ran) = alone(&[]) else {
        let check = check().only([Resource::Threads]);
        let file = File::open("/etc/hostname").unwrap();
        let report = soon(&check);
        assert!(report.verdict == Verdict::Clean && report.memory.is_none(), "{report}");
        return drop(file);
    };
    ran.passed();
}

#[test]
fn a_check_inside_of_a_runtime_is_awaited_and_not_blocked_on() {
    let Some(ran) = alone(&[]) else {
        return block_on(async {
            let check = LeakCheck::new();
            let error = check.find_blocking().unwrap_err();
            assert!(error.is_invalid_input() && error.to_string().contains("check.find().await"), "{error}");
            let file = File::open("/etc/hostname").unwrap();
            // A task of this thread: it runs while the check waits.
            let closing = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(file);
            });
            let report = assert_no_leaks!(check.find().await);
            assert_eq!(report.verdict, Verdict::SettledLate);
            closing.await.unwrap();
        });
    };
    if cfg!(feature = "tokio") {
        ran.passed();
    }
}

/// Several checks at once, on threads of one process, that all list and read: none sees the descriptors of another's look.
#[test]
fn checks_on_several_threads_do_not_see_each_other_look() {
    let Some(ran) = alone(&[]) else {
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    // A listing of threads takes a descriptor each time; a later look would be clean again.
                    let resources = [Resource::Descriptors, Resource::Processes, Resource::Threads];
                    for _ in 0..500 {
                        let check = check().only(resources).exclusive();
                        let report = soon(&check);
                        assert_eq!((report.verdict, report.settled.looks), (Verdict::Clean, 1), "{report}");
                    }
                });
            }
        });
        return;
    };
    ran.passed();
}

/// What is listed may be gone before it is read: that is neither a leak nor a reason not to know.
#[test]
fn what_vanishes_between_listing_and_reading_is_nothing() {
    let Some(ran) = alone(&[]) else {
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let churn = || {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(File::open("/etc/hostname"));
                    std::thread::spawn(|| drop(File::open("/etc/passwd"))).join().unwrap();
                    Command::new("true").stdin(Stdio::null()).status().unwrap();
                }
            };
            scope.spawn(churn);
            scope.spawn(churn);
            let reports: Vec<LeakReport> = (0..15).map(|_| soon(&check())).collect();
            // First, since the scope waits for its threads also after a panic.
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            for report in reports {
                assert_ne!(report.verdict, Verdict::CouldNotCheck, "{report}");
            }
        });
        return;
    };
    ran.passed();
}

#[test]
fn with_no_descriptor_left_the_check_says_that_it_cannot_look_and_fails() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let mut all = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            all.push(file);
        }
        let report = soon(&check);
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        // What fills the table is named all the same.
        assert_eq!(kinds(&report), [Kind::Device], "{report}");
        assert_eq!(report.findings[0].item().name, "/dev/null");
        assert!(report.to_string().contains("could not look at threads"), "{report}");
        assert!(report.to_string().contains("(os error 24)"), "{report}");
        drop(all);
        assert!(soon(&check).is_clean());
        return;
    };
    ran.passed();
}

fn hunt() -> LeakHunt {
    LeakHunt::new().exclusive()
}

fn verdict_of(report: &termleash::leak::HuntReport, gauge: Gauge) -> Verdict {
    report.series.iter().find(|series| series.gauge == gauge).unwrap().verdict
}

#[test]
fn a_descriptor_in_every_round_is_found_after_seven_and_named() {
    let Some(ran) = alone(&[]) else {
        let mut kept = Vec::new();
        let report = block_on(hunt().run(async |_| {
            kept.push(File::open("/etc/hostname")?);
            Ok(())
        }));
        let report = report.unwrap();
        assert_eq!((report.rounds, report.verdict), (7, Verdict::Leaked), "{report}");
        assert_eq!(verdict_of(&report, Gauge::Descriptors), Verdict::Leaked);
        assert!(report.to_string().contains("leaked: 7 files `/etc/hostname`"), "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn what_is_opened_once_is_no_leak() {
    let Some(ran) = alone(&[]) else {
        let mut kept = None;
        let report = block_on(hunt().counts_only().run(async |round| {
            if round == 5 {
                kept = Some(File::open("/etc/hostname")?);
            }
            Ok(())
        }));
        let report = report.unwrap();
        assert_eq!(verdict_of(&report, Gauge::Descriptors), Verdict::OneTimeInit, "{report}");
        assert!(!report.is_failure());
        return;
    };
    ran.passed();
}

#[test]
fn bytes_in_every_round_are_found_and_a_cache_that_fills_is_not() {
    let Some(ran) = alone(&[]) else {
        let mut kept = Vec::with_capacity(100);
        let report = block_on(hunt().run(async |_| {
            kept.push(vec![1u8; 32 << 10]);
            Ok(())
        }));
        let report = report.unwrap();
        assert_eq!((report.rounds, report.verdict), (30, Verdict::Leaked), "{report}");
        let mut cache = Vec::with_capacity(100);
        let report = block_on(hunt().run(async |round| {
            if round < 8 {
                cache.push(vec![1u8; 32 << 10]);
            }
            drop(vec![1u8; 32 << 10]);
            Ok(())
        }));
        let report = report.unwrap();
        assert!(!report.is_failure() && report.verdict <= Verdict::Inconclusive, "{report}");
        return;
    };
    if cfg!(target_env = "gnu") {
        ran.passed();
    }
}

#[test]
fn too_few_rounds_say_how_many_it_would_take() {
    let Some(ran) = alone(&[]) else {
        let report = block_on(hunt().rounds(7..=9).run(async |_| Ok(()))).unwrap();
        assert_eq!((report.rounds, report.verdict), (9, Verdict::Inconclusive), "{report}");
        assert!(report.to_string().contains("at least 18 rounds"), "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn a_hunt_that_cannot_run_is_an_error_that_says_why() {
    let error = block_on(hunt().rounds(0..=0).run(async |_| Ok(()))).unwrap_err();
    assert!(error.is_invalid_input(), "{error}");
    #[expect(clippy::reversed_empty_ranges, reason = "what is given by mistake")]
    let error = block_on(hunt().rounds(9..=7).run(async |_| Ok(()))).unwrap_err();
    assert!(error.is_invalid_input(), "{error}");
    let error =
        block_on(hunt().run(async |round| if round == 4 { Err("no more".into()) } else { Ok(()) })).unwrap_err();
    assert_eq!(error.to_string(), "round 4 of a leak hunt failed: no more");
}
