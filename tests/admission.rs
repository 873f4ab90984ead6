//! Tests that wait for free memory: who is let in when, and what is said of one that was not.
//!
//! No memory is taken: a floor that no machine reaches stands in for one that has none left.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use bytesize::ByteSize;
use children::{Ran, alone, captured};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use termleash::options;
use termleash::testing::Limits;
use uuid::Uuid;

const NEVER: (&str, &str) = ("TERMLEASH_FREE_MEMORY", "512TiB");
const AT_ONCE: (&str, &str) = ("TERMLEASH_ADMISSION", "0s");
const SOON: (&str, &str) = ("TERMLEASH_ADMISSION", "250ms");

#[track_caller]
fn was_not_run(ran: &Ran) {
    ran.failed().says(&[
        "was not run: it waited",
        "for 512.0 TiB of free memory, ",
        " are free",
        " available on this machine",
    ]);
    ran.says(&["to do: ", "TERMLEASH_ADMISSION", "`Limits::min_free_memory`, or TERMLEASH_FREE_MEMORY"])
        .does_not_say("it ran");
}

#[test]
fn a_test_without_memory_to_begin_waits_and_says_so_past_what_is_captured_and_is_not_run() {
    let Some(ran) = captured(&[NEVER, SOON]) else {
        return termleash::test(async |_| {
            println!("it ran");
            Ok(())
        });
    };
    was_not_run(&ran);
    let name = "a_test_without_memory_to_begin_waits_and_says_so_past_what_is_captured_and_is_not_run";
    ran.says_once(&format!("termleash: test `{name}` waits for 512.0 TiB of free memory, "));
    // Nothing was started for it.
    ran.does_not_say("containment");
}

#[test]
fn a_test_in_the_test_process_waits_too_and_the_largest_of_its_own_run_is_named() {
    let Some(ran) = alone(&[NEVER, SOON]) else {
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let ended = std::panic::catch_unwind(|| {
            options().in_process().run(async |_| {
                println!("it ran");
                Ok(())
            });
        });
        child.kill().unwrap();
        child.wait().unwrap();
        return ended.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
    };
    was_not_run(&ran);
    ran.says(&["below this test process most is used by:", "`sleep 1000`", "to do: "]);
}

#[test]
fn a_part_waits_too() {
    let Some(ran) = alone(&[NEVER, AT_ONCE]) else {
        return termleash::isolated(|| println!("it ran"));
    };
    was_not_run(&ran);
}

#[test]
fn a_floor_that_is_reached_is_not_noticed_and_the_tests_own_comes_first() {
    let Some(ran) = alone(&[NEVER, AT_ONCE]) else {
        return options().limits(Limits::new().min_free_memory(1 << 20)).run(async |_| Ok(()));
    };
    ran.passed().does_not_say("waits for");
}

#[test]
fn a_test_that_has_ended_in_the_test_process_counts_no_more() {
    // Others of this user may begin just now.
    let directory = tempfile::tempdir().unwrap();
    let ledgers = directory.path().join("ledgers");
    let Some(ran) = alone(&[AT_ONCE, ("TERMLEASH_LEDGER", ledgers.to_str().unwrap())]) else {
        // Another one would find that all of it is about to be taken.
        let free = free_memory_in(&std::fs::read_to_string("/proc/meminfo").unwrap());
        let limits = Limits::new().min_free_memory(1 << 20).max_test_memory(free);
        for _ in 0..3 {
            options().limits(limits.clone()).in_process().run(async |_| Ok(()));
        }
        return;
    };
    ran.passed().says(&["are not kept"]);
}

fn free_memory_in(meminfo: &str) -> u64 {
    let (_, free) = meminfo.split_once("MemAvailable:").unwrap();
    free.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_call_of_a_body_that_runs_is_let_in_already() {
    let Some(ran) = alone(&[AT_ONCE]) else {
        options().limits(Limits::new().min_free_memory(1)).run(async |_| Ok(()));
        options().limits(Limits::new().min_free_memory(1 << 50)).run(async |_| Ok(()));
        return;
    };
    ran.passed();
}

/// What is free for the tests here, as a failure says it.
fn free_memory() -> Option<u64> {
    let Some(ran) = alone(&[NEVER, AT_ONCE]) else {
        termleash::isolated(|| ());
        return None;
    };
    let (before, _) = ran.text.split_once(" are free").expect("it says what is free");
    let (_, free) = before.rsplit_once(", ").expect("behind the floor");
    Some(free.parse::<ByteSize>().expect("a size").as_u64())
}

const OTHERS: &str = "ADMISSION_OTHERS";

/// As under cargo-nextest: each in a process of its own, and there is memory for one that has taken none yet.
#[test]
fn two_processes_do_not_both_begin_with_the_same_free_memory() {
    // In a child of a child it is the same test.
    if std::env::var_os(OTHERS).is_some() {
        return termleash::isolated(both_are_there);
    }
    let Some(free) = free_memory() else { return };
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", std::thread::current().name().unwrap(), "--nocapture", "--test-threads=1"]);
        command.env(OTHERS, directory.path().join("ledgers")).env("TERMLEASH_LEDGER", directory.path().join("ledgers"));
        command.env("TERMLEASH_FREE_MEMORY", format!("{}B", free / 10 * 6)).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ran = [start(), start()].map(|child| child.wait_with_output().unwrap());
    for output in &ran {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let printed = String::from_utf8_lossy(&ran[0].stdout).into_owned();
    let begins: BTreeSet<u64> = printed.lines().filter_map(|line| milliseconds(line.rsplit_once("run ")?.1)).collect();
    let begins: Vec<u64> = begins.into_iter().collect();
    let [first, second] = begins[..] else { panic!("{printed}") };
    assert!(second - first >= 1000, "{first} and {second}: {printed}");
    assert!(!directory.path().join("ledgers").exists());
}

/// Waits until both have a ledger, says which, and waits until the other has done so.
fn both_are_there() {
    let directory = std::path::PathBuf::from(std::env::var_os(OTHERS).expect("it is set"));
    let names = |directory: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let wait = || std::thread::sleep(Duration::from_millis(10));
    while names(&directory).len() < 2 {
        wait();
    }
    names(&directory).iter().for_each(|name| println!("run {name}"));
    let seen = directory.with_file_name("seen");
    std::fs::create_dir_all(&seen).expect("it is ours");
    std::fs::write(seen.join(std::process::id().to_string()), "").expect("it is ours");
    while names(&seen).len() < 2 {
        wait();
    }
}

/// When a run began, by the name of its ledger.
fn milliseconds(name: &str) -> Option<u64> {
    let (seconds, nanoseconds) = Uuid::parse_str(name.strip_suffix(".ledger")?).ok()?.get_timestamp()?.to_unix();
    Some(seconds * 1000 + u64::from(nanoseconds) / 1_000_000)
}
