//! A session on a pty of our own: started without fork, read by the pump, closed when it is over.

use crate::error::{BoxError, Error, Result};
use crate::event::warn;
use crate::process::handle::{NewChild, ProcessHandle};
use crate::process::identity::OurSelf;
use crate::process::pump::{Pump, Source};
use crate::session::environment::{self, Environment};
use crate::session::future::BoxFuture;
use crate::session::program;
use crate::session::spec::{SessionSpec, WindowSize};
use crate::session::terminal::{Terminal, TerminalInput, TerminalOutput};
use crate::sys::{self, Cells, Interest, Master, Peer, Ready};
use crate::watched::Watched;
use parking_lot::Mutex;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many reads a terminal gets when it is over, at most 64 KiB. While it lives it gets one a turn: a second one finds
/// nothing more often than not, and gets into the way of the writer (measured: 100 sessions that print 1 MB each take a
/// third longer with sixteen).
const LAST_READS: usize = 16;

/// Opens a terminal and starts the program on it.
///
/// # Errors
///
/// That of the program, the directory or the limits, and nothing is left behind.
pub(crate) fn start(spec: &SessionSpec, max_output: usize) -> Result<(ProcessHandle, Terminal)> {
    let environment = environment::for_session(spec);
    let program = program::find(spec, &environment)?;
    let WindowSize { rows, cols } = spec.window_size();
    let (master, peer) = Master::open(Cells { rows, cols }).map_err(no_terminal)?;
    // A number kept free for what must be opened once the program runs: nothing may fail for want of it then.
    let spare = peer.duplicate().map_err(no_terminal)?;
    let terminal = PtyTerminal::new(master, max_output).map_err(no_terminal)?;
    // What the new child will be held by: nothing of it may be missing once the child is there.
    Pump::get()?;
    OurSelf::get()?;

    let child = spawn(spec, &program, &environment, &peer)?;
    drop((peer, spare));
    // The program may have ended by now, or may not let us: then it has the limit that it inherited.
    let _ = sys::restore_descriptor_limit(child.pid());
    Arc::clone(&terminal).supervise(child).inspect_err(|_| {
        // Closing the terminal hangs up, and frees the number that is needed to hold the child.
        terminal.close();
        if let Err(cause) = child.abandon() {
            warn(format!("process {}, a session that failed, could not be ended: {cause}", child.pid()));
        }
    })
}

fn spawn(spec: &SessionSpec, program: &Path, environment: &Environment, peer: &Peer) -> Result<NewChild> {
    let arguments = std::iter::once(spec.program()).chain(spec.arguments().iter().map(|argument| &**argument));
    let arguments = arguments.map(c_string).collect::<Result<Vec<_>>>()?;
    let variables = environment.iter().map(|(name, value)| variable(name, value)).collect::<Result<Vec<_>>>()?;
    let directory = spec.directory().map(|directory| c_string(directory.as_os_str())).transpose()?;
    let path = c_string(program.as_os_str())?;
    NewChild::start(|| sys::spawn_on_terminal(peer, &path, &arguments, &variables, directory.as_deref()))
        .map_err(|cause| program::explain(spec, program, cause))
}

/// `NAME=value`, in one allocation.
pub(crate) fn variable(name: &OsStr, value: &OsStr) -> Result<CString> {
    let mut both = OsString::with_capacity(name.len() + 1 + value.len() + 1);
    both.extend([name, OsStr::new("="), value]);
    sys::c_string(both).map_err(|_| Error::invalid(format!("the variable {name:?} contains a NUL")))
}

pub(crate) fn c_string(text: &OsStr) -> Result<CString> {
    sys::c_string(text).map_err(|_| Error::invalid(format!("{text:?} contains a NUL")))
}

fn no_terminal(cause: io::Error) -> Error {
    if cause.kind() == io::ErrorKind::Unsupported {
        return Error::unsupported(
            "sessions on ptys of our own need Linux; turn on the feature `pty` for portable-pty's",
        );
    }
    let hint = match cause.raw_os_error() {
        Some(NO_SPACE) => "all ptys are in use: see /proc/sys/kernel/pty/nr and raise /proc/sys/kernel/pty/max",
        Some(PROCESS_FULL) => {
            "this process has too many descriptors open: raise `ulimit -n`, or call \
             `termleash::process::raise_descriptor_limit`; a session costs two"
        }
        Some(MACHINE_FULL) => "the machine has too many files open: see /proc/sys/fs/file-nr",
        Some(NO_ENTRY) => "there is no /dev/ptmx: mount devpts",
        _ => "",
    };
    Error::os("open a pseudo-terminal", hint, cause)
}

