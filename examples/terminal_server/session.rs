//! One session: a program on a pseudo-terminal, two threads that end with it, and what it wrote.
//!
//! A *reader* copies the output into a ring; a *waiter* sees the program's end, lets the reader take what is left, closes
//! the terminal, and reaps. Nothing of a session but its record and its ring outlives that moment.

use super::leaks::Planted;
use super::ring::{Part, Ring};
use parking_lot::Mutex;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// From the hang-up to the kill.
const GRACE: Duration = Duration::from_millis(500);
/// From the kill to the complaint that it achieved nothing.
const DEATH: Duration = Duration::from_secs(10);
/// How long a program may leave its input unread before a client is told.
const INPUT: Duration = Duration::from_secs(2);

/// portable-pty marks its descriptors as close-on-exec only after it has opened them: what another thread starts in
/// between would inherit them, and hold this terminal open for as long as it lives.
pub(crate) static STARTING: Mutex<()> = Mutex::new(());

/// What a client asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSession {
    pub(crate) command: Vec<String>,
    pub(crate) directory: Option<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) name: Option<String>,
    #[serde(default = "cols")]
    pub(crate) cols: u16,
    #[serde(default = "rows")]
    pub(crate) rows: u16,
}

fn cols() -> u16 {
    80
}

fn rows() -> u16 {
    24
}

pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) pid: Pid,
    /// What its environment has beside the server's.
    environment: BTreeMap<String, String>,
    output: Arc<Mutex<Ring>>,
    /// None from the moment at which the first process is reaped: a signal under this lock reaches no other's group.
    terminal: Mutex<Option<Terminal>>,
    exit: watch::Sender<Option<i32>>,
    waiter: Mutex<Option<JoinHandle<()>>>,
}

struct Terminal {
    master: Box<dyn MasterPty + Send>,
    input: Arc<OwnedFd>,
}

impl Session {
    /// Starts the program.
    ///
    /// # Errors
    ///
    /// Says why it cannot be started. Then nothing of it is left.
    pub(crate) fn start(
        new: NewSession,
        id: Uuid,
        max_output: usize,
        leaks: &Arc<Planted>,
    ) -> Result<Arc<Self>, String> {
        let mut new = new;
        new.environment.insert("TERMINAL_SERVER_SESSION".into(), id.to_string());
        let command = command(&new)?;
        let failed =
            |what: &str, cause: &dyn std::fmt::Display| format!("cannot {what} for {:?}: {cause:#}", new.command);
        let guard = STARTING.lock();
        let pair = native_pty_system().openpty(size(new.cols, new.rows)?).map_err(|e| failed("open a terminal", &e))?;
        let input = Arc::new(share(&*pair.master).map_err(|e| failed("share the terminal", &e))?);
        let output = Arc::new(Mutex::new(Ring::new(max_output)));
        let (over, wake) = UnixStream::pair().map_err(|e| failed("open a socket pair", &e))?;
        // Both threads are there before the program, so that nothing can fail once it runs.
        let reader = Builder::new().name("terminal-reader".into()).spawn({
            let (input, output) = (input.clone(), output.clone());
            move || read(&input, &wake, &output)
        });
        let reader = reader.map_err(|e| failed("start a thread", &e))?;
        let (hand_over, started) = mpsc::channel::<(Arc<Self>, Box<dyn Child + Send + Sync>)>();
        let leaks = leaks.clone();
        let waiter = Builder::new().name("terminal-waiter".into()).spawn(move || {
            let started = started.recv().ok().map(|(session, child)| (session.await_end(), session, child));
            drop(over);
            // It cannot have panicked without a message; there is nothing more to say.
            let _ = reader.join();
            if let Some((code, session, child)) = started {
                session.finish(code, child, &leaks);
            }
        });
        let waiter = waiter.map_err(|e| failed("start a thread", &e))?;
        let child = pair.slave.spawn_command(command).map_err(|e| failed("start the program", &e));
        drop((pair.slave, guard));
        let child = match child {
            Ok(child) => child,
            Err(cause) => {
                drop(hand_over);
                let _ = waiter.join();
                return Err(cause);
            }
        };
        let pid = child.process_id().and_then(|pid| Pid::from_raw(pid as i32)).expect("a child that was just started");
        let session = Arc::new(Self {
            name: new.name.unwrap_or_else(|| new.command[0].clone()),
            command: new.command,
            pid,
            environment: new.environment,
            output,
            terminal: Mutex::new(Some(Terminal { master: pair.master, input })),
            exit: watch::Sender::new(None),
            waiter: Mutex::new(Some(waiter)),
        });
        // The thread waits for just this.
        let _ = hand_over.send((session.clone(), child));
        Ok(session)
    }

