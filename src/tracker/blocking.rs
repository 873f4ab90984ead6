//! The helper and its guards for tests that are not async.

use crate::error::{BoxError, Error, Result};
use crate::process::death::Death;
use crate::process::exit::ExitStatus;
use crate::runtime::{Runtime, is_inside};
use crate::session::command::CommandOutput;
use crate::session::id::SessionId;
use crate::session::key::Key;
use crate::session::live::Session;
use crate::session::spec::{SessionSpec, WindowSize};
use crate::session::terminal::Output;
use crate::tracker::guard::SessionGuard;
use crate::tracker::helper::SessionTestHelper;
use crate::tracker::interference::Interference;
use crate::tracker::outcome::{KillOutcome, KillReport};
use once_cell::sync::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A [`SessionTestHelper`] whose methods block the calling thread; see there for what each does.
///
/// Every method that waits is an error inside of a tokio runtime, whose thread it would block; also in its
/// `spawn_blocking`, where `Handle::current().block_on` of the async method does it.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let helper = termleash::SessionTestHelper::new(termleash::PtyBackend::new()).blocking();
/// let shell = helper.create_tracked_session("sh")?;
/// assert_eq!(shell.run("echo $((6 * 7))")?.stdout(), "42");
/// shell.close()?;
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
#[derive(Clone)]
pub struct BlockingHelper {
    helper: SessionTestHelper,
    runtime: LazyRuntime,
}

/// Made by the first method that needs it.
#[derive(Clone, Default)]
struct LazyRuntime(Arc<OnceCell<Runtime>>);

impl LazyRuntime {
    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if is_inside() {
            return Err(Error::invalid(
                "a blocking method was called inside of a tokio runtime, whose thread it would block: \
                 use the async method of the same name",
            ));
        }
        let runtime = self.0.get_or_try_init(Runtime::new);
        runtime.map_err(|cause| Error::os("start a runtime", "raise `ulimit -n`", cause))?.run(future)
    }
}

impl SessionTestHelper {
    /// The same for tests that are not async: each method blocks the calling thread.
    pub fn blocking(&self) -> BlockingHelper {
        BlockingHelper { helper: self.clone(), runtime: LazyRuntime::default() }
    }
}

impl BlockingHelper {
    /// The helper itself, for what does not wait.
    pub fn helper(&self) -> &SessionTestHelper {
        &self.helper
    }

    /// See [`SessionTestHelper::create_tracked_session`].
    ///
    /// # Errors
    ///
    /// The same.
    #[track_caller]
    pub fn create_tracked_session(&self, spec: impl Into<SessionSpec>) -> Result<BlockingGuard> {
        let guard = self.runtime.run(self.helper.create_tracked_session(spec))?;
        Ok(BlockingGuard { guard, runtime: self.runtime.clone() })
    }

    /// See [`SessionTestHelper::track_session`].
    ///
    /// # Errors
    ///
    /// The same.
    #[track_caller]
    pub fn track_session<I>(&self, id: I) -> Result<()>
    where
        I: TryInto<SessionId>,
        Error: From<I::Error>,
    {
        self.runtime.run(self.helper.track_session(id))
    }

    /// See [`SessionTestHelper::track_with`]. The closure runs where the kill does.
    ///
    /// # Errors
    ///
    /// The same.
    #[track_caller]
    pub fn track_with<I, F>(&self, id: I, end: impl Fn(SessionId) -> F + Send + Sync + 'static) -> Result<()>
    where
        I: TryInto<SessionId>,
        Error: From<I::Error>,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.helper.track_with(id, end)
    }

