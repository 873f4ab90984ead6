//! Tests of `kill.rs`, which they would make too long.

use super::*;
use crate::process::cookie::Cookie;
use crate::process::scan::Suspected;
use crate::runtime::park_on;
use std::process::{Child, Command};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn sleeper() -> (Child, ProcessHandle) {
    let child = Command::new("sleep").arg("100").spawn().unwrap();
    let handle = ProcessHandle::open(child.id()).unwrap();
    (child, handle)
}

fn target() -> Target {
    Target::new(Mark::of(None, 0), None)
}

#[test]
fn a_suspect_is_named_once_however_many_passes_find_it_and_not_if_the_last_does_not() {
    let mut targets = [target()];
    let suspected = || {
        let summary = ProcessSummary::unreadable(4_000_000, &std::io::Error::other("no"));
        Suspected { mark: 0, summary, why: Refusal::OtherUser }
    };
    for expected in [1, 1, 0] {
        let suspects = (0..expected).map(|_| suspected()).collect();
        let survey = Survey { suspects, ..Survey::default() };
        take_in(&mut targets, survey, &mut Vec::new(), KillAction::HungUp, Instant::now());
        assert_eq!(targets[0].ending.suspects.len(), expected);
    }
}

/// Ended and reaped with the test, whatever becomes of that.
struct Marked(Child, Cookie);

impl Marked {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let cookie = Cookie::new();
        Self(Command::new(program).args(arguments).env(cookie.name(), cookie.value()).spawn().unwrap(), cookie)
    }

    /// As a server names it: not as a child of ours.
    fn target(&self) -> Target {
        let handle = ProcessHandle::open(self.0.id()).unwrap();
        let mark = Mark { leader: Some(handle.identity()), ..Mark::of(Some(self.1), 0) };
        Target::new(mark, Some(handle))
    }

    /// As if the rule had been asked in the middle of an exec.
    fn refused_target(&self) -> Target {
        let mut target = self.target();
        let handle = target.leader.clone().unwrap();
        target.live.push(Live { handle, permit: Err(Refusal::NotMarked) });
        target
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_leader_that_was_refused_is_asked_for_again() {
    let marked = Marked::start("sleep", &["100"]);
    let mut targets = [marked.refused_target()];
    // It may still be in the middle of the exec that it was started by.
    let start = Instant::now();
    while targets[0].live[0].permit.is_err() {
        assert!(start.elapsed() < LIMIT, "it is refused for ever");
        ask_again(&mut targets).unwrap();
    }
}

#[test]
fn a_leader_that_was_refused_gets_its_signals_once_a_pass_has_proven_it() {
    let marked = Marked::start("sleep", &["100"]);
    let mut targets = [marked.refused_target()];
    let start = Instant::now();
    // One pass may find no end, where processes come and go.
    while targets[0].ending.steps.is_empty() {
        assert!(start.elapsed() < LIMIT, "no pass proves it");
        let survey = survey(&mut targets).unwrap();
        take_in(&mut targets, survey, &mut Vec::new(), KillAction::HungUp, Instant::now());
    }
    let target = &targets[0];
    assert!(target.live.len() == 1 && target.live[0].permit.is_ok() && target.ending.signalled.is_empty());
    let steps: Vec<_> = target.ending.steps.iter().map(|step| (step.action, step.was_delivered)).collect();
    assert_eq!(steps, [(KillAction::HungUp, true)]);
}

/// For some percent of the time each of these has no environment.
#[test]
fn leaders_in_the_middle_of_an_exec_are_ended() {
    let again = "exec sh -c \"$0\" \"$0\"";
    for _ in 0..5 {
        let marked: Vec<_> = (0..8).map(|_| Marked::start("sh", &["-c", again, again])).collect();
        let mut targets: Vec<Target> = marked.iter().map(Marked::target).collect();
        park_on(end_all(&mut targets, Duration::from_millis(200), Instant::now())).unwrap();
        for target in &targets {
            assert!(target.ending.survivors.is_empty(), "{:?}", target.ending);
            assert!(!target.leader.as_ref().unwrap().is_alive());
        }
    }
}

/// A leader that the rule does not let us signal: what lives at the end is left, and named with the reason.
#[test]
fn who_got_no_signal_and_lives_is_a_survivor_and_a_suspect() {
    let (mut child, handle) = sleeper();
    let mut targets = [target()];
    targets[0].live.push(Live { handle: handle.clone(), permit: Err(Refusal::OtherUser) });
    targets[0].send_all(KillAction::Killed, Instant::now());
    assert!(handle.is_alive() && targets[0].ending.steps.is_empty());
    finish(&mut targets, Vec::new());
    child.kill().unwrap();
    child.wait().unwrap();
    let Ending { survivors, suspects, .. } = &targets[0].ending;
    let [survivor] = &survivors[..] else { panic!("{survivors:?}") };
    let [suspect] = &suspects[..] else { panic!("{suspects:?}") };
    assert_eq!((survivor.identity, suspect.process.identity), (handle.identity(), handle.identity()));
    assert_eq!(suspect.why, Refusal::OtherUser);
}
