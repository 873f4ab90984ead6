//! Beside others on a busy machine servers take their time, VibeTunnel more with each session that it ever had; no test, bench or
//! example here is about that.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

/// For a server to answer a request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// For it to create a session, and for what a session says.
const VARIABLES: [(&str, &str); 2] = [("TERMLEASH_CREATE_TIMEOUT", "60s"), ("TERMLEASH_WAIT", "60s")];

/// Becomes this program again with so much time, unless it has it: it is read when a process begins, and goes to keepers.
pub(crate) fn become_patient() {
    if VARIABLES.iter().any(|(name, _)| std::env::var_os(name).is_none()) {
        let program = std::env::current_exe().expect("this program has a path");
        let again = Command::new(program).args(std::env::args_os().skip(1)).envs(VARIABLES).exec();
        panic!("this program cannot be run again: {again}");
    }
}
