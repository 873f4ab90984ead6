//! What this program does when it is started as a server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Duration;
use termleash::server::{ServerGuard, ServerSpec};

/// What it is to do.
pub(crate) const WHAT: &str = "TEST_SERVER";
pub(crate) const PORT: &str = "TEST_PORT";

pub(crate) fn run() {
    let Ok(what) = std::env::var(WHAT) else { return };
    if let (Ok(tells), Ok(waits)) = (std::env::var("TEST_TELLS"), std::env::var("TEST_WAITS")) {
        std::fs::write(tells, format!("{}\n", port())).expect("a file");
        while !std::path::Path::new(&waits).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    match what.as_str() {
        "serve" => serve(listen()),
        "serve on six" => serve(TcpListener::bind(("::1", port())).expect("a port")),
        "serve beside others" => serve(listen_beside_others(port())),
        "serve late" => {
            std::thread::sleep(Duration::from_millis(150));
            serve(listen());
        }
        "serve elsewhere" => {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            println!("elsewhere is {}", listener.local_addr().expect("an address").port());
            serve(listener);
        }
        // The child has the port, and the parent has nothing.
        "serve in a child" => {
            let program = std::env::current_exe().expect("a path");
            let mut child = Command::new(program);
            child.args(std::env::args().skip(1)).env(WHAT, "serve").stdin(Stdio::null());
            println!("child {}", child.spawn().expect("a child").id());
            sleep();
        }
        // The child's own parent has ended, so that it descends from this process no more.
        "serve in a lost child" | "serve elsewhere in a lost child" => {
            let mut child = Command::new("sh");
            child.args(["-c", "\"$@\" &", "sh"]).arg(std::env::current_exe().expect("a path"));
            child.args(std::env::args().skip(1)).env(WHAT, what.trim_end_matches(" in a lost child"));
            child.stdin(Stdio::null()).status().expect("a shell");
            sleep();
        }
        // Its listener is inherited by a process that nobody can prove to be the server's.
        "lose the port to an unmarked child" => {
            let listener = listen();
            let mut child = Command::new("sh");
            // Its parent ends, so that it descends from the server no more.
            child.args(["-c", "exec 3<&0; setsid env -i sleep 1000 <&3 & echo child $!"]);
            child.stdin(rustix::io::dup(&listener).expect("a copy")).status().expect("a child");
            serve(listener);
        }
        "serve on a socket" => {
            // Who looks before sees the stranger's.
            std::thread::sleep(Duration::from_millis(100));
            let listener = listen_at_socket();
            for stream in listener.incoming() {
                drop(stream);
            }
        }
        // Who has begun to listen ends.
        "leave a socket to a child" => {
            let program = std::env::current_exe().expect("a path");
            let mut child = Command::new(program);
            child.args(std::env::args().skip(1)).env(WHAT, "listen and end").stdin(Stdio::null());
            child.status().expect("a child");
            sleep();
        }
        "listen and end" => {
            let mut child = Command::new("sleep");
            child.arg("1000").stdin(std::os::fd::OwnedFd::from(listen_at_socket())).spawn().expect("a child");
            std::process::exit(0);
        }
        "find its port taken" => {
            let path = std::env::var("TEST_COUNT").expect("a file");
            let count = std::fs::read_to_string(&path).unwrap_or_default().len();
            std::fs::write(&path, "x".repeat(count + 1)).expect("a file");
            let most: usize = std::env::var("TEST_TAKEN").expect("a number").parse().expect("a number");
            if count < most {
                println!("bind: Address already in use (os error 98)");
                std::process::exit(1);
            }
            serve(listen());
        }
        // Whoever asks gets the answer when somebody else may have the port.
        "answer once and give the port back" => {
            let listener = listen();
            let asked = listener.incoming().flatten().find(|stream| stream.peek(&mut [0]).is_ok_and(|count| count > 0));
            drop(listener);
            std::fs::write(std::env::var("TEST_GIVES").expect("a file"), format!("{}\n", port())).expect("a file");
            let _ = answer(asked.expect("a request"));
            sleep();
        }
        "print much" => {
            let mut out = std::io::stdout().lock();
            for number in 0..100_000 {
                writeln!(out, "line {number:0>94}").expect("somebody reads");
            }
            writeln!(out, "that is all").expect("somebody reads");
            drop(out);
            sleep();
        }
        what => panic!("no server does `{what}`"),
    }
}

fn port() -> u16 {
    std::env::var(PORT).expect("a port").parse().expect("a number")
}

fn listen() -> TcpListener {
    TcpListener::bind(("127.0.0.1", port())).expect("a port")
}

/// At an address where others listen, too, if they all allow that.
pub(crate) fn listen_beside_others(port: u16) -> TcpListener {
    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, listen, socket, sockopt::set_socket_reuseport};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    set_socket_reuseport(&fd, true).expect("Linux has that");
    bind(&fd, &SocketAddrV4::new([127, 0, 0, 1].into(), port)).expect("a port");
    listen(&fd, 16).expect("a listener");
    fd.into()
}

fn listen_at_socket() -> UnixListener {
    let path = std::env::var("TEST_SOCKET").expect("a path");
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(path).expect("a socket")
}

fn sleep() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// This program as a server that does this. Its test `serves` must call [`run`].
pub(crate) fn serving(what: &str) -> ServerSpec {
    let program = std::env::current_exe().expect("this program has a path");
    ServerGuard::command(program)
        .args(["--exact", "serves", "--nocapture", "--test-threads=1"])
        .env(WHAT, what)
        .port_variable(PORT)
}

/// Answers to `GET /x` with 200, to `/no…` with 404 and to `/moved` with 302.
fn serve(listener: TcpListener) -> ! {
    println!("serving");
    for stream in listener.incoming().flatten() {
        let _ = answer(stream);
    }
    unreachable!("a listener has no end")
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let status = match line.split(' ').nth(1) {
        Some(path) if path.starts_with("/no") => "404 Not Found",
        Some("/moved") => "302 Found",
        _ => "200 OK",
    };
    if !line.is_empty() {
        write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
    }
    Ok(())
}
