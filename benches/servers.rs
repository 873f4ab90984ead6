//! Servers: what a `ServerGuard` costs beyond the server's own start, and what it costs a test to join one that is shared.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `server/start` | `start` of a server that needs 60 ms to listen | the same spawned by std, its port tried each millisecond |
//! | `server/start/at-once` | the same of one that listens at once | the same |
//! | `server/shared` | joining a shared server that runs | one connection to it and back |
//! | `vibetunnel/kill20` | kill of 20 shells on VibeTunnel, together | the slowest of three that VibeTunnel is asked to end by hand, alone |

mod floor;
#[path = "../tests/real_servers/patience.rs"]
#[allow(dead_code, reason = "its requests have a time of their own")]
mod patience;

use floor::harness::Harness;
use patience::become_patient;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use termleash::server::{ServerGuard, ServerSpec};
use termleash::session::HttpBackend;
use termleash::tracker::BlockingHelper;
use termleash::{SessionSpec, SessionTestHelper, block_on};

/// What makes this program a server that gets ready after so many milliseconds.
const SERVES_AFTER: &str = "BENCH_SERVES_AFTER";
const PORT: &str = "BENCH_PORT";

fn main() {
    if let Ok(millis) = std::env::var(SERVES_AFTER) {
        return serve(millis.parse().expect("a number"));
    }
    become_patient();
    let Some(harness) = Harness::from_args() else { return };
    start(&harness, "server/start", 60, 1.1);
    // No server is that fast: all that is seen is our own part, some two milliseconds.
    start(&harness, "server/start/at-once", 0, 3.0);
    shared(&harness, "server/shared");
    kill_20(&harness, "vibetunnel/kill20");
}

fn serve(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
    let port: u16 = std::env::var(PORT).expect("a port").parse().expect("a number");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    for mut stream in listener.incoming().flatten() {
        let mut byte = [0];
        if stream.read(&mut byte).is_ok_and(|count| count > 0) {
            let _ = stream.write_all(&byte);
        }
    }
}

fn spec(millis: u64) -> ServerSpec {
    let program = std::env::current_exe().expect("this program has a path");
    ServerGuard::command(program).env(SERVES_AFTER, millis.to_string()).port_variable(PORT)
}

fn start(harness: &Harness, name: &str, millis: u64, goal: f64) {
    if !harness.wants(name) {
        return;
    }
    let ours = || {
        let begin = Instant::now();
        let server = spec(millis).start_blocking().expect("start the server");
        let took = begin.elapsed();
        server.close_blocking().expect("end the server");
        took
    };
    let floor = || {
        let port = free_port();
        let begin = Instant::now();
        let server = Raw::start(millis, port);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = begin.elapsed();
        drop(server);
        took
    };
    harness.report(name, harness.turns(101, ours, floor), goal);
}

/// Somebody may take it meanwhile, which is what a lease is for.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

struct Raw(Child);

impl Raw {
    fn start(millis: u64, port: u16) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.env(SERVES_AFTER, millis.to_string()).env(PORT, port.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().expect("start the server"))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.0.kill().expect("kill the server");
        self.0.wait().expect("reap the server");
    }
}

fn shared(harness: &Harness, name: &str) {
    if !harness.wants(name) {
        return;
    }
    let join = || block_on(ServerGuard::shared("bench", spec(0))).expect("join the server");
    let kept = join();
    let ours = || {
        let begin = Instant::now();
        let joined = join();
        let took = begin.elapsed();
        drop(joined);
        took
    };
    let floor = || {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", kept.port())).expect("connect");
        stream.write_all(b"x").expect("write");
        stream.read_exact(&mut [0]).expect("read");
        begin.elapsed()
    };
    // A look for the answer each millisecond at first, and a handle of the server: as long as a test does not notice.
    harness.report(name, harness.turns(101, ours, floor), 30.0);
}

/// Where `tests/real_servers/install.sh` has put it, if it has.
fn vibetunnel() -> Option<PathBuf> {
    let root = std::env::var_os("TERMLEASH_REAL_SERVERS").map(PathBuf::from);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let program = root.unwrap_or_else(|| target.join("real-servers"));
    let program = program.join("vibetunnel-1.0.0-beta.15.1/node_modules/vibetunnel/dist/vibetunnel-cli");
    std::path::absolute(program).ok().filter(|program| cfg!(feature = "http") && program.exists())
}

fn kill_20(harness: &Harness, name: &str) {
    if !harness.wants(name) {
        return;
    }
    let Some(program) = vibetunnel() else {
        println!("{name}: not measured, it needs the feature `http` and tests/real_servers/install.sh");
        return;
    };
    let spec = ServerGuard::command("node").arg(program).args(["--bind", "127.0.0.1", "--no-auth", "--no-mdns"]);
    let spec = spec.port_flag("--port").ready_http("/api/health");
    // A new one for each turn: it gets slower with each session that has ended.
    let on_server = |measured: &dyn Fn(&ServerGuard, &BlockingHelper) -> Duration| {
        let server = spec.clone().start_blocking().expect("start VibeTunnel");
        let helper = SessionTestHelper::new(HttpBackend::vibetunnel(server.url())).blocking();
        let took = measured(&server, &helper);
        helper.kill_tracked_sessions().expect("they are proven to be gone");
        server.close_blocking().expect("end VibeTunnel");
        took
    };
    let make = |helper: &BlockingHelper| {
        let shell = SessionSpec::new("bash").args(["--norc", "-i"]);
        helper.create_tracked_session(shell).expect("a shell").keep().id().clone()
    };
    let ours = || {
        on_server(&|_, helper| {
            (0..20).for_each(|_| drop(make(helper)));
            let begin = Instant::now();
            helper.kill_tracked_sessions().expect("they are proven to be gone");
            begin.elapsed()
        })
    };
    let floor = || {
        on_server(&|server, helper| {
            let one = || {
                let id = make(helper);
                let begin = Instant::now();
                let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("connect");
                let request = format!("DELETE /api/sessions/{id} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
                stream.write_all(request.as_bytes()).expect("write");
                stream.read_to_end(&mut Vec::new()).expect("read");
                begin.elapsed()
            };
            (0..3).map(|_| one()).max().expect("there are some")
        })
    };
    harness.report(name, harness.turns(3, ours, floor), 1.2);
}