    /// See [`SessionTestHelper::track_with_leader`].
    ///
    /// # Errors
    ///
    /// The same.
    #[track_caller]
    pub fn track_with_leader<I, F>(
        &self,
        id: I,
        leader: u32,
        end: impl Fn(SessionId) -> F + Send + Sync + 'static,
    ) -> Result<()>
    where
        I: TryInto<SessionId>,
        Error: From<I::Error>,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.helper.track_with_leader(id, leader, end)
    }

    /// See [`SessionTestHelper::kill_tracked_sessions`].
    ///
    /// # Errors
    ///
    /// The same.
    pub fn kill_tracked_sessions(&self) -> Result<KillReport> {
        self.runtime.run(self.helper.kill_tracked_sessions())
    }

    /// See [`SessionTestHelper::watch_for_interference`].
    ///
    /// # Errors
    ///
    /// The same.
    #[track_caller]
    pub fn watch_for_interference(&self) -> Result<()> {
        self.runtime.run(self.helper.watch_for_interference())
    }

    /// See [`SessionTestHelper::check_interference`].
    ///
    /// # Errors
    ///
    /// The same.
    pub fn check_interference(&self) -> Result<Interference> {
        self.runtime.run(self.helper.check_interference())
    }

    /// See [`SessionTestHelper::kill_session`].
    ///
    /// # Errors
    ///
    /// The same.
    pub fn kill_session(&self, id: &SessionId) -> Result<KillOutcome> {
        self.runtime.run(self.helper.kill_session(id))
    }

    /// See [`SessionTestHelper::tracked_count`].
    pub fn tracked_count(&self) -> usize {
        self.helper.tracked_count()
    }

    /// See [`SessionTestHelper::is_tracked`].
    pub fn is_tracked(&self, id: &SessionId) -> bool {
        self.helper.is_tracked(id)
    }

    /// See [`SessionTestHelper::clear_tracked`].
    pub fn clear_tracked(&self) -> Vec<SessionId> {
        self.helper.clear_tracked()
    }
}

impl fmt::Debug for BlockingHelper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingHelper").field(&self.helper).finish()
    }
}

/// A [`SessionGuard`] whose methods block the calling thread; they do what those of [`Session`] do.
///
/// # Errors
///
/// Every method fails as the method of the same name of [`Session`] or [`SessionGuard`].
#[must_use = "a guard that is dropped ends its session at once: bind it to a name, or `keep()` it"]
pub struct BlockingGuard {
    guard: SessionGuard,
    runtime: LazyRuntime,
}

#[expect(clippy::missing_errors_doc, reason = "said once, on the type")]
impl BlockingGuard {
    /// The session, for what does not wait.
    pub fn session(&self) -> &Session {
        &self.guard
    }

    /// Its id.
    pub fn id(&self) -> &SessionId {
        self.guard.id()
    }

    /// See [`Session::write`].
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.runtime.run(self.guard.write(bytes))
    }

    /// See [`Session::write_line`].
    pub fn write_line(&self, line: &str) -> Result<()> {
        self.runtime.run(self.guard.write_line(line))
    }

    /// See [`Session::send_key`].
    pub fn send_key(&self, key: Key) -> Result<()> {
        self.runtime.run(self.guard.send_key(key))
    }

    /// See [`Session::run`].
    pub fn run(&self, command: &str) -> Result<CommandOutput> {
        self.runtime.run(self.guard.run(command))
    }

    /// See [`Session::run_within`].
    pub fn run_within(&self, command: &str, limit: Duration) -> Result<CommandOutput> {
        self.runtime.run(self.guard.run_within(command, limit))
    }

    /// See [`Session::wait_for_text`].
    pub fn wait_for_text(&self, text: &str) -> Result<()> {
        self.runtime.run(self.guard.wait_for_text(text))
    }

    /// See [`Session::wait_for_text_within`].
    pub fn wait_for_text_within(&self, text: &str, limit: Duration) -> Result<()> {
        self.runtime.run(self.guard.wait_for_text_within(text, limit))
    }

    /// See [`Session::wait_for_exit`].
    pub fn wait_for_exit(&self) -> Result<ExitStatus> {
        self.runtime.run(self.guard.wait_for_exit())
    }

    /// See [`Session::wait_for_death`].
    pub fn wait_for_death(&self) -> Result<Death> {
        self.runtime.run(self.guard.wait_for_death())
    }

    /// See [`Session::wait_for_exit_within`].
    pub fn wait_for_exit_within(&self, limit: Duration) -> Result<ExitStatus> {
        self.runtime.run(self.guard.wait_for_exit_within(limit))
    }

    /// See [`Session::resize`].
    pub fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        self.runtime.run(self.guard.resize(rows, cols))
    }

    /// See [`Session::window_size`].
    pub fn window_size(&self) -> Result<WindowSize> {
        self.guard.window_size()
    }

    /// See [`Session::output`].
    pub fn output(&self) -> Result<Output> {
        self.guard.output()
    }

    /// See [`Session::clear_output`].
    pub fn clear_output(&self) -> Result<()> {
        self.guard.clear_output()
    }

    /// See [`SessionGuard::close`].
    pub fn close(self) -> Result<KillOutcome> {
        self.runtime.run(self.guard.close())
    }

    /// See [`SessionGuard::keep`].
    pub fn keep(self) -> Session {
        self.guard.keep()
    }
}

impl fmt::Debug for BlockingGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingGuard").field(&self.guard).finish()
    }
}
