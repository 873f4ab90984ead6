//! Servers that all tests of a run share: one for them all, gone with the run, with its last user, or with itself.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;
#[path = "shared/members.rs"]
mod members;
#[path = "shared/process.rs"]
mod process;
#[path = "servers/program.rs"]
mod program;
#[path = "servers/seen.rs"]
mod seen;

use program::serving;
use seen::{lives, soon, stat};
use std::path::{Path, PathBuf};
use termleash::server::SharedServer;

/// Does nothing but in a process that is started as a server.
#[test]
fn serves() {
    program::run();
}

/// What is of a shared server, apart from the server.
struct Around {
    pid: u32,
    steward: u32,
    home: PathBuf,
}

impl Around {
    fn of(server: &SharedServer) -> Self {
        let home = server.home().parent().expect("it is in a directory of its own").to_owned();
        Self { pid: server.pid(), steward: parent(server.pid()).expect("it has one"), home }
    }

    /// Server, steward and home are gone.
    #[track_caller]
    fn goes(&self) {
        soon("the end of the server", || !lives(self.pid));
        soon("the end of its steward", || !lives(self.steward));
        soon("the end of its home", || !self.home.exists());
    }
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

/// What members of a run have written down, a line each.
fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
