//! What a test's body holds.

use crate::error::{BoxError, Result};
use crate::event::Timeline;
use crate::event::recorder::Recorder;
use crate::harness::deferred::Deferred;
use crate::harness::servers::Servers;
use crate::leak::MustDrop;
use crate::limits::Limits;
use crate::probe::origins::ScopeId;
use crate::process::policy::KillPolicy;
use crate::server::guard::Server;
use crate::server::spec::ServerSpec;
use crate::session::backend::SessionBackend;
use crate::session::pty::PtyBackend;
use crate::session::spec::SessionSpec;
use crate::tracker::gate::Gate;
use crate::tracker::{BlockingHelper, SessionGuard, SessionTestHelper};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A test's own: its sessions, its clean-ups, the objects that must be gone at its end.
///
/// A cheap handle: clone it into spawned tasks and threads.
///
/// # Its end
///
/// After the body has ended in whichever way, by success, error, panic or timeout: clean-ups that were
/// [deferred](Self::defer), the last one first; then every session that is tracked is ended and proven to be dead; then its
/// [servers](Self::server), the last one first; then what
/// [must be dropped](Self::must_drop) is looked at; then the runtime ends, with the tasks that the body spawned; then
/// everything is compared with the beginning. A clone that outlives the test can create no session any more.
#[derive(Clone)]
pub struct Scope {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    id: ScopeId,
    policy: KillPolicy,
    /// How much output of a session is kept, if the test says so.
    output: Option<usize>,
    /// Where its sessions wait for their places.
    gate: Arc<Gate>,
    /// On the embedded pty backend; made by the first session.
    helper: OnceCell<SessionTestHelper>,
    /// On backends of the test's own.
    others: Mutex<Vec<SessionTestHelper>>,
    deferred: Deferred,
    references: Arc<MustDrop>,
    servers: Servers,
    recorder: Arc<Recorder>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Scope {
    pub(crate) fn new(
        name: String,
        policy: KillPolicy,
        references: Arc<MustDrop>,
        id: ScopeId,
        limits: &Limits,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                name,
                id,
                policy,
                output: limits.output,
                gate: Gate::of(limits),
                helper: OnceCell::new(),
                others: Mutex::default(),
                deferred: Deferred::default(),
                references,
                servers: Servers::default(),
                recorder,
            }),
        }
    }

    pub(crate) fn next_id() -> ScopeId {
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// What the test is called.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What has happened in the test so far, and when.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))]
    /// termleash::test(async |t| {
    ///     t.session("sh").await?.close().await?;
    ///     let timeline = t.timeline();
    ///     assert_eq!(timeline.sessions.len(), 1);
    ///     assert!(timeline.to_json().contains("\"announced\""));
    ///     Ok(())
    /// });
    /// ```
    pub fn timeline(&self) -> Timeline {
        self.inner.recorder.timeline()
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.inner.recorder
    }

    /// Starts a session on a pseudo-terminal of this process, tracked from before it is there. Close the guard, drop it, or
    /// leave it to the end of the test.
    ///
    /// # Errors
    ///
    /// As for [`create_tracked_session`](SessionTestHelper::create_tracked_session).
    #[track_caller]
    pub fn session(&self, spec: impl Into<SessionSpec>) -> impl Future<Output = Result<SessionGuard>> + Send + 'static {
        self.own_helper().create_tracked_session(spec)
    }

    /// The helper of [`session`](Self::session), whose sessions end with the test.
    pub fn helper(&self) -> SessionTestHelper {
        self.own_helper().clone()
    }

    fn own_helper(&self) -> &SessionTestHelper {
        self.inner.helper.get_or_init(|| {
            let backend = PtyBackend::new();
            let backend = match self.inner.output {
                Some(bytes) => backend.max_output(bytes),
                None => backend,
            };
            self.made(SessionTestHelper::new(backend))
        })
    }

    /// A helper for sessions on another backend, such as the server under test; they end with the test, too.
    ///
    /// A backend that says its sessions' leaders and passes their cookie on has their deaths proven; see
    /// [`SessionBackend`].
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))]
    /// termleash::test(async |t| {
    ///     let helper = t.helper_on(termleash::session::FakeBackend::new());    // yours: create, kill, state
    ///     let session = helper.create_tracked_session("sh").await?;
    ///     assert!(helper.is_tracked(session.id()));
    ///     session.keep();                                                      // ends with the test
    ///     Ok(())
    /// });
    /// ```
    pub fn helper_on(&self, backend: impl SessionBackend) -> SessionTestHelper {
        let helper = self.made(SessionTestHelper::new(backend));
        self.inner.others.lock().push(helper.clone());
        helper
    }

    fn made(&self, helper: SessionTestHelper) -> SessionTestHelper {
        let helper = helper.with_policy(self.inner.policy.clone());
        helper.within_scope(self.inner.id, Arc::clone(&self.inner.gate), &self.inner.recorder)
    }

    /// Starts a server under test, and waits until it is ready. It ends with the test, after what was deferred and all sessions,
    /// the last one first; a test that fails shows the end of its log.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))]
    /// termleash::test(async |t| {
    ///     let spec = termleash::server::ServerGuard::command("sh").args(["-c", "echo ready; sleep 1000"]);
    ///     let server = t.server(spec.without_port().ready_line("ready")).await?;
    ///     assert!(server.is_alive());
    ///     Ok(())
    /// });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ServerSpec::start`].
    #[track_caller]
    pub fn server(&self, spec: ServerSpec) -> impl Future<Output = Result<Server>> + Send + 'static {
        let starting = spec.start();
        let scope = self.clone();
        async move { scope.servers().take_in(starting.await?) }
    }

    /// The helper of [`session`](Self::session) for a body that is not async.
    pub fn blocking(&self) -> BlockingHelper {
        self.helper().blocking()
    }

    /// Runs at the end of the test, whatever happens before; the last one first. Each may take 10 s (`TERMLEASH_WAIT`).
    /// Its error or panic fails the test, beside the test's own. One that blocks its thread for a minute longer than it may
    /// take ends as a body that blocks does: with a report and an abort.
    ///
    /// What it captures lives until then, so give it what it must end, not what must be gone.
    #[track_caller]
    pub fn defer<F>(&self, clean_up: F)
    where
        F: AsyncFnOnce() -> Result<(), BoxError> + Send + 'static,
    {
        self.inner.deferred.push(clean_up, Location::caller());
    }

    /// An object that must be gone at the end of the test. What still holds it then, be it a task that the body spawned,
    /// fails the test, which names its type, its strong count and this place.
    #[track_caller]
    pub fn must_drop<T: ?Sized + Send + Sync + 'static>(&self, object: &Arc<T>) {
        self.inner.references.add(object, Location::caller());
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.inner.servers
    }

    pub(crate) fn deferred(&self) -> &Deferred {
        &self.inner.deferred
    }

    pub(crate) fn references(&self) -> &MustDrop {
        &self.inner.references
    }

    /// Every helper that has been made.
    pub(crate) fn helpers(&self) -> Vec<SessionTestHelper> {
        let mut helpers: Vec<SessionTestHelper> = self.inner.helper.get().cloned().into_iter().collect();
        helpers.extend(self.inner.others.lock().iter().cloned());
        helpers
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("name", &self.inner.name).finish_non_exhaustive()
    }
}
