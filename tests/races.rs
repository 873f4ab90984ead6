//! Races get time: each test loops for `TERMLEASH_RACE_SECONDS`, 1 unless said otherwise.

#![cfg(target_os = "linux")]

#[path = "it/checked.rs"]
mod checked;

use checked::{LIMIT, run, run_blocking};
use std::hash::{BuildHasher, RandomState};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use termleash::process::{ExitStatus, ProcessHandle};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, options, process::KillPolicy, tracker::SessionGuard};

fn race_time() -> Duration {
    let seconds = std::env::var("TERMLEASH_RACE_SECONDS").map_or(1, |text| text.parse().expect("whole seconds"));
    Duration::from_secs(seconds)
}

/// Another number at each call and in each run.
fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

/// A process of somebody else's that looks like ours: same program, same arguments, same parent.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn helper() -> SessionTestHelper {
    SessionTestHelper::new(PtyBackend::new()).with_policy(KillPolicy::default().grace(Duration::from_millis(40)))
}

/// Whatever outlives its leader and carries a mark; what it forks, it forks while it is being killed.
const SHAPES: [&str; 7] = [
    "exec sleep 1000",
    "sleep 1000 & sleep 1000",
    "nohup sleep 1000 >/dev/null 2>&1 & exec sleep 1000",
    "trap '' HUP; sleep 1000 & sleep 1000",
    "setsid sleep 1000 & exec sleep 1000",
    "trap '' HUP TERM; while :; do sleep 0.01; done",
    "(trap '' HUP; while :; do setsid sleep 0.02; sleep 0.005; done) & exec sleep 1000",
];

fn shape() -> SessionSpec {
    SessionSpec::shell(SHAPES[random(SHAPES.len() as u64) as usize])
}

/// Up to 4 ms: a session is then anywhere between its fork and its rest.
async fn a_moment() {
    tokio::time::sleep(Duration::from_micros(random(4_000))).await;
}

#[test]
fn sessions_of_every_shape_killed_at_any_moment_leave_nothing_and_touch_nobody() {
    run(options().timeout(race_time() + LIMIT), None, async || {
        let helper = helper();
        let mut stranger = Stranger::new();
        let start = Instant::now();
        while start.elapsed() < race_time() {
            let mut leaders = Vec::new();
            for _ in 0..=random(6) {
                let session = helper.create_tracked_session(shape()).await.unwrap().keep();
                leaders.extend(session.leader().cloned());
                a_moment().await;
            }
            let report = helper.kill_tracked_sessions().await.unwrap();
            assert!(leaders.iter().all(|leader| !leader.is_alive()), "{report}");
            let left = helper.survivors().unwrap();
            assert!(left.is_empty(), "{left:?} after {report}");
            assert!(stranger.is_alive());
        }
    });
}

#[test]
fn what_a_program_prints_last_is_never_lost() {
    run(options().timeout(race_time() + LIMIT), None, async || {
        let helper = helper();
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < race_time() {
            rounds += 1;
            let script = format!("echo one {rounds}; printf 'last {rounds}'; exit {}", rounds % 200);
            let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
            assert_eq!(session.wait_for_exit().await.unwrap(), ExitStatus::Exited(rounds % 200));
            assert_eq!(session.output().unwrap().text(), format!("one {rounds}\nlast {rounds}"));
            assert!(session.close().await.unwrap().was_already_gone());
        }
    });
}

#[test]
fn an_exit_that_races_the_kill_is_told_as_it_was() {
    run(options().timeout(race_time() + LIMIT), None, async || {
        let helper = helper();
        let start = Instant::now();
        while start.elapsed() < race_time() {
            let session = helper.create_tracked_session(SessionSpec::shell("exit 7")).await.unwrap();
            a_moment().await;
            let exit = session.close().await.unwrap().exit();
            assert!(matches!(exit, Some(ExitStatus::Exited(7) | ExitStatus::Signaled { signal: 1, .. })), "{exit:?}");
        }
    });
}

#[test]
fn closes_drops_and_kills_of_all_at_once_end_each_session_once() {
    run(options().timeout(race_time() + LIMIT), Some(4), async || {
        let start = Instant::now();
        while start.elapsed() < race_time() {
            let helper = helper();
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let helper = helper.clone();
                tasks.push(tokio::spawn(async move {
                    for _ in 0..4 {
                        let session = helper.create_tracked_session("cat").await.unwrap();
                        let leader = session.leader().unwrap().clone();
                        match random(4) {
                            0 => assert!(session.close().await.unwrap().is_proven()),
                            1 => drop(helper.kill_tracked_sessions().await.unwrap()),
                            2 => drop(session),
                            _ => give_up_halfway(session).await,
                        }
                        leader.wait_gone().await.unwrap();
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            helper.kill_tracked_sessions().await.unwrap();
            assert_eq!((helper.tracked_count(), helper.survivors().unwrap().len()), (0, 0));
        }
    });
}

/// A close whose future is dropped at any moment: what it has begun, a kill of all ends.
async fn give_up_halfway(session: SessionGuard) {
    let limit = Duration::from_micros(random(2_000));
    if tokio::time::timeout(limit, session.close()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// The helper's end, on this thread, against the threads that end what was dropped.
#[test]
fn a_helper_that_ends_right_after_its_guards_waits_for_them_and_does_not_complain() {
    run_blocking(options().timeout(race_time() + LIMIT), || {
        let start = Instant::now();
        while start.elapsed() < race_time() {
            let helper = helper();
            let blocking = helper.blocking();
            let leaders: Vec<ProcessHandle> = (0..3)
                .map(|_| {
                    let session = blocking.create_tracked_session(shape()).unwrap();
                    session.session().leader().unwrap().clone()
                })
                .collect();
            drop((blocking, helper));
            assert!(leaders.iter().all(|leader| !leader.is_alive()));
        }
    });
}

/// Opening and closing terminals from several threads: no session gets another's output or input.
#[test]
fn sessions_that_are_opened_and_closed_at_once_are_not_mixed_up() {
    run_blocking(options().timeout(race_time() + LIMIT), || {
        let helper = Arc::new(helper());
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let helper = Arc::clone(&helper);
                scope.spawn(move || {
                    let helper = helper.blocking();
                    let mut rounds = 0;
                    while start.elapsed() < race_time() {
                        rounds += 1;
                        let session = helper.create_tracked_session("sh").unwrap();
                        let output = session
                            .run(&format!("echo {thread} {rounds}; exit_status() {{ return {thread}; }}; exit_status"));
                        let output = output.unwrap();
                        assert_eq!((output.stdout(), output.status()), (format!("{thread} {rounds}").as_str(), thread));
                        session.close().unwrap();
                    }
                });
            }
        });
    });
}

/// A shell that gets the hang-up between its look for signals and its read of the keyboard does not see it: the second
/// one ends it, and no shell waits for the KILL.
#[test]
fn an_interactive_shell_at_its_prompt_is_always_ended_by_the_hang_up() {
    run(options().timeout(race_time() + LIMIT), None, async || {
        let policy = KillPolicy::default().grace(Duration::from_secs(60));
        let helper = SessionTestHelper::new(PtyBackend::new()).with_policy(policy);
        let start = Instant::now();
        while start.elapsed() < race_time() {
            for _ in 0..8 {
                let session =
                    helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "-i"])).await.unwrap();
                session.run("true").await.unwrap();
                session.keep();
            }
            let report = helper.kill_tracked_sessions().await.unwrap();
            for outcome in report.outcomes() {
                assert_eq!(outcome.exit().and_then(ExitStatus::signal), Some(1), "{outcome:?}");
            }
        }
    });
}
