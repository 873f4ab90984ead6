//! What happens when descriptors run out, at each step of a creation, and what becomes of a raised limit.
//!
//! In a binary of its own, as the limit is the whole process's; each test runs in a child of its own.

#![cfg(target_os = "linux")]

#[path = "it/checked.rs"]
mod checked;
mod children;
mod seen;

use checked::{checked_alone, checked_blocking};
use children::{alone, is_child, is_keeper};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seen::soon;
use std::fs::{self, File};
use termleash::process::raise_descriptor_limit;
use termleash::{Error, PtyBackend, SessionSpec, SessionTestHelper};

/// The number of a body where a test has several.
const NUMBER: &str = "LIMITS_NUMBER";

/// Runs this very test again as the only one of a process, where the answer is the body's number.
fn in_child(number: usize) -> Option<usize> {
    if is_child() {
        return Some(std::env::var(NUMBER).unwrap().parse().unwrap());
    }
    checked_blocking(|| {
        alone(&[(NUMBER, &number.to_string())]).expect("this is no child").passed();
    });
    None
}

/// Every descriptor that there is, taken until it is dropped.
struct Taken {
    _files: Vec<File>,
}

impl Taken {
    /// Lowers the soft limit, since taking what is usual would take long, and takes all but `free`.
    fn all_but(free: usize) -> Self {
        set_soft_limit(100);
        let mut taken = Vec::new();
        loop {
            match File::open("/dev/null") {
                Ok(file) => taken.push(file),
                Err(cause) => {
                    assert_eq!(cause.raw_os_error(), Some(EMFILE));
                    break;
                }
            }
        }
        taken.truncate(taken.len() - free);
        Self { _files: taken }
    }
}

const EMFILE: i32 = 24;

fn set_soft_limit(soft: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum }).unwrap();
}

fn descriptors() -> Vec<String> {
    let link = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        // Where the sessions are written down, from the first one on: opened once there is a descriptor for it.
        if target.extension().is_some_and(|ending| ending == "ledger") {
            return None;
        }
        Some(format!("{} {}", entry.file_name().display(), target.display()))
    };
    fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| link(entry.ok()?)).collect()
}

/// Those of each thread, zombies too, with what they are.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let child = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let is_ours = stat.rsplit(')').next()?.split_whitespace().nth(1)? == own;
        (is_ours && !is_keeper(stat.split(' ').next()?)).then_some(stat)
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| child(entry.ok()?)).collect()
}

/// No session, no process, no zombie, no descriptor.
#[track_caller]
fn nothing_is_left(helper: &SessionTestHelper, before: usize, when: &str) {
    assert_eq!(helper.tracked_count(), 0, "{when}");
    assert!(helper.survivors().unwrap().is_empty(), "{when}: {:?}", helper.survivors());
    soon(&format!("{when}: {:?}: no child", children()), || children().is_empty());
    soon(&format!("{when}: {:?}: {before} descriptors", descriptors()), || descriptors().len() == before);
}

fn runtime() -> tokio::runtime::Runtime {
    // Opened before the descriptors are gone.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn speaks_of_descriptors(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("Too many open files") && text.contains("ulimit -n")
}

#[test]
fn a_creation_without_a_free_descriptor_is_an_error_with_a_hint_and_works_again_later() {
    let Some(_) = in_child(0) else {
        return;
    };
    checked_alone(|| {
        let (helper, runtime) = (SessionTestHelper::new(PtyBackend::new()), runtime());
        // So that only what each session needs is missing.
        runtime.block_on(async { helper.create_tracked_session("sh").await?.close().await }).unwrap();
        let before = descriptors().len();
        let taken = Taken::all_but(0);
        let error = runtime.block_on(helper.create_tracked_session("sh")).unwrap_err();
        drop(taken);
        insta::assert_snapshot!(error, @"failed to open a pseudo-terminal: Too many open files (os error 24); this process has too many descriptors open: raise `ulimit -n`, or call `termleash::process::raise_descriptor_limit`; a session costs two");
        assert_eq!(error.raw_os_error(), Some(EMFILE));
        assert!(runtime.block_on(helper.kill_tracked_sessions()).unwrap().outcomes().is_empty());
        nothing_is_left(&helper, before, "after the error");
        runtime.block_on(async {
            let session = helper.create_tracked_session("sh").await.unwrap();
            assert_eq!(session.run("echo again").await.unwrap().stdout(), "again");
            session.close().await.unwrap();
        });
        nothing_is_left(&helper, before, "after a session");
    });
}

/// More than a creation takes, cold or warm.
const ENOUGH: usize = 10;

