//! Sessions and tests that go over a limit which the keeper keeps: the one is ended, and nothing else.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;
#[path = "beyond/whole.rs"]
mod whole;

use children::{Ran, alone, captured, is_child};
use std::process::{Command, Stdio};
use std::time::Duration;
use termleash::server::ServerGuard;
use termleash::session::BoxError;
use termleash::testing::{Limits, Scope};
use termleash::tracker::SessionGuard;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

const MIB: u64 = 1 << 20;

/// Fills memory by 100 MB each second, up to 600 MB, and stays.
const GROWS: &str = "perl -e 'for (1..60) { push @x, \"x\" x 10_000_000; select undef, undef, undef, 0.1 } sleep 1000'";

/// Answers as long as it lives.
async fn bystander(t: &Scope) -> Result<SessionGuard, BoxError> {
    let session = t.session(SessionSpec::new("cat")).await?;
    answers(&session).await?;
    Ok(session)
}

async fn answers(session: &SessionGuard) -> Result<(), BoxError> {
    session.clear_output()?;
    session.write_line("here").await?;
    session.wait_for_text("here\nhere").await?;
    Ok(())
}

fn within(limits: Limits, spec: impl Into<SessionSpec>) -> Option<Ran> {
    within_and(&[], limits, spec)
}

/// With these variables.
fn within_and(variables: &[(&str, &str)], limits: Limits, spec: impl Into<SessionSpec>) -> Option<Ran> {
    let ran = alone(variables);
    if ran.is_none() {
        let spec = spec.into();
        termleash::options().limits(limits).run(async move |t| {
            let other = bystander(t).await?;
            let session = t.session(spec).await?;
            session.wait_for_exit().await?;
            answers(&other).await?;
            println!("the other one answers");
            Ok(())
        });
    }
    ran
}

