//! First-use effects, taken out of the way: what is opened once in a process's life must not look like a leak of whichever
//! test happens to be the first.

use crate::probe::heap::malloc::malloc_bytes;
use crate::process::identity::OurSelf;
use crate::process::pump::Pump;
use crate::runtime::{Runtime, is_inside};
use crate::sys::{self, Cells};
use once_cell::sync::OnceCell;
use std::process::{Command, Stdio};

static PRIMED: OnceCell<()> = OnceCell::new();

/// Uses once what opens something at its first use and keeps it: a tokio runtime (two sockets stay after the first one of a
/// process; with the feature `tokio`), a child process, a pseudo-terminal, this crate's own thread with its epoll and eventfd, its descriptor for
/// /proc. Called by every check before its baseline; once in a process it takes some milliseconds, and nothing after.
///
/// What your own code opens at first use, such as a static connection pool, is best opened before the check, too.
pub fn prime() {
    PRIMED.get_or_init(|| {
        if is_inside() {
            // A runtime must not be dropped on a thread that another one runs on.
            std::thread::scope(|scope| drop(std::thread::Builder::new().spawn_scoped(scope, use_once)));
        } else {
            use_once();
        }
    });
}

/// Whatever fails here will fail again where it matters, and be told there.
fn use_once() {
    let _ = Pump::get();
    drop(Runtime::new());
    // Up to the exec, which is all that is first about it: a program that runs and ends takes ten times as long.
    drop(Command::new("/dev/null").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn());
    drop(sys::Master::open(Cells { rows: 24, cols: 80 }));
    let _ = (sys::resident_bytes(), sys::peak_bytes());
    let _ = malloc_bytes();
    let _ = OurSelf::get();
}
