//! Processes of others that a server, or a number, takes for ours.

use crate::on_example::{api, server};
use crate::processes::Pinned;
use crate::scene::{Scene, request, somebodys};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use termleash::session::HttpBackend;
use termleash::{SessionSpec, SessionTestHelper};

/// A stranger that no test leaves behind.
struct OnLoan(Child);

impl Drop for OnLoan {
    fn drop(&mut self) {
        // It is our child: either it lives, or it has not been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Stands before a server and says of each session that its first process is this one.
fn liar_before(url: &str, pid: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let liar = format!("http://{}", listener.local_addr().expect("an address"));
    let address = url.trim_start_matches("http://").to_owned();
    // It ends with this process.
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = pass_on(client, &address, pid);
        }
    });
    liar
}

/// One request, and its answer with another pid in it.
fn pass_on(client: TcpStream, address: &str, pid: u32) -> std::io::Result<()> {
    let mut reader = BufReader::new(&client);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or_default();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut answer = request(&format!("http://{address}"), method, path, &String::from_utf8_lossy(&body));
    if path != "/health" && answer["pid"].is_number() {
        answer["pid"] = pid.into();
    }
    let status = match (&answer["error"], method) {
        (error, _) if error.is_string() => "404 Not Found",
        (_, "POST") => "201 Created",
        _ => "200 OK",
    };
    let answer = answer.to_string();
    write!(&client, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
}

#[test]
fn a_server_that_lies_about_the_pid_gets_no_stranger_killed() {
    let mut stranger = Command::new("sleep");
    stranger.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let stranger = OnLoan(stranger.spawn().expect("a sleep"));
    let held = Pinned::open(stranger.0.id()).expect("it lives");
    termleash::block_on(async {
        let server = server("").start().await.expect("a server");
        let theirs = somebodys(&server.url(), "1000.9");
        // Of another session of the same server, and of nobody's.
        for pid in [stranger.0.id(), theirs.1.pid, server.pid()] {
            let liar = liar_before(&server.url(), pid);
            let helper = SessionTestHelper::new(HttpBackend::new(liar, api()).timeout(Duration::from_secs(5)));
            let created = helper.create_tracked_session(SessionSpec::new("cat")).await;
            let said = match created {
                Ok(guard) => format!("{:?}", guard.close().await.map(|outcome| outcome.notes().join("\n"))),
                Err(cause) => cause.to_string(),
            };
            assert!(held.is_well() && theirs.1.is_well() && server.is_alive(), "{pid}: {said}");
            assert!(helper.survivors().expect("a look").is_empty(), "{pid}: {said}");
            assert!(said.contains(&format!("{pid}")), "{pid}: {said}");
        }
        server.close().await.expect("it ends");
    });
    assert!(held.is_well());
}

/// Its hold on the terminal proves nothing, and keeps nobody from the end of ours.
#[test]
fn a_strangers_younger_process_that_has_our_terminal_lives() {
    termleash::block_on(async {
        let scene = Scene::start_with("refuse", 1000, Duration::from_secs(5)).await;
        let guard = scene.helper.create_tracked_session(scene.spec()).await.expect("a session");
        let state = request(&scene.server.url(), "GET", &format!("/sessions/{}", guard.id()), "");
        let leader = state["pid"].as_u64().expect("a pid");
        // Anybody of this user may open it.
        let slave = std::fs::read_link(format!("/proc/{leader}/fd/0")).expect("a terminal");
        let held = std::fs::File::open(&slave).expect("a terminal of this user's");
        let mut stranger = Command::new("sleep");
        stranger.arg("1000").stdin(held).stdout(Stdio::null()).stderr(Stdio::null());
        let stranger = OnLoan(stranger.spawn().expect("a sleep"));
        let pinned = Pinned::open(stranger.0.id()).expect("it lives");
        let outcome = guard.close().await.expect("a proven end");
        assert!(pinned.is_well(), "{outcome}");
        assert!(outcome.is_proven(), "{outcome}");
        scene.is_clean();
        scene.end().await;
    });
}
