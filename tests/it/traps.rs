//! What makes clean-up of terminal sessions wrong, one test for each; the names say what must not happen.

use crate::checked::{checked, checked_on};
use crate::support::{Stranger, eventually, helper, lives, pid_in};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use termleash::process::{ExitStatus, KillAction, ProcessHandle, Refusal};
use termleash::session::{Created, Running, SessionState};
use termleash::{
    SessionBackend, SessionSpec, SessionTestHelper,
    process::KillPolicy,
    session::{BoxError, SessionId},
};

fn sleeping() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

/// Opening a pty and setting close-on-exec afterwards lets whatever starts in between inherit it.
#[test]
fn programs_that_others_start_meanwhile_inherit_no_terminal_of_ours() {
    checked_on(2, async || {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        // `ls` lists the descriptors that it was started with, by a process that closes none.
        let listing = std::thread::spawn(move || {
            let mut inherited = Vec::new();
            let mut runs = 0;
            while !until.load(Ordering::Relaxed) || runs < 50 {
                let output = Command::new("ls").args(["-l", "/proc/self/fd"]).stdin(Stdio::null()).output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                inherited.extend(
                    text.lines().filter(|line| line.contains("ptmx") || line.contains("/dev/pts")).map(str::to_owned),
                );
                runs += 1;
            }
            inherited
        });
        let helper = helper();
        for _ in 0..60 {
            helper.create_tracked_session(sleeping()).await.unwrap().keep();
        }
        is_over.store(true, Ordering::Relaxed);
        let inherited = listing.join().unwrap();
        helper.kill_tracked_sessions().await.unwrap();
        assert_eq!(inherited, Vec::<String>::new());
    });
}

/// A master is closed although a process that survives on purpose still holds the other end: no thread and no
/// descriptor waits for an end-of-file that never comes.
#[test]
fn a_terminal_is_closed_although_a_stranger_holds_its_other_end() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session("sh").await.unwrap();
        let tty = session.run("tty").await.unwrap().stdout().to_owned();
        let mut stranger = Stranger::new(Command::new("sh").args(["-c", &format!("exec sleep 1000 3<{tty}")]));
        let holds = format!("/proc/{}/fd/3", stranger.pid());
        eventually("the stranger's open", || std::fs::read_link(&holds).is_ok_and(|at| at.to_str() == Some(&tty)))
            .await;
        let ours = || {
            let links = std::fs::read_dir("/proc/self/fdinfo")
                .unwrap()
                .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
            let index = format!("tty-index:\t{}\n", tty.rsplit('/').next().unwrap());
            links.filter(|info| info.contains(&index)).count()
        };
        assert_eq!(ours(), 1);

        let outcome = session.close().await.unwrap();
        assert_eq!(ours(), 0);
        // Anybody may open a terminal: the holder is named, and lives.
        let suspect = outcome.suspects().iter().find(|suspect| suspect.process.identity.pid() == stranger.pid());
        assert_eq!(suspect.map(|suspect| suspect.why), Some(Refusal::HoldsTerminal), "{outcome}");
        assert!(stranger.is_alive() && outcome.is_proven());
    });
}

/// As a program does that was started in the instant before a master had close-on-exec: it keeps the terminal, and proves
/// nothing by that.
#[test]
fn a_strangers_younger_session_that_inherited_a_master_is_named_and_lives() {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    /// A copy of the descriptor by which this process holds that terminal's master.
    fn copy_of_master(tty: &str) -> std::os::fd::OwnedFd {
        let index = format!("tty-index:\t{}\n", tty.rsplit('/').next().unwrap());
        let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap().map(|entry| entry.unwrap());
        let is_it =
            |entry: &std::fs::DirEntry| std::fs::read_to_string(entry.path()).is_ok_and(|it| it.contains(&index));
        let entry = infos.into_iter().find(is_it).expect("it is ours");
        let own: Pid = getpid();
        let ourselves = pidfd_open(own, PidfdFlags::empty()).unwrap();
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        pidfd_getfd(ourselves, number, PidfdGetfdFlags::empty()).unwrap()
    }

    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session("sh").await.unwrap();
        let tty = session.run("tty").await.unwrap().stdout().to_owned();
        let mut stranger = Stranger::with(copy_of_master(&tty));
        let outcome = session.close().await.unwrap();
        assert!(outcome.is_proven() && std::path::Path::new(&tty).exists(), "{outcome}");
        let named: Vec<_> = outcome.suspects().iter().map(|it| (it.process.identity.pid(), it.why)).collect();
        assert_eq!(named, [(stranger.pid(), Refusal::HoldsMaster)], "{outcome}");
        assert!(stranger.is_alive());
    });
}

