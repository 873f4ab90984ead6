//! The rules of a leak check that only show when something is wrong: whose a session is, what a second look forgets, how deep
//! it looks, and what it does where it was told wrongly.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::{alone, with};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::mem::forget;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;
use termleash::leak::{Attribution, Ignore, Kind, LeakReport, Level, Verdict};
use termleash::session::BoxError;
use termleash::session::{Created, SessionId, SessionState};
use termleash::{LeakCheck, PtyBackend, SessionBackend, SessionSpec, SessionTestHelper, block_on, options};

fn check() -> LeakCheck {
    LeakCheck::new().settle_within(Duration::ZERO)
}

fn kinds(report: &LeakReport) -> Vec<Kind> {
    report.findings.iter().map(|finding| finding.item().kind).collect()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Takes the first look of a check, does something, and takes the others. Without a runtime, which would be found.
fn between_looks(check: &LeakCheck, then: impl FnOnce()) -> LeakReport {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut finding = pin!(check.find());
    assert!(finding.as_mut().poll(&mut context).is_pending(), "the first look was the last");
    then();
    loop {
        match finding.as_mut().poll(&mut context) {
            Poll::Ready(report) => return report.unwrap(),
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Puts something else at the number of a descriptor.
fn replace(old: OwnedFd, new: OwnedFd) -> OwnedFd {
    let mut target = old;
    rustix::io::dup2(&new, &mut target).unwrap();
    target
}

/// A server whose sessions nobody can end, and of whose processes nothing is known.
struct Stubborn;

impl SessionBackend for Stubborn {
    async fn create(&self, _spec: &SessionSpec) -> Result<Created, BoxError> {
        Err("it has one session, and makes no other".into())
    }

    async fn kill(&self, _id: &SessionId) -> Result<(), BoxError> {
        Err("it does not want to".into())
    }

    async fn state(&self, _id: &SessionId) -> Result<SessionState, BoxError> {
        Ok(SessionState::running())
    }
}

/// Beside other tests, too: our own books know whose it is.
#[test]
fn a_session_that_outlives_its_scope_is_leaked_also_beside_other_tests() {
    let Some(ran) = with(&["--test-threads=2"], &[]) else {
        return options().settle_within(Duration::ZERO).run(async |t| {
            let helper = t.helper_on(Stubborn);
            helper.track_session("theirs").await?;
            // So that its drop does not fail the test before the check does.
            forget(helper);
            Ok(())
        });
    };
    ran.failed().says(&["1 leaked", "leaked: session `", "`theirs`", "made at tests/leaks_rules.rs:"]);
}

/// One that belongs to no scope may be another test's.
#[test]
fn a_session_of_no_scope_is_suspicious_beside_other_tests() {
    let Some(ran) = with(&["--test-threads=2"], &[]) else {
        let check = check();
        let helper = SessionTestHelper::new(PtyBackend::new());
        let blocking = helper.blocking();
        blocking.create_tracked_session("sh").unwrap().keep();
        let report = check.find_blocking().unwrap();
        let session = report.findings.iter().find(|finding| finding.item().kind == Kind::Session).unwrap();
        assert_eq!(session.verdict, Verdict::Suspicious, "{report}");
        blocking.kill_tracked_sessions().unwrap();
        return;
    };
    ran.passed();
}

#[test]
fn a_session_of_no_scope_that_a_test_leaves_is_found() {
    let Some(ran) = alone(&[]) else {
        return options().settle_within(Duration::ZERO).run(async |_| {
            let helper = SessionTestHelper::new(PtyBackend::new());
            helper.create_tracked_session("sh").await?.keep();
            forget(helper);
            Ok(())
        });
    };
    ran.failed().says(&["leaked: session `sh`"]);
}

/// Neither the session nor its terminal, its process and our reference to that: they are that test's to end.
#[test]
fn a_session_of_another_tests_scope_is_not_found() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        let (begin, began) = channel::<()>();
        let (make, to_make) = channel::<()>();
        let (made, is_made) = channel::<()>();
        let (end, to_end) = channel::<()>();
        let other = std::thread::spawn(move || {
            termleash::test(async |t| {
                begin.send(())?;
                to_make.recv()?;
                let _session = t.session("sh").await?;
                made.send(())?;
                Ok(to_end.recv()?)
            });
        });
        began.recv().unwrap();
        // The watchdog's thread of the other test starts meanwhile.
        let quick =
            options().exclusive().settle_within(Duration::ZERO).ignore(Ignore::named(Kind::Thread, "termleash-*"));
        quick.run_blocking(|_| {
            make.send(())?;
            Ok(is_made.recv()?)
        });
        end.send(()).unwrap();
        other.join().unwrap();
        return;
    };
    ran.passed().does_not_say("session `sh`");
}

/// What belongs to a session stands with it; what only looks like it stands for itself.
#[test]
fn a_session_hides_no_terminal_process_or_reference_but_its_own() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let helper = SessionTestHelper::new(PtyBackend::new());
        let blocking = helper.blocking();
        blocking.create_tracked_session("sh").unwrap().keep();
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags).unwrap();
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let reference = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let report = check.find_blocking().unwrap();
        // Before anything can fail: this process's output ends with its last holder.
        child.kill().unwrap();
        child.wait().unwrap();
        blocking.kill_tracked_sessions().unwrap();
        drop((master, reference));
        for (kind, count) in [(Kind::Session, 1), (Kind::PtyMaster, 1), (Kind::Pidfd, 1), (Kind::Process, 1)] {
            let found = report.findings.iter().filter(|finding| finding.item().kind == kind);
            assert_eq!(found.map(|finding| finding.items.len()).sum::<usize>(), count, "{kind}: {report}");
        }
        return;
    };
    ran.passed();
}

