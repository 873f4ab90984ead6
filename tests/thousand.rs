//! A thousand sessions open at once and killed at once: two descriptors each while they live, nothing after.

#![cfg(target_os = "linux")]

#[path = "it/checked.rs"]
mod checked;

use checked::{LIMIT, run};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use termleash::process::raise_descriptor_limit;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, options, process::KillPolicy};

const SESSIONS: usize = 1_000;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thousand_sessions_live_at_once_and_are_gone_at_once() {
    run(options().timeout(LIMIT).exclusive(), None, async || {
        // As on the usual machine, where a test process gets 1,024.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(1_024), maximum }).unwrap();
        let limit = raise_descriptor_limit(SESSIONS as u64 * 2 + 500).unwrap();
        assert!(
            limit >= SESSIONS as u64 * 2 + 100,
            "the hard limit of this machine, {limit}, is too low: see `ulimit -Hn`"
        );
        // A thousand deaths take a while on a small machine, and a leader that has not had its turn yet is no stubborn one.
        let policy = KillPolicy::default().grace(Duration::from_secs(20));
        let helper = SessionTestHelper::new(PtyBackend::new()).with_policy(policy);
        // The first session starts what stays: the pump's thread with its two descriptors, and the one of /proc.
        helper.create_tracked_session(SessionSpec::shell("exec sleep 1000")).await.unwrap().close().await.unwrap();
        let before = open_descriptors();

        for _ in 0..SESSIONS {
            helper.create_tracked_session(SessionSpec::shell("exec sleep 1000")).await.unwrap().keep();
        }
        assert_eq!(helper.tracked_count(), SESSIONS);
        assert_eq!(open_descriptors() - before, 2 * SESSIONS);
        // The children have the limit that this process had before it was raised.
        let shell = helper.create_tracked_session("sh").await.unwrap();
        assert_eq!(shell.run("ulimit -n").await.unwrap().stdout(), "1024");
        shell.keep();

        let report = helper.kill_tracked_sessions().await.unwrap();
        assert_eq!(report.outcomes().len(), SESSIONS + 1);
        assert!(report.is_proven());
        assert_eq!((helper.tracked_count(), helper.survivors().unwrap().len()), (0, 0));
        assert_eq!(open_descriptors(), before);
    });
}
