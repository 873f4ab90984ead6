//! A backend of one's own on a real server: the example's, for tmux.
//!
//! Where tmux is missing these are listed as ignored, with the command that installs it. The standard harness decides
//! that when it compiles, so this has another one. With `CI` set they run, and fail.

use checked::run;
use libtest_mimic::{Arguments, Failed, Trial};
use own_backend::Tmux;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use termleash::process::{KillAction, ProcessHandle};
use termleash::session::{SessionBackend, SessionId, SessionSpec};
use termleash::testing::{BackendCheck, Outcome};
use termleash::{SessionTestHelper, options, process::KillPolicy, session::BoxError};

#[path = "it/checked.rs"]
mod checked;
#[path = "../examples/own_backend.rs"]
#[expect(dead_code, reason = "its `main` is the example's")]
mod own_backend;

type Tried = Result<(), Failed>;

fn main() -> ExitCode {
    let is_missing = Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let trial = |name: &str, run: fn() -> Tried| {
        let trial = Trial::test(name, run).with_ignored_flag(is_missing && !is_ci);
        if is_missing { trial.with_kind("needs tmux: apt-get install -y tmux") } else { trial }
    };
    let mut trials = vec![
        trial("the_contract_is_kept", the_contract_is_kept),
        trial("no_target_but_an_exact_id_is_accepted", no_target_but_an_exact_id_is_accepted),
        trial("a_second_kill_does_not_reach_a_longer_name", a_second_kill_does_not_reach_a_longer_name),
        trial("words_reach_the_program_as_they_are", words_reach_the_program_as_they_are),
    ];
    // They need proof of a process's death.
    if cfg!(target_os = "linux") {
        trials.extend([
            trial("what_ignores_the_hang_up_is_proven_dead", what_ignores_the_hang_up_is_proven_dead),
            trial("what_tmux_has_forgotten_is_proven_dead", what_tmux_has_forgotten_is_proven_dead),
            trial("an_id_of_a_restarted_server_is_left_alone", an_id_of_a_restarted_server_is_left_alone),
        ]);
    }
    // One after the other, for a leak check that is exact.
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// In a runtime of the test's own, and under the leak check.
fn on_tmux<F: AsyncFnOnce(std::sync::Arc<Tmux>) -> Result<(), BoxError>>(body: F) -> Tried {
    // This harness names no thread after its test.
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    run(options().name(name), None, async || {
        let server = std::sync::Arc::new(Tmux::start().await.unwrap());
        body(server).await.unwrap();
    });
    Ok(())
}

fn line(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A session of somebody else's with this name; answers with its id.
async fn stranger(server: &Tmux, name: &str) -> Result<SessionId, BoxError> {
    let words = ["new-session", "-d", "-P", "-F", "#{session_id}", "-s", name, "sleep", "600"];
    Ok(SessionId::new(server.tmux(line(&words)).await?.trim())?)
}

async fn runs(server: &Tmux, id: &SessionId) -> Result<bool, BoxError> {
    Ok(server.state(id).await?.is_running())
}

/// A program that ignores HUP and TERM, and says in a file when it does.
async fn stubborn(helper: &SessionTestHelper) -> Result<ProcessHandle, BoxError> {
    let directory = tempfile::tempdir()?;
    let ready = directory.path().join("ready");
    let spec = SessionSpec::shell("trap '' HUP TERM; : >\"$READY\"; exec sleep 600").env("READY", &ready);
    let session = helper.create_tracked_session(spec).await?.keep();
    let start = Instant::now();
    while !ready.exists() {
        assert!(start.elapsed() < Duration::from_secs(10), "the program did not begin");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(session.leader().ok_or("no leader is known")?.clone())
}

fn helper(server: &std::sync::Arc<Tmux>) -> SessionTestHelper {
    SessionTestHelper::new(server.clone()).with_policy(KillPolicy::default().grace(Duration::from_millis(100)))
}

fn the_contract_is_kept() -> Tried {
    on_tmux(async |server| {
        let conformance = BackendCheck::new(server.clone()).run().await?;
        conformance.assert_ok();
        let find = |name| conformance.checks().iter().find(|check| check.name() == name).unwrap();
        assert!(matches!(find("list").outcome(), Outcome::Skipped { why } if why.contains("cannot list")));
        if cfg!(target_os = "linux") {
            assert_eq!(*find("cookie").outcome(), Outcome::Passed, "{conformance}");
            assert!(find("slow death").remark().unwrap().contains("forgets it while it lives"), "{conformance}");
        }
        Ok(())
    })
}

fn no_target_but_an_exact_id_is_accepted() -> Tried {
    on_tmux(async |server| {
        let theirs = stranger(&server, "build-2").await?;
        for target in ["build", "build-2", "=build-2", "build*", "$", "$x", "@0", "{last}", &format!("{theirs}:")] {
            let id = SessionId::new(target)?;
            let error = server.kill(&id).await.unwrap_err().to_string();
            assert!(error.contains(&format!("`{target}` is no tmux session id")), "{error}");
        }
        assert!(server.kill(&SessionId::new("$77")?).await.unwrap_err().to_string().contains("can't find session"));
        assert!(runs(&server, &theirs).await?);
        Ok(())
    })
}

/// By name, `tmux kill-session -t build` twice ends `build` and then `build-2`.
fn a_second_kill_does_not_reach_a_longer_name() -> Tried {
    on_tmux(async |server| {
        let by_name = |name| server.tmux(line(&["kill-session", "-t", name]));
        let (build, build_2) = (stranger(&server, "build").await?, stranger(&server, "build-2").await?);
        by_name("build").await?;
        by_name("build").await?;
        assert!(!runs(&server, &build).await? && !runs(&server, &build_2).await?, "tmux does what the trap says");

        let theirs = stranger(&server, "build-2").await?;
        let helper = helper(&server);
        let ours = stranger(&server, "build").await?;
        helper.track_session(&ours).await?;
        helper.kill_tracked_sessions().await?;
        assert!(!runs(&server, &ours).await? && runs(&server, &theirs).await?);
        helper.kill_tracked_sessions().await?;
        assert!(helper.kill_session(&ours).await.unwrap_err().is_not_tracked());
        assert!(server.kill(&ours).await.is_err());
        assert!(helper.track_session("build").await.unwrap_err().is_unknown_session());
        assert!(helper.kill_session(&SessionId::new("build")?).await.unwrap_err().is_not_tracked());
        assert!(runs(&server, &theirs).await?);
        Ok(())
    })
}

fn words_reach_the_program_as_they_are() -> Tried {
    on_tmux(async |server| {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("words");
        let words = ["two words", ";", "x;", "y\\;", "$HOME", "#{pid}", "*", "'\"", "", "-t"];
        let spec = SessionSpec::shell("printf '%s\\n' \"$@\" \"$VALUE\" \"$(stty size)\" >\"$FILE\"; exec sleep 600")
            .arg("sh")
            .args(words)
            .env("FILE", &file)
            .env("VALUE", "a=b;")
            .current_dir(directory.path())
            .size(33, 111);
        let helper = helper(&server);
        helper.create_tracked_session(spec).await?.keep();
        let expected = format!("{}\na=b;\n33 111\n", words.join("\n"));
        let start = Instant::now();
        loop {
            let written = std::fs::read_to_string(&file).unwrap_or_default();
            if written == expected {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{written:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        helper.kill_tracked_sessions().await?;
        Ok(())
    })
}

fn what_ignores_the_hang_up_is_proven_dead() -> Tried {
    on_tmux(async |server| {
        let theirs = stranger(&server, "theirs").await?;
        let helper = helper(&server);
        let process = stubborn(&helper).await?;
        let report = helper.kill_tracked_sessions().await?;
        assert!(report.is_proven() && !process.is_alive());
        let actions: Vec<_> = report.outcomes()[0].steps().iter().map(|step| step.action).collect();
        assert!(actions.starts_with(&[KillAction::AskedBackend]) && actions.ends_with(&[KillAction::Killed]));
        assert!(helper.survivors()?.is_empty() && runs(&server, &theirs).await?);
        Ok(())
    })
}

/// It is in no list any more, and lives.
fn what_tmux_has_forgotten_is_proven_dead() -> Tried {
    on_tmux(async |server| {
        let helper = helper(&server);
        let process = stubborn(&helper).await?;
        let id = helper.tracked_ids().remove(0);
        server.kill(&id).await?;
        assert!(!runs(&server, &id).await? && process.is_alive(), "tmux forgets what ignores its hang-up");
        let report = helper.kill_tracked_sessions().await?;
        assert!(report.is_proven() && !process.is_alive());
        Ok(())
    })
}

/// A server that was started anew begins again at `$0`.
fn an_id_of_a_restarted_server_is_left_alone() -> Tried {
    on_tmux(async |server| {
        let helper = helper(&server);
        let ours = helper.create_tracked_session(SessionSpec::new("sleep").arg("600")).await?.keep();
        server.tmux(line(&["kill-server"])).await?;
        let process = ours.leader().ok_or("no leader is known")?;
        process.wait_gone().await?;
        let theirs = loop {
            // The old server may still be on its way out.
            match stranger(&server, "theirs").await {
                Ok(id) => break id,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert_eq!(theirs, *ours.id());
        let report = helper.kill_tracked_sessions().await?;
        assert!(report.is_proven() && runs(&server, &theirs).await?);
        Ok(())
    })
}
