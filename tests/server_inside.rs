//! The server under test lives in the test's own process: on a runtime of one thread, which nothing of ours may block; on one
//! of several; and as a server that blocks threads of its own. However the test ends, its sessions end, and nothing waits for
//! what waits for it.

#![cfg(target_os = "linux")]

#[path = "server_inside/bodies.rs"]
mod bodies;
mod children;
mod on_example;
#[path = "dying/processes.rs"]
#[allow(dead_code, reason = "shared by binaries that each need another part")]
mod processes;

use children::{Ran, alone};
use on_example::backend;
use on_example::terminal_server::Server;
use on_example::terminal_server::options::Options;
use processes::until_none;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use termleash::{SessionSpec, SessionTestHelper};
use tokio::runtime::{Builder, Runtime};

/// What each process of a test carries: an argument of `sleep`.
const MARK: &str = "TEST_MARK";
/// Much longer than any end takes, and no wait for ever.
const BOUND: Duration = Duration::from_secs(40);

/// Runs this test's body as a process of its own, with a mark; `None` in that process. Afterwards nobody carries the mark.
#[track_caller]
fn marked() -> Option<Ran> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mark = format!("1000.6{:07}{:06}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let begin = Instant::now();
    let ran = alone(&[(MARK, &mark), ("TERMLEASH_TIMEOUT", "20s")])?;
    assert!(begin.elapsed() < BOUND, "it took {:?}:\n{}", begin.elapsed(), ran.text);
    let left = until_none(&mark, Instant::now(), Duration::from_secs(5), |_| false);
    left.unwrap_or_else(|left| panic!("these are left: {left:#?}\n{}", ran.text));
    Some(ran)
}

/// It sleeps, and hears neither a hang-up nor a polite word.
fn stubborn() -> SessionSpec {
    let mark = std::env::var(MARK).expect("it is said");
    SessionSpec::shell(format!("trap '' HUP TERM; sleep {mark} & sleep {mark}; :"))
}

async fn serving() -> Server {
    Server::start(Options::default()).await.expect("a server")
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn several_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A server in a runtime and thread of its own: as one that blocks.
struct Blocking {
    url: String,
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Blocking {
    fn start() -> Self {
        let (told, url) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = several_threads();
            let server = runtime.block_on(serving());
            told.send(server.url.clone()).expect("somebody waits");
            // An error is the end of the test's own thread.
            let _ = stopped.recv();
            runtime.block_on(server.stop()).expect("its sessions end");
        });
        Self { url: url.recv().expect("it starts"), stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        self.thread.join().expect("it ends well");
    }
}

/// Sessions that are closed, killed together, and dropped with their helper, on the thread that serves them.
async fn all_ends(url: &str) {
    let helper = SessionTestHelper::new(backend(url));
    let guard = helper.create_tracked_session(stubborn()).await.expect("a session");
    assert!(guard.close().await.expect("a proven end").is_proven());
    for _ in 0..2 {
        helper.create_tracked_session(stubborn()).await.expect("a session").keep();
    }
    helper.kill_tracked_sessions().await.expect("a proven end");
    drop(helper.create_tracked_session(stubborn()).await.expect("a session"));
    helper.create_tracked_session(stubborn()).await.expect("a session").keep();
    // It blocks this thread, so that a server here can answer nothing meanwhile: processes are ended without it, and the test
    // is told to await the kill.
    let begin = Instant::now();
    let told = catch_unwind(AssertUnwindSafe(|| drop(helper))).expect_err("a test is told what it has left");
    let text = told.downcast_ref::<String>().expect("a text");
    assert!(text.contains("kill_tracked_sessions"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

fn close_and_drop_in(runtime: Runtime) {
    runtime.block_on(async {
        let server = serving().await;
        all_ends(&server.url).await;
        server.stop().await.expect("nothing is left to end");
    });
}

#[test]
fn close_and_drop_beside_a_server_on_the_same_thread() {
    let Some(ran) = marked() else { return close_and_drop_in(one_thread()) };
    ran.passed();
}

#[test]
fn close_and_drop_beside_a_server_on_several_threads() {
    let Some(ran) = marked() else { return close_and_drop_in(several_threads()) };
    ran.passed();
}

#[test]
fn close_and_drop_beside_a_server_that_blocks_a_thread_of_its_own() {
    let Some(ran) = marked() else {
        let server = Blocking::start();
        one_thread().block_on(all_ends(&server.url));
        let helper = SessionTestHelper::new(backend(&*server.url)).blocking();
        helper.create_tracked_session(stubborn()).expect("a session").keep();
        helper.kill_tracked_sessions().expect("a proven end");
        return server.stop();
    };
    ran.passed();
}

/// What a reader copies: the server is started in the test's own runtime, and its sessions end before it does.
#[test]
fn a_test_with_a_server_inside() {
    let Some(ran) = marked() else {
        return termleash::test(async |t| {
            let server = Server::start(Options::default()).await?;
            let helper = t.helper_on(backend(server.url.clone()));
            let session = helper.create_tracked_session(SessionSpec::new("cat")).await?;
            session.close().await?;
            helper.create_tracked_session(stubborn()).await?.keep();
            helper.kill_tracked_sessions().await?;
            // Last, so that nothing of it is left when the test is compared with its beginning.
            Ok(server.stop().await?)
        });
    };
    ran.passed();
}
