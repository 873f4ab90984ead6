//! Sessions that die: by us, for a limit, by a stranger, by themselves; told apart in the error of who waits for them.

use crate::children::alone;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use termleash::process::{CauseOfDeath, Evidence, ExitStatus};
use termleash::session::{BoxError, Created, Running, SessionBackend, SessionId, SessionState};
use termleash::testing::Limits;
use termleash::tracker::SessionGuard;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, block_on};

const NEVER: &str = "what never comes";

fn helper() -> SessionTestHelper {
    SessionTestHelper::new(PtyBackend::new())
}

/// One that has begun to live on, so that a signal does not hit its shell's start.
async fn living(helper: &SessionTestHelper, script: &str) -> SessionGuard {
    let session = helper.create_tracked_session(SessionSpec::shell(script)).await.expect("it starts");
    session.wait_for_text("ready").await.expect("it says so");
    session
}

fn signal(session: &termleash::session::Session, signal: Signal) {
    let pid = session.leader_pid().expect("it has a leader").cast_signed();
    kill_process(Pid::from_raw(pid).expect("it is a number"), signal).expect("it is our child, and not reaped");
}

/// The error of who waits for it in vain.
async fn error_of(session: &termleash::session::Session) -> String {
    let error = session.wait_for_text(NEVER).await.expect_err("it never comes");
    assert!(error.is_session_ended(), "{error}");
    error.to_string()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in it:\n{text}");
    }
}

const LIVES: &str = "echo ready; exec sleep 1000";

#[test]
fn one_that_its_guard_or_its_helper_ends_says_so() {
    let helper = helper();
    let closed = block_on(living(&helper, LIVES));
    let (id, waiting) = (closed.id().clone(), closed.keep());
    let waiter = thread::spawn(move || block_on(error_of(&waiting)));
    block_on(helper.kill_session(&id)).expect("it ends");
    let text = waiter.join().expect("it says why");
    says(
        &text,
        &[
            "ended (signal 1 (SIGHUP); cause of death: ended: its guard or its helper has closed it",
            "we had sent it signal 1",
        ],
    );

    let dropped = block_on(living(&helper, LIVES));
    let waiting = helper.session(dropped.id()).expect("it is tracked");
    let waiter = thread::spawn(move || block_on(error_of(&waiting)));
    drop(dropped);
    says(&waiter.join().expect("it says why"), &["cause of death: ended: its guard was dropped; we had sent it"]);
    block_on(helper.kill_tracked_sessions()).expect("all end");
}

#[test]
fn one_that_a_stranger_kills_says_so_and_so_does_its_kill_that_comes_later() {
    let helper = helper();
    block_on(async {
        let session = living(&helper, LIVES).await;
        signal(&session, Signal::KILL);
        let text = error_of(&session).await;
        says(&text, &["ended (signal 9 (SIGKILL) by somebody unknown; we had sent it nothing; the kernel killed no"]);
        let outcome = session.close().await.expect("it is gone");
        let death = outcome.death().expect("a signal has ended it");
        assert_eq!(*death.cause(), CauseOfDeath::Signal { signal: 9 });
        assert!(death.evidence().contains(&Evidence::NotSent), "{death:#}");
        says(
            &outcome.to_string(),
            &["was gone already; cause of death: signal 9 (SIGKILL) by somebody unknown (we had"],
        );
        // What we ended ourselves, and what ended by itself, has no other death to tell of.
        let ended = living(&helper, LIVES).await.close().await.expect("it ends");
        assert!(ended.death().is_none() && !ended.was_already_gone(), "{ended}");
        let exits = helper.create_tracked_session(SessionSpec::shell("exit 3")).await.expect("it starts");
        exits.wait_for_exit().await.expect("it ends");
        assert!(exits.close().await.expect("it is gone").death().is_none());
    });
}

/// The words of a program that dies for want of memory, and a SIGKILL.
#[test]
fn one_that_prints_last_words_and_is_killed_by_a_stranger_is_not_believed() {
    let helper = helper();
    block_on(async {
        let forges = "echo ready; echo memory allocation of 5 bytes failed; echo done; exec sleep 1000";
        let session = living(&helper, forges).await;
        session.wait_for_text("done").await.expect("it says so");
        signal(&session, Signal::KILL);
        let text = error_of(&session).await;
        says(&text, &["ended (signal 9 (SIGKILL) by somebody unknown; "]);
        assert!(!text.contains("out of memory"), "{text}");
    });
}

/// Nobody can tell such a one from one that means it; the text says so.
#[test]
fn one_that_prints_last_words_and_is_aborted_by_a_stranger_is_taken_at_its_word_and_that_is_said() {
    let helper = helper();
    block_on(async {
        let session = living(&helper, "echo memory allocation of 5 bytes failed; echo ready; exec sleep 1000").await;
        signal(&session, Signal::ABORT);
        let text = error_of(&session).await;
        says(&text, &["out of memory: an allocation of 5 B failed", "its own words are all that says why"]);
        session.close().await.expect("it is gone");
    });
}

