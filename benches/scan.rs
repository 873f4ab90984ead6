//! The survivor scan: which of 400 processes belong to our sessions?
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `scan/survivors` | `close` of an ended session: by cookie and kernel session | one raw pass over `environ` |
//! | `scan/survivors/procfs` | the same | the procfs crate: `stat` for the session, `environ` for the cookie |
//! | `scan/cookies` | the helper's `survivors`: by cookie alone | one raw pass over `environ` |
//!
//! Everything is asked of every process, and nothing of ours is found. The processes are real, asleep, and have this
//! process's environment. The procfs crate has no getsid(2), so there the session costs a file.

mod floor;

use floor::environ::{EnvironPass, PREFIX};
use floor::harness::Harness;
use procfs::process::{Process, all_processes};
use std::hint::black_box;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

fn main() {
    let Some(harness) = Harness::from_args() else { return };
    let mut pass = EnvironPass::new();
    let _crowd = Crowd::up_to(harness.size(400, 0), &mut pass);
    let mut raw = || timed(|| pass.run());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
    let helper = SessionTestHelper::new(PtyBackend::new());
    let mut survivors = || {
        runtime.block_on(async {
            let guard = helper.create_tracked_session(SessionSpec::shell(":")).await.expect("create a session");
            guard.wait_for_exit().await.expect("it ends by itself");
            let begin = Instant::now();
            let outcome = guard.close().await.expect("nothing of it is left");
            let took = begin.elapsed();
            assert!(outcome.was_already_gone());
            took
        })
    };
    let name = "scan/survivors";
    if harness.wants(name) {
        harness.report(name, harness.turns(61, &mut survivors, &mut raw), 1.3);
    }
    let name = "scan/survivors/procfs";
    if harness.wants(name) {
        let by_crate = || timed(|| count(|process| is_in_our_sessions(process) | is_marked(process)));
        harness.report(name, harness.turns(61, survivors, by_crate), 0.25);
    }

    let cookies = || timed(|| assert_eq!(helper.survivors().expect("scan /proc"), []));
    let name = "scan/cookies";
    if harness.wants(name) {
        harness.report(name, harness.turns(61, cookies, raw), 1.3);
    }
}

fn timed<T>(act: impl FnOnce() -> T) -> Duration {
    let begin = Instant::now();
    black_box(act());
    begin.elapsed()
}

/// Looks at every process by the procfs crate, as its documentation does.
fn count(is_ours: impl Fn(&Process) -> bool) -> usize {
    all_processes().expect("list /proc").filter_map(Result::ok).filter(is_ours).count()
}

fn is_marked(process: &Process) -> bool {
    let environ = process.environ().unwrap_or_default();
    environ.keys().any(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
}

fn is_in_our_sessions(process: &Process) -> bool {
    process.stat().is_ok_and(|stat| stat.session == i32::MAX)
}

/// Processes that sleep until this is dropped.
struct Crowd {
    processes: Vec<Child>,
}

impl Crowd {
    /// As many as the machine lacks.
    fn up_to(wanted: usize, pass: &mut EnvironPass) -> Self {
        let mut crowd = Self { processes: Vec::new() };
        for _ in pass.run().processes..wanted {
            crowd.processes.push(Command::new("sleep").arg("1000").spawn().expect("start a process"));
        }
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}
