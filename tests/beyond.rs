//! Sessions and tests that go over a limit which the keeper keeps: the one is ended, and nothing else.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::{Ran, alone, captured, is_child};
use std::process::{Command, Stdio};
use std::time::Duration;
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
            // A later one has its own time.
            t.session("cat").await?.close().await?;
            println!("the later one was closed");
            Ok(())
        });
    };
    ran.failed().says(&["the later one was closed", "session `cat`", "its limit of 500ms of wall time: it had "]);
    ran.says_once("went over").says(&["TERMLEASH_WALL_TIME"]);
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

/// A page that two processes share is one page.
#[test]
fn what_is_shared_with_a_forked_child_counts_once() {
    let script = "perl -e '$x = \"x\" x 40_000_000; for (1..3) { fork or do { sleep 1000; exit } } $| = 1; print \"ready\\n\"; sleep 1000'";
    termleash::options().limits(Limits::new().max_memory(100 * MIB)).run(async |t| {
        let session = t.session(SessionSpec::shell(script)).await?;
        session.wait_for_text("ready").await?;
        // For as long as the keeper has looked several times.
        let ended = session.wait_for_exit_within(Duration::from_millis(1500)).await;
        assert!(ended.is_err(), "it was ended");
        Ok(())
    });
}

/// 140 MB, in small steps.
const FILLS: &str = "perl -e 'for (1..70) { push @x, \"x\" x 2_000_000 } sleep 1000'";

#[test]
fn a_test_over_its_memory_fails_with_what_lives_and_how_big_it_is() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "128MiB")]) else {
        return termleash::test(async |t| {
            let _small = bystander(t).await?;
            let big = t.session(SessionSpec::shell(FILLS)).await?;
            big.wait_for_exit().await?;
            println!("it goes on");
            Ok(())
        });
    };
    ran.failed()
        .says(&["failed: the test went over its limit of 128.0 MiB of memory: it had ", "its own process, pid "]);
    ran.says(&["session `/bin/sh -c perl", "made at tests/beyond.rs:", "session `cat`", "TERMLEASH_MEMORY"]);
    ran.says_once("went over").does_not_say("it goes on").does_not_say("heap profile");
}

/// Where its own process has it, the heap is where to look.
#[test]
fn a_test_that_has_too_much_itself_says_where_its_heap_is_or_how_to_learn_it() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::test(async |t| {
            let session = bystander(t).await?;
            let held = vec![1u8; 70 << 20];
            session.wait_for_exit_within(Duration::from_secs(100)).await?;
            drop(held);
            Ok(())
        });
    };
    ran.failed().says(&["failed: the test went over its limit of 64.0 MiB", "its own process, pid ", "session `cat`"]);
    ran.says(&["heap profile: none, the global allocator does not say who has made what"]);
}

#[test]
fn a_test_that_blocks_beyond_its_memory_is_ended() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::test(async |_| {
            let held = vec![1u8; 70 << 20];
            std::thread::sleep(Duration::from_secs(1000));
            drop(held);
            Ok(())
        });
    };
    ran.failed().says(&["was told to end, did not, and blocks its thread", "the test went over its limit of 64.0 MiB"]);
    ran.says(&["heap profile: none", "thread `", "let it await"]).says_once("went over");
}

/// No scope, no watchdog: only the keeper ends it.
#[test]
fn a_part_that_hears_no_word_is_ended_by_the_keeper() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::isolated(|| {
            let held = vec![1u8; 70 << 20];
            std::thread::sleep(Duration::from_secs(1000));
            drop(held);
        });
    };
    ran.failed().says(&["cause of death: killed for a limit: the test went over its limit of 64.0 MiB"]);
    ran.says(&["and it did not end when it was told to"]).says_once("went over");
}

#[test]
fn a_test_that_goes_on_to_grow_is_ended_at_once() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::isolated(|| {
            let mut held = Vec::new();
            // 500 MiB, far more than a report takes.
            for _ in 0..50 {
                held.push(vec![1u8; 10 << 20]);
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_secs(1000));
        });
    };
    ran.failed().says(&["killed for a limit: the test went over its limit of 64.0 MiB", "and it went on to grow"]);
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

/// As with the deadline of a test: a developer has stopped it.
#[test]
fn time_in_which_the_runner_is_stopped_is_no_wall_time() {
    let Some(ran) = alone(&[("TERMLEASH_WALL_TIME", "500ms")]) else {
        return termleash::test(async |t| {
            let keeper = rustix::process::getppid().unwrap().as_raw_nonzero();
            let status = std::fs::read_to_string(format!("/proc/{keeper}/status"))?;
            let runner = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
            let signal = |signal: &str| std::process::Command::new("kill").args([signal, runner.as_str()]).status();
            signal("-STOP")?;
            let session = t.session("cat").await?;
            let ended = session.wait_for_exit_within(Duration::from_secs(3)).await.is_ok();
            signal("-CONT")?;
            println!("while it was stopped: {}", if ended { "ended" } else { "alive" });
            session.wait_for_exit().await?;
            Ok(())
        });
    };
    ran.failed().says(&["while it was stopped: alive", "its limit of 500ms of wall time"]);
}

/// What another call has had, and what it was told, is not held against the one that runs.
#[test]
fn a_call_that_was_over_its_memory_costs_the_next_one_nothing() {
    let Some(ran) = alone(&[]) else {
        let fills = |name: &str| {
            let over = std::panic::catch_unwind(|| {
                termleash::options().limits(Limits::new().max_test_memory(64 * MIB)).run(async |t| {
                    let held = vec![1u8; 70 << 20];
                    t.session("cat").await?.wait_for_exit_within(Duration::from_secs(100)).await?;
                    drop(held);
                    Ok(())
                });
            });
            assert!(over.is_err());
            println!("{name}: over");
        };
        fills("first");
        // Longer than one that was told may take to end.
        termleash::options().limits(Limits::new()).run(async |t| {
            let session = t.session("cat").await?;
            assert!(session.wait_for_exit_within(Duration::from_secs(8)).await.is_err());
            println!("second: lives");
            Ok(())
        });
        return fills("third");
    };
    ran.passed().says(&["first: over", "second: lives", "third: over"]);
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
