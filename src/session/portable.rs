//! Sessions on any pty system of portable-pty's: the native one of systems other than Linux, or one that a test brings.
//!
//! Where such a system gives a descriptor and a child of ours, as its native one does on Linux, the session is read,
//! held and reaped like one of our own. Elsewhere a thread reads, and the end is known by the child's status.

use crate::error::{BoxError, Error, Result};
use crate::process::exit::ExitStatus;
use crate::process::handle::{NewChild, ProcessHandle};
use crate::session::environment;
use crate::session::future::BoxFuture;
use crate::session::native::PtyTerminal;
use crate::session::spec::{SessionSpec, WindowSize};
use crate::session::terminal::{Terminal, TerminalInput, TerminalOutput};
use crate::sys::{self, Master};
use crate::watched::Watched;
use parking_lot::Mutex;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, PtySystem};
use std::fmt::Display;
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

/// A session of which there is no more than portable-pty's own handles.
pub(crate) struct PortableSession {
    child: Mutex<Box<dyn Child + Send + Sync>>,
}

/// Either held like one of our own, or by portable-pty's child.
pub(crate) enum Started {
    Held(ProcessHandle, Terminal),
    Opaque(Arc<PortableSession>, Terminal),
}

/// # Errors
///
/// What the pty system says.
pub(crate) fn start(system: &dyn PtySystem, spec: &SessionSpec, max_output: usize) -> Result<Started> {
    let pair = system.openpty(pty_size(spec.window_size())).map_err(failed("open a pseudo-terminal", spec))?;
    let mut command = CommandBuilder::new(spec.program());
    command.args(spec.arguments());
    if let Some(directory) = spec.directory() {
        command.cwd(directory);
    }
    command.env_clear();
    environment::for_session(spec).iter().for_each(|(name, value)| command.env(name, value));
    let child = pair.slave.spawn_command(command).map_err(failed("start the program", spec))?;
    // It has begun under a limit on data that is ours alone, if there is one, and may have ended by that.
    child.process_id().into_iter().for_each(|pid| drop(sys::restore_data_limit_of(pid)));
    // Our copy of the other end would keep the terminal from ever ending.
    drop(pair.slave);

    // A child of somebody else's, or none, is theirs to wait for; and sharing the descriptor makes it non-blocking for
    // its other owners as well.
    let ours = child.process_id().map(NewChild::known_by_pid).filter(NewChild::is_ours);
    if let Some(new) = ours {
        let adopted =
            Master::adopt(&*pair.master).map_err(|cause| Error::os("share the pty's descriptor", "", cause))?;
        if let Some(master) = adopted {
            let terminal =
                PtyTerminal::new(master, max_output).map_err(|cause| Error::os("read the pty's name", "", cause))?;
            let supervised = terminal.supervise(new).inspect_err(|_| {
                // What could not be handed out is ended; if it cannot be held, dropping its terminal hangs up on it.
                let _ = new.abandon();
            });
            let (leader, terminal) = supervised?;
            return Ok(Started::Held(leader, terminal));
        }
    }
    by_thread(pair.master, child, max_output, spec)
}

/// Generic, since the error's crate is not a dependency of ours.
fn failed<E: Display>(what: &str, spec: &SessionSpec) -> impl FnOnce(E) -> Error {
    let what = format!("failed to {what} for `{}`", spec.command_line());
    move |cause| Error::backend(what, format!("{cause:#}").into())
}

fn pty_size(size: WindowSize) -> PtySize {
    PtySize { rows: size.rows, cols: size.cols, pixel_width: 0, pixel_height: 0 }
}

/// A thread of its own reads until the end. Where a process that survives the session keeps the other end open, there
/// is none, and the thread stays: a limit of such systems, since only a descriptor could be waited for otherwise.
fn by_thread(
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    max_output: usize,
    spec: &SessionSpec,
) -> Result<Started> {
    let output = TerminalOutput::new(max_output);
    let mut reader = master.try_clone_reader().map_err(failed("read the pseudo-terminal", spec))?;
    let writer = master.take_writer().map_err(failed("write to the pseudo-terminal", spec))?;
    let printed = output.clone();
    let read = move || {
        let mut buffer = [0; 4096];
        // An error is the end as well: EIO is how a pty says it.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            printed.push(&buffer[..count]);
        }
        printed.finish();
    };
    thread::Builder::new()
        .name("termleash-read".into())
        .spawn(read)
        .map_err(|cause| Error::os("start a thread that reads a terminal", "raise `ulimit -u`", cause))?;
    let input = ThreadTerminal { open: Mutex::new(Some((master, writer))) };
    let session = Arc::new(PortableSession { child: Mutex::new(child) });
    Ok(Started::Opaque(session, Terminal::new(input, output)))
}

impl PortableSession {
    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    ///
    /// If the system cannot say.
    pub(crate) fn try_wait(&self) -> Result<Option<ExitStatus>, BoxError> {
        // A kill under way holds it, and so does nothing that has ended.
        let Some(mut child) = self.child.try_lock() else { return Ok(None) };
        let status = child.try_wait()?;
        Ok(status.map(|status| i32::try_from(status.exit_code()).map_or(ExitStatus::Unknown, ExitStatus::Exited)))
    }

    /// portable-pty's kill waits by sleeping, so it has a thread for it.
    ///
    /// # Errors
    ///
    /// If the system cannot kill it.
    pub(crate) async fn kill(self: &Arc<Self>) -> Result<(), BoxError> {
        let result = Arc::new(Watched::new(None));
        let (told, session) = (Arc::clone(&result), Arc::clone(self));
        let kill = move || {
            // Under the lock that its status is asked under: a child whose status was given has no claim to its number.
            let mut child = session.child.lock();
            match child.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => child.kill(),
                Err(cause) => Err(cause),
            }
        };
        thread::Builder::new()
            .name("termleash-kill".into())
            .spawn(move || told.update(|result| *result = Some(kill())))?;
        Ok(result.wait(Option::take).await?)
    }
}

type Ends = (Box<dyn MasterPty + Send>, Box<dyn Write + Send>);

struct ThreadTerminal {
    open: Mutex<Option<Ends>>,
}

impl ThreadTerminal {
    fn with_open<R>(&self, act: impl FnOnce(&mut Ends) -> Result<R, BoxError>) -> Result<R, BoxError> {
        act(self.open.lock().as_mut().ok_or("its terminal is closed, since the session has ended")?)
    }
}

impl TerminalInput for ThreadTerminal {
    /// Blocks while the program does not read: such a system has no other way.
    fn write<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async {
            self.with_open(|(_, writer)| {
                writer.write_all(bytes)?;
                Ok(writer.flush()?)
            })
        })
    }

    fn resize(&self, size: WindowSize) -> Result<(), BoxError> {
        self.with_open(|(master, _)| master.resize(pty_size(size)).map_err(|cause| format!("{cause:#}").into()))
    }

    fn size(&self) -> Result<WindowSize, BoxError> {
        self.with_open(|(master, _)| match master.get_size() {
            Ok(PtySize { rows, cols, .. }) => Ok(WindowSize { rows, cols }),
            Err(cause) => Err(format!("{cause:#}").into()),
        })
    }

    fn close(&self) {
        *self.open.lock() = None;
    }
}
