//! Starting a server: made up, written down, spawned, waited for.

use crate::error::{Error, Result};
use crate::event::warn;
use crate::ledger::book::{Announcement, Known};
use crate::ledger::home::Home;
use crate::ledger::recipe::Recipe;
use crate::ledger::{Ledger, RecordId};
use crate::process::cookie::Cookie;
use crate::process::death::OomCounters;
use crate::process::handle::{NewChild, ProcessHandle};
use crate::process::identity::OurSelf;
use crate::process::pump::Pump;
use crate::runtime::block_on;
use crate::server::closing::close;
use crate::server::guard::ServerGuard;
use crate::server::inner::{Inner, Life};
use crate::server::log::Log;
use crate::server::places::Places;
use crate::server::port::Lease;
use crate::server::ready::{self, NotReady};
use crate::server::spec::ServerSpec;
use crate::session::environment::{self, Environment};
use crate::session::native::{c_string, variable};
use crate::session::program;
use crate::session::spec::SessionSpec;
use crate::settings::Settings;
use crate::sys::{self, AsFd as _, OwnedFd};
use crate::watched::Watched;
use parking_lot::Mutex;
use std::cell::Cell;
use std::io;
use std::panic::Location;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How many ports are tried that somebody takes between the lease and the server.
const MOST_PORTS: usize = 3;

/// What servers print whose port is taken, in small letters.
const PORT_IS_TAKEN: [&str; 4] = ["address already in use", "address in use", "eaddrinuse", "addrinuse"];

impl ServerSpec {
    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// - [`Error::is_invalid_input`] if the program cannot be found or executed, or the specification contradicts itself.
    /// - [`Error::is_server_ended`] if it dies before it is ready: with its status, the time, the command and the end of its log.
    /// - [`Error::is_timeout`] if it does not get ready in time: with what was waited for, and what it does instead.
    ///
    /// In each case nothing of it is left, or the error says what.
    #[track_caller]
    pub fn start(self) -> impl Future<Output = Result<ServerGuard>> + Send + 'static {
        start(self, Location::caller().to_string())
    }

    /// The same for a test that is not async.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Panics
    ///
    /// As [`block_on`].
    #[track_caller]
    pub fn start_blocking(self) -> Result<ServerGuard> {
        block_on(start(self, Location::caller().to_string()))
    }
}

/// Starts it, and waits until it is ready.
///
/// # Errors
///
/// If it cannot be started, has died, or is late; nothing of it is left then, or the error says what.
pub(crate) async fn start(spec: ServerSpec, made_at: String) -> Result<ServerGuard> {
    spec.check()?;
    let settings = Settings::from_env()?;
    let limit = spec.limit(&settings);
    for tried in 1.. {
        // Dropped on the way it ends in the background.
        let guard = ServerGuard::new(spawn(&spec, &made_at, &settings)?);
        let inner = guard.inner();
        let Err(why) = ready::wait(inner, limit).await else { return Ok(guard) };
        let is_taken = matches!(why, NotReady::Died) && inner.port.is_some() && says_that_its_port_is_taken(inner);
        let error = describe(inner, why, tried);
        let ended = end(inner).await;
        drop(guard);
        match ended {
            Ok(()) if is_taken && tried < MOST_PORTS => {}
            Ok(()) => return Err(error),
            Err(cause) => return Err(Error::survived(format!("{error}\nand then: {cause}"), None::<()>)),
        }
    }
    unreachable!("a loop without an end returns")
}

/// It was not ready: that it has died is told already.
async fn end(inner: &Arc<Inner>) -> Result<()> {
    match close(inner).await {
        Err(cause) if !cause.is_server_ended() => Err(cause),
        _ => Ok(()),
    }
}

fn says_that_its_port_is_taken(inner: &Inner) -> bool {
    inner.log.catch_up();
    let log = inner.log.output().text().to_lowercase();
    PORT_IS_TAKEN.iter().any(|text| log.contains(text))
}

fn describe(inner: &Inner, why: NotReady, tried: usize) -> Error {
    let (name, log) = (inner.name(), inner.shown_log());
    match why {
        NotReady::Failed(cause) => cause,
        NotReady::Late(what, limit) => Error::timeout(
            format!(
                "{name} is not ready: waited {what}; {}; give it more time by `ready_within`{log}{}",
                ready::instead(inner),
                inner.shown_threads()
            ),
            limit,
        ),
        NotReady::Died => {
            let how = inner.how_it_ended();
            let tried =
                if tried > 1 { format!(" (started {tried} times, since its port was taken)") } else { String::new() };
            let hint = match inner.handle.exit_status() {
                Some(status) if status.success() => {
                    "one that goes to the background must be told to stay in the foreground (`-D`, `--foreground`)"
                }
                _ => "run the command by hand to see more",
            };
            Error::server_ended(format!("{name} died before it was ready{tried}: {how}; {hint}{log}"))
        }
    }
}

/// All that a start makes before there is a process, given back unless there is one.
struct Prepared<'a> {
    home: Home,
    cookie: Cookie,
    ledger: Ledger,
    record: RecordId,
    lease: Option<Lease>,
    spec: &'a ServerSpec,
    made_at: &'a str,
    oom: OomCounters,
    /// A process was started that could neither be held nor ended.
    lives_on: Cell<bool>,
}

