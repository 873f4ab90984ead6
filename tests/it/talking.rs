//! What a test types into a session, and what comes back.

use crate::checked::checked;
use crate::support::{FOREGROUND, Stranger, eventually, helper, masked, over};
use std::time::Duration;
use termleash::process::ExitStatus;
use termleash::session::{Key, Session};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, tracker::SessionGuard};

async fn printing(script: &str) -> (SessionTestHelper, SessionGuard) {
    let helper = helper();
    let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
    (helper, session)
}

#[test]
fn a_text_is_found_through_the_colours_in_it() {
    checked(async || {
        let (_helper, session) =
            printing(r"printf 'he\033[31ml\033[1;4ml\033[0mo \033]0;title\007world\n'; sleep 1000").await;
        session.wait_for_text("hello world\n").await.unwrap();
        // At any time since the start, and as often as one likes.
        session.wait_for_text("hello").await.unwrap();
        session.close().await.unwrap();
    });
}

#[test]
fn a_text_that_comes_in_pieces_is_found() {
    checked(async || {
        let (_helper, session) = printing("read go; printf 'hel'; read go; printf 'lo'; sleep 1000").await;
        let typed = async {
            session.write_line("").await.unwrap();
            session.wait_for_text("hel").await.unwrap();
            session.write("\u{4}").await.unwrap();
        };
        let quiet = async { session.wait_for_text_within("hello", Duration::from_secs(60)).await };
        let (found, ()) = tokio::join!(quiet, typed);
        found.unwrap();
        session.close().await.unwrap();
    });
}

/// Without what the kernel says of its leader, which differs.
fn told(error: &str, leader: &str) -> String {
    let text = masked(error, &["pty-"]);
    let (before, rest) =
        text.split_once(&format!("; its leader is `{leader}` (pid ")).expect("it says what its leader does");
    let end = ["; the last lines", "; it has printed"].iter().find_map(|next| rest.find(next)).expect("more follows");
    format!("{before}; its leader waits{}", &rest[end..])
}

#[test]
fn a_text_that_does_not_come_is_an_error_that_shows_the_last_lines_without_escapes() {
    checked(async || {
        let script = r"seq 30; printf 'one\r\n\033[31mtwo\033[0m\n\n'; printf 'la''st'; sleep 1000";
        let (_helper, session) = printing(script).await;
        session.wait_for_text("last").await.unwrap();
        let error = session.wait_for_text_within("never", Duration::from_millis(50)).await.unwrap_err();
        assert!(error.is_timeout());
        insta::assert_snapshot!(told(&error.to_string(), "sh"), @r#"
    timed out after 50ms: waiting for "never" in the output of session `pty-N`; its leader waits; the last lines of its output:
      | 15
      | 16
      | 17
      | 18
      | 19
      | 20
      | 21
      | 22
      | 23
      | 24
      | 25
      | 26
      | 27
      | 28
      | 29
      | 30
      | one
      | two
      | 
      | last
    "#);
        session.close().await.unwrap();
        let (_helper, silent) = printing("exec sleep 1000").await;
        let error = silent.wait_for_text_within("never", Duration::from_millis(50)).await.unwrap_err();
        insta::assert_snapshot!(told(&error.to_string(), "sleep"), @r#"timed out after 50ms: waiting for "never" in the output of session `pty-N`; its leader waits; it has printed nothing"#);
        silent.close().await.unwrap();
    });
}

#[test]
fn an_exit_that_does_not_come_is_an_error() {
    checked(async || {
        let (_helper, session) = printing("exec sleep 1000").await;
        let error = session.wait_for_exit_within(Duration::from_millis(50)).await.unwrap_err();
        assert!(error.is_timeout());
        insta::assert_snapshot!(told(&error.to_string(), "sleep"), @"timed out after 50ms: waiting for the end of session `pty-N`; its leader waits; it has printed nothing");
        session.close().await.unwrap();
    });
}

#[test]
fn a_new_size_reaches_the_program_with_its_signal() {
    checked(async || {
        let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 1000 & wait; done";
        let helper = helper();
        let session = helper.create_tracked_session(SessionSpec::shell(script).size(10, 20)).await.unwrap();
        session.wait_for_text("ready").await.unwrap();
        assert_eq!(size_of(&session), (10, 20));
        for (rows, cols) in [(30, 100), (1, 1), (65_535, 65_535)] {
            session.resize(rows, cols).await.unwrap();
            session.wait_for_text(&format!("{rows} {cols}\n")).await.unwrap();
            assert_eq!(size_of(&session), (rows, cols));
        }
        session.close().await.unwrap();
    });
}

fn size_of(session: &Session) -> (u16, u16) {
    let size = session.window_size().unwrap();
    (size.rows, size.cols)
}

#[test]
fn keys_mean_what_they_mean_on_a_terminal() {
    checked(async || {
        let helper = helper();
        let create = |spec: SessionSpec| helper.create_tracked_session(spec);
        let interrupted = create(SessionSpec::new("sleep").arg("1000")).await.unwrap();
        interrupted.send_key(Key::CtrlC).await.unwrap();
        assert_eq!(interrupted.wait_for_exit().await.unwrap().signal(), Some(2));
        let quit = create(SessionSpec::shell("ulimit -c 0; exec sleep 1000")).await.unwrap();
        quit.send_key(Key::CtrlBackslash).await.unwrap();
        assert_eq!(quit.wait_for_exit().await.unwrap().signal(), Some(3));
        let at_its_end = create(SessionSpec::new("cat")).await.unwrap();
        at_its_end.write_line("a line").await.unwrap();
        at_its_end.send_key(Key::CtrlD).await.unwrap();
        assert_eq!(over(&at_its_end).await, ExitStatus::Exited(0));
        assert_eq!(at_its_end.output().unwrap().text(), "a line\na line\n");
        for session in [interrupted, quit, at_its_end] {
            session.close().await.unwrap();
        }
    });
}

#[test]
fn a_stopped_job_is_a_job_of_the_shell_and_ends_with_the_session() {
    checked(async || {
        let helper = helper();
        let session =
            helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "--noprofile"])).await.unwrap();
        session.write_line(FOREGROUND).await.unwrap();
        session.wait_for_text("started\n").await.unwrap();
        session.send_key(Key::CtrlZ).await.unwrap();
        session.wait_for_text("Stopped").await.unwrap();
        let jobs = session.run("jobs").await.unwrap();
        assert!(jobs.stdout().contains("Stopped") && jobs.stdout().contains("sleep 1000"), "{jobs:?}");
        assert!(session.close().await.unwrap().is_proven());
        assert!(helper.survivors().unwrap().is_empty());
    });
}

