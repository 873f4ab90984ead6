//! Sessions that a test hands over together with the code that ends them.

use crate::error::{BoxError, Error, Result};
use crate::probe::origins;
use crate::process::handle::ProcessHandle;
use crate::session::closure::{Closure, End};
use crate::session::id::SessionId;
use crate::session::live::noted;
use crate::sys;
use crate::tracker::creating;
use crate::tracker::helper::SessionTestHelper;
use std::panic::Location;

impl SessionTestHelper {
    /// Tracks a session that was made by other means and is ended by this closure, whatever the helper's backend is: a quick
    /// start for a server that has no [`SessionBackend`](crate::SessionBackend) yet. Again for a tracked id does nothing.
    ///
    /// The closure is called by the helper's kill, in its drop on a thread of its own; if it fails or panics the kill has
    /// failed, and the next one calls it again. It gets as long as any wait (`TERMLEASH_WAIT`).
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use termleash::{PtyBackend, SessionTestHelper};
    /// # async fn a_session_made_through_the_api() -> Result<String, termleash::session::BoxError> { Ok("s-1".into()) }
    /// # async fn delete(id: &str) -> Result<(), termleash::session::BoxError> { Ok(()) }
    ///
    /// # termleash::block_on(async {
    /// let helper = SessionTestHelper::new(PtyBackend::new());
    /// let id = a_session_made_through_the_api().await?;
    /// helper.track_with(id, |id| async move { delete(id.as_str()).await })?;
    ///
    /// let report = helper.kill_tracked_sessions().await?;
    /// assert!(report.outcomes()[0].notes()[0].contains("by the word of the test's closure"));
    /// # Ok::<(), termleash::session::BoxError>(())
    /// # })?;
    /// # }
    /// # Ok::<(), termleash::session::BoxError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the id is hostile ([`Error::is_invalid_input`]), or a `TERMLEASH_…` variable cannot be read.
    ///
    /// # Limits
    ///
    /// The session's end is proven by the closure's word alone, which the outcome notes. Should the test process die, nobody
    /// has the closure: the session stays.
    #[track_caller]
    pub fn track_with<I, F>(&self, id: I, end: impl Fn(SessionId) -> F + Send + Sync + 'static) -> Result<()>
    where
        I: TryInto<SessionId>,
        Error: From<I::Error>,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.hand_over(id.try_into().map_err(Error::from), None, boxed(end))
    }

    /// The same for a session whose first process is known: its end is proven only when that process is gone, too. It is
    /// looked at and never signalled, since a number is no proof of whose a process is.
    ///
    /// # Errors
    ///
    /// As [`track_with`](Self::track_with), and if the process cannot be held: it is gone, or another user's.
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
        self.hand_over(id.try_into().map_err(Error::from), Some(leader), boxed(end))
    }

    #[track_caller]
    fn hand_over(&self, id: Result<SessionId>, leader: Option<u32>, end: End) -> Result<()> {
        let (shared, made_at, stack) = (self.shared(), Location::caller(), origins::stack());
        let tracked = id.and_then(|id| {
            let leader = leader.map(|pid| hold(&id, pid)).transpose()?;
            let proof = if leader.is_some() { " and by its leader's end" } else { "" };
            let note = format!("its end is proven by the word of the test's closure{proof} only");
            creating::track_with(shared, &id, Closure::new(end, leader), note, made_at, stack)
        });
        noted(&shared.last_error, tracked)
    }
}

fn hold(id: &SessionId, pid: u32) -> Result<ProcessHandle> {
    if pid == sys::own_pid() {
        return Err(Error::invalid(format!(
            "session `{id}` cannot be led by process {pid}, which is this test: its end would never come"
        )));
    }
    ProcessHandle::open(pid)
        .map_err(|cause| Error::invalid(format!("process {pid} cannot be session `{id}`'s leader: {cause}")))
}

fn boxed<F>(end: impl Fn(SessionId) -> F + Send + Sync + 'static) -> End
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Box::new(move |id| Box::pin(end(id)))
}