/// A session of a server has no descriptor, thread or child in this process by which the cheap look could miss it.
#[test]
fn a_session_without_anything_in_this_process_is_found() {
    let Some(ran) = alone(&[]) else {
        let helper = SessionTestHelper::new(Stubborn);
        block_on(async {
            let check = check();
            helper.track_session("theirs").await.unwrap();
            let report = check.find().await.unwrap();
            assert_eq!(kinds(&report), [Kind::Session], "{report}");
            let report = check.find().await.unwrap();
            assert!(report.is_clean(), "what was told once is not told again: {report}");
        });
        helper.clear_tracked();
        return;
    };
    ran.passed();
}

/// Else what is opened at that number later would be hidden.
#[test]
fn what_was_gone_at_the_last_look_is_not_taken_into_the_baseline() {
    let Some(ran) = alone(&[]) else {
        let check = LeakCheck::new().settle_within(Duration::from_secs(60));
        let file = File::open("/etc/hostname").unwrap();
        let number = file.as_raw_fd();
        let report = between_looks(&check, || drop(file));
        assert_eq!(report.verdict, Verdict::SettledLate, "{report}");
        let again = File::open("/etc/hostname").unwrap();
        assert_eq!(again.as_raw_fd(), number);
        let report = check.settle_within(Duration::ZERO).find_blocking().unwrap();
        assert_eq!(kinds(&report), [Kind::File], "{report}");
        return drop(again);
    };
    ran.passed();
}

#[test]
fn an_object_that_was_told_once_is_not_told_again() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let held = Arc::new(1u8);
        check.must_drop(&held);
        assert_eq!(kinds(&check.find_blocking().unwrap()), [Kind::Reference]);
        let report = check.find_blocking().unwrap();
        assert_eq!(report.verdict, Verdict::Clean, "{report}");
        return drop(held);
    };
    ran.passed();
}

/// The baseline is taken anew, and as deep as the look; also the cheap look is so deep.
#[test]
fn at_level_paranoid_an_eventfd_that_was_replaced_by_its_like_is_found_and_nothing_else() {
    let Some(ran) = alone(&[]) else {
        let new = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        for (level, verdict) in [(Level::Fail, Verdict::Clean), (Level::Paranoid, Verdict::Interfered)] {
            let old = new();
            let check = check().level(level);
            let replaced = replace(old, new());
            let report = check.find_blocking().unwrap();
            assert_eq!(report.verdict, verdict, "{report}");
            assert!(report.findings.len() <= 1, "{report}");
            drop(replaced);
        }
        return;
    };
    ran.passed();
}

#[test]
fn a_check_that_stays_unclean_has_looked_ten_times_and_says_since_when() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let file = File::open("/etc/hostname").unwrap();
        let report = check.find_blocking().unwrap();
        assert_eq!(report.settled.looks, 10, "{report}");
        assert!(report.lasted >= report.settled.took && report.lasted > Duration::ZERO, "{report}");
        return drop(file);
    };
    ran.passed();
}

/// An hour, else.
#[test]
fn beside_other_tests_nobody_waits_for_what_may_be_theirs() {
    let Some(ran) = with(&["--test-threads=2"], &[]) else {
        let check = LeakCheck::new().settle_within(Duration::from_secs(3600));
        let file = File::open("/etc/hostname").unwrap();
        let report = check.find_blocking().unwrap();
        assert_eq!(report.verdict, Verdict::Suspicious, "{report}");
        return drop(file);
    };
    ran.passed();
}

#[test]
fn what_was_told_wrongly_is_an_error_of_the_check() {
    let Some(ran) = alone(&[("TERMLEASH_SETTLE", "soon")]) else {
        let error = LeakCheck::new().find_blocking().unwrap_err();
        assert!(error.is_invalid_input() && error.to_string().contains("TERMLEASH_SETTLE"), "{error}");
        return;
    };
    ran.passed();
}

