//! What goes on beside the server and is nobody's leak: processes that come and go, and terminals of strangers.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// So many terminals are open from the start on, and as many open and close.
const TERMINALS: usize = 50;

pub(crate) struct Neighbours {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    terminals: Vec<OwnedFd>,
}

impl Neighbours {
    pub(crate) fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = |work: fn()| {
            let is_over = is_over.clone();
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    work();
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        };
        let processes = until(|| {
            let mut child = Command::new("setsid");
            child.args(["sh", "-c", "sleep 0.02 & wait"]).stdin(Stdio::null()).stdout(Stdio::null());
            assert!(child.status().expect("a shell").success());
        });
        let terminals = until(|| drop((0..TERMINALS).map(|_| terminal()).collect::<Vec<_>>()));
        let threads = vec![processes, terminals];
        Self { is_over, threads, terminals: (0..TERMINALS).map(|_| terminal()).collect() }
    }

    /// Comes back when none of them is left.
    pub(crate) fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a neighbour is well");
        }
        assert_eq!(self.terminals.len(), TERMINALS);
    }
}

fn terminal() -> OwnedFd {
    use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal of ours");
    master
}
