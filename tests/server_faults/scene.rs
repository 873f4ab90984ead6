//! A server with a fault, a session of somebody's on it, and what is true of both, seen without termleash.

use crate::on_example::{api, server};
use crate::processes::{Pinned, carriers};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use termleash::server::ServerGuard;
use termleash::session::{HttpBackend, SessionId};
use termleash::{SessionSpec, SessionTestHelper};

/// Much longer than any wait of a test, and no wait for ever.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    pub(crate) server: ServerGuard,
    pub(crate) helper: SessionTestHelper,
    /// An argument that nobody else's processes have.
    mark: String,
    /// A session that nobody here has made or tracks, made before all others.
    pub(crate) theirs: (String, Pinned),
    began: Instant,
}

impl Scene {
    /// The server fails from its second request on: the first makes somebody's session.
    pub(crate) async fn start(fault: &str) -> Self {
        Self::start_with(fault, 1, Duration::from_secs(2)).await
    }

    /// The same after so many requests, with this time for each request.
    pub(crate) async fn start_with(fault: &str, after: usize, timeout: Duration) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("1000.8{:07}{:06}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let server = server(&format!("--fault {fault} --fault-after {after}")).start().await.expect("a server");
        let helper = SessionTestHelper::new(HttpBackend::new(server.url(), api()).timeout(timeout));
        let theirs = somebodys(&server.url(), &mark);
        Self { server, helper, mark, theirs, began: Instant::now() }
    }

    /// It sleeps, and has a child that hears no hang-up.
    pub(crate) fn spec(&self) -> SessionSpec {
        SessionSpec::shell(format!("(trap '' HUP; sleep {0}; :) & sleep {0}; :", self.mark))
    }

    /// Nothing of ours is left, somebody's session lives, and it took no longer than it may.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        let left: Vec<_> = carriers(&self.mark).into_iter().filter(|it| it.pid != self.theirs.1.pid).collect();
        assert!(left.is_empty(), "these are left: {left:#?}");
        assert!(self.theirs.1.is_well(), "somebody's session was touched");
        assert!(self.began.elapsed() < BOUND, "{:?}", self.began.elapsed());
    }

    /// Nor does anybody carry a mark of ours.
    #[track_caller]
    pub(crate) fn is_unmarked(&self) {
        assert_eq!(self.helper.survivors().expect("a look"), []);
    }

    /// The server and all that it has started.
    pub(crate) async fn end(self) {
        let Self { server, helper, mark, theirs, .. } = self;
        drop(helper);
        server.close().await.expect("it ends");
        assert!(theirs.1.ends_within(BOUND));
        assert!(carriers(&mark).is_empty());
    }

    /// A text without what differs between two runs.
    pub(crate) fn plain(&self, text: impl ToString, ids: &[&SessionId]) -> String {
        let mut text = text.to_string().replace(&self.server.url(), "URL");
        for id in ids {
            text = text.replace(id.as_str(), "ID");
        }
        text = text.replace(&self.theirs.0, "THEIRS").replace(&self.mark, "MARK");
        text = without_numbers(&text);
        text
    }
}

/// Pids, ports and times become `N`; a status of three digits after `status` stays.
fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(from.len());
        let number = from[..end].trim_end_matches('.');
        plain.push_str(before);
        let is_name = before.ends_with(|c: char| c.is_ascii_alphabetic() || c == '`' || c == '_');
        plain.push_str(if before.ends_with("answered ") || before.ends_with("status ") || is_name {
            number
        } else {
            "N"
        });
        rest = &from[number.len()..];
    }
    plain + rest
}

/// Makes a session by a request of its own, as a person's client does.
pub(crate) fn somebodys(url: &str, mark: &str) -> (String, Pinned) {
    // A server that starts anew hangs up on all of its sessions.
    let body = json!({ "command": ["sh", "-c", format!("trap '' HUP; exec sleep {mark}")] }).to_string();
    let answer = request(url, "POST", "/sessions", &body);
    let pid = answer["pid"].as_u64().expect("a pid").try_into().expect("a small number");
    (answer["id"].as_str().expect("an id").into(), Pinned::open(pid).expect("it lives"))
}

/// What a server answers; null where it says nothing, or that is cut.
pub(crate) fn request(url: &str, method: &str, path: &str, body: &str) -> Value {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a server");
    stream.set_read_timeout(Some(BOUND)).expect("a time");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    write!(stream, "{head}{body}").expect("it reads");
    let mut text = String::new();
    // One that is cut has no end.
    let _ = stream.read_to_string(&mut text);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}
