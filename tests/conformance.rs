//! The conformance kit finds each way in which a backend can break the contract, and no fault in one that keeps it.

#[path = "it/checked.rs"]
mod checked;
#[path = "conformance/odd.rs"]
mod odd;

use checked::checked_blocking;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use termleash::process::ExitStatus;
use termleash::session::{
    Created, FakeBackend, Fault, Method, Running, SessionBackend, SessionId, SessionSpec, SessionState,
};
use termleash::testing::{BackendCheck, Check, Conformance, Outcome, check_backend};
use termleash::{block_on, session::BoxError};

/// Long enough for a busy machine, and short enough to wait for in vain.
const LIMIT: Duration = Duration::from_secs(1);

fn check(backend: impl SessionBackend) -> Conformance {
    block_on(BackendCheck::new(backend).within(LIMIT).run()).unwrap()
}

/// Tries all cases at the same time, since most of the time is spent in waiting for what never comes.
fn each<C: Send + Sync>(cases: impl IntoIterator<Item = C>, attempt: impl Fn(C) + Sync) {
    std::thread::scope(|scope| {
        let attempt = &attempt;
        let threads: Vec<_> = cases.into_iter().map(|case| scope.spawn(move || attempt(case))).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

fn names<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Vec<&'static str> {
    checks.into_iter().map(Check::name).collect()
}

#[track_caller]
fn fails(fake: &FakeBackend, expected: &str) -> Conformance {
    let conformance = check(fake.clone());
    let failed = names(conformance.failures());
    assert!(failed.contains(&expected), "{fake:?} should fail `{expected}`:\n{conformance}");
    assert!(conformance.checks().len() == 17 && !conformance.is_ok());
    conformance
}

fn why<'a>(conformance: &'a Conformance, name: &str) -> &'a str {
    match conformance.checks().iter().find(|check| check.name() == name).map(Check::outcome) {
        Some(Outcome::Failed { why } | Outcome::Skipped { why }) => why,
        other => panic!("`{name}` is {other:?}"),
    }
}

#[test]
fn a_backend_without_faults_passes() {
    checked_blocking(|| {
        let fake = FakeBackend::new();
        let conformance = check(fake.clone());
        conformance.assert_ok();
        let skipped = conformance.checks().iter().filter(|check| matches!(check.outcome(), Outcome::Skipped { .. }));
        assert_eq!(names(skipped), ["leader", "cookie", "slow death"], "{conformance}");
        assert!(fake.sessions().is_empty());
    });
}

#[test]
fn a_slow_backend_passes() {
    checked_blocking(|| {
        let pause = Duration::from_millis(5);
        let methods = [Method::Create, Method::Kill, Method::State, Method::Discard, Method::List];
        let fake = methods.into_iter().fold(FakeBackend::new(), |fake, method| fake.fault(Fault::Slow(method, pause)));
        let fake = fake.fault(Fault::DiesLate(Duration::from_millis(50)));
        check(fake.clone()).assert_ok();
        assert!(fake.sessions().is_empty());
    });
}

#[test]
fn each_broken_rule_is_found_without_knowing_a_leader() {
    checked_blocking(|| {
        let cases = [
            (Fault::Fails(Method::Create), "create"),
            (Fault::FailsFirst(Method::Create, 1), "create"),
            (Fault::LosesAnswer, "create"),
            (Fault::AnswersOtherId, "state of a live session"),
            (Fault::Fails(Method::State), "state of a live session"),
            (Fault::FailsFirst(Method::State, 1), "state of a live session"),
            (Fault::ListsNothing, "list"),
            (Fault::Fails(Method::List), "list"),
            (Fault::Fails(Method::Kill), "kill"),
            (Fault::FailsFirst(Method::Kill, 1), "kill"),
            (Fault::IgnoresKill, "death"),
            (Fault::StaysRunning, "natural exit"),
            (Fault::KillsNewest, "kill twice"),
            (Fault::KillsNewest, "unknown id"),
            (Fault::KillsByPrefix, "prefix of another id"),
            (Fault::KillsByPattern, "hostile ids"),
            (Fault::ReusesLiveId, "distinct ids"),
            (Fault::ReusesDeadId, "distinct ids"),
            (Fault::Fails(Method::Discard), "discard_record"),
            (Fault::DiscardsAll, "discard_record"),
        ];
        each(cases, |(fault, expected)| drop(fails(&FakeBackend::new().fault(fault), expected)));
    });
}

