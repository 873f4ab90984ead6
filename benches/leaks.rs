//! What leak checks cost.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `leak/descriptors/N` | a clean check of N descriptors | one fstat for each |
//! | `leak/descriptors/N/listing` | the same | std's `read_dir` and `read_link` of /proc/self/fd |
//! | `leak/find/N` | capture and diff with one new descriptor among N | one fstat for each number |
//! | `leak/memory`, `…/500MB` | a reading of resident memory | pread of statm |
//! | `leak/check/N`, `…/500MB` | a whole clean check, all probes | the sum of its reads |
//! | `test/empty` | an empty `termleash::test` | a bare runtime, and the reads of a baseline and a check |
//! | `hunt/30` | a hunt of 30 rounds of 10 ms | the rounds |

mod floor;

use floor::harness::Harness;
use floor::reads::Reads;
use std::fs::File;
use std::hint::black_box;
use std::time::{Duration, Instant};
use termleash::LeakCheck;
use termleash::leak::{Diff, LeakHunt, Level, Resource, Snapshot, prime};

fn main() {
    let Some(harness) = Harness::from_args() else { return };
    prime();
    for count in [20, 200, 2000] {
        descriptors(&harness, count);
    }
    memory(&harness, "");
    check(&harness, 20, "");
    check(&harness, 2000, "");
    empty_test(&harness);
    hunt(&harness);
    let ballast = vec![1u8; harness.size(500 << 20, 1 << 20)];
    memory(&harness, "/500MB");
    check(&harness, 20, "/500MB");
    check(&harness, 2000, "/500MB");
    drop(black_box(ballast));
}

/// The time of one of many, since one alone is a few microseconds.
fn each(repeats: u32, mut act: impl FnMut()) -> Duration {
    let begin = Instant::now();
    for _ in 0..repeats {
        act();
    }
    begin.elapsed() / repeats
}

/// Opens files until so many descriptors are open.
fn open_up_to(count: usize) -> Vec<File> {
    termleash::process::raise_descriptor_limit(count as u64 + 100).expect("raise the limit");
    let open = Reads::new().count() - 3;
    (open..count).map(|_| File::open("/dev/null").expect("open a file")).collect()
}

fn descriptors(harness: &Harness, count: usize) {
    let names = ["", "/listing"].map(|suffix| format!("leak/descriptors/{count}{suffix}"));
    let find = format!("leak/find/{count}");
    if !names.iter().chain([&find]).any(|name| harness.wants(name)) {
        return;
    }
    let _files = open_up_to(count);
    let repeats = harness.size(u32::try_from(20_000 / count).unwrap_or(1), 1);
    let reads = Reads::new();
    let clean = LeakCheck::new().only([Resource::Descriptors]).exclusive();
    let mut ours = || each(repeats, || assert!(clean.find_blocking().expect("it looks").is_clean()));
    if harness.wants(&names[0]) {
        harness.report(&names[0], harness.turns(101, &mut ours, || each(repeats, || reads.verify())), 1.2);
    }
    if harness.wants(&names[1]) {
        harness.report(&names[1], harness.turns(31, ours, || each(repeats.div_ceil(10), listing)), 0.15);
    }
    if count == 2000 && harness.wants(&find) {
        let before = Snapshot::of(&[Resource::Descriptors], Level::Fail);
        let _leak = File::open("/dev/null").expect("open a file");
        let ours = || {
            each(repeats, || {
                let after = Snapshot::of(&[Resource::Descriptors], Level::Fail);
                assert_eq!(Diff::between(&before, &after).items().count(), 1);
            })
        };
        let floor = || each(repeats, || drop(black_box(reads.full_scan())));
        harness.report(&find, harness.turns(101, ours, floor), 1.3);
    }
}

/// What people write who compare /proc/self/fd before and after.
fn listing() {
    let entries = std::fs::read_dir("/proc/self/fd").expect("list /proc/self/fd").flatten();
    black_box(entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).count());
}

fn memory(harness: &Harness, suffix: &str) {
    let name = format!("leak/memory{suffix}");
    if harness.wants(&name) {
        let mut reads = Reads::new();
        let repeats = harness.size(1_000, 1);
        let ours = || each(repeats, || assert!(Snapshot::of(&[Resource::Memory], Level::Fail).resident().is_some()));
        harness.report(
            &name,
            harness.turns(101, ours, || {
                each(repeats, || {
                    black_box(reads.statm());
                })
            }),
            2.0,
        );
    }
}

fn check(harness: &Harness, count: usize, suffix: &str) {
    let name = format!("leak/check/{count}{suffix}");
    if harness.wants(&name) {
        let _files = open_up_to(count);
        let mut reads = Reads::new();
        let repeats = harness.size(u32::try_from(20_000 / count).unwrap_or(1), 1);
        let clean = LeakCheck::new().exclusive();
        let ours = || each(repeats, || assert!(clean.find_blocking().expect("it looks").is_clean()));
        harness.report(&name, harness.turns(101, ours, || each(repeats, || reads.clean_check())), 1.5);
    }
}

fn empty_test(harness: &Harness) {
    let name = "test/empty";
    if harness.wants(name) {
        let mut reads = Reads::new();
        let repeats = harness.size(50, 1);
        let ours = || each(repeats, || termleash::test(async |_| Ok(())));
        let floor = || {
            each(repeats, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("start a runtime").block_on(async {});
                reads.baseline_and_check();
            })
        };
        harness.report(name, harness.turns(101, ours, floor), 2.0);
    }
}

fn hunt(harness: &Harness) {
    let name = "hunt/30";
    if harness.wants(name) {
        let rounds = harness.size(30, 2);
        let work = || {
            let until = Instant::now() + Duration::from_millis(10);
            let mut sum = 0u64;
            while Instant::now() < until {
                sum = black_box(sum.wrapping_mul(31).wrapping_add(7));
            }
        };
        let ours = || {
            let hunt = LeakHunt::new().warmup(0).rounds(rounds..=rounds).exclusive();
            let begin = Instant::now();
            let report = termleash::block_on(hunt.run(async |_| {
                work();
                Ok(())
            }));
            let took = begin.elapsed();
            assert_eq!(report.expect("it runs").rounds, rounds);
            took
        };
        let floor = || {
            let begin = Instant::now();
            (0..rounds).for_each(|_| work());
            begin.elapsed()
        };
        harness.report(name, harness.turns(11, ours, floor), 1.05);
    }
}
