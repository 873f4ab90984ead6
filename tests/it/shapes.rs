//! The shapes in which processes outlive their session's leader, and what a kill makes of each.

use crate::checked::checked;
use crate::support::{Stranger, eventually, helper, lives, pid_in};
use std::time::Duration;
use termleash::process::{ExitStatus, KillAction, ProcessHandle, Refusal};
use termleash::{SessionSpec, process::KillPolicy};

/// Runs a script that prints the ids of what it leaves behind as `left: ….`, kills the session, and gives these ids
/// with what came of it.
async fn kill_shape(script: &str, survivors: usize) -> (Vec<ProcessHandle>, termleash::tracker::KillOutcome) {
    let helper = helper().with_policy(KillPolicy::default().grace(Duration::from_millis(200)));
    let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
    let pids = || -> Vec<u32> {
        let text = session.output().unwrap().text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("left: ")?.strip_suffix('.'));
        lines.map(pid_in).collect()
    };
    session.wait_for_text("ready").await.unwrap();
    eventually("their start", || pids().len() == survivors).await;
    let left: Vec<_> = pids().iter().map(|pid| ProcessHandle::open(*pid).expect("it lives before the kill")).collect();
    // A shell that has forked and not yet become what is meant to survive has none of its ways.
    for process in &left {
        let command = || std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap();
        eventually("its exec", || command().starts_with(b"sleep\0")).await;
    }
    let outcome = session.close().await.unwrap();
    assert!(helper.survivors().unwrap().is_empty());
    (left, outcome)
}

fn all_dead(left: &[ProcessHandle]) -> bool {
    left.iter().all(|process| !process.is_alive())
}

#[test]
fn a_background_child_of_the_foreground_group_dies_with_the_hang_up() {
    checked(async || {
        let (left, outcome) = kill_shape("sleep 1000 & echo left: $!.; echo ready; sleep 1000", 1).await;
        assert!(all_dead(&left) && outcome.is_proven());
        assert!(outcome.suspects().is_empty(), "{outcome}");
    });
}

#[test]
fn a_nohup_child_is_found_by_its_marks_and_ended() {
    checked(async || {
        let script = "nohup sleep 1000 >/dev/null 2>&1 & echo left: $!.; echo ready; sleep 1000";
        let (left, outcome) = kill_shape(script, 1).await;
        assert!(all_dead(&left) && outcome.suspects().is_empty(), "{outcome}");
        assert!(outcome.steps().iter().any(|step| step.action == KillAction::Terminated), "{:?}", outcome.steps());
    });
}

#[test]
fn children_of_a_shell_that_ignores_the_hang_up_are_ended() {
    checked(async || {
        let script = "trap '' HUP; sleep 1000 & echo left: $!.; echo ready; sleep 1000";
        let (left, outcome) = kill_shape(script, 1).await;
        assert!(all_dead(&left) && outcome.suspects().is_empty(), "{outcome}");
    });
}

#[test]
fn a_child_in_a_session_of_its_own_is_found_by_its_cookie() {
    checked(async || {
        let script = "setsid sleep 1000 & echo left: $!.; echo ready; sleep 1000";
        let (left, outcome) = kill_shape(script, 1).await;
        assert!(all_dead(&left) && outcome.suspects().is_empty(), "{outcome}");
    });
}

#[test]
fn a_disowned_child_of_an_interactive_bash_is_ended() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "-i"])).await.unwrap();
        let started = session.run("sleep 1000 & disown; echo $!").await.unwrap();
        let left = ProcessHandle::open(pid_in(started.stdout().lines().last().unwrap())).unwrap();
        assert!(left.is_alive());
        let outcome = session.close().await.unwrap();
        assert!(!left.is_alive() && outcome.suspects().is_empty(), "{outcome}");
    });
}

