//! Leak checks that cannot look, or not everywhere: nothing seen is never taken for nothing there.

#![cfg(target_os = "linux")]

mod children;

use children::in_namespace;
use std::fs::File;
use std::mem::forget;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use termleash::leak::{Kind, LeakReport, Resource, Verdict};
use termleash::{LeakCheck, assert_no_leaks};

fn check() -> LeakCheck {
    LeakCheck::new().settle_within(Duration::ZERO)
}

fn soon(check: &LeakCheck) -> LeakReport {
    check.find_blocking().unwrap()
}

/// Ended also by a test that fails, whose output it would keep open.
struct Sleeping(Child);

impl Sleeping {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_proc_nothing_is_known_and_that_is_no_success() {
    let Some(ran) = in_namespace("mount -t tmpfs none /proc", &[]) else {
        let report = soon(&check());
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        let unseen: Vec<Resource> = report.not_looked_at.iter().map(|why| why.resource).collect();
        assert!(unseen.contains(&Resource::Descriptors), "{report}");
        println!("{}", std::panic::catch_unwind(|| assert_no_leaks!(check())).is_err());
        return;
    };
    ran.passed().says(&["true"]).says(&["could not look at descriptors", "mount /proc"]);
}

/// An empty list would be the same at the end as at the beginning.
#[test]
fn an_empty_directory_where_a_probe_reads_is_no_success_either() {
    for (resource, directory) in [(Resource::Threads, "task"), (Resource::Descriptors, "fd")] {
        let Some(ran) = in_namespace(&format!("mount -t tmpfs none /proc/$$/{directory}"), &[]) else {
            let report = soon(&check());
            assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
            return println!(
                "unseen: {}",
                report.not_looked_at.iter().map(|why| why.resource.to_string()).collect::<String>()
            );
        };
        ran.passed().says(&[&format!("unseen: {resource}")]);
    }
}

#[test]
fn a_proc_that_hides_other_users_processes_hides_nothing_of_ours() {
    let Some(ran) =
        in_namespace("mount -o remount,bind,hidepid=2 /proc 2>/dev/null || mount -t proc -o hidepid=2 none /proc", &[])
    else {
        let check = check();
        forget(File::open("/etc/hostname").unwrap());
        let child = Sleeping::new();
        let report = soon(&check);
        let kinds: Vec<Kind> = report.findings.iter().map(|finding| finding.item().kind).collect();
        assert_eq!(kinds, [Kind::File, Kind::Process], "{report}");
        return drop(child);
    };
    ran.passed();
}

/// A child that the shell started before it became this process is its first thread's, whose list is hidden.
#[test]
fn children_that_are_hidden_are_not_taken_for_none() {
    let hidden = "mount --bind /dev/null /proc/$$/task/$$/children; sleep 1000 </dev/null >/dev/null 2>&1 & export SLEEPER=$!; true";
    let Some(ran) = in_namespace(hidden, &[]) else {
        let report = soon(&check());
        Command::new("kill").arg(std::env::var("SLEEPER").unwrap()).status().unwrap();
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        assert_eq!(report.not_looked_at[0].resource, Resource::Processes, "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn memory_that_cannot_be_read_fails_a_check() {
    let Some(ran) = in_namespace("mount --bind /dev/null /proc/$$/statm", &[("TERMLEASH_REQUIRE", "memory")]) else {
        let report = soon(&check());
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        assert_eq!(report.not_looked_at[0].resource, Resource::Memory, "{report}");
        return;
    };
    ran.passed();
}
