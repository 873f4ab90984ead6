//! A process that we hold: what cannot come to mean another one.

use crate::error::{Error, Result};
use crate::process::exit::ExitStatus;
use crate::process::identity::{OurSelf, ProcessIdentity, Ticks};
use crate::process::pump::{Pump, Source};
use crate::process::rule::Permit;
use crate::process::stat::Stat;
use crate::sys::{self, Pidfd, ProcReader, Ready, Signal};
use crate::watched::Watched;
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};

/// A process held by a descriptor of the kernel's (pidfd_open(2), Linux 5.3) together with its identity.
///
/// A number can come to mean another process between a check and a use; this cannot. Cloning shares the descriptor.
/// The descriptor is closed when the process has ended or the last clone is dropped.
///
/// # Limits
///
/// There is no way to send a signal with it: this crate signals only what its rule of ownership permits.
#[derive(Clone)]
pub struct ProcessHandle {
    inner: Arc<Inner>,
}

struct Inner {
    identity: ProcessIdentity,
    is_child: bool,
    exit: Watched<Exit>,
    /// Taken out, and so closed, when the process has ended.
    pidfd: Mutex<Option<Watching>>,
    on_exit: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// What it was sent by this crate while it lived, in order, each once.
    sent: Mutex<Vec<i32>>,
}

struct Watching {
    fd: Pidfd,
    /// The pump's number for it, once it waits.
    token: Option<u64>,
}

/// `Alive → Dead`: there is no way back.
#[derive(Debug, Clone, Copy)]
enum Exit {
    Alive,
    /// `status` is known for our own children only.
    Dead {
        status: Option<ExitStatus>,
        noticed: Ticks,
    },
}

impl ProcessHandle {
    /// Takes hold of the process that has this id now.
    ///
    /// It is the only public function that makes a handle of a bare process id. Whether the process is the one that the
    /// caller means is for the caller to compare, by [`identity`](Self::identity).
    ///
    /// # Errors
    ///
    /// If there is no such process or it has exited already, if /proc does not show it, and on platforms other than
    /// Linux ([`is_unsupported`](Error::is_unsupported)).
    pub fn open(pid: u32) -> Result<Self> {
        OurSelf::get()?;
        Self::open_with(&mut reader()?, pid).map(|(handle, _)| handle).map_err(|cause| {
            Error::os(format!("take hold of process {pid}"), "it has ended, or /proc does not show it", cause)
        })
    }

    /// The handle, and the `stat` that its identity was read from, for those who need more of it.
    pub(crate) fn open_with(reader: &mut ProcReader, pid: u32) -> io::Result<(Self, Stat)> {
        let fd = Pidfd::open(pid)?;
        let stat = read_stat(reader, pid)?;
        let pid_namespace = reader.pid_namespace(pid)?;
        // What was read is the held process's only if its id was not free meanwhile: it is not until it is reaped,
        // and nobody is reaped before the exit that this sees.
        // Not by the state in `stat`: that is the main thread's, which may have ended while others run.
        if fd.has_exited()? {
            return Err(io::Error::other("it has exited"));
        }
        Ok((Self::new(fd, pid, stat.started, pid_namespace, None)?, stat))
    }

    /// Takes hold of a child that this process has just started and nobody else reaps, watches it from now on and
    /// reaps it when it ends; then `on_exit` runs on the pump's thread. Works for one that has ended already.
    pub(crate) fn of_child(child: NewChild, on_exit: impl FnOnce() + Send + 'static) -> Result<Self> {
        let (pump, ourself) = (Pump::get()?, OurSelf::get()?);
        let hold = || {
            let fd = Pidfd::open(child.pid)?;
            if !fd.is_our_child()? {
                return Err(io::Error::other("it is not a child of this process"));
            }
            let started = child.started()?;
            let handle = Self::new(fd, child.pid, started, ourself.pid_namespace, Some(Box::new(on_exit)))?;
            handle.watch(pump)?;
            io::Result::Ok(handle)
        };
        hold().map_err(|cause| {
            let hint = match cause.raw_os_error() {
                Some(PROCESS_FULL | MACHINE_FULL) => "raise `ulimit -n`",
                _ => {
                    "a test process that ignores SIGCHLD, or calls wait() for any child, takes children away from whoever \
                     started them"
                }
            };
            Error::os(format!("take hold of the new child {}", child.pid), hint, cause)
        })
    }