#[test]
fn a_backend_that_hangs_is_a_failure_and_costs_one_deadline_for_each_method() {
    checked_blocking(|| {
        let cases = [
            (Fault::Hangs(Method::Create), "create"),
            (Fault::Hangs(Method::State), "state of a live session"),
            (Fault::Hangs(Method::List), "list"),
            (Fault::Hangs(Method::Kill), "kill"),
            (Fault::HangsOnDead, "kill twice"),
            (Fault::Hangs(Method::Discard), "discard_record"),
        ];
        each(cases, |(fault, expected)| {
            let start = Instant::now();
            let conformance = fails(&FakeBackend::new().fault(fault), expected);
            assert!(why(&conformance, expected).contains("not answered within 1s"), "{conformance}");
            assert!(start.elapsed() < 5 * LIMIT, "{:?}\n{conformance}", start.elapsed());
        });
    });
}

#[test]
fn what_cannot_be_ended_is_named() {
    checked_blocking(|| {
        let cases = [
            (Fault::IgnoresKill, "`fake-1` still runs"),
            (Fault::Hangs(Method::Kill), "`fake-2` still runs"),
            (Fault::AnswersOtherId, "`other-1` may still run: the backend did not know it"),
            (Fault::Hangs(Method::State), "`fake-1` may still run: its state cannot be asked for"),
        ];
        each(cases, |(fault, expected)| {
            let fake = FakeBackend::new().fault(fault);
            let conformance = fails(&fake, "clean-up");
            assert!(why(&conformance, "clean-up").contains(expected), "{conformance}");
        });
    });
}

#[test]
fn a_backend_that_panics_is_a_failure() {
    checked_blocking(|| {
        struct Panics(FakeBackend, AtomicUsize);

        impl SessionBackend for Panics {
            async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
                self.0.create(spec).await
            }

            async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
                assert!(self.1.fetch_add(1, Ordering::Relaxed) > 0, "no route to the server");
                self.0.kill(id).await
            }

            async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
                self.0.state(id).await
            }
        }

        let fake = FakeBackend::new();
        let conformance = check(Panics(fake.clone(), AtomicUsize::new(0)));
        assert_eq!(names(conformance.failures()), ["kill"], "{conformance}");
        assert!(why(&conformance, "kill").contains("panicked: no route to the server"), "{conformance}");
        assert!(why(&conformance, "list").contains("cannot list"));
        assert!(fake.sessions().is_empty());
    });
}

