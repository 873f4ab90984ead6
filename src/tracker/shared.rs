//! What a helper, its clones and its guards have in common.

use crate::error::{Error, Result};
use crate::event::What;
use crate::event::live;
use crate::event::recorder::Recorder;
use crate::event::track::Track;
use crate::ledger::Ledger;
use crate::ledger::book::{Announcement, Known};
use crate::limits::Limits;
use crate::probe::origins::{self, Origin, ScopeId};
use crate::process::cookie::Cookie;
use crate::process::handle::ProcessHandle;
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::policy::KillPolicy;
use crate::process::variable::SessionVariable;
use crate::session::backend::DynBackend;
use crate::session::id::SessionId;
use crate::session::life::Life;
use crate::session::live::LastError;
use crate::settings::Settings;
use crate::tracker::entry::{Entry, EntryState};
use crate::tracker::gate::Gate;
use crate::tracker::journal::{Journal, Ongoing};
use crate::watched::Watched;
use parking_lot::Mutex;
use std::backtrace::Backtrace;
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn DynBackend>,
    pub(crate) policy: Mutex<KillPolicy>,
    /// The test's scope that it belongs to.
    pub(crate) scope: Mutex<Option<ScopeId>>,
    /// Of the test's scope, or its own.
    pub(crate) recorder: Mutex<Arc<Recorder>>,
    /// Read once, when the helper is made; what was wrong with it is told by whatever is asked first.
    settings: Result<Settings, String>,
    /// Where creations wait for their place; a scope's helpers have one together.
    pub(crate) gate: Mutex<Arc<Gate>>,
    pub(crate) ledger: Ledger,
    next: AtomicU64,
    entries: Mutex<Entries>,
    cleared: Mutex<Vec<SessionId>>,
    pub(crate) last_error: LastError,
    /// Every cookie that was ever planted, for the question whether anything is left.
    cookies: Mutex<Vec<Cookie>>,
    /// The same of the servers' own variables.
    variables: Mutex<Vec<SessionVariable>>,
    pub(crate) background: Watched<Background>,
    /// While it is watched for interference.
    pub(crate) journal: Mutex<Option<Arc<Journal>>>,
    has_ended: AtomicBool,
    /// The process that made it. A child forked without an exec has a copy, and must not clean up for its parent.
    owner: u32,
}

#[derive(Default)]
struct Entries {
    by_serial: BTreeMap<u64, Arc<Entry>>,
    by_id: HashMap<SessionId, Arc<Entry>>,
}

/// The sessions whose guards were dropped, on their way to the thread that ends them.
#[derive(Default)]
pub(crate) struct Background {
    pub(crate) queue: Vec<Arc<Entry>>,
    pub(crate) is_running: bool,
}

impl Shared {
    pub(crate) fn new(backend: Arc<dyn DynBackend>) -> Self {
        let settings = Settings::from_env().map_err(|cause| cause.to_string());
        if let Ok(settings) = &settings {
            live::print_by(settings.log, live::print_to_stderr);
        }
        let gate = Gate::of(&settings.as_ref().map_or_else(|_| Limits::new(), |settings| settings.limits.clone()));
        Self {
            backend,
            policy: Mutex::default(),
            scope: Mutex::default(),
            recorder: Mutex::new(Arc::new(Recorder::new(None))),
            settings,
            gate: Mutex::new(gate),
            ledger: Ledger::default(),
            next: AtomicU64::new(1),
            entries: Mutex::default(),
            cleared: Mutex::default(),
            last_error: LastError::default(),
            cookies: Mutex::default(),
            variables: Mutex::default(),
            background: Watched::new(Background::default()),
            journal: Mutex::default(),
            has_ended: AtomicBool::new(false),
            owner: std::process::id(),
        }
    }

    /// True once the last handle of the helper was dropped: what is created from then on has nobody to end it.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    /// False in a child that was forked without an exec.
    pub(crate) fn is_in_its_process(&self) -> bool {
        self.owner == std::process::id()
    }

    /// # Errors
    ///
    /// If a `TERMLEASH_…` variable is malformed.
    pub(crate) fn settings(&self) -> Result<&Settings> {
        self.settings.as_ref().map_err(|text| Error::invalid(text.clone()))
    }

    /// Clean-up happens also under a malformed variable, with the defaults.
    pub(crate) fn settings_or_default(&self) -> Settings {
        self.settings.clone().unwrap_or_default()
    }

    pub(crate) fn grace(&self) -> Duration {
        self.policy.lock().grace_or(self.settings_or_default().grace)
    }

    /// Notes for as long as the answer lives that something is done.
    pub(crate) fn operation(&self, what: impl FnOnce() -> String) -> Option<Ongoing> {
        let journal = self.journal.lock().clone()?;
        Some(journal.begin(what()))
    }

