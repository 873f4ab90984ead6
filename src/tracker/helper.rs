//! What a test holds: the sessions that it made, and no others.

use crate::error::{Error, Result};
use crate::event::Timeline;
use crate::event::recorder::Recorder;
use crate::probe::origins::{self, ScopeId};
use crate::process::death::KillReason;
use crate::process::policy::KillPolicy;
use crate::process::scan;
use crate::process::summary::ProcessSummary;
use crate::session::backend::SessionBackend;
use crate::session::id::SessionId;
use crate::session::life::Life;
use crate::session::live::{Session, noted};
use crate::session::spec::SessionSpec;
use crate::tracker::background::end_helper;
use crate::tracker::closing::{Order, close_all};
use crate::tracker::creating;
use crate::tracker::gate::Gate;
use crate::tracker::guard::{SessionGuard, close_one};
use crate::tracker::interference::Interference;
use crate::tracker::outcome::{KillOutcome, KillReport};
use crate::tracker::sentinels::watch::WatchCell;
use crate::tracker::shared::Shared;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// Creates, tracks and kills a test's own sessions, and proves that they are dead.
///
/// A session is this helper's because it created it, or because the test handed over its id. Nothing else makes it so:
/// no list of the server's, no name, no prefix. Sessions of others on the same server are never touched.
///
/// Cloning gives another handle to the same sessions, for other tasks and threads; all methods take `&self`.
///
/// # Its end
///
/// End a test with [`kill_tracked_sessions`](Self::kill_tracked_sessions). If the last handle is dropped while tracked
/// sessions live, a thread ends them and the drop waits for it, at most 5 s; after a creation that was given up, the
/// 5 s begin when it can bear no session any more. Then the drop panics with their names and where they were made. A
/// test that returns an error is not unwinding, so that this panic stands in the place of its error: the last error
/// that the helper or one of its sessions gave is in the text, too. While unwinding it sends an
/// [`Event::Warning`](crate::event::Event::Warning) instead.
///
/// # Limits
///
/// A drop does not run when the test process is killed, aborts or exits. Then a keeper, a process that is started beside it with
/// the first session, ends the sessions by their marks.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use termleash::{PtyBackend, SessionSpec, SessionTestHelper};
///
/// # termleash::block_on(async {
/// let helper = SessionTestHelper::new(PtyBackend::new());
/// let session = helper.create_tracked_session(SessionSpec::shell("read line; echo \"got $line\"")).await?;
/// session.write_line("it").await?;
/// session.wait_for_text("got it").await?;
/// let _left_to_the_helper = session.keep();
///
/// let report = helper.kill_tracked_sessions().await?;
/// assert!(report.is_proven());
/// assert_eq!(helper.tracked_count(), 0);
/// # Ok::<(), termleash::Error>(())
/// # })?;
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionTestHelper {
    core: Arc<Core>,
}

/// Dropped with the last handle; guards hold only what is shared.
struct Core {
    shared: Arc<Shared>,
    /// Its sentinels end after the sessions, also where those complain by a panic.
    watch: Arc<WatchCell>,
}

impl Drop for Core {
    fn drop(&mut self) {
        end_helper(&self.shared);
    }
}

impl SessionTestHelper {
    /// A helper for the sessions of one backend.
    pub fn new(backend: impl SessionBackend) -> Self {
        let shared = Arc::new(Shared::new(Arc::new(backend)));
        Self { core: Arc::new(Core { shared, watch: Arc::default() }) }
    }

    /// Sets how its sessions are ended, for all handles.
    #[must_use = "it takes and gives the helper"]
    pub fn with_policy(self, policy: KillPolicy) -> Self {
        *self.shared().policy.lock() = policy;
        self
    }

    /// Its sessions are those of a test's scope: they wait with the scope's for their places, and what becomes of them is in its
    /// timeline.
    pub(crate) fn within_scope(self, scope: ScopeId, gate: Arc<Gate>, recorder: &Arc<Recorder>) -> Self {
        *self.shared().scope.lock() = Some(scope);
        *self.shared().gate.lock() = gate;
        *self.shared().recorder.lock() = Arc::clone(recorder);
        self
    }

    /// What has happened to its sessions so far, and when; within a test, to all of the test's.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use termleash::{PtyBackend, SessionTestHelper};
    ///
    /// # termleash::block_on(async {
    /// let helper = SessionTestHelper::new(PtyBackend::new());
    /// helper.create_tracked_session("sh").await?.close().await?;
    /// let timeline = helper.timeline();
    /// assert_eq!(timeline.sessions.len(), 1);
    /// assert!(timeline.render().contains("gone"));       // a small chart with a legend
    /// # Ok::<(), termleash::Error>(())
    /// # }).unwrap();
    /// # }
    /// ```
    pub fn timeline(&self) -> Timeline {
        self.shared().recorder.lock().timeline()
    }

