//! What one pass finds of processes that are made for it.

use super::*;
use crate::backoff::soon;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

#[test]
fn both_user_ids_are_read() {
    assert_eq!(users(b"Name:\tsudo\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n"), Some([1000, 0]));
    assert_eq!(users(b"Name:\tUid:\t1\n"), None);
}

/// A leader that waits for its children, ended with them.
struct Session(Child, Vec<u32>);

impl Session {
    /// The script starts one child after the other in the background.
    fn start(cookie: Cookie, script: &str, children: usize) -> Self {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", &format!("{script}; wait")]).env(cookie.name(), cookie.value());
        let mut leader = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(leader.stdout.take().unwrap()).lines();
        let children = lines.take(children).map(|line| line.unwrap().parse().unwrap()).collect();
        Self(leader, children)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Of our own child's children, which nobody has reaped as long as it waits for them.
        for child in &self.1 {
            if let Ok(child) = sys::Pidfd::open(*child) {
                let _ = child.signal(sys::Signal::Kill);
            }
        }
        let _ = self.0.wait();
    }
}

/// For some percent of the time the first has no environment, and the second never has one.
#[test]
fn what_is_born_after_its_leaders_end_is_found_in_the_middle_of_an_exec_and_what_shows_no_cookie_is_a_suspect() {
    let cookie = Cookie::new();
    let again = r#"AGAIN='exec sh -c "$AGAIN"'; export AGAIN; sh -c "$AGAIN" & echo $!"#;
    let session = Session::start(cookie, &format!("{again}; env -i sleep 1000 & echo $!"), 2);
    let [execs, cleared] = session.1[..] else { panic!("{:?}", session.1) };
    let leader = ProcessHandle::open(session.0.id()).unwrap().identity();
    let mark = Mark { leader: Some(leader), leader_ended: Some(0), ..Mark::of(Some(cookie), 0) };
    assert!(!tree::ourselves(&mut reader().unwrap()).unwrap().sessions.contains(&leader.pid));
    // Until then it carries what its parent has.
    soon("the exec of what is cleared", || {
        std::fs::read(format!("/proc/{cleared}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"))
    });
    for _ in 0..300 {
        let survey = survey(&[&mark]).unwrap();
        let suspects: Vec<_> = survey.suspects.iter().map(|one| (one.summary.identity.pid, one.why)).collect();
        assert_eq!(suspects, [(cleared, Refusal::AfterLeader)]);
        assert!(survey.found.iter().any(|one| one.handle.pid() == execs) || !survey.is_settled);
    }
}