#[test]
fn a_check_that_is_off_does_not_look() {
    let Some(ran) = alone(&[("TERMLEASH_LEAKS", "off")]) else {
        let check = LeakCheck::new();
        let file = File::open("/etc/hostname").unwrap();
        let report = check.find_blocking().unwrap();
        assert_eq!((report.verdict, report.settled.looks, report.findings.len()), (Verdict::Clean, 0, 0), "{report}");
        return drop(file);
    };
    ran.passed();
}

#[test]
fn a_rule_for_what_there_is_now_hides_neither_what_replaces_it_nor_what_our_books_know() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let file = File::open("/etc/hostname").unwrap();
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv().unwrap_or_default());
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let held = Arc::new(1u8);
        check.must_drop(&held);
        let check = check.ignore(Ignore::current());
        let report = check.find_blocking().unwrap();
        let (other_stop, other_stopped) = channel::<()>();
        let other_thread = std::thread::spawn(move || other_stopped.recv().unwrap_or_default());
        let mut other_child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let replaced = replace(file.into(), File::open("/etc").unwrap().into());
        let later = check.find_blocking().unwrap();
        for child in [&mut child, &mut other_child] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        drop((stop, other_stop, replaced, held));
        thread.join().unwrap();
        other_thread.join().unwrap();
        assert_eq!(kinds(&report), [Kind::Reference], "{report}");
        assert_eq!(report.ignored[0].matched, 3, "{report}");
        let mut found = kinds(&later);
        found.sort_unstable();
        assert_eq!(found, [Kind::Directory, Kind::Process, Kind::Thread], "{later}");
        return;
    };
    ran.passed();
}

/// All descriptors that there may be.
fn all_descriptors() -> Vec<File> {
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn what_could_not_be_looked_at_for_a_moment_is_looked_at_again() {
    let Some(ran) = alone(&[]) else {
        let check = LeakCheck::new().settle_within(Duration::from_secs(60));
        let all = all_descriptors();
        let report = between_looks(&check, || drop(all));
        assert_eq!(report.verdict, Verdict::SettledLate, "{report}");
        return;
    };
    ran.passed();
}

#[test]
fn another_mode_of_nextest_says_nothing_of_how_many_tests_run_here() {
    let Some(ran) = with(&["--test-threads=2"], &[("NEXTEST_EXECUTION_MODE", "all-in-one")]) else {
        assert_eq!(check().find_blocking().unwrap().attribution, Attribution::Shared);
        return;
    };
    ran.passed();
}

#[test]
fn the_level_of_the_environment_keeps_stacks_too() {
    let Some(ran) = alone(&[("TERMLEASH_LEAKS", "paranoid")]) else {
        let check = check();
        let helper = SessionTestHelper::new(PtyBackend::new());
        let blocking = helper.blocking();
        let session = |report: &LeakReport| {
            let found = report.findings.iter().find(|finding| finding.item().kind == Kind::Session);
            found.expect("there is a session").item().clone()
        };
        blocking.create_tracked_session("sh").unwrap().keep();
        let with_stack = check.find_blocking().unwrap();
        drop(check);
        // Nobody wants them any more.
        let eased = LeakCheck::new().level(Level::Warn).settle_within(Duration::ZERO);
        blocking.create_tracked_session("sh").unwrap().keep();
        let without = eased.find_blocking().unwrap();
        blocking.kill_tracked_sessions().unwrap();
        assert!(session(&with_stack).stack.is_some_and(|stack| stack.contains("the_level_of_the_environment")));
        assert_eq!(session(&without).stack, None);
        return;
    };
    ran.passed();
}

#[test]
fn a_self_test_leaves_nothing_and_refuses_to_block_a_runtime() {
    let Some(ran) = alone(&[]) else {
        let check = LeakCheck::new();
        LeakCheck::self_test().unwrap().assert_found();
        let report = check.find_blocking().unwrap();
        assert!(report.is_clean(), "{report}");
        let error = block_on(async { LeakCheck::self_test() }).unwrap_err();
        assert!(error.is_invalid_input(), "{error}");
        return;
    };
    ran.passed();
}

/// What a person needs to find it: which end, in which state, of whom.
#[test]
fn a_descriptor_is_told_by_what_it_is_used_for() {
    let Some(ran) = alone(&[]) else {
        let check = check();
        let (reader, writer) = std::io::pipe().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        let reference = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        let report = check.find_blocking().unwrap();
        let items: Vec<_> = report.findings.iter().flat_map(|finding| &finding.items).collect();
        let at = |number: i32| *items.iter().find(|item| item.number == u32::try_from(number).ok()).unwrap();
        let which = |number: i32| at(number).which.clone().unwrap_or_default();
        assert!(which(reader.as_raw_fd()).starts_with("read end"), "{report}");
        assert!(which(writer.as_raw_fd()).starts_with("write end"), "{report}");
        assert_eq!(at(listener.as_raw_fd()).state.as_deref(), Some("listening"), "{report}");
        assert_eq!(at(reference.as_raw_fd()).name, "of a process that is gone");
        return drop((reader, writer, listener, reference));
    };
    ran.passed();
}
