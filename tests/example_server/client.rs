//! A client of the example server, with no more HTTP than that takes.

use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything takes on a busy machine: whoever waits for this long waits for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    address: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null where there was none.
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        Self { address: url.strip_prefix("http://").expect("an address of HTTP").into() }
    }

    /// Sends a request, and nothing else.
    pub(crate) async fn open(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.expect("a server that listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// All that the server answers, be it complete or not.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = self.open(method, path, body).await;
        let mut bytes = Vec::new();
        // A connection that breaks off is what some tests ask for.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer");
        String::from_utf8(bytes).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let text = self.raw(method, path, body).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {text:?}"));
        let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
        Answer { status, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, "").await
    }

    /// A new session: where it is, and its first process.
    pub(crate) async fn create(&self, command: &[&str]) -> (String, u32) {
        let answer = self.post("/sessions", json!({ "command": command })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let pid = answer.body["pid"].as_u64().expect("a pid") as u32;
        (format!("/sessions/{}", answer.body["id"].as_str().expect("an id")), pid)
    }

    /// A new session that says `ready` when it has come to what matters.
    pub(crate) async fn shell(&self, script: &str) -> (String, u32) {
        let (session, pid) = self.create(&["sh", "-c", script]).await;
        self.until_output(&session, "ready").await;
        (session, pid)
    }

    /// All output so far.
    pub(crate) async fn output(&self, session: &str) -> String {
        let answer = self.get(&format!("{session}/output")).await;
        answer.body["text"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    pub(crate) async fn until_output(&self, session: &str, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.output(session).await;
            if text.contains(part) {
                return text;
            }
            assert!(Instant::now() < end, "no {part:?} in {text:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn until_exited(&self, session: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(session).await;
            if answer.body["status"] == "exited" {
                return answer.body["exit_code"].clone();
            }
            assert!(Instant::now() < end, "{answer:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The ids that the server lists, each with its status.
    pub(crate) async fn list(&self) -> Vec<(String, String)> {
        let answer = self.get("/sessions").await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let listed = answer.body.as_array().expect("a list").iter();
        listed.map(|session| (text(&session["id"]), text(&session["status"]))).collect()
    }

    pub(crate) async fn kill(&self, session: &str) {
        let answer = self.delete(session).await;
        assert_eq!((answer.status, &answer.body), (204, &Value::Null), "{answer:?}");
    }
}
