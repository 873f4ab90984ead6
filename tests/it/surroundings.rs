//! What a session's program finds around it: environment, descriptors, terminal, signals.

use crate::checked::{checked, checked_blocking};
use crate::support::{helper, over};
use std::collections::BTreeMap;
use std::fs::File;
use termleash::process::ExitStatus;
use termleash::{SessionSpec, SessionTestHelper};

/// What a program prints until its end.
async fn prints_on(helper: &SessionTestHelper, spec: SessionSpec) -> String {
    let session = helper.create_tracked_session(spec).await.unwrap();
    assert_eq!(over(&session).await, ExitStatus::Exited(0));
    let text = session.output().unwrap().text();
    session.close().await.unwrap();
    text
}

async fn prints(spec: SessionSpec) -> String {
    prints_on(&helper(), spec).await
}

fn variables(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

fn is_cookie(name: &&&str) -> bool {
    name.starts_with("TERMLEASH_S_")
}

#[test]
fn a_session_has_the_tests_environment_with_a_terminal_and_its_cookie() {
    checked(async || {
        let text = prints(SessionSpec::new("env").env("LC_ALL", "C")).await;
        let found = variables(&text);
        assert_eq!(found["TERM"], "xterm-256color");
        assert_eq!(found["PATH"], std::env::var("PATH").unwrap());
        assert!(!found.contains_key("LINES") && !found.contains_key("COLUMNS"), "{text}");
        // One of this session; more only if this test runs in a session itself.
        let outer = std::env::vars().filter(|(name, _)| name.starts_with("TERMLEASH_S_")).count();
        assert_eq!(found.keys().filter(is_cookie).count(), outer + 1, "{text}");
        let ours = |name: &&&str| name.starts_with("TERMLEASH_") || name.starts_with("NEXTEST_");
        assert_eq!(found.keys().filter(ours).count(), outer + 1, "{text}");
    });
}

#[test]
fn a_test_sets_removes_and_clears_variables() {
    checked(async || {
        let spec = SessionSpec::new("env").env("LINES", "7").env("TERM", "dumb").env("A", "1").env("A", "a=b c");
        let text = prints(spec.env_remove("HOME").env("B", "").env("C", "1").env_remove("C")).await;
        let found = variables(&text);
        assert_eq!((found["LINES"], found["TERM"], found["A"], found["B"]), ("7", "dumb", "a=b c", ""));
        assert!(!found.contains_key("HOME") && !found.contains_key("C"));

        let text = prints(SessionSpec::new("/usr/bin/env").env("GONE", "1").env_clear().env("ONLY", "this")).await;
        let mut found = variables(&text);
        assert_eq!(found.remove("ONLY"), Some("this"));
        assert!(found.len() == 1 && found.keys().all(|name| is_cookie(&name)), "{text}");
    });
}

#[test]
fn sessions_have_cookies_of_their_own() {
    checked(async || {
        let helper = helper();
        let mut names = Vec::new();
        for _ in 0..3 {
            let text = prints_on(&helper, SessionSpec::new("/usr/bin/env").env_clear()).await;
            names.push(text.split_once('=').expect("its cookie is all that it has").0.to_owned());
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 3, "{names:?}");
    });
}

/// One that whatever this process executes would inherit.
fn inheritable() -> impl Sized {
    rustix::io::dup(File::open("/dev/null").unwrap()).unwrap()
}

#[test]
fn a_session_has_the_terminal_open_and_nothing_else() {
    checked(async || {
        let _foreign: Vec<_> = (0..5).map(|_| inheritable()).collect();
        let helper = helper();
        // Other sessions' terminals neither.
        let other = helper.create_tracked_session("sh").await.unwrap();
        let text = prints_on(&helper, SessionSpec::new("ls").arg("/proc/self/fd")).await;
        let found: Vec<&str> = text.split_whitespace().collect();
        // The last is the folder that it lists.
        assert_eq!(found, ["0", "1", "2", "3"]);
        let links = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; tty";
        let text = prints_on(&helper, SessionSpec::shell(links)).await;
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("/dev/pts/") && lines.iter().all(|line| *line == lines[0]), "{text}");
        other.close().await.unwrap();
    });
}

