//! A small real server of terminal sessions that speaks HTTP as VibeTunnel does, with faults.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How it differs from a good server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Its sessions get no variable, not even in the command, and it says no leader.
    pub(crate) is_opaque: bool,
    /// A kill takes so long.
    pub(crate) kill_takes: Duration,
    /// Its process ends once it has answered to a creation.
    pub(crate) dies_of_creation: bool,
    /// Server and leaders name themselves by other numbers, as in a container.
    pub(crate) numbers: Option<(u32, u32)>,
    /// Its sessions have terminals, whose masters it hands to each younger one, since they lack close-on-exec.
    pub(crate) leaks_masters: bool,
    /// It never closes one either.
    pub(crate) keeps_masters: bool,
    /// Requests need `Authorization: Bearer` and this.
    pub(crate) secret: Option<&'static str>,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<String, Kept>,
    /// Method and path of each request.
    requests: Vec<String>,
}

struct Kept {
    child: Child,
    exit: Option<i32>,
    /// Closed at the session's end, as by any server, or never.
    master: Option<OwnedFd>,
    is_kept: bool,
}

/// It lives in threads of this process until that ends; its sessions end with this value.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let of_thread = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&of_thread);
                std::thread::spawn(move || drop(answer(&state, manners, stream.unwrap())));
            }
        });
        Self { url, state }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for kept in self.state.lock().unwrap().sessions.values_mut() {
            if kept.exit.is_none() {
                let _ = kept.child.kill();
                let _ = kept.child.wait();
            }
        }
    }
}

fn answer(state: &Mutex<State>, manners: Manners, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length, mut authorization) = (String::new(), 0, String::new());
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let (name, value) = line.trim().split_once(": ").unwrap_or_default();
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => authorization = value.into(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    state.lock().unwrap().requests.push(format!("{method} {path}"));
    let (status, answer) = if manners.secret.is_some_and(|secret| authorization != format!("Bearer {secret}")) {
        (401, json!({"error": "who are you?"}))
    } else {
        serve(state, manners, method, path, &serde_json::from_slice(&body).unwrap_or_default())
    };
    let text = answer.to_string();
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    if manners.dies_of_creation && method == "POST" {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    }
    Ok(())
}

fn serve(state: &Mutex<State>, manners: Manners, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let id = path.strip_prefix("/api/sessions/");
    match (method, path, id) {
        ("GET", "/api/health", _) => {
            (200, json!({"pid": manners.numbers.map_or(std::process::id(), |(server, _)| server)}))
        }
        ("POST", "/api/sessions", _) => {
            let mut words: Vec<&str> =
                body["command"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
            if manners.is_opaque {
                words.remove(0);
                words.retain(|word| !word.starts_with("TERMLEASH_S_"));
            }
            let id = uuid();
            let mut command = Command::new("setsid");
            command.args(manners.leaks_masters.then_some("--ctty"));
            command.args(words).current_dir(body["workingDir"].as_str().unwrap()).env("VIBETUNNEL_SESSION_ID", &id);
            if manners.is_opaque {
                command.env_remove("VIBETUNNEL_SESSION_ID");
            }
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let master = manners.leaks_masters.then(|| {
                let (master, program) = terminal();
                command.stdin(program.try_clone().unwrap()).stdout(program);
                master
            });
            let kept = Kept { child: command.spawn().unwrap(), exit: None, master, is_kept: manners.keeps_masters };
            state.lock().unwrap().sessions.insert(id.clone(), kept);
            (200, json!({"sessionId": id}))
        }
        ("GET", "/api/sessions", _) => {
            let ids: Vec<Value> = state.lock().unwrap().sessions.keys().map(|id| json!({"id": id})).collect();
            (200, ids.into())
        }
        ("GET", _, Some(id)) => match look(state, id) {
            Some((pid, exit)) => {
                let status = if exit.is_some() { "exited" } else { "running" };
                let pid = manners.numbers.map_or(pid, |(_, leader)| leader);
                let pid = if manners.is_opaque { Value::Null } else { pid.into() };
                (200, json!({"id": id, "status": status, "pid": pid, "exitCode": exit}))
            }
            None => (404, json!({})),
        },
        ("DELETE", _, Some(id)) => match look(state, id) {
            None => (404, json!({})),
            Some((_, Some(_))) => {
                state.lock().unwrap().sessions.remove(id);
                (200, json!({}))
            }
            Some((pid, None)) => {
                std::thread::sleep(manners.kill_takes);
                crate::scene::kill(pid);
                crate::scene::until("the session's end", || {
                    look(state, id).is_none_or(|(_, exit)| exit.is_some()).then_some(())
                });
                (200, json!({}))
            }
        },
        _ => (500, json!({"error": "what?"})),
    }
}

fn look(state: &Mutex<State>, id: &str) -> Option<(u32, Option<i32>)> {
    let mut state = state.lock().unwrap();
    let kept = state.sessions.get_mut(id)?;
    if kept.exit.is_none() {
        kept.exit = kept.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1));
        if let Some(master) = kept.master.take_if(|_| kept.exit.is_some() && kept.is_kept) {
            std::mem::forget(master);
        }
        kept.master.take_if(|_| kept.exit.is_some());
    }
    Some((kept.child.id(), kept.exit))
}

/// A master without close-on-exec, and its program's side.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let program = rustix::fs::open(ptsname(&master, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
    (master, program)
}

/// As the kernel makes them.
fn uuid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned()
}
