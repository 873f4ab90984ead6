//! A server's end: as a program, and in a process that goes on.

use crate::child::{Counts, ServerProcess, becomes, children, counts, lives};
use crate::children::alone;
use crate::client::Client;
use crate::terminal_server::Server;
use crate::terminal_server::options::{Fault, Leak, Options};
use rustix::process::Signal;
use std::process::id;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::timeout;

#[tokio::test]
async fn a_signal_ends_its_sessions_and_then_the_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = ServerProcess::start("");
        let (_, polite) = server.client.shell("echo ready; exec sleep 1000").await;
        let (_, stubborn) = server.client.shell("trap '' HUP TERM; echo ready; while :; do sleep 1000; done").await;
        server.signal(signal);
        let status = server.ended();
        assert!(status.success(), "{status}");
        assert!(!lives(polite) && !lives(stubborn));
    }
}

#[test]
fn the_command_line_is_explained_and_its_mistakes_are_told() {
    use crate::terminal_server::cli::main;
    use std::process::ExitCode;
    let ran = |line: &str| main(line.split_whitespace().map(String::from), Vec::new());
    assert_eq!(ran("--help"), ExitCode::SUCCESS);
    for line in ["--leak nothing", "--fault", "--port 70000", "--max-output=x", "more", "--fault-after -1"] {
        assert_eq!(ran(line), ExitCode::from(2), "{line}");
    }
}

fn runtimes() -> [Runtime; 2] {
    let mut multi = Builder::new_multi_thread();
    [Builder::new_current_thread().enable_all().build().unwrap(), multi.worker_threads(2).enable_all().build().unwrap()]
}

/// What this process has when it is at rest.
fn own() -> Counts {
    counts(id())
}

/// Runs this in each kind of runtime, and looks whether the process has as much afterwards as before, while the runtime
/// is still there.
fn leaves_nothing(run: impl AsyncFn()) {
    for runtime in runtimes() {
        // What a runtime makes at its first use stays.
        runtime.block_on(async {
            let server = Server::start(Options::default()).await.unwrap();
            Client::new(&server.url).get("/health").await;
            server.stop().await.unwrap();
        });
        let before = own();
        runtime.block_on(run());
        let look = || {
            // A task that was told to end does so when its runtime runs.
            runtime.block_on(yield_now());
            own()
        };
        becomes(look, before);
        becomes(|| runtime.metrics().num_alive_tasks(), 0);
    }
}

#[test]
fn a_stopped_server_leaves_nothing_in_the_process() {
    let Some(ran) = alone(&[]) else {
        return leaves_nothing(async || {
            let server = Server::start(Options { fault: Some(Fault::Hang), ..Options::default() }).await.unwrap();
            let client = Client::new(&server.url);
            client.create(&["bash", "--norc", "-i"]).await;
            client.shell("trap '' HUP TERM; echo ready; while :; do sleep 1000; done").await;
            client.create(&["true"]).await;
            let (session, _) = client.create(&["cat"]).await;
            // A client that says nothing, one that stops in the middle of a line, and one that waits for ever.
            let address = server.url.strip_prefix("http://").unwrap();
            let silent = TcpStream::connect(address).await.unwrap();
            let halfway = TcpStream::connect(address).await.unwrap();
            halfway.try_write(b"GET /hea").unwrap();
            let mut waiting = client.open("DELETE", &session, "").await;
            client.get("/health").await;
            let stopped = timeout(crate::client::PATIENCE, server.stop()).await;
            stopped.expect("it stops in time").unwrap();
            // And it has let go of each.
            let mut rest = Vec::new();
            let _ = waiting.read_to_end(&mut rest).await;
            drop((silent, halfway));
        });
    };
    ran.passed();
}

#[test]
fn a_dropped_server_leaves_nothing_in_the_process() {
    let Some(ran) = alone(&[]) else {
        return leaves_nothing(async || {
            let server = Server::start(Options::default()).await.unwrap();
            let client = Client::new(&server.url);
            client.shell("trap '' HUP TERM; echo ready; while :; do sleep 1000; done").await;
            client.create(&["bash", "--norc", "-i"]).await;
        });
    };
    ran.passed();
}

#[test]
fn a_stopped_server_takes_back_what_it_leaked() {
    let Some(ran) = alone(&[]) else {
        return leaves_nothing(async || {
            for (_, leak, _) in Leak::ALL {
                let server = Server::start(Options { leak: Some(leak), ..Options::default() }).await.unwrap();
                let client = Client::new(&server.url);
                let (session, _) = client.create(&["cat"]).await;
                client.kill(&session).await;
                server.stop().await.unwrap();
                assert!(children(id()).is_empty(), "{leak:?}");
            }
        });
    };
    ran.passed();
}

#[test]
fn a_stopped_server_ends_what_it_hid() {
    let Some(ran) = alone(&[]) else {
        return leaves_nothing(async || {
            for fault in [Fault::Lie, Fault::Forget, Fault::Restart, Fault::Hang] {
                let server = Server::start(Options { fault: Some(fault), ..Options::default() }).await.unwrap();
                let client = Client::new(&server.url);
                let (session, pid) = client.shell("trap '' HUP; echo ready; while :; do sleep 1000; done").await;
                let waiting = client.open("DELETE", &session, "").await;
                // Whatever it does, it does not kill.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                assert!(lives(pid), "{fault:?}");
                server.stop().await.unwrap();
                assert!(!lives(pid), "{fault:?}");
                drop(waiting);
            }
        });
    };
    ran.passed();
}