    /// Enters a session in the ledger and among the entries, before anybody is asked to create it.
    pub(crate) fn announce(
        &self,
        backend: &Arc<dyn DynBackend>,
        cookie: Option<Cookie>,
        since: Ticks,
        label: String,
        made_at: &'static Location<'static>,
    ) -> Arc<Entry> {
        let record = self.ledger.announce(Announcement {
            cookie,
            since,
            label: label.clone(),
            made_at: made_at.to_string(),
            recipe: backend.recipe(),
            home: None,
        });
        self.cookies.lock().extend(cookie);
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        let track = Track::announced(&self.recorder.lock(), &label);
        let entry = Arc::new(Entry::new(serial, record, Arc::clone(backend), label, made_at, track));
        self.entries.lock().by_serial.insert(serial, Arc::clone(&entry));
        entry
    }

    /// Takes it out of the books: its end is proven, or it is not ours to end any more.
    pub(crate) fn forget(&self, entry: &Entry) {
        if entry.life() != Life::Gone {
            entry.track.add(What::Untracked);
        }
        self.ledger.forget(entry.record);
        drop(entry.state.update(|state| (state.registered.take(), state.place.take())));
        let mut entries = self.entries.lock();
        entries.by_serial.remove(&entry.serial);
        // Another may have the id by now: that of a session whose end is proven is free.
        if let Some(id) = entry.id()
            && entries.by_id.get(&id).is_some_and(|holder| holder.serial == entry.serial)
        {
            entries.by_id.remove(&id);
        }
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().by_serial.values().cloned().collect()
    }

    pub(crate) fn find(&self, id: &SessionId) -> Option<Arc<Entry>> {
        self.entries.lock().by_id.get(id).cloned()
    }

    /// Gives an announced entry its session, unless another has that id: two tasks may hand over the same session at
    /// once, and a backend may answer with an id for the second time. Then the other one is the error.
    pub(crate) fn identify(
        &self,
        entry: &Arc<Entry>,
        id: &SessionId,
        identify: impl FnOnce(&mut EntryState),
    ) -> Result<(), Arc<Entry>> {
        let mut entries = self.entries.lock();
        if let Some(other) = entries.by_id.get(id) {
            return Err(Arc::clone(other));
        }
        entries.by_id.insert(id.clone(), Arc::clone(entry));
        if let Some(journal) = &*self.journal.lock() {
            journal.owns(id.clone());
        }
        entry.state.update(identify);
        Ok(())
    }

    /// Enters a session in the book that leak checks look at, until it is forgotten.
    pub(crate) fn register(&self, entry: &Entry, stack: Option<Backtrace>) {
        let scope = *self.scope.lock();
        let origin = entry.state.peek(|state| {
            let session = state.session.as_ref()?;
            let device = session.terminal().and_then(|terminal| terminal.input().device());
            Some(Origin {
                id: session.id().to_string(),
                command: entry.label.clone(),
                made_at: entry.made_at,
                since: Instant::now(),
                leader: state.leader().map(|leader| leader.identity()),
                terminal: device.and_then(|device| pty_number(&device)),
                stack: stack.map(Arc::new),
                scope,
            })
        });
        let registered = origin.map(origins::register);
        // One that was forgotten meanwhile is not entered: its place is given back at once.
        if self.holds(entry) {
            entry.state.update(|state| state.registered = registered);
        }
    }

    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        self.entries.lock().by_serial.contains_key(&entry.serial)
    }

    /// The ids that are tracked, in the order of tracking. One whose end is proven is out of the books already.
    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.entries().iter().filter(|entry| entry.life() != Life::Gone).filter_map(|entry| entry.id()).collect()
    }

    /// What a backend's answer has told of a session, for the ledger.
    pub(crate) fn known(
        &self,
        entry: &Entry,
        id: &SessionId,
        leader: Option<&ProcessHandle>,
        server: Option<ProcessIdentity>,
    ) -> Known {
        let variable = entry.backend.variable();
        self.variables.lock().extend(variable.as_ref().and_then(|name| SessionVariable::new(name, id.as_str())));
        Known { leader: leader.map(ProcessHandle::identity), session: Some(id.to_string()), server, variable }
    }

    pub(crate) fn variables(&self) -> Vec<SessionVariable> {
        self.variables.lock().clone()
    }

    pub(crate) fn cookies(&self) -> Vec<Cookie> {
        self.cookies.lock().clone()
    }

    /// Stops tracking whatever has an id, and answers with the ids.
    pub(crate) fn clear(&self) -> Vec<SessionId> {
        let mut ids = Vec::new();
        for entry in self.entries() {
            if let Some(id) = entry.id() {
                self.forget(&entry);
                ids.push(id);
            }
        }
        self.cleared.lock().extend(ids.iter().cloned());
        ids
    }

    pub(crate) fn cleared(&self) -> Vec<SessionId> {
        self.cleared.lock().clone()
    }
}

/// The N of /dev/pts/N.
fn pty_number(device: &[u8]) -> Option<u32> {
    std::str::from_utf8(device.strip_prefix(b"/dev/pts/")?).ok()?.parse().ok()
}
