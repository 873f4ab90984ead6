//! A zombie is dead, whoever forgets to reap it.
//!
//! A file of its own, since it makes its process the one that inherits orphans, as process 1 of a container is.

#![cfg(target_os = "linux")]

#[path = "it/checked.rs"]
mod checked;

use checked::{LIMIT, run};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use std::time::Duration;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, options, process::KillPolicy};

#[test]
fn orphans_that_nobody_reaps_do_not_count_as_survivors() {
    run(options().timeout(LIMIT).exclusive(), None, async || {
        set_child_subreaper(Some(getpid())).unwrap();
        let grace = Duration::from_millis(100);
        let helper = SessionTestHelper::new(PtyBackend::new()).with_policy(KillPolicy::default().grace(grace));
        let script = "trap '' HUP; sleep 1000 & echo left: $!.; exec sleep 1000";
        let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
        session.wait_for_text(".\n").await.unwrap();
        let text = session.output().unwrap().text();
        let orphan: i32 =
            text.trim().strip_prefix("left: ").and_then(|pid| pid.strip_suffix('.')).unwrap().parse().unwrap();

        let outcome = session.close().await.unwrap();
        assert!(outcome.is_proven(), "{outcome}");
        // It is still there, in its parent's kernel session, and has been dead for as long as the kill knows.
        let stat = std::fs::read_to_string(format!("/proc/{orphan}/stat")).unwrap();
        assert!(stat.contains(") Z "), "{stat}");
        assert!(helper.survivors().unwrap().is_empty());
        // A kill that comes upon the zombie finds nothing either.
        let second = helper.create_tracked_session("sh").await.unwrap();
        assert!(second.close().await.unwrap().is_proven());
        waitpid(Pid::from_raw(orphan), WaitOptions::empty()).unwrap();
    });
}
