//! A server's record that says of a session what is true of somebody else by now: its id was given again, or its process is a
//! stranger's. One record in a file is what a server that speaks HTTP and one that has a client both go by.

use crate::scene::{kill, until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use termleash::session::{CommandApi, CommandBackend, SessionId};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

/// Of either server's one session: a UUID in which nothing is random, so that it may well be given again.
const ID: &str = "00000000-0000-7000-8000-000000000007";

struct Record {
    directory: tempfile::TempDir,
}

impl Record {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The id means this process from now on.
    fn says(&self, pid: u32) {
        say(self.directory.path(), pid);
    }

    /// How often the server was asked to end the session.
    fn kills(&self) -> usize {
        std::fs::read_to_string(self.path("kills")).unwrap_or_default().lines().count()
    }

    fn client(&self) -> CommandBackend {
        let script = "case $1 in \
            new) shift; setsid \"$@\" < /dev/null > /dev/null 2>&1 & echo \"$ID $!\" > $0/record; cat $0/record ;; \
            list) cat $0/record 2> /dev/null || true ;; \
            kill) echo $2 >> $0/kills; read -r _ pid < $0/record; rm $0/record; kill -9 $pid ;; esac";
        let script = script.replace("$ID", ID);
        let directory = self.directory.path().to_str().unwrap();
        let api = CommandApi::new("sh").first(["-c", &script, directory]).create(["new", "{command}"]);
        CommandBackend::new(api.kill(["kill", "{id}"]).list(["list"]).fields(0, Some(1), None))
    }
}

fn say(directory: &Path, pid: u32) {
    let part = directory.join("part");
    std::fs::write(&part, format!("{ID} {pid}\n")).unwrap();
    std::fs::rename(part, directory.join("record")).unwrap();
}

struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        let mut command = Command::new("setsid");
        Self(command.args(["sleep", "1000"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeps() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

/// Ours is proven to be gone, and its id is somebody's.
async fn a_second_kill_reaches_nobody(record: &Record, backend: impl SessionBackend) {
    let helper = SessionTestHelper::new(backend);
    let session = helper.create_tracked_session(sleeps()).await.unwrap().keep();
    let id = session.id().clone();
    assert!(session.leader().is_some() && helper.kill_session(&id).await.unwrap().is_proven());
    assert_eq!(record.kills(), 1);
    let mut stranger = Stranger::new();
    record.says(stranger.0.id());
    for _ in 0..2 {
        assert!(helper.kill_session(&id).await.unwrap_err().is_not_tracked());
        assert!(helper.kill_tracked_sessions().await.unwrap().outcomes().is_empty());
    }
    assert!(record.kills() == 1 && stranger.lives());
}

/// Ours has ended behind our back, and the record's process is a stranger's.
async fn a_record_that_names_a_stranger_ends_nobody(record: &Record, backend: impl SessionBackend) {
    let helper = SessionTestHelper::new(backend);
    let leader = helper.create_tracked_session(sleeps()).await.unwrap().keep().leader().unwrap().clone();
    kill(leader.pid());
    until("its end", || (!leader.is_alive()).then_some(()));
    let mut stranger = Stranger::new();
    record.says(stranger.0.id());
    let report = helper.kill_tracked_sessions().await.unwrap();
    let notes = report.outcomes()[0].notes();
    assert!(report.is_proven() && notes.iter().any(|note| note.contains("names another session by now")), "{report}");
    assert!(record.kills() == 0 && stranger.lives(), "{report}");
}

/// Handed over with a record that was wrong already. What the server does to its own id is its own; no signal is of ours.
async fn a_stale_record_that_is_handed_over_gets_no_stranger_killed(record: &Record, backend: impl SessionBackend) {
    let helper = SessionTestHelper::new(backend);
    let mut stranger = Stranger::new();
    record.says(stranger.0.id());
    helper.track_session(ID).await.unwrap();
    assert_eq!(helper.session(&SessionId::new(ID).unwrap()).unwrap().leader_pid(), None);
    // The server forgets it, and would say to whom it belonged no more.
    std::fs::remove_file(record.path("record")).unwrap();
    let report = helper.kill_tracked_sessions().await.unwrap();
    let notes = report.outcomes()[0].notes();
    assert!(notes.iter().any(|note| note.contains("by its backend's word")), "{report}");
    assert!(record.kills() == 0 && stranger.lives(), "{report}");
}

#[tokio::test]
async fn a_second_kill_by_a_client_reaches_nobody() {
    let record = Record::new();
    a_second_kill_reaches_nobody(&record, record.client()).await;
}

#[tokio::test]
async fn a_clients_record_that_names_a_stranger_ends_nobody() {
    let record = Record::new();
    a_record_that_names_a_stranger_ends_nobody(&record, record.client()).await;
}

#[tokio::test]
async fn a_clients_stale_record_that_is_handed_over_gets_no_stranger_killed() {
    let record = Record::new();
    a_stale_record_that_is_handed_over_gets_no_stranger_killed(&record, record.client()).await;
}

#[cfg(feature = "http")]
mod by_http {
    use super::*;
    use serde_json::{Value, json};
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use termleash::session::{HttpApi, HttpBackend};

    /// A server that goes by the record, in threads of this process, and says nothing of its own process.
    fn backend(record: &Record) -> HttpBackend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let directory = record.directory.path().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that has given up is no matter.
                let _ = answer(&directory, &stream.unwrap());
            }
        });
        let api = HttpApi::new()
            .create("POST", "/s")
            .command_field("/command")
            .id_field("/id")
            .state("GET", "/s/{id}")
            .leader_field("/pid")
            .kill("DELETE", "/s/{id}");
        HttpBackend::new(url, api)
    }

    fn answer(directory: &Path, mut stream: &TcpStream) -> std::io::Result<()> {
        let (mut reader, mut length, mut lines) = (BufReader::new(stream), 0, Vec::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            let found = line.to_lowercase().strip_prefix("content-length: ").and_then(|text| text.trim().parse().ok());
            length = found.unwrap_or(length);
            lines.push(line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let method = lines.first().and_then(|line| line.split(' ').next()).unwrap_or_default().to_owned();
        let recorded = std::fs::read_to_string(directory.join("record")).ok();
        let recorded: Option<u32> = recorded.and_then(|text| text.trim().rsplit(' ').next()?.parse().ok());
        let (status, said) = match (method.as_str(), recorded) {
            ("POST", _) => {
                create(directory, &serde_json::from_slice(&body)?);
                (200, json!({"id": ID}))
            }
            ("GET", Some(pid)) => (200, json!({"pid": pid})),
            ("DELETE", Some(pid)) => {
                let mut kills = std::fs::File::options().append(true).create(true).open(directory.join("kills"))?;
                writeln!(kills, "{ID}")?;
                std::fs::remove_file(directory.join("record"))?;
                kill(pid);
                (200, json!({}))
            }
            _ => (404, json!({})),
        };
        let said = said.to_string();
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{said}", said.len())
    }

    fn create(directory: &Path, body: &Value) {
        let words: Vec<&str> = body["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let mut command = Command::new("setsid");
        let mut child = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        say(directory, child.id());
        std::thread::spawn(move || child.wait());
    }

    #[tokio::test]
    async fn a_second_kill_reaches_nobody() {
        let record = Record::new();
        super::a_second_kill_reaches_nobody(&record, backend(&record)).await;
    }

    #[tokio::test]
    async fn a_record_that_names_a_stranger_ends_nobody() {
        let record = Record::new();
        super::a_record_that_names_a_stranger_ends_nobody(&record, backend(&record)).await;
    }

    #[tokio::test]
    async fn a_stale_record_that_is_handed_over_gets_no_stranger_killed() {
        let record = Record::new();
        super::a_stale_record_that_is_handed_over_gets_no_stranger_killed(&record, backend(&record)).await;
    }
}
