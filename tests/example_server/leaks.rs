//! Each kind of leak leaves what it says, once for each session, and nothing else.

use crate::child::{ServerProcess, becomes, within};
use crate::terminal_server::options::Leak;
use std::time::Duration;

const SESSIONS: usize = 5;

/// A server that leaks in this way, or an honest one.
fn started(kind: &str) -> ServerProcess {
    ServerProcess::start(&if kind.is_empty() { String::new() } else { format!("--leak {kind}") })
}

/// These many sessions, from their creation to the end of their records.
async fn sessions(server: &ServerProcess, count: usize) {
    for _ in 0..count {
        let (session, _) = server.client.create(&["cat"]).await;
        server.client.kill(&session).await;
        server.client.kill(&session).await;
    }
}

#[tokio::test]
async fn what_can_be_counted_grows_by_one_of_its_kind_for_each_session() {
    for (name, leak, _) in Leak::ALL {
        let server = started(name);
        let mut expected = server.at_rest.clone();
        sessions(&server, SESSIONS).await;
        match leak {
            Leak::Descriptor => expected.descriptors += SESSIONS,
            Leak::Pty => expected.ptys += SESSIONS,
            Leak::Process => expected.living += SESSIONS,
            Leak::Zombie => expected.zombies += SESSIONS,
            Leak::Thread => expected.threads += SESSIONS,
            Leak::Memory | Leak::Record | Leak::Buffer | Leak::Activity => (),
        }
        // `/bin/true` may be there at just this moment.
        becomes(|| server.counts(), expected);
        let records = if leak == Leak::Record { SESSIONS } else { 0 };
        assert_eq!(server.client.list().await.len(), records, "{name}");
        server.end();
    }
}

#[tokio::test]
async fn memory_grows_by_what_is_kept() {
    const MANY: usize = 100;
    let grown = async |kind: &str| {
        let server = started(kind);
        sessions(&server, MANY).await;
        let before = server.memory();
        sessions(&server, MANY).await;
        let grown = server.memory().saturating_sub(before) / MANY;
        server.end();
        grown
    };
    let (honest, memory, buffer) = (grown("").await, grown("memory").await, grown("buffer").await);
    assert!(honest < 8 << 10, "{honest} bytes a session");
    assert!((60 << 10..80 << 10).contains(&memory), "{memory} bytes a session");
    assert!((250 << 10..280 << 10).contains(&buffer), "{buffer} bytes a session");
}

#[tokio::test]
async fn activity_goes_on_after_the_last_session_and_shows_in_no_count() {
    let spent = async |kind: &str| {
        let server = started(kind);
        sessions(&server, SESSIONS).await;
        let before = server.activity();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = server.activity();
        server.end();
        (after.0 - before.0, after.1 - before.1)
    };
    let (honest, active) = (spent("").await, spent("activity").await);
    // Five sessions, a millisecond of each ten times a second.
    assert!(active.0 > 20_000_000 && active.1 > 0, "{active:?}");
    assert!(honest.0 < active.0 / 4 && honest.1 == 0, "{honest:?}, and {active:?} with the leak");
}

#[tokio::test]
async fn a_left_process_that_somebody_ends_is_no_zombie() {
    let server = started("process");
    sessions(&server, 1).await;
    let left = crate::child::children(server.pid());
    assert_eq!(left.len(), 1);
    for pid in left {
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        assert!(environment.contains("TERMINAL_SERVER_SESSION="), "{environment}");
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        // A child of a server of this test.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    within(|| server.counts().living == 0);
    server.client.list().await;
    assert_eq!(server.counts().zombies, 0);
    server.end();
}