    /// The exit code, or 128 and the number of the signal, as shells say it; none while it runs.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    pub(crate) fn output(&self, from: u64) -> Part {
        let is_over = self.exit_code().is_some();
        self.output.lock().part(from, is_over)
    }

    /// Writes all of it, as a keyboard would. `Ok(false)`: it has ended.
    ///
    /// # Errors
    ///
    /// The program left its input unread until the terminal's own buffer was full, and for two seconds more.
    pub(crate) async fn write(&self, text: &str) -> Result<bool, String> {
        let (mut rest, end) = (text.as_bytes(), Instant::now() + INPUT);
        while !rest.is_empty() {
            let written = match &*self.terminal.lock() {
                Some(terminal) => rustix::io::write(&terminal.input, rest),
                None => return Ok(false),
            };
            match written {
                Ok(count) => rest = &rest[count..],
                Err(Errno::AGAIN) if Instant::now() >= end => {
                    let taken = text.len() - rest.len();
                    return Err(format!("the program does not read: it took {taken} of {} bytes", text.len()));
                }
                Err(Errno::AGAIN | Errno::INTR) => sleep(Duration::from_millis(5)).await,
                Err(cause) => return Err(format!("cannot write to the terminal: {cause}")),
            }
        }
        Ok(self.exit_code().is_none())
    }

    /// Tells terminal and program its new size. `Ok(false)`: it has ended.
    pub(crate) fn resize(&self, cols: u16, rows: u16) -> Result<bool, String> {
        let size = size(cols, rows)?;
        let Some(terminal) = &*self.terminal.lock() else { return Ok(false) };
        terminal.master.resize(size).map(|()| true).map_err(|cause| format!("cannot resize: {cause:#}"))
    }

    /// Sends these to the group of the session's first process; false if that has been reaped.
    pub(crate) fn signal(&self, signals: &[Signal]) -> bool {
        let terminal = self.terminal.lock();
        if terminal.is_some() {
            // It is at least a zombie, so its number is nobody else's.
            for signal in signals {
                let _ = kill_process_group(self.pid, *signal);
            }
        }
        terminal.is_some()
    }

    /// Hangs up as a terminal does, and kills what heeds that not. Comes back when the first process is dead and reaped.
    ///
    /// # Errors
    ///
    /// It lives even after the kill.
    pub(crate) async fn kill(&self) -> Result<(), String> {
        // A stopped program takes the hang-up only when it goes on.
        self.signal(&[Signal::HUP, Signal::CONT]);
        if !self.has_ended_within(GRACE).await {
            self.signal(&[Signal::KILL]);
            if !self.has_ended_within(DEATH).await {
                return Err(format!("process {} is alive {DEATH:?} after SIGKILL", self.pid));
            }
        }
        // It has said its last word.
        let waiter = self.waiter.lock().take();
        waiter.into_iter().for_each(|waiter| drop(waiter.join()));
        Ok(())
    }

    pub(crate) async fn has_ended_within(&self, limit: Duration) -> bool {
        let mut exit = self.exit.subscribe();
        timeout(limit, exit.wait_for(Option::is_some)).await.is_ok()
    }

    /// Blocks until the first process is dead, without reaping it: its exit code.
    fn await_end(&self) -> i32 {
        loop {
            match waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(Errno::INTR) => (),
                status => return status.ok().flatten().map_or(-1, code),
            }
        }
    }

    /// Closes the terminal, and reaps.
    fn finish(&self, code: i32, mut child: Box<dyn Child + Send + Sync>, leaks: &Planted) {
        let mut terminal = self.terminal.lock();
        let master = terminal.take().map(|terminal| terminal.master);
        if leaks.reaps() {
            // It is dead, so this does not block.
            let _ = child.wait();
        }
        drop(terminal);
        leaks.plant(&self.environment, master, child, &self.output);
        self.exit.send_replace(Some(code));
    }
}

fn code(status: WaitIdStatus) -> i32 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.unwrap_or(-1)
}

/// Copies output until the session is over and nothing more of it is left.
fn read(master: &OwnedFd, wake: &UnixStream, output: &Mutex<Ring>) {
    let mut buffer = [0; 16 * 1024];
    let mut is_hung_up = false;
    loop {
        let mut both = [PollFd::new(wake, PollFlags::IN), PollFd::new(master, PollFlags::IN)];
        // Nobody has the terminal's other end open, though the program lives, and a poll of the master would come back
        // at once. The program may open it again.
        let pause = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        let seen = if is_hung_up { poll(&mut both[..1], Some(&pause)) } else { poll(&mut both, None) };
        if seen.is_err_and(|cause| cause != Errno::INTR) {
            return;
        }
        let is_over = !both[0].revents().is_empty();
        // As often as is enough for what a terminal buffers: something else may go on to write for ever.
        for _ in 0..64 {
            match rustix::io::read(master, &mut buffer) {
                Err(Errno::INTR) => (),
                Ok(count) if count > 0 => output.lock().push(&buffer[..count]),
                end => {
                    is_hung_up = end != Err(Errno::AGAIN);
                    break;
                }
            }
        }
        if is_over {
            return;
        }
    }
}

fn size(cols: u16, rows: u16) -> Result<PtySize, String> {
    if cols == 0 || rows == 0 {
        return Err(format!("a size of {cols} by {rows}: both are at least 1"));
    }
    Ok(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 })
}

/// The command with the server's environment and what the session's adds to it.
fn command(new: &NewSession) -> Result<CommandBuilder, String> {
    let [program, arguments @ ..] = &new.command[..] else {
        return Err("`command` is empty: give a program and its arguments".into());
    };
    let mut command = CommandBuilder::new(program);
    command.args(arguments);
    command.env("TERM", "xterm-256color");
    for (name, value) in &new.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("a variable {name:?} cannot be set: a name has no `=`, and neither has a zero byte"));
        }
        command.env(name, value);
    }
    if let Some(directory) = &new.directory {
        // portable-pty would take another one without a word.
        if !Path::new(directory).is_dir() {
            return Err(format!("{directory:?} is no directory"));
        }
        command.cwd(directory);
    }
    Ok(command)
}

/// A second descriptor of the master that does not block.
#[expect(unsafe_code, reason = "portable-pty gives only the number of its descriptor")]
fn share(master: &dyn MasterPty) -> io::Result<OwnedFd> {
    let number = master.as_raw_fd().ok_or(io::ErrorKind::Unsupported)?;
    // SAFETY: `master` is borrowed, so that its descriptor stays open until it has been duplicated.
    let shared = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
    rustix::io::ioctl_fionbio(&shared, true)?;
    Ok(shared)
}
