//! A session as a test talks to it.

use crate::backoff::Backoff;
use crate::error::{BoxError, Error, Result};
use crate::event::track::Track;
use crate::process::death::{CauseOfDeath, Death, Evidence, OomCounters};
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use crate::process::pump::Pump;
use crate::session::backend::{DynBackend, SessionState};
use crate::session::command::CommandOutput;
use crate::session::dying::Dying;
use crate::session::id::SessionId;
use crate::session::instead::Who;
use crate::session::key::Key;
use crate::session::spec::WindowSize;
use crate::session::terminal::{Output, Terminal};
use parking_lot::Mutex;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

/// How long after the leader's end more output may come: what was written last is on its way through the kernel, and
/// a process that survives may hold the terminal open, so that there is no end to wait for.
const QUIET: Duration = Duration::from_millis(100);

/// A session that a helper tracks: what can be typed, read and waited for. Cloning gives another handle.
///
/// It does not end the session; its [`SessionGuard`](crate::tracker::SessionGuard) or its helper does. Every wait has a
/// deadline, 10 s unless `TERMLEASH_WAIT` or the `…_within` form says otherwise, and a failure shows the last lines
/// of the output. Methods that type or read need a backend that offers a terminal, as [`PtyBackend`](crate::PtyBackend)
/// does; on others they answer with an error that [`is_unsupported`](Error::is_unsupported).
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    id: SessionId,
    leader: Option<ProcessHandle>,
    terminal: Option<Terminal>,
    backend: Arc<dyn DynBackend>,
    wait: Duration,
    last_error: LastError,
    dying: Dying,
}

/// The text of the last error that a helper or one of its sessions gave: probably what the test failed of.
pub(crate) type LastError = Arc<Mutex<Option<String>>>;