    /// Ends all by their processes first: for when the runtime that a server lives in is blocked.
    pub(crate) async fn end_by_processes(&self) {
        let shared = self.shared();
        let entries = shared.entries().into_iter().filter(|entry| entry.is_to_end()).collect();
        let why = KillReason::Deadline("its test did not end in time, and blocked its thread".into());
        close_all(shared, entries, Order::ProcessesFirst, &why).await;
        self.core.watch.end_by_processes().await;
    }

    /// The report of the test has what the last kill came to.
    pub(crate) fn mark_told(&self) {
        for entry in self.shared().entries() {
            entry.state.update(|state| state.is_told = state.last_outcome.is_some());
        }
    }

    /// True if the report of the test has all that is tracked still.
    pub(crate) fn is_told(&self) -> bool {
        let entries = self.shared().entries();
        !entries.is_empty() && entries.iter().all(|entry| entry.state.peek(|state| state.is_told))
    }

    /// Nothing is created from here on: what is asked for is refused.
    pub(crate) fn end(&self) {
        self.shared().end();
    }

    /// One line for each session that is tracked.
    pub(crate) fn tracked_lines(&self) -> Vec<String> {
        let entries = self.shared().entries();
        let alive = entries.iter().filter(|entry| entry.life() != Life::Gone);
        alive
            .map(|entry| format!("session `{}` (`{}`), made at {}", entry.name(), entry.label, entry.made_at))
            .collect()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.core.shared
    }

