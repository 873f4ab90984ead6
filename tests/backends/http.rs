//! Sessions on a server that speaks HTTP, in threads of this process or in its single-threaded runtime.

use crate::server::{Manners, Server};
use std::time::{Duration, Instant};
use termleash::process::ProcessHandle;
use termleash::session::{HttpApi, HttpBackend, SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

fn backend(server: &Server) -> HttpBackend {
    HttpBackend::vibetunnel(&server.url)
}

#[tokio::test]
async fn a_session_is_created_found_ended_and_its_record_discarded() {
    let server = Server::start(Manners::default());
    let helper = SessionTestHelper::new(backend(&server));
    let theirs = backend(&server).create(&SessionSpec::new("sleep").arg("1000")).await.unwrap();
    let session = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000").env("A", "b c")).await.unwrap();
    let id = session.id().clone();
    let outcome = session.close().await.unwrap();
    assert!(outcome.is_proven() && outcome.notes().is_empty(), "{outcome}");
    assert_eq!(backend(&server).state(&id).await.unwrap(), SessionState::Unknown);
    assert!(backend(&server).state(theirs.id()).await.unwrap().is_running());
    assert_eq!(backend(&server).list().await.unwrap(), [theirs.id().clone()]);
    assert!(helper.survivors().unwrap().is_empty());
    assert!(!server.requests().iter().any(|request| request.contains("cleanup")));
}

#[tokio::test]
async fn a_session_made_through_the_api_is_ended_with_what_has_left_it() {
    let server = Server::start(Manners::default());
    let helper = SessionTestHelper::new(backend(&server));
    // It leaves the leader's kernel session, and has no cookie: the server's own variable is all that it carries.
    let script = "setsid sleep 1000 & sleep 1000 & wait";
    let made = backend(&server).create(&SessionSpec::shell(script)).await.unwrap();
    let theirs = backend(&server).create(&SessionSpec::new("sleep").arg("1000")).await.unwrap();
    helper.track_session(made.id()).await.unwrap();
    let all = crate::scene::until("both sessions' processes", || {
        let all = helper.survivors().unwrap();
        (all.iter().filter(|process| process.to_string().contains("`sleep ")).count() == 2).then_some(all)
    });
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert!(report.is_proven(), "{report}");
    assert!(helper.survivors().unwrap().is_empty(), "{all:?}");
    assert!(backend(&server).state(theirs.id()).await.unwrap().is_running());
}

/// What the server calls itself and a session's leader are somebody else's server here, and that one's child.
#[tokio::test]
async fn a_server_whose_numbers_mean_somebody_else_here_is_not_believed() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};
    /// It ends when its input does, and its child with it.
    struct Theirs(Child);
    impl Drop for Theirs {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            self.0.wait().unwrap();
        }
    }
    let mut theirs = Command::new("setsid");
    theirs.args(["sh", "-c", "exec 3<&0; cat <&3 & echo $!; wait"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut theirs = Theirs(theirs.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(theirs.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let child = ProcessHandle::open(line.trim().parse().unwrap()).unwrap();
    let server = Server::start(Manners { numbers: Some((theirs.0.id(), child.pid())), ..Manners::default() });
    let helper = SessionTestHelper::new(backend(&server));
    let made = backend(&server).create(&SessionSpec::new("sleep").arg("1000")).await.unwrap();
    helper.track_session(made.id()).await.unwrap();
    let created = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.unwrap();
    assert!(created.leader().is_none());
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert!(child.is_alive() && theirs.0.try_wait().unwrap().is_none(), "{report}");
    assert!(report.to_string().contains("names no server"), "{report}");
}

#[tokio::test]
async fn a_session_that_has_ended_by_itself_is_gone_already() {
    let server = Server::start(Manners::default());
    let helper = SessionTestHelper::new(backend(&server));
    let session = helper.create_tracked_session(SessionSpec::shell("exit 3")).await.unwrap();
    let other = backend(&server);
    let id = session.id().clone();
    while other.state(&id).await.unwrap().is_running() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let outcome = session.close().await.unwrap();
    assert!(outcome.is_proven() && outcome.was_already_gone(), "{outcome}");
    assert_eq!(other.kill(&id).await.map_err(|cause| cause.to_string()), Ok(()));
}

/// One after the other it would take ten times as long.
#[tokio::test]
async fn many_sessions_are_ended_together() {
    const TAKES: Duration = Duration::from_millis(400);
    let server = Server::start(Manners { kill_takes: TAKES, ..Manners::default() });
    let helper = SessionTestHelper::new(backend(&server));
    for _ in 0..20 {
        let _session = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.unwrap().keep();
    }
    let start = Instant::now();
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert_eq!(report.outcomes().len(), 20);
    assert!(start.elapsed() < TAKES * 10, "{:?}", start.elapsed());
}

#[tokio::test]
async fn without_the_secret_nothing_is_done_and_no_text_shows_it() {
    let secret = Box::leak(std::env::var("PATH").unwrap().into_boxed_str());
    let server = Server::start(Manners { secret: Some(secret), ..Manners::default() });
    let spec = SessionSpec::new("sleep").arg("1000");
    let error = SessionTestHelper::new(backend(&server)).create_tracked_session(&spec).await.unwrap_err();
    assert!(error.to_string().contains("status 401: {\"error\":\"who are you?\"}; is the secret right"), "{error}");
    let with = |variable: &str| backend(&server).auth_header("Authorization: Bearer {secret}").secret_from(variable);
    let error = with("NO_SUCH_VARIABLE_OF_OURS").create(&spec).await.unwrap_err();
    assert!(error.to_string().contains("NO_SUCH_VARIABLE_OF_OURS"), "{error}");
    let good = with("PATH");
    assert!(!format!("{good:?} {:?} {}", good.kill_recipe(), good.kill_recipe()).contains(&*secret));
    let helper = SessionTestHelper::new(good);
    helper.create_tracked_session(&spec).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn an_id_that_the_server_would_misread_is_not_sent() {
    let server = Server::start(Manners::default());
    for id in ["1", "all", "?", "cleanup-exited"] {
        let error = backend(&server).kill(&SessionId::new(id).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("is no id of this server's"), "{error}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_description_or_an_address_is_an_error_and_no_request() {
    let spec = SessionSpec::new("true");
    for (backend, what) in [
        (HttpBackend::new("http://127.0.0.1:1", HttpApi::new()), "no request to create"),
        (HttpBackend::vibetunnel("https://127.0.0.1:1"), "plain HTTP"),
        (HttpBackend::vibetunnel("http://u:hush@127.0.0.1:1"), "a user or a password"),
        (HttpBackend::vibetunnel("http://127.0.0.1:1?token=hush"), "after `?`"),
        (HttpBackend::vibetunnel("http://127.0.0.1:1").auth_header("Authorization: hush"), "in place of the secret"),
    ] {
        let error = backend.create(&spec).await.unwrap_err().to_string();
        let shown = format!("{error} {backend:?} {:?}", backend.kill_recipe());
        assert!(error.contains(what) && !shown.contains("hush"), "{shown}");
    }
}

/// The server's answers come from the thread that waits for them.
#[test]
fn a_server_in_the_same_single_threaded_runtime_answers_also_at_the_end() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    async fn forwards(to: String) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let to = to.clone();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(&to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        url
    }
    let server = Server::start(Manners::default());
    let to = server.url.trim_start_matches("http://").to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let leaders = runtime.block_on(async {
        let url = forwards(to).await;
        let helper = SessionTestHelper::new(HttpBackend::vibetunnel(&url));
        let spec = SessionSpec::new("sleep").arg("1000");
        helper.create_tracked_session(&spec).await.unwrap().close().await.unwrap();
        let session = helper.create_tracked_session(&spec).await.unwrap();
        let leader = session.leader().unwrap().clone();
        // Its drop blocks this thread, where the server's answers would come from.
        let _session = session.keep();
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(helper)));
        assert!(dropped.is_err(), "a test that does not end its sessions is told");
        let mut silence = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
        silence.write_all(b"x").await.unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(10), silence.read_u8()).await;
        [leader]
    });
    assert!(!leaders.iter().any(ProcessHandle::is_alive));
}

#[test]
fn a_failing_body_and_one_that_takes_too_long_leave_nothing_on_a_server() {
    let server = Server::start(Manners::default());
    for hangs in [false, true] {
        let url = server.url.clone();
        let options = termleash::options().in_process().timeout(Duration::from_millis(500));
        let failed = std::panic::catch_unwind(move || {
            options.run(async |t| {
                let helper = t.helper_on(HttpBackend::vibetunnel(&url));
                let _session = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await?.keep();
                if hangs {
                    std::future::pending::<()>().await;
                }
                panic!("a body's own panic");
            });
        });
        assert!(failed.is_err());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(backend(&server).list()).unwrap(), []);
}

#[test]
fn a_leak_check_around_it_is_clean() {
    let server = Server::start(Manners::default());
    let url = server.url.clone();
    termleash::test(async move |t| {
        let helper = t.helper_on(HttpBackend::vibetunnel(&url));
        for _ in 0..3 {
            helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await?.close().await?;
        }
        Ok(())
    });
}
