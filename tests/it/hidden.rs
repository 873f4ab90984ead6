//! Processes that /proc does not show as they are: one that looks like a zombie, and lives; one that hides its environment.

#![expect(
    unsafe_code,
    reason = "std cannot end the first thread alone, nor hide a process, nor run anything before `main`"
)]

use crate::checked::checked;
use crate::seen::{kill, stat};
use crate::support::{eventually, helper, pid_in};
use termleash::process::{ProcessHandle, Refusal};
use termleash::tracker::SessionGuard;
use termleash::{SessionSpec, SessionTestHelper};

/// Makes a copy of this program such a process: its first thread, or its environment.
const HIDES: &str = "TEST_HIDES";

#[used]
// SAFETY: the section has functions like this one, which the C library calls before `main`.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = hide;

extern "C" fn hide() {
    let for_ever = || std::thread::sleep(std::time::Duration::from_secs(1000));
    match std::env::var(HIDES).as_deref() {
        Ok("first thread") => {
            std::thread::spawn(for_ever);
            // SAFETY: it ends this thread, whose stack nobody else uses.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        Ok("environment") => {
            // SAFETY: the one takes numbers, the other a text that ends in NUL.
            unsafe {
                libc::prctl(libc::PR_SET_DUMPABLE, 0);
                libc::prctl(libc::PR_SET_NAME, c"hidden".as_ptr());
            }
            for_ever();
        }
        _ => {}
    }
}

/// A session with such a process, out of its kernel session: only a cookie leads to it.
async fn session_that_hides(helper: &SessionTestHelper, what: &str) -> (SessionGuard, ProcessHandle) {
    let script = "setsid \"$PROGRAM\" </dev/null >/dev/null 2>&1 & echo left: $!.; sleep 1000";
    let spec = SessionSpec::shell(script).env("PROGRAM", std::env::current_exe().unwrap()).env(HIDES, what);
    let session = helper.create_tracked_session(spec).await.unwrap();
    session.wait_for_text(".\n").await.unwrap();
    let text = session.output().unwrap().text();
    let left = pid_in(text.trim().strip_prefix("left: ").and_then(|pid| pid.strip_suffix('.')).unwrap());
    (session, ProcessHandle::open(left).unwrap())
}

#[test]
fn a_process_whose_first_thread_has_ended_is_found_and_ended() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("not tested: its files in /proc belong to root then, and its cookie is read by root only");
    }
    checked(async || {
        let helper = helper();
        let (session, process) = session_that_hides(&helper, "first thread").await;
        let state = || stat(process.pid());
        eventually("the end of its first thread", || state().is_some_and(|stat| stat.starts_with('Z'))).await;
        assert!(process.is_alive());
        let found = helper.survivors().unwrap();
        assert!(found.iter().any(|found| found.identity == process.identity()), "{process:?} is not among {found:?}");
        let outcome = session.close().await.unwrap();
        assert!(!process.is_alive(), "it lives after {outcome}");
    });
}

/// As an ssh-agent. To root, where the kernel lets it trace everybody, nothing is hidden.
#[test]
fn a_process_that_hides_its_environment_is_named_and_lives() {
    checked(async || {
        let helper = helper();
        let (session, process) = session_that_hides(&helper, "environment").await;
        let read = |file: &str| std::fs::read(format!("/proc/{}/{file}", process.pid()));
        eventually("its hiding", || read("comm").is_ok_and(|name| name == b"hidden\n")).await;
        let is_hidden = read("environ").is_err();
        let outcome = session.close().await.unwrap();
        assert_eq!(process.is_alive(), is_hidden, "{outcome}");
        if is_hidden {
            let named = outcome.suspects().iter().find(|suspect| suspect.process.identity == process.identity());
            assert_eq!(named.map(|suspect| suspect.why), Some(Refusal::Unreadable), "{outcome}");
            kill(process.pid());
            eventually("its end", || !process.is_alive()).await;
        }
    });
}
