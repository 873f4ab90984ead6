//! Servers under test: started, ready, ended, and in which ways they fail; each is this very program again, or a script.

#![cfg(target_os = "linux")]

mod children;
#[path = "servers/ends.rs"]
mod ends;
#[path = "servers/program.rs"]
mod program;
#[path = "servers/scopes.rs"]
mod scopes;
mod seen;
#[path = "servers/starts.rs"]
mod starts;

use program::serving;
use std::path::Path;
use termleash::server::{ServerGuard, ServerSpec};

/// Does nothing but in a process that is started as a server.
#[test]
fn serves() {
    program::run();
}

/// A script as a server without a port.
fn script(text: &str) -> ServerSpec {
    ServerGuard::command("sh").args(["-c", text]).without_port()
}

/// The directory that was made for a server.
fn whole_home(home: &Path) -> &Path {
    home.parent().expect("it is in a directory of its own")
}
