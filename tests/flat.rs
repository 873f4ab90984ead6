//! Rounds of create, use and kill leave the process as it was: descriptors, threads, children.

#![cfg(target_os = "linux")]

#[path = "children/mod.rs"]
mod children;

use children::is_keeper;
use std::collections::BTreeSet;
use termleash::{LeakCheck, PtyBackend, SessionTestHelper, assert_no_leaks};

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    descriptors: usize,
    threads: usize,
    children: BTreeSet<String>,
}

fn count() -> Counts {
    let threads: Vec<_> = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path()).collect();
    let children = threads.iter().filter_map(|thread| std::fs::read_to_string(thread.join("children")).ok());
    Counts {
        descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        threads: threads.len(),
        children: children
            .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .filter(|pid| !is_keeper(pid))
            .collect(),
    }
}

async fn round(helper: &SessionTestHelper, number: usize) {
    let session = helper.create_tracked_session("sh").await.unwrap();
    assert_eq!(session.run(&format!("echo {number}")).await.unwrap().stdout(), number.to_string());
    match number % 3 {
        0 => drop(session.close().await.unwrap()),
        1 => drop(session.keep()),
        // A dropped guard is ended by a thread that ends with its work; the kill waits for it.
        _ => drop(session),
    }
    helper.kill_tracked_sessions().await.unwrap();
}

#[tokio::test]
async fn two_hundred_rounds_leave_descriptors_threads_and_processes_as_they_were() {
    let check = LeakCheck::new().exclusive();
    let helper = SessionTestHelper::new(PtyBackend::new());
    for number in 0..6 {
        round(&helper, number).await;
    }
    let before = settled(None).await;
    for number in 0..200 {
        round(&helper, number).await;
    }
    let after = settled(Some(&before)).await;
    assert_eq!(before, after);
    assert!(after.children.is_empty(), "{after:?}");
    drop(helper);
    assert_no_leaks!(check.find().await);
}

/// A thread is listed for some milliseconds after its end, so the counts get time to be what is expected: without an
/// expectation, to be the same ten times in a row.
async fn settled(expected: Option<&Counts>) -> Counts {
    let mut last = count();
    let mut same = 0;
    for _ in 0..1_000 {
        if expected == Some(&last) || (expected.is_none() && same >= 10) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}
