//! Servers that all tests of a run share: one for them all, gone with the run, with its last user, or with itself.

#![cfg(all(target_os = "linux", feature = "tokio"))]

#[path = "shared/book.rs"]
mod book;
mod children;
#[path = "shared/members.rs"]
mod members;
#[path = "shared/process.rs"]
mod process;
#[path = "servers/program.rs"]
mod program;
mod seen;

use book::parent;
use program::serving;
use seen::{lives, soon};
use std::path::PathBuf;
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