/// `ENOSPC`, `EMFILE`, `ENFILE`, `ENOENT` on every Unix.
const NO_SPACE: i32 = 28;
const PROCESS_FULL: i32 = 24;
const MACHINE_FULL: i32 = 23;
const NO_ENTRY: i32 = 2;

/// Our end of a session's terminal.
///
/// It is closed by itself once the leader has ended and the last holder of the other end is gone; if a holder stays,
/// by [`close`](TerminalInput::close).
pub(crate) struct PtyTerminal {
    open: Mutex<Option<Open>>,
    output: TerminalOutput,
    /// Counts the moments at which there was room to write again.
    room: Watched<u64>,
    leader_is_gone: AtomicBool,
    device: Vec<u8>,
}

struct Open {
    master: Master,
    /// The pump's number for it, while the pump reads.
    token: Option<u64>,
}

impl PtyTerminal {
    pub(crate) fn new(master: Master, max_output: usize) -> io::Result<Arc<Self>> {
        let device = master.peer_path()?;
        Ok(Arc::new(Self {
            open: Mutex::new(Some(Open { master, token: None })),
            output: TerminalOutput::new(max_output),
            room: Watched::new(0),
            leader_is_gone: AtomicBool::new(false),
            device,
        }))
    }

    /// Takes hold of the child that was just started on it, and reads what it prints from now on.
    pub(crate) fn supervise(self: Arc<Self>, child: NewChild) -> Result<(ProcessHandle, Terminal)> {
        let terminal = Arc::clone(&self);
        let leader = ProcessHandle::of_child(child, move || terminal.leader_ended())?;
        let pump = Pump::get()?;
        // It is closed already if the program was that fast.
        if let Some(open) = &mut *self.open.lock() {
            let source = Arc::clone(&self) as Arc<dyn Source>;
            let token = pump.add(&open.master, source);
            open.token =
                Some(token.map_err(|cause| Error::os("wait for a terminal's output", "raise `ulimit -n`", cause))?);
        }
        let output = self.output.clone();
        Ok((leader, Terminal::from_parts(self, output)))
    }

    /// On the pump's thread.
    fn leader_ended(&self) {
        self.leader_is_gone.store(true, Ordering::Release);
        let mut open = self.open.lock();
        if let Some(terminal) = &*open {
            let is_over = self.output.is_finished() || self.drain(terminal, LAST_READS);
            if is_over {
                self.end(&mut open);
            }
        }
    }

    /// Reads so often; true at the end. An error is an end too: nothing more can come.
    fn drain(&self, open: &Open, reads: usize) -> bool {
        self.output.fill(|ring| {
            for _ in 0..reads {
                match open.master.read(ring.writable()) {
                    Ok(0) => return true,
                    Ok(count) => ring.commit(count),
                    Err(cause) => return cause.kind() != io::ErrorKind::WouldBlock,
                }
            }
            false
        })
    }

    /// Nobody holds the other end any more.
    fn end(&self, open: &mut Option<Open>) {
        if let Some(terminal) = open {
            unwatch(terminal);
        }
        self.output.finish();
        // While the leader lives our end stays open: closing it would hang up on a program that only closed its own.
        if self.leader_is_gone.load(Ordering::Acquire) {
            *open = None;
        }
        // Whoever waits for room learns that none will come.
        self.room.update(|count| *count += 1);
    }

    fn with_open<R>(&self, act: impl FnOnce(&mut Open) -> io::Result<R>) -> Result<R, BoxError> {
        match &mut *self.open.lock() {
            Some(open) => Ok(act(open)?),
            None => Err("its terminal is closed, since the session has ended".into()),
        }
    }

    /// Writes what there is room for; the count to wait for a change of, if there is none.
    fn try_write(&self, bytes: &[u8]) -> Result<Result<usize, u64>, BoxError> {
        self.with_open(|open| match open.master.write(bytes) {
            Ok(count) => Ok(Ok(count)),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock && !self.output.is_finished() => {
                let seen = self.room.peek(|count| *count);
                if let Some(token) = open.token {
                    let pump = Pump::get().map_err(io::Error::other)?;
                    pump.modify(&open.master, token, Interest::ReadWrite)?;
                }
                Ok(Err(seen))
            }
            Err(cause) => Err(cause),
        })
    }

