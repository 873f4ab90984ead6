//! Creations that fail, again and again: descriptors, threads and children of this process stay what they were.
//!
//! In a binary of its own, as it counts what belongs to the whole process.

#![cfg(target_os = "linux")]

#[path = "it/checked.rs"]
mod checked;
#[path = "children/mod.rs"]
mod children;

use checked::checked_without_frame;
use children::is_keeper;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Counts {
    descriptors: usize,
    threads: usize,
    children: Vec<String>,
}

impl Counts {
    fn now() -> Self {
        let own = std::process::id();
        let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            // After the name, which is in parentheses: the state and the parent.
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
            (parent == own.to_string() && !is_keeper(stat.split(' ').next()?)).then_some(stat)
        });
        Self {
            children: children.collect(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
        }
    }

    /// A thread that has been joined is listed for a moment more, so the counts have time to become what they should.
    #[track_caller]
    fn assert_soon(&self, when: &str) {
        let start = Instant::now();
        loop {
            let now = Self::now();
            if now == *self {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{when}: {now:?} instead of {self:?}");
            std::thread::yield_now();
        }
    }
}

fn executable(folder: &Path, name: &str, content: &[u8]) -> SessionSpec {
    let (source, path) = (folder.join("source"), folder.join(name));
    fs::write(&source, content).unwrap();
    assert!(Command::new("install").args(["-m", "755"]).args([&source, &path]).status().unwrap().success());
    SessionSpec::new(path)
}

/// One for each place at which a creation can fail for what it was given.
fn all_that_cannot_work(folder: &Path) -> Vec<SessionSpec> {
    fs::write(folder.join("plain"), b"#!/bin/sh\n").unwrap();
    vec![
        SessionSpec::new(""),
        SessionSpec::new("no-such-program"),
        SessionSpec::new("ls -l"),
        SessionSpec::new(folder.join("none")),
        SessionSpec::new(folder),
        SessionSpec::new(folder.join("plain")),
        executable(folder, "corrupt", b"\x7fELF and then noise"),
        executable(folder, "text", b"echo hi\n"),
        executable(folder, "script", b"#!/no/such/interpreter\n"),
        SessionSpec::new("sh").current_dir(folder.join("none")),
        SessionSpec::new("sh").current_dir(folder.join("plain")),
        SessionSpec::new("sh").arg("a\0b"),
        SessionSpec::new("sh").env("A", "a\0b"),
        SessionSpec::new("sh").env("A=B", "c"),
        SessionSpec::new("sh").size(0, 80),
        SessionSpec::new("sh").arg("x".repeat(200_000)),
    ]
}

#[test]
fn failed_creations_cost_nothing_however_many() {
    checked_without_frame(|| {
        let folder = tempfile::tempdir().unwrap();
        let specs = all_that_cannot_work(folder.path());
        let helper = SessionTestHelper::new(PtyBackend::new());
        let blocking = helper.blocking();
        // What is opened once and stays: the pump, /proc, the runtime. A session that works opens all of it.
        blocking.create_tracked_session("sh").unwrap().close().unwrap();
        let before = Counts::now();
        assert!(before.children.is_empty(), "{before:?}");
        for round in 0..50 {
            for spec in &specs {
                blocking.create_tracked_session(spec).expect_err("it cannot work");
                assert_eq!(helper.tracked_count(), 0);
            }
            before.assert_soon(&format!("after round {round}"));
        }
        assert!(helper.survivors().unwrap().is_empty());
        assert!(blocking.kill_tracked_sessions().unwrap().outcomes().is_empty());
        // It still works, and what works leaves nothing either.
        let session = blocking.create_tracked_session("sh").unwrap();
        assert_eq!(session.run("echo $((6 * 7))").unwrap().stdout(), "42");
        session.close().unwrap();
        before.assert_soon("after a session");
    });
}
