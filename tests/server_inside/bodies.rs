//! A body that panics, takes too long or blocks its thread, beside a server on the same thread, on several threads, and on threads
//! of its own: it is told, nobody waits for whom waits for it, and its sessions are gone.

use crate::on_example::{backend, terminal_server::Server};
use crate::processes::until_none;
use crate::{Blocking, MARK, marked, one_thread, serving, several_threads, stubborn};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use termleash::session::BoxError;
use termleash::testing::Flavor;
use termleash::{SessionTestHelper, options};
use tokio::runtime::Runtime;

/// Where the server runs.
#[derive(Debug, Clone, Copy)]
enum Beside {
    OneThread,
    SeveralThreads,
    /// On its own, while the body has one.
    Blocking,
}

use Beside::{OneThread, SeveralThreads};

impl Beside {
    const ALL: [Self; 3] = [OneThread, SeveralThreads, Self::Blocking];

    fn flavor(self) -> Flavor {
        match self {
            SeveralThreads => Flavor::MultiThread(2),
            _ => Flavor::CurrentThread,
        }
    }

    fn runtime(self) -> Runtime {
        match self {
            SeveralThreads => several_threads(),
            _ => one_thread(),
        }
    }

    async fn serve(self) -> Served {
        match self {
            Self::Blocking => Served::Blocking(Blocking::start()),
            _ => Served::Inside(serving().await),
        }
    }
}

/// Ends when it is dropped, at the latest with its runtime.
enum Served {
    Inside(Server),
    Blocking(Blocking),
}

impl Served {
    fn url(&self) -> String {
        match self {
            Self::Inside(server) => server.url.clone(),
            Self::Blocking(server) => server.url.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Body {
    Panics,
    /// It awaits what never comes.
    Hangs,
    /// Its thread is of no use to anybody any more.
    Blocks,
}

impl Body {
    async fn goes_on(self) -> Result<(), BoxError> {
        match self {
            Self::Panics => panic!("as a test does"),
            Self::Hangs => std::future::pending().await,
            Self::Blocks => {
                std::thread::sleep(Duration::from_secs(1000));
                Ok(())
            }
        }
    }
}

/// Longer than a session takes to be made on a busy machine.
const LIMIT: Duration = Duration::from_secs(3);

fn isolated(beside: Beside, body: Body) {
    let Some(ran) = marked() else {
        return options().timeout(LIMIT).flavor(beside.flavor()).run(async |t| {
            let server = beside.serve().await;
            t.helper_on(backend(server.url())).create_tracked_session(stubborn()).await?.keep();
            println!("it has its session");
            body.goes_on().await
        });
    };
    ran.failed().says(&["it has its session", if body == Body::Panics { "as a test does" } else { "3s" }]);
}

macro_rules! isolated {
    ($($name:ident: $beside:expr, $body:expr;)+) => { $(#[test] fn $name() { isolated($beside, $body); })+ };
}

isolated! {
    a_panic_beside_a_server_on_one_thread: OneThread, Body::Panics;
    a_panic_beside_a_server_on_several_threads: SeveralThreads, Body::Panics;
    a_panic_beside_a_server_on_threads_of_its_own: Beside::Blocking, Body::Panics;
    a_timeout_beside_a_server_on_one_thread: OneThread, Body::Hangs;
    a_timeout_beside_a_server_on_several_threads: SeveralThreads, Body::Hangs;
    a_timeout_beside_a_server_on_threads_of_its_own: Beside::Blocking, Body::Hangs;
    a_blocked_thread_beside_a_server_on_one_thread: OneThread, Body::Blocks;
    a_blocked_thread_beside_a_server_on_several_threads: SeveralThreads, Body::Blocks;
    a_blocked_thread_beside_a_server_on_threads_of_its_own: Beside::Blocking, Body::Blocks;
}

/// By the process itself, before its keeper has anything to do.
#[track_caller]
fn its_sessions_are_gone(what: &str) {
    let mark = std::env::var(MARK).expect("it is said");
    // This process has it in its environment, and its keeper, too.
    let left = until_none(&mark, Instant::now(), Duration::from_secs(20), |carrier| !carrier.command.contains(&mark));
    left.unwrap_or_else(|left| panic!("{what}: {left:#?}"));
}

/// What a panic said.
fn text(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text")
}

#[test]
fn in_the_test_process_panics_and_timeouts_end_the_sessions_as_well() {
    let Some(ran) = marked() else {
        for (beside, body) in Beside::ALL.into_iter().flat_map(|it| [(it, Body::Panics), (it, Body::Hangs)]) {
            let failed = catch_unwind(|| {
                options().in_process().timeout(LIMIT).flavor(beside.flavor()).run(async |t| {
                    let server = beside.serve().await;
                    t.helper_on(backend(server.url())).create_tracked_session(stubborn()).await?.keep();
                    body.goes_on().await
                });
            });
            let told = text(&*failed.expect_err("it fails"));
            assert!(told.contains(if body == Body::Panics { "as a test does" } else { "3s" }), "{beside:?}: {told}");
            its_sessions_are_gone(&format!("{beside:?} {body:?}"));
        }
        return;
    };
    ran.passed();
}

/// A test that has a runtime of its own and only a helper of ours, which is dropped while it unwinds, or with a future that nobody
/// polls any more: on the thread that serves.
#[test]
fn a_helper_alone_ends_its_sessions_when_its_body_panics_or_is_given_up() {
    let Some(ran) = marked() else {
        for (beside, body) in Beside::ALL.into_iter().flat_map(|it| [(it, Body::Panics), (it, Body::Hangs)]) {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                beside.runtime().block_on(async {
                    let server = beside.serve().await;
                    let (made, is_made) = tokio::sync::oneshot::channel();
                    let body = async {
                        let helper = SessionTestHelper::new(backend(server.url()));
                        helper.create_tracked_session(stubborn()).await?.keep();
                        made.send(()).expect("somebody waits");
                        body.goes_on().await
                    };
                    tokio::select! {
                        biased;
                        ended = body => ended,
                        made = is_made => made.map_err(BoxError::from),
                    }
                })
            }));
            let told = text(&*ended.expect_err("either panic is told"));
            let what = if body == Body::Panics { "as a test does" } else { "kill_tracked_sessions" };
            assert!(told.contains(what), "{beside:?}: {told}");
            its_sessions_are_gone(&format!("{beside:?} {body:?}"));
        }
        return;
    };
    ran.passed();
}