/// Each step of a creation is the one that fails, once: with `free` descriptors it is about the `free`th that opens one.
fn fails_at(free: usize, is_warm: bool) {
    let (helper, runtime) = (SessionTestHelper::new(PtyBackend::new()), runtime());
    if is_warm {
        runtime.block_on(async { helper.create_tracked_session("sh").await?.close().await }).unwrap();
    }
    let before = descriptors().len();
    let taken = Taken::all_but(free);
    let spec = SessionSpec::shell("trap '' HUP TERM; while :; do sleep 1000; done");
    let result = runtime.block_on(helper.create_tracked_session(spec));
    drop(taken);
    let when = format!("{free} free");
    // What stays open for good from the first use on: the pump's two and /proc.
    let now = |constant: usize| if is_warm { before } else { before + constant };
    match result {
        Ok(session) => {
            assert!(free > 2, "{when}: a session costs two descriptors, and needs one more to start");
            println!("{when}: created");
            runtime.block_on(session.close()).unwrap();
            nothing_is_left(&helper, now(3), &when);
        }
        Err(error) => {
            println!("{when}: {error}");
            assert!(free < ENOUGH, "{when}: {error}");
            assert_eq!(helper.tracked_count(), 0, "{when}");
            assert!(helper.survivors().unwrap().is_empty(), "{when}: {:?}", helper.survivors());
            soon(&format!("{when}: {error}: {:?}: no child", children()), || children().is_empty());
            assert!(speaks_of_descriptors(&error), "{when}: {error}");
            // With what there is now it works, and then the constant ones are open, and no other.
            runtime.block_on(async { helper.create_tracked_session("sh").await?.close().await }).unwrap();
            nothing_is_left(&helper, now(3), &when);
        }
    }
}

#[test]
fn each_step_of_a_creation_may_be_the_one_that_finds_no_descriptor() {
    for free in 0..=ENOUGH {
        let Some(free) = in_child(free) else {
            continue;
        };
        return checked_alone(|| fails_at(free, true));
    }
}

/// The same where nothing is open yet of what all sessions share; the leak check would have opened it, so it looks at the
/// test's own process only.
#[test]
fn each_step_of_the_first_creation_may_be_the_one_that_finds_no_descriptor() {
    for free in 0..=ENOUGH {
        let Some(free) = in_child(free) else {
            continue;
        };
        return fails_at(free, false);
    }
}

/// A kill that cannot look is an error, and can be called again.
#[test]
fn a_kill_without_a_free_descriptor_proves_nothing_and_can_be_called_again() {
    let Some(_) = in_child(0) else {
        return;
    };
    checked_alone(|| {
        let (helper, runtime) = (SessionTestHelper::new(PtyBackend::new()), runtime());
        let before = descriptors().len();
        // One that heeds no polite signal: the death of another would free its descriptors for the look.
        let spec = SessionSpec::shell("trap '' HUP TERM; echo ready; while :; do sleep 1000; done");
        let session = runtime.block_on(helper.create_tracked_session(spec)).unwrap();
        runtime.block_on(session.wait_for_text("ready")).unwrap();
        let leader = session.keep().leader().unwrap().clone();
        let taken = Taken::all_but(0);
        let error = runtime.block_on(helper.kill_tracked_sessions()).unwrap_err();
        drop(taken);
        assert!(error.is_survived() && error.to_string().contains("Too many open files"), "{error}");
        assert_eq!(helper.tracked_count(), 1);
        assert!(runtime.block_on(helper.kill_tracked_sessions()).unwrap().is_proven());
        assert!(!leader.is_alive());
        nothing_is_left(&helper, before, "after the second kill");
    });
}

#[cfg(feature = "tokio")]
#[test]
fn a_blocking_helper_without_a_descriptor_for_its_runtime_says_so() {
    let Some(_) = in_child(0) else { return };
    checked_alone(|| {
        let helper = SessionTestHelper::new(PtyBackend::new()).blocking();
        let taken = Taken::all_but(0);
        let error = helper.create_tracked_session("sh").unwrap_err();
        drop(taken);
        assert!(speaks_of_descriptors(&error), "{error}");
        helper.create_tracked_session("sh").unwrap().close().unwrap();
    });
}

#[test]
fn a_raised_limit_is_not_passed_on_to_sessions() {
    let Some(_) = in_child(0) else { return };
    checked_alone(|| {
        set_soft_limit(200);
        let helper = SessionTestHelper::new(PtyBackend::new()).blocking();
        let limits = || {
            let session = helper.create_tracked_session("sh").unwrap();
            let limits = ["ulimit -Sn", "ulimit -Hn"].map(|command| session.run(command).unwrap().stdout().to_owned());
            session.close().unwrap();
            limits
        };
        let before = limits();
        assert_eq!(before[0], "200");
        assert_eq!(raise_descriptor_limit(300).unwrap(), 300);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(300));
        assert_eq!(limits(), before);
        // Twice raised, the old one is still the first.
        assert_eq!(raise_descriptor_limit(400).unwrap(), 400);
        assert_eq!(limits(), before);
        // Never lowered, and never beyond the hard limit.
        assert_eq!(raise_descriptor_limit(50).unwrap(), 400);
        let hard = getrlimit(Resource::Nofile).maximum;
        assert_eq!(Some(raise_descriptor_limit(u64::MAX).unwrap()), hard.or(Some(u64::MAX)));
        assert_eq!(limits(), before);
    });
}
