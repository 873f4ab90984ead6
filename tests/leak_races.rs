//! Leak checks beside threads that open, close, start and end at the same time: `TERMLEASH_RACE_SECONDS`, 1 unless said
//! otherwise.

#![cfg(target_os = "linux")]

mod children;

use children::alone;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use termleash::LeakCheck;
use termleash::leak::{Resource, Verdict};

fn race_time() -> Duration {
    let seconds = std::env::var("TERMLEASH_RACE_SECONDS").map_or(1, |text| text.parse().expect("whole seconds"));
    Duration::from_secs(seconds)
}

/// Does something over and over on a thread while the body runs.
fn beside(busy: impl Fn() + Sync, body: impl FnOnce()) {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                busy();
            }
        });
        // Also after a panic of the body, since the scope waits for its threads.
        let _over = Over(&is_over);
        body();
    });
}

/// A descriptor that comes and goes can stand in for one that stays: for a new one, which is missed then, or for an old one
/// with a far number, which is blamed.
#[test]
fn a_descriptor_that_stays_is_found_and_an_inherited_one_is_not_beside_one_that_comes_and_goes() {
    let Some(ran) = alone(&[]) else {
        let inherited = rustix::io::fcntl_dupfd_cloexec(File::open("/etc/passwd").unwrap(), 251).unwrap();
        let mut rounds = 0;
        beside(
            || drop(File::open("/dev/null")),
            || {
                let start = Instant::now();
                while start.elapsed() < race_time() {
                    let check =
                        LeakCheck::new().only([Resource::Descriptors]).settle_within(Duration::ZERO).exclusive();
                    let leak = File::open("/etc/hostname").unwrap();
                    let report = check.find_blocking().unwrap();
                    let numbers: Vec<_> =
                        report.findings.iter().flat_map(|finding| &finding.items).map(|item| item.number).collect();
                    let number = |fd: i32| u32::try_from(fd).ok();
                    assert!(numbers.contains(&number(leak.as_raw_fd())), "missed in round {rounds}: {report}");
                    assert!(!numbers.contains(&number(inherited.as_raw_fd())), "blamed in round {rounds}: {report}");
                    rounds += 1;
                }
            },
        );
        return println!("{rounds} rounds");
    };
    ran.passed();
}

#[test]
fn threads_and_children_that_come_and_go_are_never_a_reason_not_to_know() {
    let Some(ran) = alone(&[]) else {
        let churn = || {
            std::thread::spawn(|| ()).join().unwrap();
            std::process::Command::new("true").stdin(std::process::Stdio::null()).status().unwrap();
        };
        beside(churn, || {
            let start = Instant::now();
            while start.elapsed() < race_time() {
                let check = LeakCheck::new().settle_within(Duration::ZERO).exclusive();
                let report = check.find_blocking().unwrap();
                assert_ne!(report.verdict, Verdict::CouldNotCheck, "{report}");
            }
        });
        return;
    };
    ran.passed();
}

/// An empty test leaves nothing, however often, whoever is busy.
#[test]
fn tests_that_come_one_after_the_other_leave_each_other_nothing() {
    let Some(ran) = alone(&[]) else {
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < race_time() {
            // Now and then as long as the watchdog's thread needs to start.
            let pause = if rounds % 20 == 0 { 99 + rounds / 20 % 4 } else { 0 };
            termleash::testing::test_blocking(|t| {
                std::thread::sleep(Duration::from_millis(pause));
                if rounds % 5 == 0 {
                    t.blocking().create_tracked_session("sh")?.close()?;
                }
                Ok(())
            });
            rounds += 1;
        }
        return println!("{rounds} rounds");
    };
    ran.passed();
}