    fn new(
        fd: Pidfd,
        pid: u32,
        started: Ticks,
        pid_namespace: u64,
        of_child: Option<Box<dyn FnOnce() + Send>>,
    ) -> io::Result<Self> {
        let boot = OurSelf::get().map_err(io::Error::other)?.boot;
        let identity = ProcessIdentity { pid, started, boot, pid_namespace };
        Ok(Self {
            inner: Arc::new(Inner {
                identity,
                is_child: of_child.is_some(),
                exit: Watched::new(Exit::Alive),
                pidfd: Mutex::new(Some(Watching { fd, token: None })),
                on_exit: Mutex::new(of_child),
                sent: Mutex::default(),
            }),
        })
    }

    /// What makes it this process and no other.
    pub fn identity(&self) -> ProcessIdentity {
        self.inner.identity
    }

    /// Its id, which other processes may have after its end.
    pub fn pid(&self) -> u32 {
        self.inner.identity.pid
    }

    /// True until it exits. A zombie, which only waits for its parent to ask for its status, is not alive.
    pub fn is_alive(&self) -> bool {
        match &*self.inner.pidfd.lock() {
            None => false,
            Some(watching) => !watching.fd.has_exited().unwrap_or(true),
        }
    }

    /// How it ended: `None` while it lives, and for a process that is not a child of this one.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.inner.exit.peek(|exit| match exit {
            Exit::Alive => None,
            Exit::Dead { status, .. } => *status,
        })
    }

    /// True once its end was noticed and, for a child, its status fetched.
    pub(crate) fn is_known_dead(&self) -> bool {
        self.inner.exit.peek(|exit| matches!(exit, Exit::Dead { .. }))
    }

    /// When its end was noticed: not before the end itself.
    pub(crate) fn end_noticed(&self) -> Option<Ticks> {
        self.inner.exit.peek(|exit| match exit {
            Exit::Alive => None,
            Exit::Dead { noticed, .. } => Some(*noticed),
        })
    }

    pub(crate) fn is_child(&self) -> bool {
        self.inner.is_child
    }

    /// True if the kernel lets this process wait for it: asked of the kernel, for processes that this one has adopted.
    pub(crate) fn is_our_child(&self) -> bool {
        self.inner.pidfd.lock().as_ref().is_some_and(|watching| watching.fd.is_our_child().unwrap_or(false))
    }

    /// Waits until it has exited, and for a child until it is reaped.
    ///
    /// # Errors
    ///
    /// If nothing can wait for it: no descriptor or thread is left.
    pub async fn wait_gone(&self) -> Result<()> {
        self.watch(Pump::get()?)
            .map_err(|cause| Error::os(format!("wait for process {}", self.pid()), "raise `ulimit -n`", cause))?;
        self.inner.exit.wait(|exit| matches!(exit, Exit::Dead { .. }).then_some(())).await;
        Ok(())
    }

    /// Has the pump wait for its end, if it does not yet.
    pub(crate) fn watch(&self, pump: &Pump) -> io::Result<()> {
        let mut pidfd = self.inner.pidfd.lock();
        if let Some(watching) = &mut *pidfd
            && watching.token.is_none()
        {
            let keep = self.inner.is_child.then(|| Arc::clone(&self.inner));
            let source = Arc::new(ExitSource { handle: Arc::downgrade(&self.inner), _keep: keep });
            watching.token = Some(pump.add(&watching.fd, source)?);
        }
        Ok(())
    }

    /// Sends a signal to what the rule has permitted. `Ok(false)` if it had ended before.
    pub(crate) fn signal(&self, permit: &Permit, signal: Signal) -> io::Result<bool> {
        assert_eq!(permit.identity(), self.identity(), "a permit is for one process");
        match &*self.inner.pidfd.lock() {
            None => Ok(false),
            // One that nobody has reaped takes a signal, and does not die of it.
            Some(watching) if watching.fd.has_exited().unwrap_or(false) => Ok(false),
            Some(watching) => match watching.fd.signal(signal) {
                Ok(()) => {
                    self.note_sent(signal);
                    Ok(true)
                }
                Err(cause) if cause.raw_os_error() == Some(NO_SUCH_PROCESS) => Ok(false),
                Err(cause) => Err(cause),
            },
        }
    }

    fn note_sent(&self, signal: Signal) {
        let mut sent = self.inner.sent.lock();
        if let Some(number) = signal.deadly().filter(|number| !sent.contains(number)) {
            sent.push(number);
        }
    }

    /// The numbers of the signals that this crate has sent to it by this handle or a clone of it, those that can end a process.
    pub(crate) fn sent(&self) -> Vec<i32> {
        self.inner.sent.lock().clone()
    }
}