/// The one that may only be named: in a session of its own, its environment cleared, its parent gone.
#[test]
fn an_environment_cleared_daemon_is_named_and_never_signalled() {
    checked(async || {
        let script = "setsid env -i sleep 1000 & echo left: $!.; echo ready; sleep 1000";
        let (left, outcome) = kill_shape(script, 1).await;
        assert!(left[0].is_alive(), "it got a signal without proof");
        assert!(outcome.is_proven(), "{outcome}");
        let suspect = outcome.suspects().iter().find(|suspect| suspect.process.identity == left[0].identity());
        let suspect = suspect.unwrap_or_else(|| panic!("it is not named: {outcome}"));
        assert_eq!(suspect.why, Refusal::UnmarkedDescendant);
        assert!(outcome.to_string().contains("sleep 1000"), "{outcome}");
        end(&left[0]);
    });
}

/// The same after a double fork, so that only the terminal that it holds open leads to it.
#[test]
fn an_environment_cleared_daemon_without_a_parent_is_named_by_the_terminal_that_it_holds() {
    checked(async || {
        let script = "(setsid env -i sh -c 'echo left: $$.; exec sleep 1000' &) ; echo ready; sleep 1000";
        let (left, outcome) = kill_shape(script, 1).await;
        assert!(left[0].is_alive(), "it got a signal without proof");
        let suspect = outcome.suspects().iter().find(|suspect| suspect.process.identity == left[0].identity());
        assert_eq!(suspect.map(|suspect| suspect.why), Some(Refusal::HoldsTerminal), "{outcome}");
        end(&left[0]);
    });
}

/// A process that this very test has started, by its held identity.
fn end(process: &ProcessHandle) {
    assert!(process.is_alive());
    let status = std::process::Command::new("kill").args(["-9", &process.pid().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn what_ignores_hang_up_and_term_is_killed_at_the_end_of_the_grace() {
    checked(async || {
        let grace = Duration::from_millis(200);
        let helper = helper().with_policy(KillPolicy::default().grace(grace));
        let stubborn = "trap '' HUP TERM; echo ready; while :; do sleep 1; done";
        let session = helper.create_tracked_session(SessionSpec::shell(stubborn)).await.unwrap();
        session.wait_for_text("ready").await.unwrap();
        let outcome = session.close().await.unwrap();
        assert_eq!(outcome.exit(), Some(ExitStatus::Signaled { signal: 9, core_dumped: false }));
        let leader = outcome.steps()[0].pid;
        let to_leader: Vec<_> =
            outcome.steps().iter().filter(|step| step.pid == leader).map(|step| (step.action, step.at)).collect();
        let actions: Vec<_> = to_leader.iter().map(|(action, _)| *action).collect();
        assert_eq!(actions, [KillAction::HungUp, KillAction::HungUp, KillAction::Terminated, KillAction::Killed]);
        assert!(to_leader[2].1 >= grace / 2 && to_leader[3].1 >= grace, "{to_leader:?}");
    });
}

/// TERM comes at half of the grace, and with CONT: a program that stops itself again would hold it back.
#[test]
fn what_ignores_the_hang_up_and_stops_again_is_ended_by_term() {
    checked(async || {
        let helper = helper().with_policy(KillPolicy::default().grace(Duration::from_secs(2)));
        let stops = "trap '' HUP; trap 'kill -STOP $$' CONT; echo ready; sleep 1000 & while :; do wait; done";
        let session = helper.create_tracked_session(SessionSpec::shell(stops)).await.unwrap();
        session.wait_for_text("ready").await.unwrap();
        let outcome = session.close().await.unwrap();
        assert_eq!(outcome.exit().and_then(ExitStatus::signal), Some(15), "{:?}", outcome.steps());
    });
}

/// Each stage is for those that live: one that has ended is not signalled, nor written down as if it were.
#[test]
fn a_session_that_heeds_the_hang_up_gets_nothing_more_although_another_does() {
    checked(async || {
        let helper = helper().with_policy(KillPolicy::default().grace(Duration::from_millis(200)));
        let polite = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.unwrap();
        let stubborn = SessionSpec::shell("trap '' HUP TERM; echo ready; while :; do sleep 1; done");
        let stubborn = helper.create_tracked_session(stubborn).await.unwrap();
        stubborn.wait_for_text("ready").await.unwrap();
        let id = polite.keep().id().clone();
        stubborn.keep();
        let report = helper.kill_tracked_sessions().await.unwrap();
        let outcome = report.outcomes().iter().find(|outcome| outcome.id() == Some(&id)).unwrap();
        // The hang-up may have been sent twice, if its turn to die came late.
        assert!(
            outcome.steps().iter().all(|step| step.action == KillAction::HungUp && step.was_delivered),
            "{outcome:?}"
        );
    });
}

/// What a pass finds gets the signal of the stage at once, and not at the next stage.
#[test]
fn what_a_pass_finds_is_hung_up_on_at_once() {
    checked(async || {
        let grace = Duration::from_secs(60);
        let helper = helper().with_policy(KillPolicy::default().grace(grace));
        // Its leader takes its time, so that the pass comes after the second hang-up: the next stage is TERM.
        let script = "trap 'sleep 0.3; exit' HUP; setsid sleep 1000 & echo left: $!.; echo ready; wait";
        let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
        session.wait_for_text("ready").await.unwrap();
        let text = session.output().unwrap().text();
        let left = pid_in(text.lines().find_map(|line| line.strip_prefix("left: ")?.strip_suffix('.')).unwrap());
        // By then in a kernel session of its own, so that no hang-up of the terminal reaches it.
        let command = || std::fs::read(format!("/proc/{left}/cmdline")).unwrap();
        eventually("its exec", || command().starts_with(b"sleep\0")).await;
        let outcome = session.close().await.unwrap();
        assert!(!lives(left) && outcome.took() < grace / 2, "{outcome}");
        assert!(outcome.steps().iter().all(|step| step.action == KillAction::HungUp), "{:?}", outcome.steps());
    });
}

#[test]
fn a_natural_exit_is_told_and_its_kill_has_nothing_to_do() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session(SessionSpec::shell("echo bye; exit 3")).await.unwrap();
        assert_eq!(session.wait_for_exit().await.unwrap(), ExitStatus::Exited(3));
        assert_eq!(session.output().unwrap().text(), "bye\n");
        // A second wait is answered at once, and the session is still the helper's until it is closed.
        assert_eq!(session.wait_for_exit().await.unwrap(), ExitStatus::Exited(3));
        assert_eq!(helper.tracked_count(), 1);
        let outcome = session.close().await.unwrap();
        assert!(outcome.was_already_gone() && outcome.is_proven() && outcome.steps().is_empty());
        assert_eq!((outcome.exit(), helper.tracked_count()), (Some(ExitStatus::Exited(3)), 0));
    });
}

