//! Two suites at once on one example server that others use, and one of them is killed at any instant: its sessions go, and
//! nobody else's.

#![cfg(target_os = "linux")]

mod dying;
mod on_example;
#[path = "server_races/suite.rs"]
mod suite;

use dying::processes::{Pinned, carriers, until_none};
use dying::race::{Rounds, kill_at_any_instant, told};
use dying::{CLEAN_WITHIN, Place, Random, part};
use on_example::{backend, server};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use suite::{GO, READY, URL};
use termleash::server::ServerGuard;
use termleash::session::{SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec};

#[test]
fn a_suite_that_is_killed_takes_its_own_sessions_with_it_and_no_others() {
    if let Some((_, mark)) = part() {
        return suite::run(&mark);
    }
    let server = server("").start_blocking().expect("a server");
    let elders = [Stranger::new(&server), Stranger::new(&server)];
    let (mut random, mut times, rounds) = (Random::new(), Vec::new(), Rounds::begin());
    while rounds.go_on(times.len()) {
        let younger = Stranger::new(&server);
        let strangers: Vec<&Stranger> = elders.iter().chain([&younger]).collect();
        times.push(round(&server, &mut random, &strangers));
        younger.end(&server);
    }
    println!("{}", told(times));
    elders.into_iter().for_each(|stranger| stranger.end(&server));
    let records = termleash::block_on(backend(server.url()).list()).expect("a list");
    assert!(records.iter().all(|id| !is_running(&server, id)), "sessions run on: {records:?}");
    server.close_blocking().expect("it ends");
}

/// The first suite is killed; the second goes on, and ends well when it is let.
fn round(server: &ServerGuard, random: &mut Random, strangers: &[&Stranger]) -> Duration {
    let suite = || {
        let place = Place::new(true);
        let (ready, go) = (place.path("ready"), place.path("go"));
        let (ready, go) = (ready.to_string_lossy().into_owned(), go.to_string_lossy().into_owned());
        let variables = [(URL, &*server.url()), (READY, &ready), (GO, &go), ("TERMLEASH_CREATE_TIMEOUT", "2s")];
        place.with(&variables)
    };
    let (first, second) = (suite(), suite());
    let (mut killed, living) = (first.start("suite"), second.start("suite"));
    let has_sessions = || soon("its sessions", &first, || first.path("ready").exists());
    let (keeper, at) = kill_at_any_instant(&mut killed, random, has_sessions);
    let took = first.empties(at, |_| false);
    assert!(keeper.ends_within(CLEAN_WITHIN), "its keeper lives on");
    first.has_no_ledger(Instant::now());
    soon("the other suite's sessions", &second, || second.path("ready").exists());
    // One may be a moment away from its exec.
    soon("all of the other suite's sessions", &second, || sleepers(&second.mark) == suite::SLEEPERS);
    assert!(strangers.iter().all(|stranger| stranger.process.is_well()), "a stranger's session was touched");
    std::fs::write(second.path("go"), "").expect("it is let go");
    let ran = second.ended(living, "suite");
    assert!(ran.status.success(), "the other suite failed:\n{}", ran.text);
    let left = until_none(&second.mark, Instant::now(), CLEAN_WITHIN, |_| false);
    left.unwrap_or_else(|left| panic!("survivors: {left:#?}\n{}", second.all_said()));
    assert!(strangers.iter().all(|stranger| stranger.process.is_well()), "a stranger's session was touched");
    took
}

fn sleepers(mark: &str) -> usize {
    let of = carriers(mark);
    of.iter().filter(|carrier| carrier.command == format!("sleep {mark}")).count()
}

#[track_caller]
fn soon(what: &str, place: &Place, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(40), "{what} did not come:\n{}", place.all_said());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A session that somebody has on the server.
struct Stranger {
    id: SessionId,
    process: Pinned,
}

impl Stranger {
    fn new(server: &ServerGuard) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("999.9{:07}{:06}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let spec = SessionSpec::new("sleep").arg(&mark);
        let created = termleash::block_on(backend(server.url()).create(&spec)).expect("a session");
        let start = Instant::now();
        let process = loop {
            if let Some(found) = carriers(&mark).first() {
                break Pinned::open(found.pid).expect("it lives");
            }
            assert!(start.elapsed() < CLEAN_WITHIN, "no session of a stranger's");
        };
        Self { id: created.id().clone(), process }
    }

    fn end(self, server: &ServerGuard) {
        assert!(self.process.is_well());
        termleash::block_on(backend(server.url()).kill(&self.id)).expect("it is killed");
        assert!(self.process.ends_within(Duration::from_secs(10)));
    }
}

fn is_running(server: &ServerGuard, id: &SessionId) -> bool {
    let state = termleash::block_on(backend(server.url()).state(id)).expect("it is known");
    matches!(state, SessionState::Running(_))
}
