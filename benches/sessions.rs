//! Sessions: what it costs to open one, to kill one or a thousand with proof, and to know that nothing is left.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `spawn/…` | `create_tracked_session` | `posix_spawn` on a pty, pidfd; in three kinds of parents |
//! | `create_kill_one` | the same, then `close` | the same, hang-up by pidfd, `poll`, `waitid`, one raw cookie pass |
//! | `create_kill_one/portable_pty` | the same | portable-pty: spawn, its documented `kill` and `wait` |
//! | `kill/N` | `kill_tracked_sessions` | signal all, reap all, close all, one raw cookie pass |
//! | `kill/growth` | how much longer ten times as many take | the same of the floor |
//! | `kill_stubborn/N` | one in ten ignores HUP and TERM | the grace, slept, plus `kill/N`'s floor |
//! | `gone/100` | `is_alive` of leaders killed before, `survivors` | `poll` of their pidfds, one raw cookie pass |
//!
//! The ratio of `kill_stubborn` is of what exceeds the grace. Sessions are opened before and cleared up after what is
//! timed. Shells are at rest before they are killed.

mod floor;

use floor::environ::EnvironPass;
use floor::harness::{self, Harness, Medians, span};
use floor::session::{self, POLITE, RawSession, Recipe, STUBBORN};
use std::time::{Duration, Instant};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, process::KillPolicy, tracker::SessionGuard};
use tokio::runtime::Runtime;

const GRACE: Duration = Duration::from_millis(100);

fn main() {
    let Some(harness) = Harness::from_args() else { return };
    session::raise_descriptor_limit();
    let mut bench = Bench::new(harness);
    bench.spawn();
    bench.create_kill_one();
    bench.kill();
    bench.kill_stubborn();
    bench.gone();
}

/// Both sides, ready to work.
struct Bench {
    harness: Harness,
    ours: Ours,
    recipe: Recipe,
    pass: EnvironPass,
}

impl Bench {
    fn new(harness: Harness) -> Self {
        Self { harness, ours: Ours::new(), recipe: Recipe::shell(POLITE), pass: EnvironPass::new() }
    }

    fn spawn(&mut self) {
        self.spawn_in("spawn/small_parent");
        let name = "spawn/parent_with_2000_fds";
        if self.harness.wants(name) {
            let open = || std::fs::File::open("/dev/null").expect("open /dev/null");
            let _descriptors: Vec<_> = (0..2000).map(|_| open()).collect();
            self.spawn_in(name);
        }
        let name = "spawn/parent_with_500MB";
        if self.harness.wants(name) {
            // Ones, since pages of zeros would not be resident.
            let memory = vec![1u8; 500_000_000];
            self.spawn_in(name);
            std::hint::black_box(memory);
        }
    }

    fn spawn_in(&mut self, name: &str) {
        if !self.harness.wants(name) {
            return;
        }
        let Self { ours, recipe, .. } = self;
        let medians = self.harness.turns(
            201,
            || {
                let begin = Instant::now();
                let guard = ours.create(POLITE);
                let took = begin.elapsed();
                ours.close(guard);
                took
            },
            || {
                let begin = Instant::now();
                let session = recipe.spawn();
                let took = begin.elapsed();
                session::kill_all(vec![session]);
                took
            },
        );
        self.harness.report(name, medians, 1.3);
    }

    fn create_kill_one(&mut self) {
        let Self { ours, recipe, pass, .. } = self;
        let mut create_kill = || {
            let begin = Instant::now();
            let guard = ours.create(POLITE);
            ours.close(guard);
            begin.elapsed()
        };
        let name = "create_kill_one";
        if self.harness.wants(name) {
            let medians = self.harness.turns(101, &mut create_kill, || {
                let begin = Instant::now();
                let mut session = recipe.spawn();
                session.hang_up();
                session.await_death();
                session.reap();
                drop(session);
                pass.run();
                begin.elapsed()
            });
            self.harness.report(name, medians, 1.5);
        }
        let name = "create_kill_one/portable_pty";
        if self.harness.wants(name) {
            let medians = self.harness.turns(21, create_kill, portable_pty);
            self.harness.report(name, medians, 0.05);
        }
    }

    fn kill(&mut self) {
        let sizes: &[(usize, usize)] = self.harness.size(&[(10, 61), (100, 21), (1000, 7)], &[(10, 1), (20, 1)]);
        let mut all = Vec::new();
        for &(count, rounds) in sizes {
            let name = format!("kill/{count}");
            if !self.harness.wants(&name) && !self.harness.wants("kill/growth") {
                continue;
            }
            let Self { ours, recipe, pass, .. } = self;
            let medians = self.harness.turns(
                rounds,
                || {
                    let guards = ours.create_many(count, |_| POLITE);
                    let took = ours.kill_all(count);
                    drop(guards);
                    took
                },
                || raw_kill(recipe, pass, count),
            );
            self.harness.report(&name, medians, 1.3);
            all.push(medians);
        }
        if let [.., before, last] = &all[..] {
            let ours = Medians { ours: last.ours, floor: before.ours }.ratio();
            let floor = Medians { ours: last.floor, floor: before.floor }.ratio();
            self.harness.line("kill/growth", format!("{ours:.1}x"), format!("{floor:.1}x"), ours / floor, 1.3);
        }
    }

