//! What a body is given, what it keeps until it has been judged, and the props that several cases need.

use super::child::Counted;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::any::Any;
use std::cell::Cell;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use termleash::{LeakCheck, PtyBackend, SessionTestHelper};

/// Where a body runs.
pub(crate) struct Scene {
    check: Option<Arc<LeakCheck>>,
    /// What a look found that only counts.
    counted: Cell<Option<Counted>>,
    kept: Vec<Box<dyn Any>>,
    /// A file that is open before the first look.
    pub(super) victim: OwnedFd,
    /// An eventfd that is open before the first look.
    pub(super) counter: OwnedFd,
}

impl Scene {
    /// Without a check, as in a test that has none.
    pub(super) fn new() -> Self {
        let victim = File::open("/dev/null").unwrap().into();
        Self { check: None, counted: Cell::new(None), kept: Vec::new(), victim, counter: new_eventfd() }
    }

    pub(super) fn is_watched_by(&mut self, check: &Arc<LeakCheck>) {
        self.check = Some(Arc::clone(check));
    }

    /// What leaks: it lives until it has been judged, and is ended then.
    pub(super) fn keep(&mut self, leaked: impl Any) {
        self.kept.push(Box::new(leaked));
    }

    pub(super) fn must_drop<T: Send + Sync + 'static>(&self, object: &Arc<T>) {
        if let Some(check) = &self.check {
            check.must_drop(object);
        }
    }

    /// A look in between, whose report is somebody else's business: what is there now is where the next one begins.
    pub(super) fn look(&self) {
        match &self.check {
            Some(check) => drop(check.find_blocking().unwrap()),
            None => self.counted.set(Some(Counted::now())),
        }
    }

    /// What was counted by the last look in between.
    pub(super) fn last_counted(&self) -> Option<Counted> {
        self.counted.get()
    }
}

/// A child that is ended when it is dropped, and that ends by itself where nothing is dropped.
pub(super) struct Sleeper(Child);

/// Longer than any look, and soon over.
const SLEEPS: &str = "15";

impl Sleeper {
    pub(super) fn new(output: fn() -> Stdio) -> Self {
        let mut command = Command::new("sleep");
        command.arg(SLEEPS).stdin(Stdio::null()).stdout(output()).stderr(output());
        Self(command.spawn().unwrap())
    }

    pub(super) fn quiet() -> Self {
        Self::new(Stdio::null)
    }

    pub(super) fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends at once, with nothing of ours open.
pub(super) fn brief() -> Command {
    let mut command = Command::new("true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(super) fn tokio_sleeper() -> tokio::process::Command {
    let mut command = tokio::process::Command::new("sleep");
    command.arg(SLEEPS).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until a child has ended, and leaves its status where it is.
pub(super) fn until_dead(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
}

/// A pseudo-terminal: master and slave.
pub(super) fn pty() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    (master, slave)
}

pub(super) fn new_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

/// Two ends of a connection.
pub(super) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

pub(super) fn helper() -> SessionTestHelper {
    SessionTestHelper::new(PtyBackend::new())
}

/// Drops it a while later, on a thread that nobody joins: what closes in the background.
pub(super) fn later(millis: u64, thing: impl Send + 'static) {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(millis));
        drop(thing);
    });
}

/// A runtime of the body's own.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Rounds that await nothing.
pub(super) fn rounds(mut round: impl FnMut(usize) + 'static) -> super::Round {
    Box::new(move |number| {
        round(number);
        Box::pin(std::future::ready(()))
    })
}
