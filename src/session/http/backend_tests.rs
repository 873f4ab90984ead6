//! What a backend makes of each answer, on a server that answers what a test has written down.

use super::*;
use crate::runtime::park_on;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

const ID: &str = "9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d";

/// Answers by path; it ends with this process.
#[derive(Clone, Default)]
struct Server {
    url: String,
    answers: Arc<Mutex<HashMap<String, (u16, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { url: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let of_thread = server.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(of_thread.answer(stream))));
        server.says("/health", 200, json!({"pid": 7}));
        server
    }

    fn says(&self, path: &str, status: u16, body: Value) {
        self.answers.lock().insert(path.into(), (status, body));
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
        reader.read_line(&mut first)?;
        while reader.read_line(&mut line)? > 2 {
            if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse().unwrap_or_default();
            }
            line.clear();
        }
        reader.read_exact(&mut vec![0; length])?;
        let path = first.split(' ').nth(1).unwrap_or_default();
        self.asked.lock().push(path.into());
        let (status, body) = self.answers.lock().get(path).cloned().unwrap_or((404, Value::Null));
        let body = body.to_string();
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// How often its health was asked since the last time.
    fn health_asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock()).iter().filter(|path| *path == "/health").count()
    }
}

fn api() -> HttpApi {
    let api = HttpApi::new().create("POST", "/new").command_field("/command").id_field("/id").state("GET", "/s/{id}");
    api.kill("DELETE", "/s/{id}").discard("DELETE", "/r/{id}").health("GET", "/health", "/pid")
}

fn id() -> SessionId {
    SessionId::new(ID).unwrap()
}

/// What it says of the session of [`ID`], as a text.
fn said(backend: &HttpBackend, id: &SessionId) -> String {
    match park_on(backend.state(id)) {
        Ok(state) => format!("{state:?}"),
        Err(cause) => cause.to_string(),
    }
}

/// It may have been started anew, and an id that it gives again is that of another session then.
#[test]
fn the_server_is_asked_who_it_is_once_for_an_id_that_is_never_given_again() {
    let server = Server::start();
    let backend = HttpBackend::new(&server.url, api());
    let path = format!("/s/{ID}");
    let asks = |times: [usize; 2]| {
        let asked = times.map(|_| {
            assert!(park_on(backend.state(&id())).unwrap().is_running());
            server.health_asked()
        });
        assert_eq!(asked, times);
    };
    server.says(&path, 200, json!({}));
    asks([1, 0]);
    // It has gone, and is there again.
    server.says(&path, 404, json!({}));
    assert!(matches!(park_on(backend.state(&id())), Ok(SessionState::Unknown)));
    server.says(&path, 200, json!({}));
    asks([1, 0]);
    park_on(backend.discard_record(&id())).unwrap();
    asks([1, 0]);
    // One that it has just made.
    let backend = HttpBackend::new(&server.url, api());
    server.says("/new", 200, json!({"id": ID}));
    let _created = park_on(backend.create(&SessionSpec::new("true"))).unwrap();
    server.health_asked();
    assert!(park_on(backend.state(&id())).unwrap().is_running());
    assert_eq!(server.health_asked(), 0);
}

#[test]
fn who_the_server_is_is_asked_each_time_for_an_id_that_may_be_given_again() {
    let server = Server::start();
    let backend = HttpBackend::new(&server.url, api());
    server.says("/s/1", 200, json!({}));
    for _ in 0..3 {
        assert!(park_on(backend.state(&SessionId::new("1").unwrap())).unwrap().is_running());
        assert_eq!(server.health_asked(), 1);
    }
}

#[test]
fn only_the_words_of_the_description_say_whether_a_session_runs() {
    let server = Server::start();
    let api = api().status_field("/status", ["up"], ["down", "false"]).exit_code_field("/code").state_id_field("/id");
    let backend = HttpBackend::new(&server.url, api.leader_field("/pid"));
    let says = |answer: Value| {
        server.says(&format!("/s/{ID}"), 200, answer);
        said(&backend, &id())
    };
    assert!(says(json!({"id": ID, "status": "up", "pid": 9})).contains("leader: Some(9)"));
    assert!(says(json!({"id": ID, "status": "up", "pid": 0})).contains("leader: None"));
    assert_eq!(says(json!({"id": ID, "status": "down", "code": 3})), "Exited(Some(Exited(3)))");
    assert_eq!(says(json!({"id": ID, "status": false})), "Exited(None)");
    assert!(says(json!({"id": ID, "status": "sideways"})).contains("\"sideways\", which is none of up, down, false"));
    assert!(says(json!({"id": "2", "status": "up"})).contains("answered with another session"));
}