fn spawn(spec: &ServerSpec, made_at: &str, settings: &Settings) -> Result<Inner> {
    let pump = Pump::get()?;
    OurSelf::get()?;
    let prepared = prepare(spec, made_at)?;
    match prepared.launch(pump, settings) {
        Ok((handle, log, command)) => Ok(prepared.into_inner(handle, log, command, settings.wait)),
        Err(cause) => {
            prepared.undo();
            Err(cause)
        }
    }
}

fn prepare<'a>(spec: &'a ServerSpec, made_at: &'a str) -> Result<Prepared<'a>> {
    let lease = spec.has_port.then(Lease::take).transpose()?;
    let cookie = Cookie::new();
    let home = Home::of(cookie);
    let since = sys::now_ticks();
    let ledger = Ledger::default();
    // Before anything of it is there, so that whoever comes after us finds it.
    let record = ledger.announce(Announcement {
        cookie: Some(cookie),
        since,
        label: spec.command_line(),
        made_at: made_at.to_string(),
        recipe: Recipe::Own,
        home: Some(home.clone()),
    });
    let (oom, lives_on) = (OomCounters::own(), Cell::new(false));
    Ok(Prepared { home, cookie, ledger, record, lease, spec, made_at, oom, lives_on })
}

impl Prepared<'_> {
    fn launch(&self, pump: &'static Pump, settings: &Settings) -> Result<(ProcessHandle, Arc<Log>, String)> {
        let port = self.lease.as_ref().map(Lease::port);
        let command = Places { port, home: &self.home }.command(self.spec, self.cookie);
        command.check()?;
        let environment = environment::for_session(&command);
        let program = program::find(&command, &environment)?;
        self.home.create(self.cookie)?;
        let pipe = |cause| Error::os("make a pipe for a server's log", "raise `ulimit -n`", cause);
        let (read, write) = sys::pipe().map_err(pipe)?;
        let log = Log::new(read, self.spec.cap(settings));
        log.watch(pump).map_err(pipe)?;
        let spawned = spawn_program(&command, &program, &environment, &write);
        // The server alone has it now.
        drop(write);
        let child = spawned.inspect_err(|_| log.close())?;
        let _ = sys::restore_descriptor_limit(child.pid());
        let handle = ProcessHandle::of_child(child, || {}).inspect_err(|_| {
            log.close();
            self.lives_on.set(child.abandon().is_err());
        })?;
        self.ledger.identify(self.record, Known { leader: Some(handle.identity()), ..Known::default() });
        Ok((handle, log, command.command_line()))
    }

    fn into_inner(self, handle: ProcessHandle, log: Arc<Log>, command: String, wait: Duration) -> Inner {
        let Self { home, cookie, ledger, record, lease, spec, made_at, oom, lives_on: _ } = self;
        Inner {
            spec: spec.clone(),
            made_at: made_at.to_owned(),
            command,
            handle,
            log,
            home,
            cookie,
            port: lease.as_ref().map(Lease::port),
            address: OnceLock::new(),
            lease: Mutex::new(lease),
            ledger,
            record,
            started: Instant::now(),
            oom,
            wait,
            life: Watched::new(Life::new()),
            owner: sys::own_pid(),
        }
    }

    /// Nothing was started, or it was ended. What is there all the same, for want of a descriptor mostly, stays in the ledger for
    /// whoever sweeps that.
    fn undo(&self) {
        if self.lives_on.get() {
            let name = self.spec.command_line();
            return warn(format!(
                "the server `{name}` was started, and could be neither held nor ended: its keeper will"
            ));
        }
        match self.home.remove(Some(self.cookie)) {
            Ok(()) => self.ledger.forget(self.record),
            Err(cause) => warn(format!("{cause}; its keeper will")),
        }
    }
}

fn spawn_program(
    command: &SessionSpec,
    program: &Path,
    environment: &Environment,
    output: &OwnedFd,
) -> Result<NewChild> {
    let arguments = std::iter::once(command.program()).chain(command.arguments().iter().map(|argument| &**argument));
    let arguments = arguments.map(c_string).collect::<Result<Vec<_>>>()?;
    let variables = environment.iter().map(|(name, value)| variable(name, value)).collect::<Result<Vec<_>>>()?;
    let directory = command.directory().map(|directory| c_string(directory.as_os_str())).transpose()?;
    let path = c_string(program.as_os_str())?;
    let start = || sys::spawn_with_outputs(&path, &arguments, &variables, directory.as_deref(), [output.as_fd(); 2]);
    NewChild::start(start).map_err(|cause: io::Error| program::explain(command, program, cause))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_undone_stays_in_the_ledger_for_whoever_sweeps_that() {
        let spec = ServerSpec::new("x".into()).without_port();
        let prepared = prepare(&spec, "a.rs:1").unwrap();
        let is_known = || prepared.ledger.mark(prepared.record).is_some();
        prepared.home.create(prepared.cookie).unwrap();
        prepared.lives_on.set(true);
        prepared.undo();
        assert!(is_known() && prepared.home.path().exists(), "somebody runs in it");
        prepared.lives_on.set(false);
        let elsewhere = tempfile::tempdir().unwrap();
        let kept = elsewhere.path().join("kept");
        std::fs::rename(prepared.home.path(), &kept).unwrap();
        std::os::unix::fs::symlink(&kept, prepared.home.path()).unwrap();
        prepared.undo();
        assert!(is_known() && kept.exists(), "it could not be removed");
        std::fs::remove_file(prepared.home.path()).unwrap();
        std::fs::rename(&kept, prepared.home.path()).unwrap();
        prepared.undo();
        assert!(!is_known() && !prepared.home.path().exists());
    }
}
