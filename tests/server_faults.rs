//! The example server with each of its faults: a clear error or note that names the fault, an end of every wait, nothing left,
//! and nobody else touched.

#![cfg(target_os = "linux")]

#[path = "server_faults/late.rs"]
mod late;
mod on_example;
#[path = "dying/processes.rs"]
#[allow(dead_code, reason = "shared by binaries that each need another part")]
mod processes;
#[path = "server_faults/scene.rs"]
mod scene;
#[path = "server_faults/strangers.rs"]
mod strangers;

use insta::assert_snapshot;
use scene::{Scene, request};
use std::time::Duration;
use termleash::tracker::KillOutcome;

/// A creation that fails, and what is said of it. Its session may have been made all the same.
async fn refused(scene: Scene) -> String {
    let cause = scene.helper.create_tracked_session(scene.spec()).await.expect_err("it cannot be had");
    let text = scene.plain(cause, &[]);
    assert_eq!(scene.helper.tracked_count(), 0);
    scene.is_clean();
    scene.is_unmarked();
    scene.end().await;
    text
}

/// A session that runs, and its end.
async fn closed(scene: &Scene) -> KillOutcome {
    let guard = scene.helper.create_tracked_session(scene.spec()).await.expect("a session");
    let outcome = guard.close().await.expect("a proven end");
    assert!(outcome.is_proven() && outcome.failures().is_empty(), "{outcome}");
    scene.is_clean();
    scene.is_unmarked();
    outcome
}

fn notes(scene: &Scene, outcome: &KillOutcome) -> String {
    scene.plain(outcome.notes().join("\n"), &[outcome.id().expect("it had one")])
}

/// What is noted at the end of a session on a server with this fault.
async fn noted(fault: &str) -> String {
    let scene = Scene::start(fault).await;
    let outcome = closed(&scene).await;
    let text = notes(&scene, &outcome);
    scene.end().await;
    text
}

#[test]
fn without_a_fault_there_is_nothing_to_note() {
    termleash::block_on(async {
        // Beyond what this test asks for.
        let scene = Scene::start_with("refuse", 1000, Duration::from_secs(5)).await;
        let outcome = closed(&scene).await;
        assert_eq!(notes(&scene, &outcome), "");
        scene.end().await;
    });
}

#[test]
fn slow_answers_are_waited_for() {
    assert_eq!(termleash::block_on(noted("slow")), "");
}

#[test]
fn an_answer_that_comes_too_late_is_named_and_its_session_ended() {
    let scene = Scene::start_with("slow", 1, Duration::from_millis(150));
    assert_snapshot!(termleash::block_on(async { refused(scene.await).await }), @r#"failed to create a session for `/bin/sh -c (trap '' HUP; sleep MARK; :) & sleep MARK; :`: `POST URL/sessions`: no full answer in time"#);
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    assert_snapshot!(termleash::block_on(async { refused(Scene::start("refuse").await).await }), @r#"failed to create a session for `/bin/sh -c (trap '' HUP; sleep MARK; :) & sleep MARK; :`: `POST URL/sessions` was answered with status 503: {"error":"no session can be had at this time"}"#);
}

#[test]
fn an_answer_that_is_cut_is_named_and_its_session_ended() {
    assert_snapshot!(termleash::block_on(async { refused(Scene::start("cut").await).await }), @r#"failed to create a session for `/bin/sh -c (trap '' HUP; sleep MARK; :) & sleep MARK; :`: `POST URL/sessions`: Peer disconnected"#);
}

#[test]
fn a_kill_that_is_only_said_is_named_and_the_session_ended() {
    assert_snapshot!(termleash::block_on(noted("lie")), @r#"its server said that it was killed, and its leader, pid N, lived on"#);
}

#[test]
fn a_session_that_is_only_forgotten_is_named_and_ended() {
    assert_snapshot!(termleash::block_on(noted("forget")), @r#"its server said that it was killed, and its leader, pid N, lived on"#);
}

#[test]
fn an_id_that_the_server_does_not_know_is_named_and_the_session_ended() {
    assert_snapshot!(termleash::block_on(noted("wrong-id")), @r#"its server does not know its id, and its processes, found by their mark, lived"#);
}

#[test]
fn a_kill_that_is_never_answered_is_named_and_the_session_ended() {
    assert_snapshot!(termleash::block_on(noted("hang")), @r#"the backend failed to kill it: `DELETE URL/sessions/ID`: no full answer in time"#);
}

#[test]
fn a_server_that_starts_anew_is_named_and_its_lost_session_ended() {
    assert_snapshot!(termleash::block_on(noted("restart")), @r#"the backend failed to kill it: `DELETE URL/sessions/ID`: Peer disconnected"#);
}

#[test]
fn an_id_that_is_somebodys_by_now_is_no_reason_to_end_theirs() {
    termleash::block_on(async {
        let scene = Scene::start("reuse-id").await;
        let outcome = closed(&scene).await;
        let id = outcome.id().expect("it had one").clone();
        // The next one to ask gets our id.
        let (again, process) = scene::somebodys(&scene.server.url(), "1000.9");
        assert_eq!(again, id.as_str());
        let cause = scene.helper.kill_session(&id).await.expect_err("it is not tracked any more");
        assert_snapshot!(scene.plain(cause, &[&id]), @r#"session `ID` is not tracked by this helper, so it was not touched: create it with `create_tracked_session`, or hand it over with `track_session`"#);
        assert!(process.is_well());
        scene.is_clean();
        scene.end().await;
    });
}

#[test]
fn an_id_that_is_somebodys_while_ours_is_still_tracked_is_named_and_left_alone() {
    termleash::block_on(async {
        let scene = Scene::start("reuse-id").await;
        let guard = scene.helper.create_tracked_session(scene.spec()).await.expect("a session");
        let id = guard.id().clone();
        // Somebody ends ours behind our back, and gets its id for theirs.
        request(&scene.server.url(), "DELETE", &format!("/sessions/{id}"), "");
        let (again, process) = scene::somebodys(&scene.server.url(), "1000.9");
        assert_eq!(again, id.as_str());
        let outcome = guard.close().await.expect("ours is gone");
        assert_snapshot!(notes(&scene, &outcome), @r#"its id names another session by now, which was not touched: its leader was pid N and is pid N"#);
        assert!(outcome.is_proven() && process.is_well(), "{outcome}");
        scene.is_clean();
        scene.end().await;
    });
}