#[test]
fn each_status_is_an_answer_or_an_error_that_says_what_may_be_wrong() {
    let server = Server::start();
    let backend = HttpBackend::new(format!("{}/", server.url), api());
    let says = |status| {
        server.says(&format!("/s/{ID}"), status, json!({}));
        said(&backend, &id())
    };
    assert!(says(201).starts_with("Running"));
    assert_eq!([says(404), says(410)], ["Unknown", "Unknown"]);
    for (status, hint) in [(401, "is the secret right"), (403, "is the secret right"), (307, "no redirect"), (500, "")]
    {
        let said = says(status);
        assert!(said.contains(&format!("was answered with status {status}")) && said.contains(hint), "{said}");
    }
}

#[test]
fn an_id_of_a_creation_is_one_that_the_server_takes() {
    let server = Server::start();
    server.says("/new", 200, json!({"id": 1}));
    let create = |api| park_on(HttpBackend::new(&server.url, api).create(&SessionSpec::new("true")));
    let error = create(api().ids_are_uuids()).unwrap_err();
    assert!(error.to_string().contains("`1` is no id of this server's"), "{error}");
    server.asked.lock().clear();
    assert_eq!(create(api()).unwrap().id().as_str(), "1");
    // Nothing is asked that the description does not say.
    assert_eq!(*server.asked.lock(), ["/health", "/new"]);
}

/// `null` would be the id of every session that the server could not make.
#[test]
fn what_is_neither_text_nor_whole_number_is_no_id() {
    let server = Server::start();
    let backend = HttpBackend::new(&server.url, api().state_id_field("/id").list("GET", "/all", "", "/id"));
    for wrong in
        [json!(null), json!(true), json!([1]), json!({"a": 1}), json!(1.5), json!(18_446_744_073_709_551_616.0)]
    {
        server.says("/new", 200, json!({"id": wrong}));
        server.says("/all", 200, json!([{"id": wrong}]));
        server.says(&format!("/s/{ID}"), 200, json!({"id": wrong}));
        let created = park_on(backend.create(&SessionSpec::new("true"))).unwrap_err().to_string();
        let listed = park_on(backend.list()).unwrap_err().to_string();
        for said in [created, listed, said(&backend, &id())] {
            assert!(said.contains(&format!("{wrong} stands where a session's id should")), "{said}");
        }
    }
    server.says("/all", 200, json!([{"id": 7}, {"id": -7_i64 + 8}, {"id": "x"}]));
    let listed = park_on(backend.list()).unwrap();
    assert_eq!(listed.iter().map(SessionId::as_str).collect::<Vec<_>>(), ["7", "1", "x"]);
}

/// A server may take such a request for one about all of its sessions.
#[test]
fn a_request_about_a_session_that_does_not_name_it_is_not_sent() {
    let server = Server::start();
    let api = api().kill("DELETE", "/s").discard("DELETE", "/r").state("GET", "/s");
    let backend = HttpBackend::new(&server.url, api);
    server.says("/s", 200, json!({}));
    let told = [
        park_on(backend.kill(&id())).unwrap_err(),
        park_on(backend.discard_record(&id())).unwrap_err(),
        park_on(backend.state(&id())).unwrap_err(),
    ];
    for (told, what) in told.iter().zip(["end a session, `DELETE /s`", "discard a record, `DELETE /r`", "`GET /s`"]) {
        let told = told.to_string();
        assert!(told.contains(what) && told.contains("could be about all of them"), "{told}");
    }
    assert!(server.asked.lock().is_empty());
}

#[test]
fn a_field_is_put_where_its_pointer_says() {
    let mut body = json!({});
    for (pointer, value) in [("/a/b", 1), ("/a/c~1d", 2), ("/~01", 3)] {
        put(&mut body, pointer, value.into()).unwrap();
    }
    assert_eq!(body, json!({"a": {"b": 1, "c/d": 2}, "~1": 3}));
    assert!(put(&mut body, "a", 1.into()).is_err() && put(&mut body, "/a/b/c", 1.into()).is_err());
}

#[test]
fn a_variable_that_is_removed_is_said_in_the_command_where_a_field_can_only_set() {
    let backend = HttpBackend::new("http://127.0.0.1:1", api().environment_field("/env"));
    let body = |spec: SessionSpec| backend.body(&spec).unwrap();
    let set = body(SessionSpec::new("true").env("A", "b"));
    assert_eq!(set, json!({"command": ["true"], "env": {"A": "b"}}));
    let removed = body(SessionSpec::new("true").env("A", "b").env_remove("C"));
    assert_eq!(removed, json!({"command": ["env", "-u", "C", "A=b", "true"]}));
}
