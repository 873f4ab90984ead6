//! Each fault, seen from outside: what the client is told, and what is true.

use crate::child::{ServerProcess, lives, within};
use crate::client::Client;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// It ends, and has ended all its sessions, those of this process included.
fn ends_with(server: ServerProcess, pid: u32) {
    server.end();
    assert!(!lives(pid));
}

#[tokio::test]
async fn slow_answers_come_late() {
    let server = ServerProcess::start("--fault slow");
    let begin = Instant::now();
    let (_, pid) = server.client.create(&["cat"]).await;
    server.client.list().await;
    assert!(begin.elapsed() >= Duration::from_millis(600), "{:?}", begin.elapsed());
    ends_with(server, pid);
}

#[tokio::test]
async fn a_fault_begins_after_so_many_requests() {
    let server = ServerProcess::start("--fault refuse --fault-after 2");
    server.client.get("/health").await;
    let (session, pid) = server.client.create(&["cat"]).await;
    server.client.create(&["cat"]).await;
    for _ in 0..2 {
        let answer = server.client.post("/sessions", json!({ "command": ["cat"] })).await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(server.client.list().await.len(), 2);
    server.client.kill(&session).await;
    ends_with(server, pid);
}

#[tokio::test]
async fn a_cut_answer_is_shorter_than_it_says() {
    let server = ServerProcess::start("--fault cut");
    let client = &server.client;
    assert_eq!(client.get("/health").await.status, 200);
    for (method, path, body, status) in [
        ("POST", "/sessions", "{\"command\":[\"cat\"]}", "HTTP/1.1 201"),
        ("GET", "/sessions", "", "HTTP/1.1 200"),
        ("DELETE", "/sessions/x", "", "HTTP/1.1 404"),
    ] {
        let text = client.raw(method, path, body).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        assert!(head.starts_with(status), "{text:?}");
        let announced = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert!(!body.is_empty() && body.len() < announced.parse().unwrap(), "{text:?}");
    }
    // What was asked for has been done.
    assert_eq!(client.get("/health").await.body["sessions"], 1);
    server.end();
}

#[tokio::test]
async fn a_lie_calls_a_living_session_exited() {
    let server = ServerProcess::start("--fault lie");
    let (session, pid) = server.client.create(&["cat"]).await;
    server.client.kill(&session).await;
    assert_eq!(server.client.get(&session).await.body["status"], "exited");
    assert!(lives(pid));
    server.client.kill(&session).await;
    assert_eq!(server.client.get(&session).await.status, 404);
    assert!(lives(pid));
    ends_with(server, pid);
}

#[tokio::test]
async fn a_forgotten_session_lives() {
    let server = ServerProcess::start("--fault forget");
    let (session, pid) = server.client.create(&["cat"]).await;
    server.client.kill(&session).await;
    assert_eq!(server.client.get(&session).await.status, 404);
    assert_eq!(server.client.list().await, []);
    assert!(lives(pid));
    ends_with(server, pid);
}

#[tokio::test]
async fn a_wrong_id_is_nobodys() {
    let server = ServerProcess::start("--fault wrong-id");
    let (session, pid) = server.client.create(&["cat"]).await;
    assert_eq!(server.client.delete(&session).await.status, 404);
    assert!(lives(pid));
    let listed = server.client.list().await;
    assert!(listed.len() == 1 && !session.ends_with(&listed[0].0), "{session}, and {listed:?}");
    ends_with(server, pid);
}

#[tokio::test]
async fn an_id_is_used_again_after_its_session_has_ended() {
    let server = ServerProcess::start("--fault reuse-id");
    let client = &server.client;
    let (first, one) = client.create(&["cat"]).await;
    let (second, _) = client.create(&["cat"]).await;
    assert_ne!(first, second);
    client.kill(&first).await;
    let (third, other) = client.create(&["cat"]).await;
    assert_eq!(first, third);
    assert_eq!(client.list().await.len(), 2);
    assert_eq!(client.get(&first).await.body["pid"], other);
    assert!(!lives(one) && lives(other));
    assert_ne!(client.create(&["cat"]).await.0, first);
    ends_with(server, other);
}

#[tokio::test]
async fn a_restarted_server_knows_nothing_of_its_sessions() {
    let mut server = ServerProcess::start("--fault restart");
    let before = server.client.get("/health").await.body;
    let (polite, dead) = server.client.create(&["cat"]).await;
    let (_, stubborn) = server.client.shell("trap '' HUP; echo ready; while :; do sleep 1000; done").await;
    assert_eq!(server.client.raw("DELETE", &polite, "").await, "");
    let client = Client::new(&server.says_again_where());
    let after = client.get("/health").await.body;
    assert_eq!(before["pid"], after["pid"]);
    assert_ne!(before["instance"], after["instance"]);
    assert_eq!(client.list().await, []);
    assert!(lives(stubborn) && !lives(dead));
    // It is honest from now on.
    let (session, pid) = client.create(&["cat"]).await;
    client.kill(&session).await;
    assert!(!lives(pid));
    // The one that lives on is a child of this test's server, and nobody else will end it.
    let survivor = rustix::process::Pid::from_raw(stubborn as i32).unwrap();
    rustix::process::kill_process_group(survivor, rustix::process::Signal::KILL).unwrap();
    within(|| !lives(stubborn));
    server.end();
}

#[tokio::test]
async fn a_kill_that_hangs_is_never_answered_while_all_else_is() {
    let server = ServerProcess::start("--fault hang");
    let (session, pid) = server.client.create(&["cat"]).await;
    let mut waiting = server.client.open("DELETE", &session, "").await;
    let mut bytes = Vec::new();
    let answered = timeout(Duration::from_millis(700), waiting.read_to_end(&mut bytes)).await;
    assert!(answered.is_err() && bytes.is_empty(), "{bytes:?}");
    assert_eq!(server.client.get(&session).await.body["status"], "running");
    assert!(lives(pid));
    ends_with(server, pid);
}
