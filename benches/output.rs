//! Output: what it costs to take what sessions print into their rings.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `output/one_100MB` | one session prints 100 MB | a loop of `read` |
//! | `output/hundred_1MB` | 100 sessions print 1 MB each at once | `epoll`, then `read` |
//!
//! Timed from the moment that the programs may print until their last byte is counted and they are reaped. They print
//! zeros as fast as they can, so reading is what holds them up.

mod floor;

use floor::drain;
use floor::harness::Harness;
use floor::session::{self, RawSession, Recipe};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, tracker::SessionGuard};
use tokio::runtime::Runtime;

fn main() {
    let Some(harness) = Harness::from_args() else { return };
    session::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
    let helper = SessionTestHelper::new(PtyBackend::new());
    for (name, sessions, bytes) in [("output/one_100MB", 1, 100_000_000), ("output/hundred_1MB", 100, 1_000_000)] {
        if !harness.wants(name) {
            continue;
        }
        let load = Load { sessions: harness.size(sessions, sessions.min(3)), bytes: harness.size(bytes, 100_000) };
        let medians = harness.turns(5, || ours(&runtime, &helper, load), || floor(load));
        harness.report(name, medians, 1.3);
    }
}

#[derive(Clone, Copy)]
struct Load {
    sessions: usize,
    bytes: u64,
}

impl Load {
    fn total(self) -> u64 {
        self.sessions as u64 * self.bytes
    }
}

fn ours(runtime: &Runtime, helper: &SessionTestHelper, load: Load) -> Duration {
    let gate = Gate::new();
    runtime.block_on(async {
        let mut guards = Vec::new();
        for _ in 0..load.sessions {
            let spec = SessionSpec::shell(gate.line(load));
            guards.push(helper.create_tracked_session(spec).await.expect("create a session"));
        }
        gate.await_arrival(guards.iter().map(|guard| guard.leader_pid().expect("a session on a pty has a leader")));
        let begin = Instant::now();
        let _open = gate.open();
        for guard in &guards {
            guard.wait_for_exit_within(Duration::from_secs(60)).await.expect("the program ends");
        }
        let took = begin.elapsed();
        let total = guards.iter().map(printed).sum::<u64>();
        assert_eq!(total, load.total(), "every byte is kept or counted");
        helper.kill_tracked_sessions().await.expect("clear up");
        took
    })
}

fn printed(session: &SessionGuard) -> u64 {
    let output = session.output().expect("its output");
    output.bytes().len() as u64 + output.dropped_bytes()
}

fn floor(load: Load) -> Duration {
    let gate = Gate::new();
    let recipe = Recipe::shell(&gate.line(load));
    let mut sessions: Vec<_> = (0..load.sessions).map(|_| recipe.spawn()).collect();
    gate.await_arrival(sessions.iter().map(RawSession::pid));
    let begin = Instant::now();
    let _open = gate.open();
    let total = match &*sessions {
        [one] => drain::drain(&one.master),
        many => drain::drain_all(&many.iter().map(|session| &session.master).collect::<Vec<_>>()),
    };
    sessions.iter_mut().for_each(RawSession::reap);
    let took = begin.elapsed();
    assert_eq!(total, load.total(), "every byte is read");
    took
}

/// A named pipe that holds the shells back until all of them are there: opening it to read waits for a writer.
struct Gate {
    _directory: TempDir,
    path: PathBuf,
}

impl Gate {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let path = directory.path().join("gate");
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("make a named pipe");
        Self { _directory: directory, path }
    }

    fn line(&self, load: Load) -> String {
        format!(": < '{}'; exec head -c {} /dev/zero", self.path.display(), load.bytes)
    }

    /// Waits until each shell sleeps in its opening of the pipe; it sleeps nowhere else.
    fn await_arrival(&self, pids: impl IntoIterator<Item = u32>) {
        for pid in pids {
            let is_there = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.contains("(sh) S ")
            };
            while !is_there() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Lets them through, and whoever comes late, until the file is dropped.
    fn open(&self) -> File {
        File::options().write(true).open(&self.path).expect("open the pipe")
    }
}
