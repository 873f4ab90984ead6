//! A process that has died, and what was known of it.

// Each binary uses a part of this.
#![allow(dead_code, reason = "shared by binaries that each need another part")]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use termleash::process::death::{CorePattern, Death, Facts, OomCounters, classify};
use termleash::process::{CauseOfDeath, ExitStatus};

/// Says that this process is the one that is to die.
pub(crate) const VICTIM: &str = "CAUSES_VICTIM";

/// A process that has died.
pub(crate) struct Dead {
    pub(crate) facts: Facts,
    /// What it printed, on standard output and then on standard error.
    pub(crate) text: String,
}

impl Dead {
    pub(crate) fn death(&self) -> Death {
        classify(&self.facts)
    }

    #[track_caller]
    pub(crate) fn has_died_of(&self, cause: &CauseOfDeath) -> Death {
        let death = self.death();
        assert_eq!(death.cause(), cause, "{death:#}\nit printed:\n{}", self.text);
        death
    }
}

/// Runs this very test again in a process of its own, which is to die; `None` in that process.
pub(crate) fn dies() -> Option<Dead> {
    dies_by(this_test())
}

/// The command that runs this test again.
pub(crate) fn this_test() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    let name = std::thread::current().name().expect("libtest names its threads").to_owned();
    command.args(["--exact", &name, "--nocapture", "--test-threads=1", "--include-ignored"]);
    command
}

pub(crate) fn is_victim() -> bool {
    std::env::var_os(VICTIM).is_some()
}

/// Runs a command to its end; `None` in the process that is to die.
pub(crate) fn dies_by(command: Command) -> Option<Dead> {
    dies_beside(command, |_| {})
}

/// The same, and does something to the child while it lives.
pub(crate) fn dies_beside(command: Command, act: impl FnOnce(u32)) -> Option<Dead> {
    dies_counted(command, |child| {
        let before = OomCounters::own();
        act(child.id());
        before
    })
}

/// The same, with counters of its choice.
pub(crate) fn dies_counted(mut command: Command, act: impl FnOnce(&mut Child) -> OomCounters) -> Option<Dead> {
    if is_victim() {
        return None;
    }
    // Where this process may leave core files, its children are not to.
    let limit = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    setrlimit(Resource::Core, limit).expect("a soft limit can be lowered");
    command.env(VICTIM, "1").env("RUST_BACKTRACE", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the child starts");
    let pid = child.id();
    let before = act(&mut child);
    let output = child.wait_with_output().expect("it ends");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let status = match (output.status.code(), output.status.signal()) {
        (Some(code), _) => ExitStatus::Exited(code),
        (_, Some(signal)) => ExitStatus::Signaled { signal, core_dumped: output.status.core_dumped() },
        _ => ExitStatus::Unknown,
    };
    let facts = Facts::new(status).pid(pid).output(&text).core_pattern(CorePattern::read());
    let after = before.again();
    Some(Dead { facts: facts.oom(before, after), text })
}
