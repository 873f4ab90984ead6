//! Planting sentinels, and ending them.

use crate::error::{Error, Result};
use crate::process::death::KillReason;
use crate::process::death::oom::killed_on_machine;
use crate::process::handle::ProcessHandle;
use crate::process::identity::Ticks;
use crate::process::pump::Pump;
use crate::session::id::SessionId;
use crate::session::live::Session;
use crate::session::spec::SessionSpec;
use crate::sys;
use crate::tracker::closing::{Order, close_all};
use crate::tracker::creating;
use crate::tracker::entry::Entry;
use crate::tracker::interference::Role;
use crate::tracker::journal::Journal;
use crate::tracker::outcome::KillOutcome;
use crate::tracker::shared::Shared;
use parking_lot::Mutex;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Eleven days, in seconds: longer than any test.
const FOR_EVER: &str = "1000000";

/// What was planted, and what was there before.
pub(crate) struct Watch {
    /// The books of the sentinels: not those of the test's sessions, so that nothing counts, names or ends them with those.
    pub(crate) sentinels: Arc<Shared>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) began: Ticks,
    pub(crate) made_at: &'static Location<'static>,
    pub(crate) before: Listing,
    /// From the first look, with its time.
    pub(crate) after: Mutex<Option<(Listing, Duration)>>,
    pub(crate) killed_for_memory: Option<u64>,
    pub(crate) notes: Vec<String>,
    pub(crate) plantings: Mutex<Vec<Planting>>,
    /// True once its sentinels are being ended: from then on nothing is judged.
    pub(crate) is_over: Mutex<bool>,
}

/// Whom the backend lists, or why that is not known.
pub(crate) type Listing = Result<Vec<SessionId>, String>;

pub(crate) struct Planting {
    pub(crate) role: Role,
    /// `None` while it is under way.
    pub(crate) planted: Option<Result<Planted, String>>,
}

#[derive(Clone)]
pub(crate) struct Planted {
    pub(crate) entry: Arc<Entry>,
    pub(crate) session: Session,
    pub(crate) server: Option<ProcessHandle>,
    pub(crate) at: Duration,
    pub(crate) last_seen: Duration,
}

impl Watch {
    pub(crate) async fn new(shared: &Arc<Shared>, made_at: &'static Location<'static>) -> Result<Self> {
        shared.settings()?;
        let sentinels = Shared::new(Arc::clone(&shared.backend));
        *sentinels.policy.lock() = shared.policy.lock().clone();
        *sentinels.scope.lock() = *shared.scope.lock();
        *sentinels.recorder.lock() = Arc::clone(&shared.recorder.lock());
        let before = list(shared).await;
        let own = shared.ids();
        let notes = match own.len() {
            0 => Vec::new(),
            some => {
                vec![format!("the watch began after {some} of the test's sessions, so no sentinel is older than those")]
            }
        };
        Ok(Self {
            sentinels: Arc::new(sentinels),
            journal: Arc::new(Journal::new(own)),
            began: sys::now_ticks(),
            made_at,
            before,
            after: Mutex::default(),
            killed_for_memory: killed_on_machine(),
            notes,
            plantings: Mutex::default(),
            is_over: Mutex::new(false),
        })
    }

    /// Plants one, unless there is one of its kind.
    pub(crate) async fn plant(&self, role: Role, name: String) -> Result<()> {
        let kind = std::mem::discriminant(&role);
        {
            let mut plantings = self.plantings.lock();
            if plantings.iter().any(|one| std::mem::discriminant(&one.role) == kind) {
                return Ok(());
            }
            plantings.push(Planting { role: role.clone(), planted: None });
        }
        let spec = SessionSpec::new("sleep").arg(FOR_EVER).name(name);
        let created = creating::create(Arc::clone(&self.sentinels), spec, self.made_at, None).await;
        let (planted, result) = match created {
            Ok(guard) => {
                let planted = self.planted(guard.keep());
                let refused = || Error::refused("the watch had ended when its sentinel came to be");
                (planted.clone().ok_or_else(|| refused().to_string()), planted.map(drop).ok_or_else(refused))
            }
            Err(cause) => (Err(cause.to_string()), Err(cause)),
        };
        let mut plantings = self.plantings.lock();
        if let Some(one) = plantings.iter_mut().find(|one| std::mem::discriminant(&one.role) == kind) {
            one.planted = Some(planted);
        }
        result
    }

    fn planted(&self, session: Session) -> Option<Planted> {
        let entry = self.sentinels.find(session.id())?;
        // No test need end it.
        let identity = entry.state.update(|state| {
            state.is_let_go = true;
            state.server
        });
        // Held from here on, so that its end is told from its pid's reuse.
        let server = identity.and_then(|known| {
            let handle = ProcessHandle::open(known.pid()).ok()?;
            (handle.identity() == known).then_some(handle)
        });
        let at = self.journal.now();
        Some(Planted { entry, session, server, at, last_seen: at })
    }

    /// Ends them; answers with those whose end is not proven.
    pub(crate) async fn end(&self, order: Order) -> Vec<KillOutcome> {
        *self.is_over.lock() = true;
        self.sentinels.end();
        let entries = self.sentinels.entries().into_iter().filter(|entry| entry.is_to_end()).collect();
        let why = KillReason::Other("its watch is over".into());
        let mut outcomes = close_all(&self.sentinels, entries, order, &why).await;
        outcomes.retain(|outcome| !outcome.is_proven());
        let what = "it is a sentinel, planted by `watch_for_interference`";
        outcomes.iter_mut().for_each(|outcome| outcome.notes.push(what.into()));
        outcomes
    }
}

pub(crate) async fn list(shared: &Shared) -> Listing {
    within(shared.settings_or_default().wait, shared.backend.list_boxed()).await
}

pub(crate) async fn within<T, F>(limit: Duration, future: F) -> Result<T, String>
where
    F: Future<Output = Result<T, crate::error::BoxError>>,
{
    let pump = Pump::get().map_err(|cause| cause.to_string())?;
    match pump.within(limit, future).await {
        Some(answer) => answer.map_err(|cause| cause.to_string()),
        None => Err(format!("the backend did not answer within {}", humantime::format_duration(limit))),
    }
}