    /// Has the backend create a session, and tracks it from before the request on.
    ///
    /// A `&str` is a program's name; see [`SessionSpec`] for the rest. If the returned future is dropped before the
    /// backend has answered, or the answer takes longer than 5 s (`TERMLEASH_CREATE_TIMEOUT`), the session may still
    /// come to be: the helper's kill looks for its cookie until that time has passed.
    ///
    /// # Errors
    ///
    /// If the specification or a `TERMLEASH_…` variable cannot be used, or the backend fails; then nothing is left
    /// behind.
    #[track_caller]
    pub fn create_tracked_session(
        &self,
        spec: impl Into<SessionSpec>,
    ) -> impl Future<Output = Result<SessionGuard>> + Send + 'static {
        let (shared, spec, made_at) = (Arc::clone(self.shared()), spec.into(), Location::caller());
        let watch = Arc::clone(&self.core.watch);
        // Here, where the caller is on the stack: in the future it is not.
        let stack = origins::stack();
        async move {
            let last_error = Arc::clone(&shared.last_error);
            let name = spec.session_name().map(str::to_owned);
            let created = noted(&last_error, creating::create(shared, spec, made_at, stack).await)?;
            watch.after_creation(name.as_deref()).await;
            Ok(created)
        }
    }

    /// Tracks a session that was made by other means; it is this helper's from here on. Again for a tracked id does
    /// nothing.
    ///
    /// # Errors
    ///
    /// If the id is hostile ([`Error::is_invalid_input`]), the backend does not know it
    /// ([`Error::is_unknown_session`]) or cannot say.
    #[track_caller]
    pub fn track_session<I>(&self, id: I) -> impl Future<Output = Result<()>> + Send + 'static
    where
        I: TryInto<SessionId>,
        Error: From<I::Error>,
    {
        let shared = Arc::clone(self.shared());
        let id: Result<SessionId> = id.try_into().map_err(Error::from);
        let watch = Arc::clone(&self.core.watch);
        let (made_at, stack) = (Location::caller(), origins::stack());
        async move {
            let tracked = async {
                let id = id?;
                if watch.has_planted(&id) {
                    return Err(Error::refused(format!(
                        "session `{id}` is a sentinel of this helper, which watches for interference, so it was not tracked: \
                         track what the test itself has made"
                    )));
                }
                creating::track(&shared, id, made_at, stack).await
            };
            noted(&shared.last_error, tracked.await)?;
            watch.after_creation(None).await;
            Ok(())
        }
    }

    /// Ends every tracked session, all together, and waits until the death of each is proven.
    ///
    /// What was gone already counts as ended. Sessions whose creation is still under way are left alone.
    ///
    /// # Errors
    ///
    /// [`Error::is_survived`] if something is still alive: it is named, [`Error::kill_report`] has the data, the
    /// sessions concerned stay tracked, and the kill can be called again. [`Error::is_interfered`] if all is gone and the
    /// helper [watched](Self::watch_for_interference), and somebody has ended a sentinel or it could not be looked at.
    pub async fn kill_tracked_sessions(&self) -> Result<KillReport> {
        let start = Instant::now();
        let shared = self.shared();
        let entries = shared.entries().into_iter().filter(|entry| entry.is_to_end()).collect();
        let why = KillReason::Other("its helper has ended all its sessions".into());
        let mut outcomes = close_all(shared, entries, Order::ServersFirst, &why).await;
        // After the kills: those may have hit a sentinel, too.
        let (interference, unproven) = self.core.watch.check_and_end(shared).await;
        outcomes.extend(unproven);
        let report = KillReport { outcomes, cleared: shared.cleared(), interference, took: start.elapsed() };
        noted(&shared.last_error, report.into_result())
    }

    /// Watches for others who end what is not theirs, on a server that others use: plants *sentinels*, sessions of the helper's
    /// own that run `sleep`, and looks at them in [`kill_tracked_sessions`](Self::kill_tracked_sessions), which ends them, too.
    ///
    /// One is planted at once; one after the test's first session; and one, after the first session that has a
    /// [name](SessionSpec::name), whose name begins with that. They are in the ledger as all sessions are, so that they end
    /// with the test however it ends, and they are not tracked: no method but the kill of all ends or counts them. A sentinel that is gone
    /// while its server is there is [`Verdict::Interfered`](crate::leak::Verdict::Interfered). While a watch is on this does nothing; the kill of
    /// all ends it. Costs one `list` here and one at the first look, and two to three creations.
    ///
    /// ```
    /// use termleash::{SessionTestHelper, session::FakeBackend};
    ///
    /// # termleash::block_on(async {
    /// let server = FakeBackend::new();
    /// let helper = SessionTestHelper::new(server.clone());
    /// helper.watch_for_interference().await?;
    /// let session = helper.create_tracked_session("bash").await?;
    /// session.close().await?;
    ///
    /// server.kill_all();                                       // somebody's clean-up
    /// let error = helper.kill_tracked_sessions().await.unwrap_err();
    /// assert!(error.is_interfered(), "{error}");
    /// # Ok::<(), termleash::Error>(())
    /// # })?;
    /// # Ok::<(), termleash::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`create_tracked_session`](Self::create_tracked_session), of the first sentinel. What keeps a later one from being
    /// planted is told by the look.
    ///
    /// # Limits
    ///
    /// Who ended a sentinel is not known, only when, and what this helper did then. What ends sessions one by one may spare the
    /// sentinels. With the drop of a helper whose sessions were not killed the sentinels end unseen.
    #[track_caller]
    pub fn watch_for_interference(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (shared, watch, made_at) = (Arc::clone(self.shared()), Arc::clone(&self.core.watch), Location::caller());
        async move { noted(&shared.last_error, watch.begin(&shared, made_at).await) }
    }

    /// Looks at the sentinels and leaves them planted. The sessions of others are listed by the first look only.
    ///
    /// # Errors
    ///
    /// If nobody watches: see [`watch_for_interference`](Self::watch_for_interference). What was found is no error.
    pub async fn check_interference(&self) -> Result<Interference> {
        self.core.watch.check().await.ok_or_else(|| {
            Error::invalid(
                "there is no sentinel to look at: call `watch_for_interference` before the test's first session",
            )
        })
    }

    /// Ends one tracked session.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_tracked`] for any other id: nothing was touched. Otherwise as
    /// [`kill_tracked_sessions`](Self::kill_tracked_sessions).
    pub async fn kill_session(&self, id: &SessionId) -> Result<KillOutcome> {
        let entry = self.shared().find(id).ok_or_else(|| Error::not_tracked(id))?;
        close_one(self.shared(), &entry).await
    }

    /// How many sessions are tracked: created or handed over, and not proven to be gone.
    pub fn tracked_count(&self) -> usize {
        self.shared().ids().len()
    }

    /// True if this very id is tracked.
    pub fn is_tracked(&self, id: &SessionId) -> bool {
        self.shared().find(id).is_some()
    }

    /// The tracked ids, in the order of tracking.
    pub fn tracked_ids(&self) -> Vec<SessionId> {
        self.shared().ids()
    }

    /// A tracked session, to talk to; one that was handed over has no terminal.
    pub fn session(&self, id: &SessionId) -> Option<Session> {
        self.shared().find(id)?.state.peek(|state| state.session.clone())
    }

    /// Stops tracking every session that has an id, without ending it, and answers with the ids: from here on they are
    /// the caller's. Their guards do nothing any more, and every later report names them.
    pub fn clear_tracked(&self) -> Vec<SessionId> {
        self.shared().clear()
    }

    /// The living processes that carry a mark of any session that this helper has ever had (its cookie, or its server's own
    /// variable), from one pass over /proc; nothing is signalled. After a proven kill there is none.
    ///
    /// # Errors
    ///
    /// If /proc cannot be read, and on platforms other than Linux.
    pub fn survivors(&self) -> Result<Vec<ProcessSummary>> {
        scan::marked_by_any(&self.shared().cookies(), &self.shared().variables())
    }
}

impl fmt::Debug for SessionTestHelper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTestHelper").field("tracked", &self.tracked_ids()).finish_non_exhaustive()
    }
}