/// The megabytes, or the number, that it had when it was ended.
fn had(ran: &Ran) -> f64 {
    let (_, rest) = ran.text.split_once("it had ").expect("it says what it had");
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_session_that_grows_is_ended_alone_within_one_and_a_half_of_its_limit() {
    let Some(ran) = within(Limits::new().max_memory(64 * MIB), SessionSpec::shell(GROWS)) else { return };
    let session = "session `/bin/sh -c perl";
    ran.failed().says(&[
        "the other one answers",
        session,
        "made at tests/beyond.rs:",
        "its limit of 64.0 MiB of memory",
    ]);
    ran.says(&["    after ", " MiB in 2 processes", "it alone was ended", "TERMLEASH_SESSION_MEMORY"])
        .says_once("went over");
    ran.says(&[
        "timeline: ",
        " L over a limit",
        "  session `pty-",
        ": over its limit of 64.0 MiB of memory: ",
        " memory ",
    ]);
    let had = had(&ran);
    assert!((64.0..96.0).contains(&had), "{had}");
}

/// Takes neither a hang-up nor a TERM, and writes down who else lives that was to end.
const STUBBORN: &str = r#"
    $SIG{HUP} = $SIG{TERM} = sub {
        open my $file, ">>", $ENV{F};
        syswrite $file, "$$\n";
        open my $all, "<", $ENV{F};
        for my $pid (grep { /^\d+$/ && $_ != $$ } <$all>) {
            chomp $pid;
            open my $stat, "<", "/proc/$pid/stat" or next;
            syswrite $file, "beside $pid\n" if (<$stat> // ") X") !~ /\) [ZX]/;
        }
    };
    $| = 1;
    print "ready\n";
    sleep 1000 while 1;
"#;

/// One that takes its time to end holds up nobody: while it does, others may grow.
#[test]
fn sessions_that_take_their_time_to_end_are_ended_beside_each_other() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let Some(ran) = alone(&[("TERMLEASH_WALL_TIME", "300ms"), ("F", file.path().to_str().unwrap())]) else {
        return termleash::test(async |t| {
            let runner = runner_of_this_body();
            // Until then no time passes, so that the time of all is over at once.
            signal(&runner, "-STOP");
            let mut sessions = Vec::new();
            for _ in 0..8 {
                let spec = SessionSpec::new("perl").arg("-e").arg(STUBBORN).env("F", std::env::var("F")?);
                let session = t.session(spec).await?;
                session.wait_for_text("ready").await?;
                sessions.push(session);
            }
            signal(&runner, "-CONT");
            for session in sessions {
                session.wait_for_exit().await?;
            }
            Ok(())
        });
    };
    ran.failed();
    assert_eq!(ran.text.matches("its limit of 300ms of wall time: it had ").count(), 8, "{}", ran.text);
    let heard = std::fs::read_to_string(file.path()).unwrap();
    assert!(heard.contains("beside "), "each has ended before the next one heard of it: {heard:?}");
}

/// Two thousand children of one parent, each counted by a byte in a file.
const CHILDREN: &str = "i=0; while [ $i -lt 2000 ]; do sleep 1000 & printf x >> $F; i=$((i + 1)); done; sleep 1000";

/// How far it came beyond its limit depends on the machine: the bench has that.
#[test]
fn a_session_that_forks_is_ended_alone_before_it_is_through() {
    let (ran, forks) = counted(CHILDREN, 100);
    let Some(ran) = ran else { return };
    ran.failed().says(&["the other one answers", "session `/bin/sh -c i=0", "its limit of 100 processes: it had "]);
    ran.says(&["it alone was ended", "TERMLEASH_PROCESSES"]).does_not_say("are still alive");
    assert!((99..2000).contains(&forks), "{forks}");
}

/// Whoever looks the same outside of the test: the very command line, a session of another run, and a process that has this test's session
/// leader's parent for its own.
#[test]
fn whoever_looks_the_same_outside_of_the_test_lives_on() {
    // All of it ends with its input.
    const SAME: &str = "exec 3<&0; cat <&3 & cat <&3 & cat <&3 & wait";
    let spawned = || Command::new("sh").args(["-c", SAME]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    if is_child() {
        return termleash::options().limits(Limits::new().max_processes(2)).run(async |t| {
            // Not its session's, though its sibling.
            let mut sibling = spawned();
            let session = t.session(SessionSpec::shell(SAME)).await.unwrap();
            session.wait_for_exit().await.unwrap();
            println!("the sibling {}", if sibling.try_wait().unwrap().is_none() { "lives" } else { "is dead" });
            drop(sibling.stdin.take());
            sibling.wait().unwrap();
            Ok(())
        });
    }
    let mut stranger = spawned();
    let helper = SessionTestHelper::new(PtyBackend::new()).blocking();
    let other = helper.create_tracked_session(SessionSpec::shell(SAME)).unwrap();
    let ran = alone(&[]).expect("this is no child");
    ran.failed().says(&["the sibling lives", "its limit of 2 processes", "it alone was ended"]);
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger is dead");
    assert!(other.wait_for_exit_within(Duration::from_millis(1)).is_err(), "another run's session is dead");
    other.close().unwrap();
    drop(stranger.stdin.take());
    stranger.wait().unwrap();
}

/// Each forks two more, 1,023 in all, and takes no hang-up: nothing but a KILL for each of them stops them, while they double each 30 ms
/// (measured on two cores).
const DOUBLES: &str = "trap '' HUP; \
     forks() { printf x >> $F; if [ $1 -gt 0 ]; then forks $(($1 - 1)) & forks $(($1 - 1)) & fi; exec sleep 1000; }; forks 9";

#[test]
fn a_fork_bomb_that_doubles_is_ended_alone() {
    let (ran, _) = counted(DOUBLES, 100);
    let Some(ran) = ran else { return };
    ran.failed().says(&["the other one answers", "session `/bin/sh -c trap", "its limit of 100 processes: it had "]);
    ran.says(&["it alone was ended"]).does_not_say("are still alive");
}

/// With the number of bytes in the file F.
fn counted(script: &'static str, limit: usize) -> (Option<Ran>, u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let ran = within_and(&[("F", path)], Limits::new().max_processes(limit), SessionSpec::shell(script));
    (ran, file.as_file().metadata().unwrap().len())
}

/// Each has lost its parent.
const STRAYS: &str = "i=0; while [ $i -lt 200 ]; do (sleep 1000 &); i=$((i + 1)); done; sleep 1000";

#[test]
fn what_has_lost_its_parent_counts_by_the_kernel_session() {
    let Some(ran) = within(Limits::new().max_processes(50), SessionSpec::shell(STRAYS)) else { return };
    ran.failed().says(&["the other one answers", "its limit of 50 processes: it had ", "it alone was ended"]);
}

#[test]
fn a_session_with_too_many_descriptors_is_ended_alone() {
    let script = "for i in $(seq 10 200); do eval \"exec $i</dev/null\"; done; sleep 1000";
    let spec = SessionSpec::new("bash").arg("-c").arg(script);
    let Some(ran) = within(Limits::new().max_descriptors(100), spec) else { return };
    ran.failed()
        .says(&["the other one answers", "its limit of 100 descriptors: it had "])
        .says(&["TERMLEASH_DESCRIPTORS"]);
}

#[test]
fn a_session_that_lives_too_long_is_ended() {
    let Some(ran) = alone(&[("TERMLEASH_WALL_TIME", "500ms")]) else {
        return termleash::test(async |t| {
            let session = t.session("cat").await?;
            session.wait_for_exit().await?;
            // A later one has its own time, and none passes now.
            let runner = runner_of_this_body();
            signal(&runner, "-STOP");
            let later = t.session("cat").await?;
            let lives = later.wait_for_exit_within(Duration::from_secs(1)).await.is_err();
            later.close().await?;
            signal(&runner, "-CONT");
            println!("the later one {}", if lives { "was closed" } else { "was ended" });
            Ok(())
        });
    };
    ran.failed().says(&["the later one was closed", "session `cat`", "its limit of 500ms of wall time: it had "]);
    ran.says_once("went over").says(&["TERMLEASH_WALL_TIME"]);
}

/// It is dead before the session is.
#[test]
fn a_breach_is_told_of_a_body_that_dies_while_its_session_is_being_ended() {
    let Some(ran) = alone(&[("TERMLEASH_WALL_TIME", "300ms")]) else {
        return termleash::test(async |t| {
            let script = "$SIG{HUP} = $SIG{TERM} = sub { print \"heard\\n\" }; $| = 1; sleep 1000 while 1";
            t.session(SessionSpec::new("perl").arg("-e").arg(script)).await?.wait_for_text("heard").await?;
            std::process::abort()
        });
    };
    ran.failed().says(&["crashed: ", "session `perl", "went over its limit of 300ms of wall time"]);
}

#[test]
fn sessions_within_their_limits_are_left_alone() {
    let limits =
        Limits::new().max_memory(512 * MIB).max_processes(50).max_descriptors(500).wall_time(Duration::from_secs(600));
    termleash::options().limits(limits.max_test_memory(2048 * MIB)).run(async |t| {
        let other = bystander(t).await?;
        let busy = t.session("sh").await?;
        for _ in 0..20 {
            assert_eq!(busy.run("sleep 0.01 & (sleep 0.01 &); echo it").await?.stdout().trim(), "it");
        }
        answers(&other).await
    });
}

/// It had as many as it may when the other one, which had one more, was looked at.
#[test]
fn a_session_at_its_limit_is_not_beyond_it() {
    let Some(ran) = alone(&[("TERMLEASH_PROCESSES", "3")]) else {
        return termleash::test(async |t| {
            let at_it = t.session(SessionSpec::shell("sleep 1000 & sleep 1000 & echo ready; wait")).await?;
            at_it.wait_for_text("ready").await?;
            let beyond = t.session(SessionSpec::shell("sleep 1000 & sleep 1000 & sleep 1000 & wait")).await?;
            beyond.wait_for_exit().await?;
            assert!(at_it.wait_for_exit_within(Duration::from_millis(1)).await.is_err());
            println!("at it: lives");
            Ok(())
        });
    };
    ran.failed().says(&["at it: lives", "its limit of 3 processes: it had 4"]).says_once("went over");
}

/// It is in the ledger as a session is.
#[test]
fn a_server_is_not_held_to_the_limits_of_sessions() {
    let Some(ran) = alone(&[("TERMLEASH_PROCESSES", "2"), ("TERMLEASH_WALL_TIME", "300ms")]) else {
        return termleash::test(async |t| {
            let server = ServerGuard::command("sh").args(["-c", "sleep 1000 & sleep 1000 & echo ready; wait"]);
            let server = server.without_port().ready_line("ready").start().await?;
            // Younger than the server.
            t.session("cat").await?.wait_for_exit().await?;
            server.close().await?;
            println!("the server was closed");
            Ok(())
        });
    };
    ran.failed().says(&["the server was closed", "session `cat`", "its limit of 300ms"]).says_once("went over");
}

/// Whoever waits for it learns why it has ended.
#[test]
fn a_session_that_was_ended_for_a_limit_says_so_to_whoever_waits() {
    let Some(ran) = alone(&[("TERMLEASH_PROCESSES", "3")]) else {
        return termleash::test(async |t| {
            let script = "for i in 1 2 3 4 5; do sleep 1000 & done; sleep 1000";
            let session = t.session(SessionSpec::shell(script)).await?;
            Ok(session.wait_for_text("never").await?)
        });
    };
    let cause = "cause of death: killed for a limit: its limit of 3 processes: it had ";
    ran.failed().says(&["failed: ", cause, "its keeper", "never", "went over its limit of 3 processes"]);
}

#[test]
fn the_live_log_has_it() {
    let Some(ran) = captured(&[("TERMLEASH_PROCESSES", "1"), ("TERMLEASH_LOG", "sessions")]) else {
        return termleash::test(async |t| {
            let session = t.session(SessionSpec::shell("sleep 1000 & sleep 1000")).await?;
            session.wait_for_exit().await?;
            Ok(())
        });
    };
    ran.failed().says(&["termleash: the_live_log_has_it +", "session `pty-1` over its limit of one process: "]);
}

/// Four processes have 40 MB in common.
const SHARES: &str = "perl -e '$x = \"x\" x 40_000_000; for (1..3) { fork or do { sleep 1000; exit } } $| = 1; print \"ready\\n\"; sleep 1000'";

/// A page that two processes share is one page.
#[test]
fn what_is_shared_with_a_forked_child_counts_once() {
    termleash::options().limits(Limits::new().max_memory(100 * MIB)).run(async |t| {
        let session = t.session(SessionSpec::shell(SHARES)).await?;
        session.wait_for_text("ready").await?;
        // For as long as the keeper has looked several times.
        let ended = session.wait_for_exit_within(Duration::from_millis(1500)).await;
        assert!(ended.is_err(), "it was ended");
        Ok(())
    });
}

/// One after the other, while they are looked at.
#[test]
fn what_ends_leaves_its_share_to_the_others_and_does_not_count_twice() {
    termleash::options().limits(Limits::new().max_memory(100 * MIB)).run(async |t| {
        for _ in 0..10 {
            let session = t.session(SessionSpec::shell(SHARES)).await?;
            session.wait_for_text("ready").await?;
            session.close().await?;
        }
        Ok(())
    });
}

#[test]
fn a_limit_that_nobody_keeps_says_so() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never"), ("TERMLEASH_PROCESSES", "5")]) else {
        termleash::isolated(|| ());
        termleash::test(async |_| Ok(()));
        return termleash::test(async |_| Err("its own failure".into()));
    };
    let text = "limits on memory, processes, descriptors and wall time are not kept";
    ran.failed().says(&[
        "test `a_limit_that_nobody_keeps_says_so`: ",
        text,
        "(TERMLEASH_ISOLATE is `never`)",
        text,
        text,
    ]);
    ran.says(&["failed: its own failure", text, "containment: "]);
}