/// A child that was started a moment ago.
#[derive(Clone, Copy)]
pub(crate) struct NewChild {
    pid: u32,
    /// The clock before and after the call that started it, if that was measured.
    between: Option<(Ticks, Ticks)>,
}

impl NewChild {
    #[cfg(any(test, feature = "pty"))]
    pub(crate) fn known_by_pid(pid: u32) -> Self {
        Self { pid, between: None }
    }

    /// Calls what starts a child, between two looks at the clock.
    pub(crate) fn start<E>(start: impl FnOnce() -> Result<u32, E>) -> Result<Self, E> {
        let before = sys::now_ticks();
        let pid = start()?;
        Ok(Self { pid, between: Some((before, sys::now_ticks())) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// True if it is a child of this process that nobody has reaped.
    #[cfg(feature = "pty")]
    pub(crate) fn is_ours(&self) -> bool {
        Pidfd::open(self.pid).is_ok_and(|fd| fd.is_our_child().unwrap_or(false))
    }

    /// Ends and reaps it: it could not be handed to anybody. It is ours for as long as it can be waited for, and a pidfd
    /// keeps its id from meaning another meanwhile.
    ///
    /// # Errors
    ///
    /// If it cannot be held.
    pub(crate) fn abandon(self) -> io::Result<()> {
        let fd = Pidfd::open(self.pid)?;
        if fd.is_our_child()? {
            fd.signal(Signal::Kill)?;
            fd.wait_for_exit()?;
            // If the pump was first it is reaped as well.
            let _ = fd.reap();
        }
        Ok(())
    }

    /// When it started. A tick is 10 ms, so both looks nearly always see the same one, and then that is the answer; a
    /// file of /proc, which the kernel makes for each process when it is first asked for, costs ten times as much.
    fn started(&self) -> io::Result<Ticks> {
        match self.between {
            Some((before, after)) if before == after => Ok(before),
            _ => Ok(read_stat(&mut ProcReader::new()?, self.pid)?.started),
        }
    }
}

/// `EMFILE` and `ENFILE` on every Unix.
const PROCESS_FULL: i32 = 24;
const MACHINE_FULL: i32 = 23;
/// `ESRCH` on every Unix.
const NO_SUCH_PROCESS: i32 = 3;

/// What the pump holds. A child is kept until it has been reaped, or it would stay a zombie; another's process is
/// not, so that dropping the last handle closes the descriptor.
struct ExitSource {
    handle: Weak<Inner>,
    _keep: Option<Arc<Inner>>,
}

impl Source for ExitSource {
    fn ready(&self, pump: &Pump, ready: Ready) {
        let Some(inner) = self.handle.upgrade() else { return };
        let mut pidfd = inner.pidfd.lock();
        let Some(watching) = &*pidfd else { return };
        let status = if inner.is_child {
            match watching.fd.reap() {
                Ok(None) => return,
                Ok(Some(status)) => Some(status.into()),
                // Somebody else reaped it: it is dead, and its status is lost.
                Err(_) => None,
            }
        } else {
            None
        };
        pump.remove(&watching.fd, ready.token);
        *pidfd = None;
        drop(pidfd);
        inner.exit.update(|exit| *exit = Exit::Dead { status, noticed: sys::now_ticks() });
        if let Some(on_exit) = inner.on_exit.lock().take() {
            on_exit();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(Watching { fd, token: Some(token) }) = self.pidfd.get_mut()
            && let Ok(pump) = Pump::get()
        {
            pump.remove(fd, *token);
        }
    }
}

impl fmt::Debug for ProcessHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessHandle")
            .field("identity", &self.inner.identity)
            .field("has_ended", &self.is_known_dead())
            .finish_non_exhaustive()
    }
}

pub(crate) fn reader() -> Result<ProcReader> {
    ProcReader::new().map_err(|cause| Error::os("open /proc", "mount it, or raise `ulimit -n`", cause))
}

/// The parsed `stat` of a process.
pub(crate) fn read_stat(reader: &mut ProcReader, pid: u32) -> io::Result<Stat> {
    let content = reader.read(pid, "stat")?;
    Stat::parse(content).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its `stat` is malformed"))
}

#[cfg(all(test, target_os = "linux"))]
#[path = "handle_tests.rs"]
mod tests;