#[test]
fn what_a_naturally_ended_session_left_behind_is_ended_with_it() {
    checked(async || {
        let helper = helper();
        // Ignored from before its start: the leader's exit hangs up on it at once.
        let script = "trap '' HUP; sleep 1000 >/dev/null 2>&1 & echo left: $!";
        let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
        session.wait_for_exit().await.unwrap();
        let left = pid_in(session.output().unwrap().text().trim().strip_prefix("left: ").unwrap());
        assert!(lives(left));
        let outcome = session.close().await.unwrap();
        assert!(!lives(left) && !outcome.was_already_gone());
    });
}

#[test]
fn a_hundred_sessions_of_all_shapes_are_ended_together_within_one_grace() {
    checked(async || {
        let grace = Duration::from_millis(400);
        let helper = helper().with_policy(KillPolicy::default().grace(grace));
        let mut stranger = Stranger::sleeping();
        let shapes = [
            "exec sleep 1000",
            "nohup sleep 1000 >/dev/null 2>&1 & exec sleep 1000",
            "trap '' HUP; sleep 1000 & sleep 1000",
            "setsid sleep 1000 & exec sleep 1000",
            "trap '' HUP TERM; while :; do sleep 1; done",
        ];
        for number in 0..100 {
            let script = format!("{}; true", shapes[number % shapes.len()]);
            helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap().keep();
        }
        let report = helper.kill_tracked_sessions().await.unwrap();
        assert_eq!(report.outcomes().len(), 100);
        // One after the other the stubborn twenty alone would take twenty graces.
        assert!(report.took() < grace * 10, "{:?}", report.took());
        assert!(helper.survivors().unwrap().is_empty() && stranger.is_alive());
        eventually("the last process's end", || helper.survivors().unwrap().is_empty()).await;
    });
}
