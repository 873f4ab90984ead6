//! Processes of others that are easily taken for a run's: whatever happens to the run, nothing happens to them.

use super::processes::Pinned;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use termleash::tracker::{BlockingGuard, BlockingHelper};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

pub(crate) struct Bystanders {
    children: Vec<(&'static str, Child)>,
    held: Vec<(&'static str, Pinned)>,
    _session: BlockingGuard,
    _helper: BlockingHelper,
}

impl Bystanders {
    pub(crate) fn start() -> Self {
        let mut children = Vec::new();
        let mut start = |what, command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            children.push((what, command.spawn().expect("a bystander starts")));
        };
        // The runner's parent is this very process, and its kernel session theirs.
        start("one of the same name", Command::new("sleep").arg("1000.01"));
        start("one in a process group of its own", Command::new("sleep").arg("1000.02").process_group(0));
        let other_run = ("TERMLEASH_S_0123456789abcdef", "0123456789abcdef0123456789abcdef");
        start("one of another run", Command::new("sleep").arg("1000.03").env(other_run.0, other_run.1));
        start("one in a session of its own", Command::new("setsid").args(["sleep", "1000.04"]));
        start("one without an environment", Command::new("setsid").args(["env", "-i", "sleep", "1000.05"]));
        let helper = SessionTestHelper::new(PtyBackend::new()).blocking();
        let session = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000.06")).expect("a session");
        let mut held: Vec<_> =
            children.iter().filter_map(|(what, child)| Some((*what, Pinned::open(child.id())?))).collect();
        let leader = session.session().leader().expect("it has a leader").pid();
        held.extend(Pinned::open(leader).map(|pinned| ("another helper's session", pinned)));
        assert_eq!(held.len(), 6);
        Self { children, held, _session: session, _helper: helper }
    }

    #[track_caller]
    pub(crate) fn are_well(&self) {
        for (what, pinned) in &self.held {
            assert!(pinned.is_well(), "a bystander was touched: {what}, process {}", pinned.pid);
        }
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