/// Notes an error on its way to the test.
pub(crate) fn noted<T>(last_error: &LastError, result: Result<T>) -> Result<T> {
    result.inspect_err(|cause| *last_error.lock() = Some(cause.to_string()))
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        leader: Option<ProcessHandle>,
        terminal: Option<Terminal>,
        backend: Arc<dyn DynBackend>,
        wait: Duration,
        last_error: LastError,
        oom: OomCounters,
    ) -> Self {
        let dying = Dying::new(oom);
        Self { inner: Arc::new(Inner { id, leader, terminal, backend, wait, last_error, dying }) }
    }

    /// For those who end it: they say why before they do.
    pub(crate) fn dying(&self) -> &Dying {
        &self.inner.dying
    }

    /// The id that the backend gave it.
    pub fn id(&self) -> &SessionId {
        &self.inner.id
    }

    /// The process that leads it, if that is proven.
    pub fn leader(&self) -> Option<&ProcessHandle> {
        self.inner.leader.as_ref()
    }

    fn who(&self) -> Who<'_> {
        Who { id: self.id().as_str(), leader: self.leader() }
    }

    /// The process id of its leader, if that is proven.
    pub fn leader_pid(&self) -> Option<u32> {
        self.inner.leader.as_ref().map(ProcessHandle::pid)
    }

    /// What is typed and printed from now on is recorded there, and how much was printed before.
    pub(crate) fn record(&self, track: Track) {
        if let Some(terminal) = self.terminal() {
            terminal.record(track);
        }
    }

    pub(crate) fn terminal(&self) -> Option<&Terminal> {
        self.inner.terminal.as_ref()
    }

    fn needs_terminal(&self) -> Result<&Terminal> {
        self.inner.terminal.as_ref().ok_or_else(|| {
            Error::unsupported(format!(
                "session `{}` has no terminal to type into or read from: its backend creates sessions without one \
                 (see `Created::with_terminal`); use the server's own way",
                self.id()
            ))
        })
    }

    /// Types bytes as they are.
    ///
    /// # Errors
    ///
    /// If the session has ended or its program does not read them before the deadline.
    pub async fn write(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let written = async { self.needs_terminal()?.write(self.who(), bytes.as_ref(), self.inner.wait).await };
        self.noted(written.await)
    }

    /// Types a line and ends it as the Enter key does, with a carriage return. The terminal echoes it.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn write_line(&self, line: &str) -> Result<()> {
        self.write([line.as_bytes(), b"\r"].concat()).await
    }

    /// Presses a key, with what the terminal makes of it: Ctrl-C interrupts the foreground program.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn send_key(&self, key: Key) -> Result<()> {
        self.write(key.bytes()).await
    }

    /// Runs a command in the shell that the session is, and waits for its end: its output without the echo and the
    /// prompt, and its status.
    ///
    /// The session must be a POSIX shell (sh, dash, bash, zsh, ksh) that waits for input or soon will. The command may
    /// have several lines; with its quoting it must fit into a terminal's line of 4,095 bytes.
    ///
    /// # Errors
    ///
    /// If the command cannot be typed, does not end before the deadline, or ends the session (`exit`): for that use
    /// [`write_line`](Self::write_line) and [`wait_for_exit`](Self::wait_for_exit). A status other than 0 is not an
    /// error.
    pub async fn run(&self, command: &str) -> Result<CommandOutput> {
        self.run_within(command, self.inner.wait).await
    }

    /// [`run`](Self::run) with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_within(&self, command: &str, limit: Duration) -> Result<CommandOutput> {
        let ran = async { self.needs_terminal()?.run(self.who(), command, limit, self.over()).await };
        self.noted(ran.await)
    }

    /// What it has printed since its start or the last [`clear_output`](Self::clear_output), as far as it is kept.
    ///
    /// # Errors
    ///
    /// If it has no terminal.
    pub fn output(&self) -> Result<Output> {
        Ok(self.needs_terminal()?.output())
    }

    /// Forgets what it has printed so far, and frees its memory.
    ///
    /// # Errors
    ///
    /// If it has no terminal.
    pub fn clear_output(&self) -> Result<()> {
        self.needs_terminal()?.clear();
        Ok(())
    }

    /// Waits until it has printed `text`, at any time since its start or the last [`clear_output`](Self::clear_output).
    ///
    /// Escape sequences are removed before the comparison, lines end with `\n`. What was typed is echoed and counts:
    /// to wait for a command's output use [`run`](Self::run), or a text that is not in the command.
    ///
    /// # Errors
    ///
    /// If the session ends or the deadline passes before.
    pub async fn wait_for_text(&self, text: &str) -> Result<()> {
        self.wait_for_text_within(text, self.inner.wait).await
    }

    /// [`wait_for_text`](Self::wait_for_text) with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`wait_for_text`](Self::wait_for_text).
    pub async fn wait_for_text_within(&self, text: &str, limit: Duration) -> Result<()> {
        let came = async { self.needs_terminal()?.wait_for_text(self.who(), text, limit, self.over()).await };
        self.noted(came.await)
    }

    /// Waits until its leader has ended, and says how; at once if it has already.
    ///
    /// # Errors
    ///
    /// If it still runs at the deadline, or the backend cannot say.
    pub async fn wait_for_exit(&self) -> Result<ExitStatus> {
        self.wait_for_exit_within(self.inner.wait).await
    }

    /// [`wait_for_exit`](Self::wait_for_exit) with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`wait_for_exit`](Self::wait_for_exit).
    pub async fn wait_for_exit_within(&self, limit: Duration) -> Result<ExitStatus> {
        let ended = Pump::get()?.within(limit, self.exit()).await;
        self.noted(ended.unwrap_or_else(|| {
            let (who, shown) = (self.who(), self.terminal().map_or_else(String::new, Terminal::shown));
            Err(Error::timeout(format!("waiting for the end of session `{who}`{}{shown}", who.instead()), limit))
        }))
    }

    /// Waits until its leader has ended, and says of what it has died: who killed it, for want of what it aborted, with what says so.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use termleash::process::CauseOfDeath;
    /// use termleash::{PtyBackend, SessionSpec, SessionTestHelper};
    ///
    /// # termleash::block_on(async {
    /// let helper = SessionTestHelper::new(PtyBackend::new());
    /// let session = helper.create_tracked_session(SessionSpec::shell("kill -ILL $$")).await?;
    /// let death = session.wait_for_death().await?;
    /// assert_eq!(*death.cause(), CauseOfDeath::IllegalInstruction);
    /// # session.close().await?;
    /// # Ok::<(), termleash::Error>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait_for_exit`](Self::wait_for_exit).
    pub async fn wait_for_death(&self) -> Result<Death> {
        self.wait_for_exit().await.map(|status| self.died_of(status))
    }

    /// Gives its terminal another size; the program gets SIGWINCH.
    ///
    /// # Errors
    ///
    /// If a size is 0, or the session has ended.
    pub async fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        let size = WindowSize { rows, cols }.check()?;
        let terminal = self.needs_terminal()?;
        terminal.input().resize(size).map_err(|cause| self.failed(terminal, "resize", cause))?;
        terminal.recorded(|track| track.resized(rows, cols));
        Ok(())
    }

    /// The size of its terminal.
    ///
    /// # Errors
    ///
    /// If the session has ended.
    pub fn window_size(&self) -> Result<WindowSize> {
        let terminal = self.needs_terminal()?;
        terminal.input().size().map_err(|cause| self.failed(terminal, "read the size of", cause))
    }

    fn failed(&self, terminal: &Terminal, what: &str, cause: BoxError) -> Error {
        let what = format!("failed to {what} session `{}`", self.id());
        if terminal.output_state().is_finished() {
            return Error::session_ended(format!("{what}: it has ended"));
        }
        Error::backend(what, cause)
    }

    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        noted(&self.inner.last_error, result)
    }

    async fn exit(&self) -> Result<ExitStatus> {
        let status = match &self.inner.leader {
            Some(leader) => {
                leader.wait_gone().await?;
                match leader.exit_status() {
                    Some(status) => status,
                    // Only its parent, the server, was told.
                    None => self.told_exit().await.unwrap_or(ExitStatus::Unknown),
                }
            }
            None => self.polled_exit().await?,
        };
        if let Some(terminal) = self.terminal() {
            // So that what it printed last is there when this returns.
            Pump::get()?.within(QUIET, terminal.output_state().finished()).await;
        }
        Ok(status)
    }

    async fn told_exit(&self) -> Option<ExitStatus> {
        match self.inner.backend.state_boxed(self.id()).await {
            Ok(SessionState::Exited(status)) => status,
            _ => None,
        }
    }

    async fn polled_exit(&self) -> Result<ExitStatus> {
        for pause in Backoff::new() {
            let state = self.inner.backend.state_boxed(self.id()).await;
            match state.map_err(|cause| Error::backend(format!("failed to ask for session `{}`", self.id()), cause))? {
                SessionState::Running(_) => Pump::get()?.sleep(pause).await,
                SessionState::Exited(status) => return Ok(status.unwrap_or(ExitStatus::Unknown)),
                SessionState::Unknown => return Ok(ExitStatus::Unknown),
            }
        }
        unreachable!("a back-off has no end")
    }

    /// Of what it has died, which has ended so.
    pub(crate) fn died_of(&self, status: ExitStatus) -> Death {
        let output = self.terminal().map(|terminal| terminal.output().text());
        self.inner.dying.judge(status, self.leader(), output.as_deref())
    }

    /// A status, and of what it has died, with what says so.
    fn how(&self, status: ExitStatus) -> String {
        let death = self.died_of(status);
        let mut text = match death.cause() {
            CauseOfDeath::Exit { .. } | CauseOfDeath::Unknown => status.to_string(),
            // Which says the status, too.
            cause @ CauseOfDeath::Signal { .. } => cause.to_string(),
            cause => format!("{status}; cause of death: {cause}"),
        };
        for evidence in death.evidence().iter().filter(|evidence| !matches!(evidence, Evidence::Status(_))) {
            // Writing to a string does not fail.
            let _ = write!(text, "; {evidence}");
        }
        text
    }

    /// Ends when nothing more will come, with how it ended as the middle of a sentence.
    async fn over(&self) -> Result<String> {
        match (&self.inner.leader, self.terminal()) {
            (Some(_), _) => Ok(match self.exit().await? {
                ExitStatus::Unknown => "ended".to_owned(),
                status => format!("ended ({})", self.how(status)),
            }),
            (None, Some(terminal)) => {
                terminal.output_state().finished().await;
                Ok("ended".to_owned())
            }
            (None, None) => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", self.id()).field("leader_pid", &self.leader_pid()).finish_non_exhaustive()
    }
}