/// Which is no failure of the test's.
#[test]
fn without_a_ledger_the_limits_of_sessions_are_not_kept_and_that_is_told() {
    let Some(ran) = alone(&[("TERMLEASH_LEDGER", "/proc/nowhere"), ("TERMLEASH_PROCESSES", "5")]) else {
        return termleash::test(async |_| match std::env::var_os("FAILS") {
            None => Ok(()),
            Some(_) => Err("its own failure".into()),
        });
    };
    let text = "limits were not kept: the ledger, by which sessions are known";
    ran.passed().says_once(text);
    let ran = alone(&[("TERMLEASH_LEDGER", "/proc/nowhere"), ("TERMLEASH_PROCESSES", "5"), ("FAILS", "1")]);
    let ran = ran.expect("this is no child");
    ran.failed().says(&["its own failure", text]);
}

/// The limit of another call does not hold any more.
#[test]
fn each_call_has_its_own_limits() {
    let Some(ran) = alone(&[]) else {
        let run = |limits, name: &'static str, waits| {
            termleash::options().limits(limits).run(async move |t| {
                let session =
                    t.session(SessionSpec::shell("sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000")).await?;
                let ended = session.wait_for_exit_within(Duration::from_secs(waits)).await;
                println!("{name}: {}", if ended.is_ok() { "ended" } else { "alive" });
                Ok(())
            });
        };
        run(Limits::new(), "first", 1);
        return run(Limits::new().max_processes(2), "second", 25);
    };
    ran.failed().says(&["first: alive", "second: ended", "its limit of 2 processes"]).says_once("went over");
}