    fn kill_stubborn(&mut self) {
        let patient = Ours::with_policy(KillPolicy::default().grace(GRACE));
        let sizes: &[(usize, usize)] = self.harness.size(&[(10, 21), (100, 11), (1000, 5)], &[(10, 1)]);
        for &(count, rounds) in sizes {
            let name = format!("kill_stubborn/{count}");
            if !self.harness.wants(&name) {
                continue;
            }
            let Self { recipe, pass, .. } = self;
            let mut graces = Vec::new();
            let medians = self.harness.turns(
                rounds,
                || {
                    let guards = patient.create_many(count, |index| if index % 10 == 0 { STUBBORN } else { POLITE });
                    let took = patient.kill_all(count);
                    drop(guards);
                    took
                },
                || {
                    // On a busy machine a sleeper wakes late, whoever it is.
                    let begin = Instant::now();
                    std::thread::sleep(GRACE);
                    graces.push(begin.elapsed());
                    raw_kill(recipe, pass, count)
                },
            );
            let grace = harness::median(graces);
            let floor = format!("{}+{}", span(grace), span(medians.floor));
            let ratio = Medians { ours: medians.ours.saturating_sub(grace), floor: medians.floor }.ratio();
            self.harness.line(&name, span(medians.ours), floor, ratio, 1.5);
        }
    }

    fn gone(&mut self) {
        let count = self.harness.size(100, 10);
        let name = format!("gone/{count}");
        if !self.harness.wants(&name) {
            return;
        }
        let Self { recipe, pass, .. } = self;
        let medians = self.harness.turns(
            41,
            || {
                // A helper answers for every session that it has ever created, so each turn has its own.
                let ours = Ours::new();
                let guards = ours.create_many(count, |_| POLITE);
                let leaders: Vec<_> = guards.iter().filter_map(|guard| guard.leader().cloned()).collect();
                ours.kill_all(count);
                let begin = Instant::now();
                let are_gone = leaders.iter().all(|leader| !leader.is_alive());
                let survivors = ours.helper.survivors().expect("scan /proc");
                let took = begin.elapsed();
                assert!(are_gone && survivors.is_empty() && leaders.len() == count);
                took
            },
            || {
                let sessions = raw_sessions(recipe, count);
                let pidfds: Vec<_> = sessions.iter().map(RawSession::second_pidfd).collect();
                session::kill_all(sessions);
                pass.run();
                let begin = Instant::now();
                let are_gone = session::are_dead(&pidfds);
                let seen = pass.run();
                let took = begin.elapsed();
                assert!(are_gone && seen.processes > 0);
                took
            },
        );
        self.harness.report(&name, medians, 1.5);
    }
}

/// The crate as its user has it: a helper in a current-thread runtime.
struct Ours {
    runtime: Runtime,
    helper: SessionTestHelper,
}

impl Ours {
    fn new() -> Self {
        Self::with_policy(KillPolicy::default())
    }

    fn with_policy(policy: KillPolicy) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
        Self { runtime, helper: SessionTestHelper::new(PtyBackend::new()).with_policy(policy) }
    }

    fn create(&self, line: &str) -> SessionGuard {
        self.runtime.block_on(self.helper.create_tracked_session(SessionSpec::shell(line))).expect("create a session")
    }

    fn close(&self, guard: SessionGuard) {
        self.runtime.block_on(guard.close()).expect("close the session");
    }

    fn create_many(&self, count: usize, line: impl Fn(usize) -> &'static str) -> Vec<SessionGuard> {
        let guards: Vec<_> = (0..count).map(|index| self.create(line(index))).collect();
        session::await_rest(guards.iter().map(|guard| guard.leader_pid().expect("a session on a pty has a leader")));
        guards
    }

    fn kill_all(&self, count: usize) -> Duration {
        let begin = Instant::now();
        let report = self.runtime.block_on(self.helper.kill_tracked_sessions()).expect("kill all sessions");
        let took = begin.elapsed();
        assert_eq!((report.outcomes().len(), self.helper.tracked_count()), (count, 0));
        took
    }
}

fn raw_sessions(recipe: &Recipe, count: usize) -> Vec<RawSession> {
    let sessions: Vec<_> = (0..count).map(|_| recipe.spawn()).collect();
    session::await_rest(sessions.iter().map(RawSession::pid));
    sessions
}

fn raw_kill(recipe: &Recipe, pass: &mut EnvironPass, count: usize) -> Duration {
    let sessions = raw_sessions(recipe, count);
    let begin = Instant::now();
    session::kill_all(sessions);
    pass.run();
    begin.elapsed()
}

/// As its documentation shows it.
fn portable_pty() -> Duration {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    let begin = Instant::now();
    let pair = native_pty_system().openpty(PtySize::default()).expect("open a pty");
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", POLITE]);
    let mut child = pair.slave.spawn_command(command).expect("spawn");
    drop(pair.slave);
    child.kill().expect("kill");
    child.wait().expect("wait");
    drop(pair.master);
    begin.elapsed()
}