/// The last words stand behind more than is kept, in one line of it.
#[test]
fn one_that_has_printed_a_lot_is_judged_by_its_end() {
    let helper = helper();
    block_on(async {
        let script =
            "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo memory allocation of 5 bytes failed; kill -ABRT $$";
        let session = helper.create_tracked_session(SessionSpec::shell(script)).await.expect("it starts");
        session.wait_for_exit_within(std::time::Duration::from_secs(300)).await.expect("it ends");
        let death = session.wait_for_death().await.expect("it has died");
        assert!(matches!(death.cause(), CauseOfDeath::OutOfMemory(_)), "{death:#}");
        assert!(session.output().expect("it has one").dropped_bytes() > 0);
        session.close().await.expect("it is gone");
    });
}

/// The keeper writes it down before it ends the session, and the body finds it there.
#[test]
fn one_that_the_keeper_ends_for_a_limit_says_which() {
    const GROWS: &str = "echo ready; exec perl -e 'for (1..60) { push @x, \"x\" x 10_000_000; select undef, undef, undef, 0.1 } sleep 1000'";
    let Some(ran) = alone(&[]) else {
        return termleash::options().limits(Limits::new().max_memory(64 << 20)).run(async move |t| {
            let session = t.session(SessionSpec::shell(GROWS)).await?;
            println!("{}", error_of(&session).await);
            Ok(())
        });
    };
    ran.failed().says(&[
        "session `pty-1` ended (signal ",
        "; cause of death: killed for a limit: its limit of 64.0 MiB of memory: it had ",
        "; its keeper was to end it) before ",
    ]);
}

/// What the keeper has written down is of one session.
#[test]
fn one_that_a_stranger_kills_is_a_strangers_also_beside_one_that_went_over_a_limit() {
    let Some(ran) = alone(&[("TERMLEASH_PROCESSES", "2")]) else {
        return termleash::test(async move |t| {
            let over = t.session(SessionSpec::shell("sleep 1000 & sleep 1000 & wait")).await?;
            over.wait_for_exit().await?;
            let other = t.session(SessionSpec::shell(LIVES)).await?;
            other.wait_for_text("ready").await?;
            signal(&other, Signal::KILL);
            println!("the other one: {}", error_of(&other).await);
            Ok(())
        });
    };
    ran.failed().says(&[
        "the other one: ",
        "ended (signal 9 (SIGKILL) by somebody unknown",
        "its limit of 2 processes",
    ]);
    ran.does_not_say("killed for a limit");
}

/// What creates sessions for others, ends them by SIGKILL, and knows how they have ended.
#[derive(Default)]
struct Server {
    children: Mutex<HashMap<SessionId, Child>>,
}

impl SessionBackend for Server {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let mut command = Command::new(spec.program());
        command.args(spec.arguments()).stdin(Stdio::null());
        command.envs(spec.environment().filter_map(|(name, value)| Some((name, value?))));
        let child = command.spawn()?;
        let (id, pid) = (SessionId::new(format!("of-pid-{}", child.id()))?, child.id());
        self.children.lock().unwrap().insert(id.clone(), child);
        Ok(Created::new(id).with_leader(pid))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        Ok(self.children.lock().unwrap().get_mut(id).ok_or("there is none")?.kill()?)
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        let mut children = self.children.lock().unwrap();
        let Some(child) = children.get_mut(id) else { return Ok(SessionState::Unknown) };
        Ok(match child.try_wait()? {
            None => Running::new().with_leader(child.id()).into(),
            Some(status) => SessionState::Exited(Some(match status.signal() {
                Some(signal) => ExitStatus::Signaled { signal, core_dumped: false },
                None => ExitStatus::Exited(status.code().unwrap_or(0)),
            })),
        })
    }
}

/// By which signal its server did it is the server's affair; a stranger's SIGKILL looks the same from outside.
#[test]
fn one_that_its_server_ends_is_ours_if_we_have_asked_for_it() {
    let helper = SessionTestHelper::new(Arc::new(Server::default()));
    block_on(async {
        let ours =
            helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.expect("it starts").keep();
        let other = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await.expect("it starts");
        signal(&other, Signal::KILL);
        let death = other.wait_for_death().await.expect("it has died");
        assert_eq!(*death.cause(), CauseOfDeath::Signal { signal: 9 }, "{death:#}");
        helper.kill_session(ours.id()).await.expect("it ends");
        let death = ours.wait_for_death().await.expect("it has died");
        assert_eq!(death.status(), ExitStatus::Signaled { signal: 9, core_dumped: false });
        let why = "its guard or its helper has closed it".to_owned();
        assert_eq!(*death.cause(), CauseOfDeath::Ended { why }, "{death:#}");
        assert!(death.evidence().contains(&Evidence::LeftTo("its server".into())), "{death:#}");
        other.close().await.expect("it is gone");
    });
}