#[test]
fn limits_beyond_all_bounds_are_kept_and_end_nothing() {
    let limits = Limits::new().max_memory(u64::MAX).max_processes(usize::MAX).max_descriptors(u64::MAX);
    let limits = limits.wall_time(Duration::MAX).max_test_memory(u64::MAX);
    termleash::options().limits(limits).run(async |t| {
        let session = bystander(t).await?;
        assert!(session.wait_for_exit_within(Duration::from_secs(1)).await.is_err());
        Ok(())
    });
}

/// A panic that was asked for is no success where a limit was gone over.
#[test]
#[should_panic(expected = "all of it holds")]
fn a_test_that_was_to_panic_fails_by_a_breach() {
    let Some(ran) = alone(&[("TERMLEASH_PROCESSES", "3")]) else {
        return termleash::test(async |t| {
            let script = "for i in 1 2 3 4 5; do sleep 1000 & done; sleep 1000";
            t.session(SessionSpec::shell(script)).await?.wait_for_exit().await?;
            panic!("all of it holds");
        });
    };
    ran.failed().says(&["went over its limit of 3 processes"]);
    panic!("all of it holds");
}

/// Each has ended before the next one begins.
const ZOMBIES: &str =
    "perl -e '$| = 1; for (1..60) { pipe R, W; fork or exit; close W; <R>; close R } print \"ready\\n\"; sleep 1000'";