/// PDEATHSIG fires when the *thread* that spawned ends; test threads and blocking threads are short-lived.
#[test]
fn a_session_outlives_the_thread_that_created_it() {
    checked(async || {
        let helper = helper();
        let of_thread = helper.clone();
        let session = std::thread::spawn(move || of_thread.blocking().create_tracked_session("sh").unwrap().keep())
            .join()
            .unwrap();
        assert_eq!(session.run("echo alive").await.unwrap().stdout(), "alive");
        helper.kill_tracked_sessions().await.unwrap();
        assert_eq!(session.wait_for_exit().await.unwrap().signal(), Some(1));
    });
}

/// The cookie alone is not enough to look for: `env -i` drops it, and the kernel session stays.
#[test]
fn a_child_without_the_cookie_is_found_by_the_leaders_kernel_session() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session("sh").await.unwrap();
        let script = "trap '' HUP; env -i sleep 1000 >/dev/null </dev/null 2>&1 & echo $!";
        let child = ProcessHandle::open(pid_in(session.run(script).await.unwrap().stdout())).unwrap();
        let environ = format!("/proc/{}/environ", child.pid());
        eventually("its exec", || std::fs::read(&environ).unwrap().is_empty()).await;
        let outcome = session.close().await.unwrap();
        assert!(!child.is_alive(), "{outcome}");
    });
}

/// After SIGKILL a process on a busy machine waits for its turn to die: whoever looks at once sees it alive.
#[test]
fn a_kill_waits_for_the_death_on_a_busy_machine_and_never_calls_it_survived() {
    checked(async || {
        let is_over = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..4)
            .map(|_| {
                let is_over = Arc::clone(&is_over);
                std::thread::spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let helper = helper().with_policy(KillPolicy::default().grace(Duration::ZERO));
        for _ in 0..5 {
            for _ in 0..20 {
                helper.create_tracked_session(sleeping()).await.unwrap().keep();
            }
            let report = helper.kill_tracked_sessions().await.unwrap();
            assert!(report.is_proven() && helper.survivors().unwrap().is_empty());
        }
        is_over.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// An interactive shell ignores TERM; the hang-up ends it at once.
#[test]
fn an_interactive_shell_is_ended_by_the_hang_up_and_not_after_the_grace() {
    checked(async || {
        let grace = Duration::from_secs(60);
        let helper = helper().with_policy(KillPolicy::default().grace(grace));
        let session = helper.create_tracked_session(SessionSpec::new("bash").args(["--norc", "-i"])).await.unwrap();
        session.run("true").await.unwrap();
        let outcome = session.close().await.unwrap();
        assert_eq!(outcome.exit(), Some(ExitStatus::Signaled { signal: 1, core_dumped: false }));
        assert!(outcome.steps().iter().all(|step| step.action == KillAction::HungUp), "{:?}", outcome.steps());
        assert!(outcome.took() < grace / 2);
    });
}

/// A stopped process holds HUP and TERM back until it continues.
#[test]
fn a_stopped_session_is_continued_so_that_the_hang_up_reaches_it() {
    checked(async || {
        let grace = Duration::from_secs(60);
        let helper = helper().with_policy(KillPolicy::default().grace(grace));
        let session = helper.create_tracked_session(sleeping()).await.unwrap();
        let pid = session.leader_pid().unwrap();
        assert!(Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
        let state = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().rsplit(") ").next().unwrap().starts_with('T')
        };
        eventually("its stop", state).await;
        let outcome = session.close().await.unwrap();
        assert_eq!(outcome.exit().and_then(ExitStatus::signal), Some(1));
        assert!(outcome.took() < grace / 2 && !lives(pid));
    });
}

/// A server that does not call setsid: its session's processes are in the developer's own kernel session, together
/// with everything that the developer runs.
struct WithoutSetsid(parking_lot::Mutex<Option<std::process::Child>>);

impl SessionBackend for WithoutSetsid {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let mut command = Command::new("sleep");
        for (name, value) in spec.environment() {
            command.env(name, value.unwrap_or_default());
        }
        let child = command.arg("1000").spawn()?;
        let created = Created::new(SessionId::new("only")?).with_leader(child.id());
        *self.0.lock() = Some(child);
        Ok(created)
    }

    async fn kill(&self, _: &SessionId) -> Result<(), BoxError> {
        Ok(())
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        let mut child = self.0.lock();
        let Some(child) = child.as_mut() else { return Ok(SessionState::Unknown) };
        let has_ended = child.try_wait()?.is_some();
        Ok(if has_ended { SessionState::Exited(None) } else { Running::new().with_leader(child.id()).into() })
    }
}

#[test]
fn a_server_that_does_not_call_setsid_does_not_make_our_own_kernel_session_a_mark() {
    checked(async || {
        let mut beside = Stranger::sleeping();
        let helper = SessionTestHelper::new(WithoutSetsid(parking_lot::Mutex::default()));
        let session = helper.create_tracked_session("sleep").await.unwrap();
        let leader = session.leader().expect("it carries the cookie").clone();
        let outcome = session.close().await.unwrap();
        assert!(!leader.is_alive(), "{outcome}");
        assert!(beside.is_alive(), "a process in our own kernel session was killed");
        assert_eq!(outcome.suspects(), []);
    });
}
