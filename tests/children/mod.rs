//! Tests whose bodies run in a child process of their own, because what they do ends a process, or is the process's.

// Each binary uses a part of this.
#![allow(dead_code, reason = "shared by binaries that each need another part")]

use std::process::{Command, ExitStatus, Stdio};

/// Says that this process is the child in which a test's body runs.
const CHILD: &str = "TEST_CHILD";

/// What came of a child.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    /// What it printed, on standard output and then on standard error.
    pub(crate) text: String,
}

impl Ran {
    /// The body ran to its end.
    #[track_caller]
    pub(crate) fn passed(&self) -> &Self {
        assert!(self.status.success() && self.text.contains("1 passed"), "{}:\n{}", self.status, self.text);
        self
    }

    /// The test failed by a panic, and not by anything else.
    #[track_caller]
    pub(crate) fn failed(&self) -> &Self {
        assert_eq!(self.status.code(), Some(101), "{}:\n{}", self.status, self.text);
        self
    }

    /// All of these are in what it printed, in this order.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) -> &Self {
        let mut rest = self.text.as_str();
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                panic!("{part:?} is not in it, or not in this place:\n{}", self.text);
            };
            rest = after;
        }
        self
    }

    /// It is in what it printed, once.
    #[track_caller]
    pub(crate) fn says_once(&self, part: &str) -> &Self {
        assert_eq!(self.text.matches(part).count(), 1, "how often {part:?} is in it:\n{}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn does_not_say(&self, part: &str) -> &Self {
        assert!(!self.text.contains(part), "{part:?} is in it:\n{}", self.text);
        self
    }
}

/// True for the keeper that stays beside this process from its first session on.
pub(crate) fn is_keeper(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"termleash-keeper"))
}

/// Runs this very test again as the only one of a process, with these variables; `None` in that process, where the body is
/// to run.
pub(crate) fn alone(variables: &[(&str, &str)]) -> Option<Ran> {
    with(&["--test-threads=1"], variables)
}

/// The same as a user sees it, without what libtest captures.
pub(crate) fn captured(variables: &[(&str, &str)]) -> Option<Ran> {
    run(&["--test-threads=1"], variables)
}

/// The same with other arguments for libtest.
pub(crate) fn with(arguments: &[&str], variables: &[(&str, &str)]) -> Option<Ran> {
    run(&[&["--nocapture"], arguments].concat(), variables)
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Option<Ran> {
    if is_child() {
        return None;
    }
    let name = std::thread::current().name().expect("libtest names its threads").to_owned();
    Some(binary(&[&["--exact", &name], arguments].concat(), variables))
}

/// True in a process in which a test's body is to run.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs this binary again, with any arguments.
pub(crate) fn binary(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(arguments);
    command_in_child(command, variables)
}

/// Runs a command as such a process.
pub(crate) fn command_in_child(mut command: Command, variables: &[(&str, &str)]) -> Ran {
    let output = command
        .env(CHILD, "1")
        .env("RUST_BACKTRACE", "0")
        .env("NO_COLOR", "1")
        .env_remove("NEXTEST_EXECUTION_MODE")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("run this program again, or what starts it");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ran { status: output.status, text }
}

/// Runs this test again as process 1 of a container, where the numbers of processes are its own to choose.
pub(crate) fn in_container() -> Option<Ran> {
    if is_child() {
        return None;
    }
    let name = std::thread::current().name().expect("libtest names its threads").to_owned();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]);
    Some(command_in_child(command, &[]))
}

/// Runs this test again in a mount namespace, after a command that changes /proc there.
pub(crate) fn in_namespace(prepare: &str, variables: &[(&str, &str)]) -> Option<Ran> {
    if is_child() {
        return None;
    }
    let name = std::thread::current().name().expect("libtest names its threads").to_owned();
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("{prepare} && exec \"$@\"");
    command.args(["sh", "-c", &script, "sh"]).arg(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]);
    Some(command_in_child(command, variables))
}
