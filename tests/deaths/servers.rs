//! A test with servers that dies in each way: neither a process of theirs is left, nor their directories, nor their ports.

use crate::dying::bystanders::Bystanders;
use crate::dying::processes::Pinned;
use crate::dying::{CLEAN_WITHIN, Place, part};
use crate::is_clean;
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use termleash::SessionTestHelper;
use termleash::server::{Server, ServerGuard, ServerSpec};

/// How often each pair of victims dies.
const HOMES: usize = 3;

/// A server that ignores TERM, with a child that has left its kernel session, and a port that nobody listens at.
fn spec(mark: &str) -> ServerSpec {
    let text =
        format!("trap '' TERM HUP; setsid sleep {mark} & echo ready at $PORT; sleep {mark} & wait; sleep {mark}");
    ServerGuard::command("sh").args(["-c", &text, "sh", mark]).port_variable("PORT").ready_line("ready")
}

/// Says where its home is, once it is ready, and waits for its death.
async fn serve(mark: &str, first: &[&Server]) -> ! {
    let mut lines = String::new();
    let mut guards = Vec::new();
    for server in first {
        lines += &format!("home {}\n", server.home().display());
    }
    for _ in first.len()..HOMES {
        let server = spec(mark).start().await.expect("a server");
        lines += &format!("home {}\n", server.home().display());
        guards.push(server);
    }
    println!("{lines}all are ready");
    loop {
        tokio::time::sleep(Duration::from_secs(1000)).await;
    }
}

/// Kills some of the run and looks for what is left.
#[track_caller]
fn dies(place: &Place, is_apart: bool, victims: &[usize]) {
    let bystanders = Bystanders::start();
    let mut runner = place.start("victim");
    let processes: Vec<Pinned> = if is_apart {
        let (keeper, body) = runner.keeper_and_body().expect("it has started");
        vec![runner.hold(), keeper, body]
    } else {
        vec![runner.hold()]
    };
    let start = Instant::now();
    while !place.said("victim").contains("all are ready") {
        assert!(start.elapsed() < CLEAN_WITHIN, "it is not ready:\n{}", place.all_said());
        std::thread::sleep(Duration::from_millis(2));
    }
    for victim in victims {
        processes[*victim].signal(Signal::KILL);
    }
    runner.ends_within(CLEAN_WITHIN).expect("it ends");
    if victims.starts_with(&[0, 1]) {
        // Nobody who removes the ledger is left: the next run does it, when the body has ended itself.
        assert!(processes.iter().all(|process| process.ends_within(CLEAN_WITHIN)));
        place.run("sweeper").passed();
    }
    is_clean(place, &bystanders);
    let said = place.said("victim");
    let homes: Vec<PathBuf> = said.lines().filter_map(|line| Some(line.split_once("home ")?.1.into())).collect();
    assert_eq!(homes.len(), HOMES, "{said}");
    for home in homes {
        let whole = home.parent().expect("it is in a directory of its own");
        assert!(!whole.exists(), "{} is left", whole.display());
    }
}

/// Runner, keeper and body.
const WAYS: [&[usize]; 7] = [&[0], &[1], &[2], &[0, 1], &[1, 2], &[0, 2], &[0, 1, 2]];

#[test]
fn a_killed_test_leaves_no_server_and_no_home() {
    if let Some((part, mark)) = part() {
        if part == "sweeper" {
            termleash::sweep().expect("it can");
            return;
        }
        return termleash::test(async |t| {
            let server = t.server(spec(&mark)).await?;
            serve(&mark, &[&server]).await
        });
    }
    for victims in WAYS {
        for has_groups in [true, false] {
            dies(&Place::new(has_groups).with(&[("TERMLEASH_TIMEOUT", "60s")]), true, victims);
        }
    }
}

#[test]
fn a_killed_test_process_leaves_no_server_and_no_home() {
    if let Some((_, mark)) = part() {
        // Beside a session, which has the ledger, too.
        return termleash::block_on(async {
            let _helper = SessionTestHelper::new(termleash::session::FakeBackend::new());
            serve(&mark, &[]).await
        });
    }
    dies(&Place::new(true), false, &[0]);
}

/// The next run of this user finds what a machine without anybody of the run has kept.
#[test]
fn a_test_that_fails_by_its_deadline_leaves_no_server() {
    if let Some((_, mark)) = part() {
        return termleash::test(async |t| {
            let server = t.server(spec(&mark)).await?;
            serve(&mark, &[&server]).await
        });
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true).with(&[("TERMLEASH_TIMEOUT", "2s")]);
    let ran = place.run("victim");
    is_clean(&place, &bystanders);
    ran.failed().says(&["timed out after 2s"]);
}