#[test]
fn what_has_ended_and_was_not_waited_for_is_no_process() {
    termleash::options().limits(Limits::new().max_processes(20)).run(async |t| {
        let session = t.session(SessionSpec::shell(ZOMBIES)).await?;
        session.wait_for_text("ready").await?;
        // Births elsewhere have the keeper count.
        let other = t.session("sh").await?;
        for _ in 0..20 {
            other.run("sleep 0.01 & sleep 0.05").await?;
        }
        assert!(session.wait_for_exit_within(Duration::from_millis(500)).await.is_err(), "it was ended");
        Ok(())
    });
}

fn runner_of_this_body() -> String {
    let keeper = rustix::process::getppid().unwrap().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned()
}

fn signal(runner: &str, signal: &str) {
    Command::new("kill").args([signal, runner]).status().unwrap();
}

/// As with the deadline of a test: a developer has stopped it.
#[test]
fn time_in_which_the_runner_is_stopped_is_no_wall_time() {
    let Some(ran) = alone(&[("TERMLEASH_WALL_TIME", "500ms")]) else {
        return termleash::test(async |t| {
            let runner = runner_of_this_body();
            signal(&runner, "-STOP");
            let session = t.session("cat").await?;
            let ended = session.wait_for_exit_within(Duration::from_secs(3)).await.is_ok();
            signal(&runner, "-CONT");
            println!("while it was stopped: {}", if ended { "ended" } else { "alive" });
            session.wait_for_exit().await?;
            Ok(())
        });
    };
    ran.failed().says(&["while it was stopped: alive", "its limit of 500ms of wall time"]);
}

/// The keeper is not through with it when the part that has made it is through.
#[test]
fn a_breach_is_told_of_the_call_whose_session_it_was() {
    let Some(ran) = alone(&[("TERMLEASH_WALL_TIME", "300ms")]) else {
        let first = std::panic::catch_unwind(|| {
            termleash::isolated(|| {
                let helper = SessionTestHelper::new(PtyBackend::new()).blocking();
                // It takes no hang-up.
                let script = "(trap '' HUP TERM; exec sleep 1000 </dev/null >/dev/null 2>&1) & exec sleep 1000";
                let session = helper.create_tracked_session(SessionSpec::shell(script)).unwrap();
                session.wait_for_exit().unwrap();
                // It is the keeper's alone from here on.
                helper.clear_tracked();
            });
        });
        println!("the first one has {}", if first.is_ok() { "passed" } else { "failed" });
        return termleash::isolated(|| ());
    };
    ran.passed().says(&["the first one has failed", "went over its limit of 300ms"]);
}