#[test]
fn a_check_that_is_given_up_cleans_up_behind_itself() {
    checked_blocking(|| {
        let fake = FakeBackend::new().fault(Fault::Slow(Method::List, Duration::from_secs(5)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let check = tokio::spawn(check_backend(fake.clone()));
            while fake.sessions().len() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            check.abort();
            assert!(check.await.unwrap_err().is_cancelled());
        });
        let start = Instant::now();
        while !fake.sessions().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "{:?} are left", fake.sessions());
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
#[should_panic(expected = "FAILED   kill  ")]
fn the_asserting_form_shows_the_table() {
    checked_blocking(|| {
        check(FakeBackend::new().fault(Fault::Fails(Method::Kill))).assert_ok();
    });
}

#[cfg(target_os = "linux")]
mod with_processes {
    use super::*;
    use termleash::PtyBackend;
    use termleash::process::ProcessHandle;

    fn fake() -> FakeBackend {
        FakeBackend::new().with_processes()
    }

    #[test]
    fn a_backend_without_faults_passes_every_check() {
        checked_blocking(|| {
            let fake = fake();
            let conformance = check(fake.clone());
            let outcomes = conformance.checks().iter().map(Check::outcome);
            assert!(outcomes.into_iter().all(|outcome| *outcome == Outcome::Passed), "{conformance}");
            assert!(fake.sessions().is_empty());
        });
    }

    #[test]
    fn a_slow_death_passes() {
        checked_blocking(|| {
            check(fake().fault(Fault::DiesLate(Duration::from_millis(100)))).assert_ok();
            // Said to be dead a little before it is, as a server's record often is.
            check(fake().fault(Fault::SaysKilled).fault(Fault::DiesLate(Duration::from_millis(50)))).assert_ok();
        });
    }

    #[test]
    fn a_word_is_compared_with_the_process() {
        checked_blocking(|| {
            let cases = [
                (Fault::SaysKilled, "death"),
                (Fault::SaysKilled, "state after death"),
                (Fault::SaysKilled, "slow death"),
                (Fault::Forgets, "death"),
                (Fault::Forgets, "state after death"),
                (Fault::IgnoresKill, "death"),
                (Fault::StaysRunning, "state after death"),
                (Fault::NamesLeader(std::process::id()), "leader"),
                (Fault::NamesLeader(1), "leader"),
                (Fault::AnswersOtherId, "state of a live session"),
                (Fault::ReusesLiveId, "distinct ids"),
                (Fault::KillsByPrefix, "prefix of another id"),
                (Fault::KillsByPattern, "hostile ids"),
                (Fault::KillsNewest, "kill twice"),
            ];
            each(cases, |(fault, expected)| {
                let fake = fake().fault(fault.clone());
                drop(fails(&fake, expected));
                // Whatever the backend says and does: by its process, and the cookie that this carries, each is ended.
                assert!(fake.sessions().is_empty(), "{fault:?} left {:?}", fake.sessions());
            });
        });
    }

    #[test]
    fn sessions_without_an_answer_are_ended_by_their_cookie() {
        checked_blocking(|| {
            let late = Fault::BornLate(Duration::from_millis(50));
            each([late, Fault::LosesAnswer, Fault::Hangs(Method::Kill), Fault::Hangs(Method::State)], |fault| {
                let fake = fake().fault(fault.clone());
                assert!(!check(fake.clone()).is_ok());
                assert!(fake.sessions().is_empty(), "{fault:?} left {:?}", fake.sessions());
            });
        });
    }

    #[test]
    fn a_server_that_drops_the_environment_is_no_failure() {
        checked_blocking(|| {
            let conformance = check(fake().fault(Fault::LosesCookie));
            conformance.assert_ok();
            assert!(why(&conformance, "cookie").contains("does not pass the environment on"), "{conformance}");
        });
    }

    #[test]
    fn a_stranger_on_the_same_server_is_left_alone() {
        checked_blocking(|| {
            let fake = fake();
            let strangers =
                ["fake-", "fake-2x", "fake-20", "all", "*", "fake"].map(|id| fake.spawn_bystander(id).unwrap());
            check(fake.clone()).assert_ok();
            assert_eq!(fake.sessions(), strangers);
            let leader = ProcessHandle::open(fake.leader(&strangers[0]).unwrap()).unwrap();
            drop(fake);
            assert!(!leader.is_alive());
        });
    }

    #[test]
    fn our_own_backend_passes_every_check() {
        checked_blocking(|| {
            let conformance = block_on(check_backend(PtyBackend::new())).unwrap();
            assert!(conformance.checks().iter().all(|check| *check.outcome() == Outcome::Passed), "{conformance}");
        });
    }

    #[cfg(feature = "pty")]
    #[test]
    fn the_native_system_of_portable_pty_passes() {
        checked_blocking(|| {
            let backend = PtyBackend::with_system(Box::new(portable_pty::NativePtySystem::default()));
            block_on(check_backend(backend)).unwrap().assert_ok();
        });
    }
}
