//! What several tests need: helpers, strangers, and a way to wait that has an end.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use termleash::process::ProcessHandle;
use termleash::{PtyBackend, SessionTestHelper};

pub fn helper() -> SessionTestHelper {
    SessionTestHelper::new(PtyBackend::new())
}

/// A process of somebody else's, ended and reaped when it is dropped.
pub struct Stranger {
    child: Child,
}

impl Stranger {
    pub fn new(command: &mut Command) -> Self {
        Self { child: command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap() }
    }

    pub fn sleeping() -> Self {
        Self::new(Command::new("sleep").arg("1000"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Alive, and not a zombie.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until it holds; the deadline is only for a test that fails.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come true within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// True while a process with this id lives. For ids of processes that the test itself keeps or waits for.
pub fn lives(pid: u32) -> bool {
    ProcessHandle::open(pid).is_ok_and(|handle| handle.is_alive())
}

/// What a shell printed as the id of a process that it started.
pub fn pid_in(text: &str) -> u32 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a process id: {text:?}"))
}