/// Leads a session of its own, whose terminal it controls: else no key is a signal and no hang-up comes.
#[test]
fn a_session_leads_its_own_kernel_session_on_its_controlling_terminal() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session("sh").await.unwrap();
        let pid = session.leader_pid().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // proc_pid_stat(5), from field 3 on: state, parent, group, session, terminal.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        assert_eq!(fields[1], std::process::id().to_string(), "its parent");
        assert_eq!((fields[2], fields[3]), (&*pid.to_string(), &*pid.to_string()), "its group and session");
        assert_ne!(fields[4], "0", "its terminal");
        let through_its_name = session.run("echo hello >/dev/tty && echo $$").await.unwrap();
        assert_eq!(through_its_name.stdout(), format!("hello\n{pid}"));
        session.close().await.unwrap();
    });
}

/// Process 1 of a container leads a kernel session and has no terminal: one that it opens would become its own, and
/// the end of the session would hang up on the test.
#[test]
fn a_test_process_that_leads_a_kernel_session_does_not_get_a_sessions_terminal() {
    checked_blocking(|| {
        const CHILD: &str = "SURROUNDINGS_CHILD";
        if std::env::var_os(CHILD).is_none() {
            let name = "surroundings::a_test_process_that_leads_a_kernel_session_does_not_get_a_sessions_terminal";
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            // Not in a process of its own, which leads its group and may not begin a kernel session.
            command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").env("TERMLEASH_ISOLATE", "never");
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && text.contains("1 passed"), "{}: {text}", output.status);
            return;
        }
        rustix::process::setsid().unwrap();
        let helper = helper().blocking();
        let session = helper.create_tracked_session("sh").unwrap();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        // proc_pid_stat(5), the seventh field: the controlling terminal.
        assert_eq!(stat.rsplit(')').next().unwrap().split_whitespace().nth(4), Some("0"));
        session.close().unwrap();
    });
}

#[test]
fn a_sessions_signals_are_at_their_defaults_and_none_is_blocked() {
    checked(async || {
        let here = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = here.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        assert_ne!(ignored.trim().trim_start_matches('0'), "", "this process ignores SIGPIPE, as every Rust program");
        let text = prints(SessionSpec::new("grep").args(["-E", "^Sig(Blk|Ign|Pnd)", "/proc/self/status"])).await;
        let mask = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        let masks: Vec<u64> = text.lines().map(mask).collect();
        // 32 and 33 are the C library's own, which no program can set: its posix_spawn leaves them ignored.
        let its_own = 1 << 31 | 1 << 32;
        assert!(masks.len() == 3 && masks.iter().all(|mask| mask & !its_own == 0), "{text}");
    });
}

#[test]
fn a_session_starts_in_the_directory_that_it_is_given_and_with_its_size() {
    checked(async || {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().canonicalize().unwrap();
        let text = prints(SessionSpec::shell("pwd; stty size").current_dir(&there).size(12, 34)).await;
        assert_eq!(text, format!("{}\n12 34\n", there.display()));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(prints(SessionSpec::shell("pwd -P; stty size")).await, format!("{}\n24 80\n", here.display()));
    });
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    checked(async || {
        let odd = ["", " ", "two words", "it's", "\"", "$HOME", "*", "\\n", "a\nb", "-x", "grüße"];
        let text = prints(SessionSpec::new("printf").arg("<%s>\\n").args(odd)).await;
        let expected: String = odd.iter().map(|argument| format!("<{argument}>\n")).collect();
        assert_eq!(text, expected);
    });
}

/// The same on a pty of portable-pty's.
#[cfg(feature = "pty")]
#[test]
fn a_session_on_portable_ptys_pty_has_the_same_around_it() {
    checked(async || {
        let helper = SessionTestHelper::new(termleash::PtyBackend::with_system(portable_pty::native_pty_system()));
        let text = prints_on(&helper, SessionSpec::new("/usr/bin/env").env_clear().env("ONLY", "this")).await;
        let mut found = variables(&text);
        // Which portable-pty sets whatever it is told.
        found.remove("SHELL");
        assert!(found.len() == 2 && found["ONLY"] == "this" && found.keys().filter(is_cookie).count() == 1, "{text}");
        assert_eq!(prints_on(&helper, SessionSpec::shell("stty size").size(12, 34)).await, "12 34\n");
        let tty = prints_on(&helper, SessionSpec::shell("tty; echo >/dev/tty")).await;
        assert!(tty.starts_with("/dev/pts/"), "{tty}");
    });
}
