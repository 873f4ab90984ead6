//! Sessions of our own on pseudo-terminals: the backend for tests that bring no server.

use crate::error::{BoxError, Error, Result};
use crate::limits::{MAX_OUTPUT, MIN_OUTPUT};
use crate::process::cookie::Cookie;
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use crate::process::kill::{Target, end_all};
use crate::process::rule::Mark;
use crate::session::backend::{Created, KillRecipe, Running, SessionBackend, SessionState};
use crate::session::id::SessionId;
use crate::session::native;
#[cfg(feature = "pty")]
use crate::session::portable::{self, PortableSession, Started};
use crate::session::spec::SessionSpec;
use crate::session::terminal::Terminal;
use crate::settings::Settings;
use crate::sys;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
#[cfg(feature = "pty")]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Creates sessions on pseudo-terminals of this machine.
///
/// On Linux a session starts without fork, so that its cost does not grow with the test process, is read by one thread
/// for all sessions, and costs two descriptors while it lives and none after. Elsewhere, and with
/// [`with_system`](Self::with_system), portable-pty starts it.
///
/// # The environment of a session
///
/// That of the test, with `TERM=xterm-256color`, and without `LINES`, `COLUMNS`, `NEXTEST_*` and `TERMLEASH_*`, but
/// with the session's cookie and those of outer suites. Signals are at their defaults, and no descriptor but the
/// terminal is passed on.
///
/// # Limits
///
/// Dropping the backend while sessions live hangs up on them and proves nothing: that is the helper's duty. A program
/// that closes its terminal altogether, lives on and opens `/dev/tty` again is not heard any more. Some of portable-pty's
/// systems add variables of their own, such as `SHELL`. On systems
/// other than Linux the end of a session is known by its leader's status only, and what the leader left behind is not
/// found.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use termleash::{PtyBackend, SessionTestHelper};
///
/// # termleash::block_on(async {
/// let helper = SessionTestHelper::new(PtyBackend::new());
/// let session = helper.create_tracked_session("bash").await?;
/// assert_eq!(session.run("stty size").await?.stdout(), "24 80");
/// session.close().await?;
/// # Ok::<(), termleash::Error>(())
/// # })?;
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
pub struct PtyBackend {
    system: System,
    max_output: Option<usize>,
    /// Read once, when the backend is made; what was wrong with it is told by the first creation.
    settings: Result<Settings, String>,
    sessions: Mutex<HashMap<SessionId, Record>>,
}

enum System {
    #[cfg_attr(
        all(feature = "pty", not(target_os = "linux")),
        expect(dead_code, reason = "portable-pty's native system is the default there")
    )]
    Own,
    #[cfg(feature = "pty")]
    Portable(Mutex<Box<dyn portable_pty::PtySystem + Send>>),
}

struct Record {
    mark: Mark,
    holder: Holder,
    terminal: Terminal,
}

#[derive(Clone)]
enum Holder {
    Leader(ProcessHandle),
    #[cfg(feature = "pty")]
    Portable(Arc<PortableSession>),
}

impl Holder {
    fn state(&self) -> Result<SessionState, BoxError> {
        Ok(match self {
            Self::Leader(leader) if leader.is_known_dead() => {
                SessionState::Exited(Some(leader.exit_status().unwrap_or(ExitStatus::Unknown)))
            }
            Self::Leader(leader) => Running::new().with_leader(leader.pid()).into(),
            #[cfg(feature = "pty")]
            Self::Portable(session) => match session.try_wait()? {
                None => SessionState::running(),
                status => SessionState::Exited(status),
            },
        })
    }
}

impl PtyBackend {
    /// On Linux our own way; on other systems portable-pty's native one.
    pub fn new() -> Self {
        #[cfg(all(feature = "pty", not(target_os = "linux")))]
        return Self::with_system(portable_pty::native_pty_system());
        #[cfg(not(all(feature = "pty", not(target_os = "linux"))))]
        Self::on(System::Own)
    }

    /// Any pty system of portable-pty's: one of your own, or the native one to compare with.
    #[cfg(feature = "pty")]
    pub fn with_system(system: Box<dyn portable_pty::PtySystem + Send>) -> Self {
        Self::on(System::Portable(Mutex::new(system)))
    }

    fn on(system: System) -> Self {
        let settings = Settings::from_env().map_err(|cause| cause.to_string());
        Self { system, max_output: None, settings, sessions: Mutex::default() }
    }

