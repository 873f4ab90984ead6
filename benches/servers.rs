//! Servers: what a `ServerGuard` costs beyond the server's own start, and what it costs a test to join one that is shared.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `server/start` | `start` of a server that needs 60 ms to listen | the same spawned by std, its port tried each millisecond |
//! | `server/start/at-once` | the same of one that listens at once | the same |
//! | `server/shared` | joining a shared server that runs | one connection to it and back |

mod floor;

use floor::harness::Harness;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use termleash::block_on;
use termleash::server::{ServerGuard, ServerSpec};

/// What makes this program a server that gets ready after so many milliseconds.
const SERVES_AFTER: &str = "BENCH_SERVES_AFTER";
const PORT: &str = "BENCH_PORT";

fn main() {
    if let Ok(millis) = std::env::var(SERVES_AFTER) {
        return serve(millis.parse().expect("a number"));
    }
    let Some(harness) = Harness::from_args() else { return };
    start(&harness, "server/start", 60, 1.1);
    // No server is that fast: all that is seen is our own part, some two milliseconds.
    start(&harness, "server/start/at-once", 0, 3.0);
    shared(&harness, "server/shared");
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
