//! Sessions on a server that is talked to by a client program, which need not be well.

use std::time::Duration;
use termleash::process::ProcessHandle;
use termleash::session::{CommandApi, CommandBackend};
use termleash::{SessionSpec, SessionTestHelper};

/// The client is killed at its deadline, and what it has told its server is done all the same.
#[tokio::test]
async fn a_session_that_is_born_after_its_client_was_given_up_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let born = directory.path().join("born");
    let late = "sleep 0.7; echo $$ > $0.part; mv $0.part $0; exec \"$@\"";
    let client = format!("setsid sh -c '{late}' \"$0\" \"$@\" > /dev/null 2>&1 & exec sleep 1000");
    let api = CommandApi::new("sh")
        .first(["-c", &client, born.to_str().unwrap()])
        .create(["{command}"])
        .kill(["kill"])
        .list(["list"]);
    let helper = SessionTestHelper::new(CommandBackend::new(api).timeout(Duration::from_millis(300)));
    let error = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.unwrap_err().to_string();
    assert!(error.contains("it did not end within 300ms"), "{error}");
    let pid = crate::scene::until("its birth", || std::fs::read_to_string(&born).ok()).trim().parse().unwrap();
    if ProcessHandle::open(pid).is_ok_and(|leader| leader.is_alive()) {
        crate::scene::kill(pid);
        panic!("pid {pid} lives");
    }
    assert_eq!(helper.tracked_count(), 0);
}
