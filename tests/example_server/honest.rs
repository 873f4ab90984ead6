//! Each route, and what programs on its terminals see.

use crate::child::{ServerProcess, becomes, children, descriptors, lives, within};
use crate::client::Client;
use crate::terminal_server::Server;
use crate::terminal_server::options::Options;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use uuid::Uuid;

async fn started() -> (Server, Client) {
    with(Options::default()).await
}

async fn with(options: Options) -> (Server, Client) {
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server.url);
    (server, client)
}

#[tokio::test]
async fn a_session_is_listed_as_it_is_from_its_creation_to_its_second_deletion() {
    let (server, client) = started().await;
    assert_eq!(client.list().await, []);
    let asked = json!({ "command": ["sleep", "1000"], "name": "x", "cols": 100, "rows": 30 });
    let created = client.post("/sessions", asked).await;
    assert_eq!(created.status, 201, "{created:?}");
    let (id, pid) = (&created.body["id"], &created.body["pid"]);
    assert_eq!(id.as_str().unwrap().parse::<Uuid>().unwrap().get_version_num(), 4);
    let expected = |status: &str, code: Value| json!({ "id": id, "name": "x", "command": ["sleep", "1000"], "status": status, "exit_code": code, "pid": pid });
    let session = format!("/sessions/{}", id.as_str().unwrap());
    assert_eq!(client.get(&session).await.body, expected("running", Value::Null));
    assert_eq!(client.get("/sessions").await.body, json!([expected("running", Value::Null)]));
    let health = client.get("/health").await.body;
    assert_eq!((&health["status"], &health["sessions"], &health["records"]), (&json!("ok"), &json!(1), &json!(1)));
    assert_eq!(health["pid"], std::process::id());

    client.kill(&session).await;
    assert!(
        !lives(pid.as_u64().unwrap() as u32) && !children(std::process::id()).contains(&(pid.as_u64().unwrap() as u32))
    );
    assert_eq!(client.get("/sessions").await.body, json!([expected("exited", json!(129))]));
    assert_eq!(client.get("/health").await.body["sessions"], 0);
    client.kill(&session).await;
    assert_eq!(client.list().await, []);
    for answer in [client.get(&session).await, client.delete(&session).await] {
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.body["error"].as_str().unwrap().contains(id.as_str().unwrap()), "{answer:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_work_is_an_error_that_says_why_and_leaves_nothing() {
    let server = ServerProcess::start("");
    let client = &server.client;
    let refused = [
        (json!({ "command": ["no-such-program"] }), 400, "no-such-program"),
        (json!({ "command": ["/no/such/program"] }), 400, "/no/such/program"),
        (json!({ "command": [] }), 400, "`command` is empty"),
        (json!({ "command": ["true"], "directory": "/no/such" }), 400, "\"/no/such\" is no directory"),
        (json!({ "command": ["true"], "cols": 0 }), 400, "a size of 0 by 24"),
        (json!({ "command": ["true"], "environment": { "A=B": "" } }), 400, "\"A=B\""),
        (json!({ "command": ["true"], "colums": 1 }), 422, "colums"),
        (json!({ "name": "x" }), 422, "command"),
    ];
    for (asked, status, part) in refused {
        let answer = client.post("/sessions", asked).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body["error"].as_str().unwrap().contains(part), "{part}: {answer:?}");
    }
    for path in ["/nothing", "/sessions/x", &format!("/sessions/{}", Uuid::new_v4()), "/sessions/x/output"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    let (session, _) = client.shell("echo ready; exec sleep 1000").await;
    assert_eq!(client.get(&format!("{session}/output?from=x")).await.status, 400);
    assert_eq!(client.post(&format!("{session}/size"), json!({ "cols": 1, "rows": 0 })).await.status, 400);
    client.kill(&session).await;
    // It is dead, and there is nobody to type to.
    assert_eq!(client.post(&format!("{session}/input"), json!({ "text": "x" })).await.status, 409);
    assert_eq!(client.post(&format!("{session}/size"), json!({ "cols": 9, "rows": 9 })).await.status, 409);
    client.kill(&session).await;
    assert_eq!(client.list().await, []);
    becomes(|| server.counts(), server.at_rest.clone());
    server.end();
}

#[tokio::test]
async fn an_interactive_shell_answers_and_sees_its_new_size() {
    let (server, client) = started().await;
    let (session, _) = client.create(&["bash", "--norc", "-i"]).await;
    let typed = async |text: &str| {
        assert_eq!(client.post(&format!("{session}/input"), json!({ "text": text })).await.status, 204);
    };
    typed("echo \"<$((6*7))>\"\r").await;
    client.until_output(&session, "<42>").await;
    typed("stty size\r").await;
    client.until_output(&session, "24 80").await;
    assert_eq!(client.post(&format!("{session}/size"), json!({ "cols": 132, "rows": 43 })).await.status, 204);
    typed("stty size\r").await;
    client.until_output(&session, "43 132").await;
    typed("exit 3\r").await;
    assert_eq!(client.until_exited(&session).await, 3);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_session_has_the_directory_environment_and_id_that_it_was_given() {
    let (server, client) = started().await;
    let script = "echo \"$PWD,$A_NAME,$TERM,$TERMINAL_SERVER_SESSION,\"";
    let asked =
        json!({ "command": ["sh", "-c", script], "directory": "/usr", "environment": { "A_NAME": "a 'value'" } });
    let answer = client.post("/sessions", asked).await;
    let id = answer.body["id"].as_str().unwrap();
    let expected = format!("/usr,a 'value',xterm-256color,{id},");
    client.until_output(&format!("/sessions/{id}"), &expected).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn output_is_capped_and_says_what_was_dropped() {
    let (server, client) = with(Options { max_output: 1000, ..Options::default() }).await;
    let (session, _) = client.create(&["seq", "1", "2000"]).await;
    client.until_exited(&session).await;
    // Each number and its two characters of a new line: 9 + 180 + 2700 + 4004 digits.
    let all = 6893 + 2 * 2000;
    let part = client.get(&format!("{session}/output")).await.body;
    assert_eq!((&part["from"], &part["next"], &part["dropped"]), (&json!(all - 1000), &json!(all), &json!(all - 1000)));
    let text = part["text"].as_str().unwrap();
    assert!(text.len() == 1000 && text.ends_with("1999\r\n2000\r\n"), "{text}");
    let part = client.get(&format!("{session}/output?from={}", all - 6)).await.body;
    assert_eq!(part, json!({ "text": "2000\r\n", "from": all - 6, "next": all, "dropped": 0 }));
    let part = client.get(&format!("{session}/output?from={}", all + 5)).await.body;
    assert_eq!(part, json!({ "text": "", "from": all, "next": all, "dropped": 0 }));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_character_comes_whole_when_its_last_byte_does() {
    let (server, client) = started().await;
    let (session, _) =
        client.shell("stty -echo; printf 'ready\\303'; read _; printf '\\274'; read _; printf '\\303'").await;
    let part = client.get(&format!("{session}/output")).await.body;
    assert_eq!((&part["text"], &part["next"]), (&json!("ready"), &json!(5)));
    client.post(&format!("{session}/input"), json!({ "text": "\r" })).await;
    client.until_output(&session, "readyü").await;
    client.post(&format!("{session}/input"), json!({ "text": "\r" })).await;
    client.until_exited(&session).await;
    assert_eq!(client.output(&session).await, "readyü\u{fffd}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_program_that_heeds_neither_hang_up_nor_termination_is_dead_when_the_kill_is_answered() {
    let (server, client) = started().await;
    let (session, pid) = client.shell("trap '' HUP TERM; echo ready; while :; do sleep 1000; done").await;
    client.kill(&session).await;
    assert!(!lives(pid));
    assert_eq!(client.until_exited(&session).await, 137);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopped_program_takes_its_hang_up() {
    let (server, client) = started().await;
    let (session, pid) = client.shell("trap 'exit 5' HUP; echo ready; kill -STOP $$; sleep 1000 & wait").await;
    within(|| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T "));
    client.kill(&session).await;
    assert_eq!(client.until_exited(&session).await, 5);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_kill_goes_on_when_the_client_has_gone() {
    let (server, client) = started().await;
    let (session, pid) = client.shell("trap '' HUP TERM; echo ready; while :; do sleep 1000; done").await;
    let mut stream = client.open("DELETE", &session, "").await;
    // It has been read when another request has been answered, at the latest.
    client.get("/health").await;
    tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
    drop(stream);
    assert_eq!(client.until_exited(&session).await, 137);
    assert!(!lives(pid));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_program_that_ends_by_itself_leaves_its_record_and_output_only() {
    let server = ServerProcess::start("");
    let client = &server.client;
    for (script, code) in [("echo done; exit 7", 7), ("echo done; kill -KILL $$", 137)] {
        let (session, _) = client.create(&["sh", "-c", script]).await;
        assert_eq!(client.until_exited(&session).await, code);
        assert_eq!(client.output(&session).await, "done\r\n");
        assert_eq!(client.post(&format!("{session}/input"), json!({ "text": "x" })).await.status, 409);
    }
    becomes(|| server.counts(), server.at_rest.clone());
    server.end();
}

#[tokio::test]
async fn a_session_is_over_with_its_first_process_though_others_hold_its_terminal() {
    let server = ServerProcess::start("");
    let client = &server.client;
    let (session, _) = client.shell("trap '' HUP; sleep 1000 & echo ready $!.").await;
    assert_eq!(client.until_exited(&session).await, 0);
    becomes(|| server.counts(), server.at_rest.clone());
    let output = client.output(&session).await;
    let survivor: i32 = output.split(['.', ' ']).nth(1).unwrap().parse().unwrap();
    assert!(lives(survivor as u32), "the server has no right to it");
    // Started by this test, seconds ago.
    kill_process(Pid::from_raw(survivor).unwrap(), Signal::KILL).unwrap();
    server.end();
}

#[tokio::test]
async fn a_program_that_closes_its_terminal_costs_nothing_and_can_be_killed() {
    let server = ServerProcess::start("");
    let (session, pid) = server.client.shell("echo ready; exec sleep 1000 </dev/null >/dev/null 2>&1").await;
    within(|| descriptors(pid).iter().all(|target| target == "/dev/null"));
    let (before, _) = server.activity();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let took = server.activity().0 - before;
    assert!(took < 100_000_000, "{took} ns of a processor, in half a second");
    server.client.kill(&session).await;
    assert!(!lives(pid));
    server.end();
}

#[tokio::test]
async fn input_that_nobody_reads_is_refused_in_time() {
    let (server, client) = started().await;
    let (session, _) = client.shell("stty raw -echo; echo ready; exec sleep 1000").await;
    let answer = client.post(&format!("{session}/input"), json!({ "text": "x".repeat(1 << 20) })).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body["error"].as_str().unwrap().contains("does not read"), "{answer:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn sessions_have_no_descriptor_but_their_own_terminal() {
    let (server, client) = started().await;
    let mut pids = Vec::new();
    for _ in 0..5 {
        pids.push(client.shell("echo ready; exec sleep 1000").await.1);
    }
    for pid in pids {
        // Programs that start read files of their own.
        let inherited = |target: &String| !target.starts_with('/') || target.starts_with("/dev/pt");
        let targets: Vec<_> = descriptors(pid).into_iter().filter(inherited).collect();
        assert!(targets.len() == 3 && targets.iter().all(|target| *target == targets[0]), "{targets:?}");
        assert!(targets[0].starts_with("/dev/pts/"), "{targets:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn two_hundred_sessions_leave_nothing() {
    let server = ServerProcess::start("");
    let client = &server.client;
    for _ in 0..40 {
        let mut sessions = Vec::new();
        for command in [&["sleep", "1000"][..], &["cat"], &["sh"], &["bash", "--norc", "-i"], &["true"]] {
            sessions.push(client.create(command).await.0);
        }
        for session in sessions {
            client.kill(&session).await;
            // One that ended by itself has had its record removed by now.
            client.delete(&session).await;
        }
    }
    assert_eq!(client.list().await, []);
    becomes(|| server.counts(), server.at_rest.clone());
    server.end();
}