#[test]
fn what_was_printed_can_be_forgotten() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session("sh").await.unwrap();
        session.run("echo before").await.unwrap();
        session.clear_output().unwrap();
        // A prompt may have come since.
        assert!(!session.output().unwrap().text().contains("before"));
        assert!(session.wait_for_text_within("before", Duration::from_millis(50)).await.unwrap_err().is_timeout());
        assert_eq!(session.run("echo after").await.unwrap().stdout(), "after");
        let output = session.output().unwrap();
        assert!(!output.text().contains("before") && output.text().contains("after") && output.dropped_bytes() == 0);
        session.close().await.unwrap();
    });
}

#[test]
fn a_session_keeps_the_newest_bytes_up_to_its_cap_and_counts_the_others() {
    checked(async || {
        let helper = SessionTestHelper::new(PtyBackend::new().max_output(5_000));
        let spec = SessionSpec::shell("head -c 100000 /dev/zero | tr '\\0' x; printf end");
        let session = helper.create_tracked_session(spec).await.unwrap();
        over(&session).await;
        let output = session.output().unwrap();
        assert_eq!((output.bytes().len(), output.dropped_bytes()), (5_000, 100_003 - 5_000));
        assert!(output.bytes().ends_with(b"xxxend"));
        let error = session.wait_for_text("y").await.unwrap_err().to_string();
        assert!(error.contains("after 95003 bytes that were dropped"), "{error}");
        session.close().await.unwrap();
    });
}

/// Far more than a terminal takes at once: the rest waits, and none is lost.
#[test]
fn a_program_that_reads_slowly_gets_everything() {
    checked(async || {
        const PIECES: usize = 64;
        let script = format!(
            "stty raw -echo; echo ready; for n in $(seq {PIECES}); do dd bs=16384 count=1 iflag=fullblock 2>/dev/null; done | cksum"
        );
        let (_helper, session) = printing(&script).await;
        session.wait_for_text("ready").await.unwrap();
        let bytes: Vec<u8> = (0..PIECES * 16384).map(|n| (n * 31 % 251) as u8).collect();
        session.write(&bytes).await.unwrap();
        over(&session).await;
        let expected = cksum(&bytes);
        let text = session.output().unwrap().text();
        assert_eq!(text.trim().strip_prefix("ready\n"), Some(&*expected), "{text}");
        session.close().await.unwrap();
    });
}