    /// How many bytes of each session's output are kept, 4 KiB to 1 GiB; the newest are, and how many were dropped is
    /// said. A value outside is moved to the nearest bound. 1 MiB unless `TERMLEASH_MAX_OUTPUT` says otherwise.
    #[must_use = "it takes and gives the backend"]
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.max_output = Some(bytes.clamp(MIN_OUTPUT, MAX_OUTPUT));
        self
    }

    fn start(&self, spec: &SessionSpec) -> Result<(Holder, Terminal)> {
        let settings = self.settings.as_ref().map_err(|text| Error::invalid(text.clone()))?;
        let max_output = self.max_output.unwrap_or(settings.max_output);
        match &self.system {
            System::Own => {
                let (leader, terminal) = native::start(spec, max_output).map_err(Error::leaving_nothing)?;
                Ok((Holder::Leader(leader), terminal))
            }
            #[cfg(feature = "pty")]
            System::Portable(system) => Ok(match portable::start(&**system.lock(), spec, max_output)? {
                Started::Held(leader, terminal) => (Holder::Leader(leader), terminal),
                Started::Opaque(session, terminal) => (Holder::Portable(session), terminal),
            }),
        }
    }

    fn create_now(&self, spec: &SessionSpec) -> Result<Created> {
        spec.check()?;
        let spec = match spec.cookie() {
            Some(_) => spec.clone(),
            // Used without a helper: its kill needs a mark all the same.
            None => spec.clone().with_cookie(Cookie::new()),
        };
        let since = sys::now_ticks();
        let (holder, terminal) = self.start(&spec)?;
        let id = next_id()?;
        let leader = match &holder {
            Holder::Leader(leader) => Some(leader.clone()),
            #[cfg(feature = "pty")]
            Holder::Portable(_) => None,
        };
        let leader_identity = leader.as_ref().map(ProcessHandle::identity);
        let mark = Mark { leader: leader_identity, ..Mark::of(spec.cookie(), since) };
        self.sessions.lock().insert(id.clone(), Record { mark, holder, terminal: terminal.clone() });
        let created = Created::new(id).with_terminal(terminal);
        Ok(match leader {
            Some(leader) => created.with_owned_leader(leader),
            None => created,
        })
    }

    fn find<R>(&self, id: &SessionId, look: impl FnOnce(&Record) -> R) -> Option<R> {
        self.sessions.lock().get(id).map(look)
    }
}

/// Unique in this process, whichever backend: an id of one must not name a session of another.
fn next_id() -> Result<SessionId> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    SessionId::new(format!("pty-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

impl Default for PtyBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PtyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PtyBackend").field("sessions", &self.sessions.lock().len()).finish_non_exhaustive()
    }
}

impl Drop for PtyBackend {
    fn drop(&mut self) {
        for record in self.sessions.get_mut().values() {
            record.terminal.input().close();
        }
    }
}

impl SessionBackend for PtyBackend {
    fn kill_recipe(&self) -> KillRecipe {
        KillRecipe::own()
    }

    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        Ok(self.create_now(spec)?)
    }

    /// Ends the session's processes and waits for their proven death.
    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        let Some((mark, holder)) = self.find(id, |record| (record.mark.clone(), record.holder.clone())) else {
            return Err(Error::unknown_session(format!("this backend has no session `{id}`")).into());
        };
        match holder {
            Holder::Leader(leader) => {
                let mut targets = [Target::new(mark, Some(leader))];
                let grace = self.settings.as_ref().map_or(Settings::default().grace, |settings| settings.grace);
                end_all(&mut targets, grace, Instant::now()).await?;
                let [Target { ending, .. }] = targets;
                if let Some(survivor) = ending.survivors.first() {
                    return Err(
                        Error::survived(format!("{survivor} of session `{id}` is still alive"), None::<()>).into()
                    );
                }
                Ok(())
            }
            #[cfg(feature = "pty")]
            Holder::Portable(session) => session.kill().await,
        }
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.find(id, |record| record.holder.state()).unwrap_or(Ok(SessionState::Unknown))
    }

    /// Closes our end of its terminal.
    async fn discard_record(&self, id: &SessionId) -> Result<(), BoxError> {
        if let Some(record) = self.sessions.lock().remove(id) {
            record.terminal.input().close();
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<SessionId>, BoxError> {
        Ok(self.sessions.lock().keys().cloned().collect())
    }
}