    async fn write_all(&self, mut bytes: &[u8]) -> Result<(), BoxError> {
        while !bytes.is_empty() {
            match self.try_write(bytes)? {
                Ok(count) => bytes = &bytes[count..],
                Err(seen) => self.room.wait(|count| (*count != seen).then_some(())).await,
            }
        }
        Ok(())
    }
}

fn unwatch(open: &mut Open) {
    if let (Some(token), Ok(pump)) = (open.token.take(), Pump::get()) {
        pump.remove(&open.master, token);
    }
}

impl Source for PtyTerminal {
    fn ready(&self, pump: &Pump, ready: Ready) {
        let mut open = self.open.lock();
        let Some(terminal) = &*open else { return };
        if ready.write {
            // Once is enough: the kernel would say it again and again.
            let _ = pump.modify(&terminal.master, ready.token, Interest::Read);
            self.room.update(|count| *count += 1);
        }
        if ready.read && self.drain(terminal, 1) {
            self.end(&mut open);
        }
    }
}

impl TerminalInput for PtyTerminal {
    fn write<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(self.write_all(bytes))
    }

    fn resize(&self, size: WindowSize) -> Result<(), BoxError> {
        let WindowSize { rows, cols } = size;
        self.with_open(|open| open.master.resize(Cells { rows, cols }))
    }

    fn size(&self) -> Result<WindowSize, BoxError> {
        self.with_open(|open| open.master.size()).map(|Cells { rows, cols }| WindowSize { rows, cols })
    }

    fn device(&self) -> Option<Vec<u8>> {
        Some(self.device.clone())
    }

    fn close(&self) {
        let mut open = self.open.lock();
        if let Some(terminal) = &mut *open {
            self.drain(terminal, LAST_READS);
            unwatch(terminal);
        }
        *open = None;
        drop(open);
        self.output.finish();
        self.room.update(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use std::time::{Duration, Instant};

    #[test]
    fn what_a_terminal_is_missing_for_is_told_apart() {
        for (number, advice) in
            [(NO_SPACE, "kernel/pty/max"), (PROCESS_FULL, "ulimit -n"), (MACHINE_FULL, "file-nr"), (NO_ENTRY, "devpts")]
        {
            let error = no_terminal(io::Error::from_raw_os_error(number));
            assert!(error.to_string().contains(advice) && error.raw_os_error() == Some(number), "{error}");
        }
        assert!(no_terminal(io::ErrorKind::Unsupported.into()).is_unsupported());
    }

    /// A program that says hello, on a terminal that the pump does not read yet.
    fn greeting() -> (Arc<PtyTerminal>, Peer, NewChild) {
        let (master, peer) = Master::open(Cells { rows: 24, cols: 80 }).unwrap();
        let terminal = PtyTerminal::new(master, 4096).unwrap();
        let arguments = ["sh", "-c", "echo hello"].map(|argument| c_string(OsStr::new(argument)).unwrap());
        let child = NewChild::start(|| sys::spawn_on_terminal(&peer, c"/bin/sh", &arguments, &[], None)).unwrap();
        (terminal, peer, child)
    }

    fn text(terminal: &Arc<PtyTerminal>) -> String {
        Terminal::from_parts(Arc::clone(terminal) as _, terminal.output.clone()).output().text()
    }

    #[test]
    fn what_was_printed_last_is_there_after_a_close_that_a_holder_makes_necessary() {
        let (terminal, holder, child) = greeting();
        park_on(ProcessHandle::of_child(child, || {}).unwrap().wait_gone()).unwrap();
        assert_eq!(text(&terminal), "");
        terminal.close();
        assert_eq!(text(&terminal), "hello\n");
        assert!(terminal.output.is_finished() && terminal.open.lock().is_none());
        drop(holder);
    }

    /// The pump forgets a terminal that has ended or was closed: else each session would cost its output for good.
    #[test]
    fn nothing_is_kept_of_a_terminal_after_its_end() {
        for is_held in [false, true] {
            let (terminal, peer, child) = greeting();
            let holder = Some(peer).filter(|_| is_held);
            let weak = Arc::downgrade(&terminal);
            let (leader, handle) = terminal.supervise(child).unwrap();
            park_on(leader.wait_gone()).unwrap();
            if is_held {
                handle.input().close();
            }
            park_on(handle.output_state().finished());
            drop((leader, handle, holder));
            let start = Instant::now();
            while weak.upgrade().is_some() {
                assert!(start.elapsed() < Duration::from_secs(20), "it is still kept, held: {is_held}");
                std::thread::yield_now();
            }
        }
    }
}
