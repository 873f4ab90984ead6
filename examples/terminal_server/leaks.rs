//! What a session that has ended leaves behind where the server is told to leak: one kind, once per session.
//!
//! It stays until the server stops.

use super::options::Leak;
use super::ring::Ring;
use super::session::STARTING;
use parking_lot::Mutex;
use portable_pty::{Child, MasterPty};
use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task;

/// Where what was left behind is kept, so that it can be taken back when the server stops.
pub(crate) struct Planted {
    kind: Option<Leak>,
    runtime: Handle,
    left: Mutex<Vec<Left>>,
}

enum Left {
    Descriptor(#[expect(dead_code, reason = "is only held")] File),
    Pty(#[expect(dead_code, reason = "is only held")] Box<dyn MasterPty + Send>),
    Process(std::process::Child),
    Zombie(Box<dyn Child + Send + Sync>),
    Thread(mpsc::Sender<()>, JoinHandle<()>),
    Memory(#[expect(dead_code, reason = "is only held")] Vec<u8>),
    Buffer(#[expect(dead_code, reason = "is only held")] Arc<Mutex<Ring>>),
    Activity(task::JoinHandle<()>),
}

impl Planted {
    /// For sessions of a server in this runtime.
    pub(crate) fn new(kind: Option<Leak>, runtime: Handle) -> Self {
        Self { kind, runtime, left: Mutex::default() }
    }

    /// The first process of a session is waited for.
    pub(crate) fn reaps(&self) -> bool {
        self.kind != Some(Leak::Zombie)
    }

    /// A DELETE of an ended session removes its record.
    pub(crate) fn drops_records(&self) -> bool {
        self.kind != Some(Leak::Record)
    }

    /// At the end of a session, of which these are left.
    pub(crate) fn plant(
        &self,
        environment: &BTreeMap<String, String>,
        master: Option<Box<dyn MasterPty + Send>>,
        child: Box<dyn Child + Send + Sync>,
        output: &Arc<Mutex<Ring>>,
    ) {
        let left = match self.kind {
            None | Some(Leak::Record) => return,
            Some(Leak::Descriptor) => File::open("/dev/null").ok().map(Left::Descriptor),
            Some(Leak::Pty) => master.map(Left::Pty),
            Some(Leak::Process) => survivor(environment).map(Left::Process),
            Some(Leak::Zombie) => Some(Left::Zombie(child)),
            Some(Leak::Thread) => {
                let (until, stopped) = mpsc::channel();
                let name = Builder::new().name("terminal-left".into());
                name.spawn(move || stopped.recv().unwrap_or_default()).ok().map(|thread| Left::Thread(until, thread))
            }
            Some(Leak::Memory) => Some(Left::Memory(vec![1; 64 * 1024])),
            Some(Leak::Buffer) => {
                output.lock().fill();
                Some(Left::Buffer(output.clone()))
            }
            Some(Leak::Activity) => Some(Left::Activity(self.runtime.spawn(activity()))),
        };
        self.left.lock().extend(left);
    }

    /// Waits for left processes that somebody else has ended since, so that each is a living one or none.
    pub(crate) fn reap(&self) {
        self.left.lock().retain_mut(|left| match left {
            Left::Process(child) => !matches!(child.try_wait(), Ok(Some(_))),
            _ => true,
        });
    }

    /// Takes everything back.
    pub(crate) async fn release(&self) {
        let left = std::mem::take(&mut *self.left.lock());
        for left in left {
            match left {
                Left::Process(mut child) => {
                    // Where it has ended, there is nothing to kill.
                    let _ = child.kill();
                    let _ = child.wait();
                }
                Left::Zombie(mut child) => drop(child.wait()),
                Left::Thread(until, thread) => {
                    drop(until);
                    let _ = thread.join();
                }
                Left::Activity(task) => {
                    task.abort();
                    let _ = task.await;
                }
                Left::Descriptor(_) | Left::Pty(_) | Left::Memory(_) | Left::Buffer(_) => (),
            }
        }
    }
}

/// What a daemon does that a session started: it leads a kernel session of its own, and heeds no hang-up of another.
fn survivor(environment: &BTreeMap<String, String>) -> Option<std::process::Child> {
    let mut command = Command::new("setsid");
    command.args(["sleep", "86400"]).envs(environment);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _alone = STARTING.lock();
    command.spawn().ok()
}

/// Costs about a hundredth of a processor, and two processes a second that are gone before anybody can count them.
async fn activity() {
    for turn in 0_u64.. {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        if turn % 5 == 0 {
            let _alone = STARTING.lock();
            let _ = Command::new("/bin/true").stdin(Stdio::null()).status();
        }
    }
}