/// By the same program, on a file.
fn cksum(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let input = std::fs::File::open(file.path()).unwrap();
    let output = std::process::Command::new("cksum").stdin(input).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The terminal echoes all of it meanwhile: whoever typed without reading would wait for ever.
#[test]
fn a_program_that_echoes_gets_everything_too() {
    checked(async || {
        let (_helper, session) = printing("echo ready; head -n 10000 | wc -c").await;
        session.wait_for_text("ready").await.unwrap();
        let line = [&[b'x'; 99][..], b"\r"].concat();
        session.write(line.repeat(10_000)).await.unwrap();
        over(&session).await;
        let text = session.output().unwrap().text();
        // The kernel drops what it cannot echo at once, such as the last line's end; what the program read is complete.
        assert!(text.ends_with("1000000\n"), "{:?}", text.lines().last());
        session.close().await.unwrap();
    });
}

/// Whoever waits for room learns that there will be none.
#[test]
fn a_program_that_ends_without_having_read_ends_the_typing() {
    checked(async || {
        let (_helper, session) = printing("exec sleep 0.3").await;
        let error = session.write("a line\r".repeat(100_000)).await.unwrap_err();
        assert!(error.is_session_ended(), "{error}");
        session.close().await.unwrap();
    });
}

async fn kill_while_typing(helper: &SessionTestHelper, typing: Session) {
    let lines = "a line\r".repeat(100_000);
    let (typed, killed) = tokio::join!(typing.write(&lines), helper.kill_tracked_sessions());
    let error = typed.unwrap_err();
    assert!(killed.unwrap().is_proven() && error.is_session_ended(), "{error}");
}

/// The same for a kill while somebody types.
#[test]
fn a_kill_ends_the_typing_of_others() {
    checked(async || {
        let (helper, session) = printing("exec sleep 1000").await;
        kill_while_typing(&helper, session.keep()).await;
    });
}

/// Also where a stranger holds the terminal open, so that it does not end with the session's processes.
#[test]
fn a_kill_ends_the_typing_into_a_terminal_that_a_stranger_holds() {
    checked(async || {
        let (helper, session) = printing("tty; exec sleep 1000").await;
        session.wait_for_text("/dev/pts/").await.unwrap();
        eventually("its name", || session.output().unwrap().text().ends_with('\n')).await;
        let tty = session.output().unwrap().text().trim().to_owned();
        let stranger =
            Stranger::new(std::process::Command::new("sh").args(["-c", &format!("exec sleep 1000 3<{tty}")]));
        let holds = format!("/proc/{}/fd/3", stranger.pid());
        eventually("the stranger's open", || std::fs::read_link(&holds).is_ok_and(|at| at.to_str() == Some(&tty)))
            .await;
        kill_while_typing(&helper, session.keep()).await;
    });
}

/// Several tasks may type at once; each one's line stays whole as long as the terminal has room for it.
#[test]
fn several_tasks_may_type_and_wait_at_once() {
    checked(async || {
        let (_helper, session) = printing("stty -echo; echo ready; while read line; do echo \"got $line\"; done").await;
        session.wait_for_text("ready").await.unwrap();
        let session = std::sync::Arc::new(session);
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let session = session.clone();
                tokio::spawn(async move {
                    session.write_line(&format!("line {number}.")).await.unwrap();
                    session.wait_for_text(&format!("got line {number}.\n")).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        std::sync::Arc::into_inner(session).unwrap().close().await.unwrap();
    });
}

/// The same on a pty of portable-pty's.
#[cfg(feature = "pty")]
#[test]
fn a_pty_of_portable_ptys_is_talked_to_in_the_same_way() {
    checked(async || {
        let backend = PtyBackend::with_system(portable_pty::native_pty_system()).max_output(4096);
        let helper = SessionTestHelper::new(backend);
        let session = helper.create_tracked_session(SessionSpec::new("bash").arg("--norc").size(30, 90)).await.unwrap();
        assert_eq!(session.run("stty size").await.unwrap().stdout(), "30 90");
        session.resize(40, 120).await.unwrap();
        assert_eq!(session.run("stty size").await.unwrap().stdout(), "40 120");
        let ran = session.run("seq 100000 120000; (exit 3)").await.unwrap();
        assert!(ran.stdout().ends_with("\n120000") && ran.status() == 3 && ran.dropped_bytes() > 100_000);
        session.write_line(FOREGROUND).await.unwrap();
        session.wait_for_text("started\n").await.unwrap();
        session.send_key(Key::CtrlC).await.unwrap();
        assert_eq!(session.run("echo grüße").await.unwrap().stdout(), "grüße");
        let leader = session.leader().expect("the native system's child is held").clone();
        assert!(session.run("exit 4").await.unwrap_err().is_session_ended());
        assert_eq!(session.wait_for_exit().await.unwrap(), ExitStatus::Exited(4));
        assert!(session.close().await.unwrap().was_already_gone() && !leader.is_alive());
        // One that is alive and stubborn, with a child in a session of its own.
        let script = "trap '' HUP TERM; setsid sleep 1000 & echo ready; while :; do sleep 1000; done";
        let stubborn = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
        stubborn.wait_for_text("ready").await.unwrap();
        assert!(stubborn.close().await.unwrap().is_proven());
        assert!(helper.survivors().unwrap().is_empty());
        let missing = helper.create_tracked_session("no-such-program").await.unwrap_err();
        assert!(missing.to_string().contains("no-such-program"), "{missing}");
        assert_eq!(helper.tracked_count(), 0);
    });
}
