//! One session in a helper's hands.

use crate::event::track::Track;
use crate::ledger::RecordId;
use crate::probe::origins::Registered;
use crate::process::death::Death;
use crate::process::handle::ProcessHandle;
use crate::process::identity::ProcessIdentity;
use crate::process::policy::Ending;
use crate::session::backend::DynBackend;
use crate::session::id::SessionId;
use crate::session::life::{Life, LifeEvent};
use crate::session::live::Session;
use crate::tracker::gate::Place;
use crate::tracker::outcome::KillOutcome;
use crate::watched::Watched;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// What is known of a session's creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    /// Somebody waits for the answer; a kill leaves it alone.
    Pending,
    /// It was answered, or the session was handed over.
    Answered,
    /// Nobody waits for the answer any more. The session may still be born until then.
    Lost { until: Instant },
}

pub(crate) struct Entry {
    /// Also the order of locking.
    pub(crate) serial: u64,
    pub(crate) record: RecordId,
    /// Who is asked about it: the helper's backend, or what the test has given for this very session.
    pub(crate) backend: Arc<dyn DynBackend>,
    /// What it runs, for messages.
    pub(crate) label: String,
    /// Where in the test it was made.
    pub(crate) made_at: &'static Location<'static>,
    /// Where what becomes of it is recorded.
    pub(crate) track: Track,
    pub(crate) state: Watched<EntryState>,
}

pub(crate) struct EntryState {
    pub(crate) life: Life,
    pub(crate) creation: Creation,
    pub(crate) session: Option<Session>,
    /// Whether its leader is our own child, so that no server need be asked.
    pub(crate) is_owned: bool,
    /// The leader where there is no session to hold it: the answer's id could not be used.
    pub(crate) leader: Option<ProcessHandle>,
    /// The server's word on the leader's pid, believed or not: to compare with its later words.
    pub(crate) claimed_leader: Option<u32>,
    pub(crate) server: Option<ProcessIdentity>,
    pub(crate) notes: Vec<String>,
    /// Nobody knows its leader, and until then its cookie may not be seen yet: for an instant of its exec a process shows none.
    pub(crate) unseen_until: Option<Instant>,
    /// True once its guard was dropped: the test has done its part.
    pub(crate) is_let_go: bool,
    /// One kill at a time.
    is_busy: bool,
    pub(crate) last_outcome: Option<KillOutcome>,
    /// The report of its test has that outcome: nobody need complain of it again.
    pub(crate) is_told: bool,
    /// Its place among what leak checks know to be ours.
    pub(crate) registered: Option<Registered>,
    /// Its place among the sessions that a test may have at once; none for one that was handed over.
    pub(crate) place: Option<Place>,
}

impl Entry {
    pub(crate) fn new(
        serial: u64,
        record: RecordId,
        backend: Arc<dyn DynBackend>,
        label: String,
        made_at: &'static Location<'static>,
        track: Track,
    ) -> Self {
        let state = EntryState {
            life: Life::Announced,
            creation: Creation::Pending,
            session: None,
            is_owned: false,
            leader: None,
            claimed_leader: None,
            server: None,
            notes: Vec::new(),
            unseen_until: None,
            is_let_go: false,
            is_busy: false,
            last_outcome: None,
            is_told: false,
            registered: None,
            place: None,
        };
        Self { serial, record, backend, label, made_at, track, state: Watched::new(state) }
    }

    pub(crate) fn id(&self) -> Option<SessionId> {
        self.state.peek(|state| state.session.as_ref().map(|session| session.id().clone()))
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state.peek(|state| state.creation == Creation::Pending)
    }

    /// Somebody else ends what is pending, and what is gone is on its way out of the books.
    pub(crate) fn is_to_end(&self) -> bool {
        !self.is_pending() && self.life() != Life::Gone
    }

    /// Until when one look is not enough: a session may still be born of a creation that nobody waits for any more, or be in
    /// its exec.
    pub(crate) fn lost_until(&self) -> Option<Instant> {
        self.state.peek(|state| match state.creation {
            Creation::Lost { until } => Some(until),
            Creation::Answered => state.unseen_until,
            Creation::Pending => None,
        })
    }

    pub(crate) fn life(&self) -> Life {
        self.state.peek(|state| state.life)
    }

    /// Waits for its turn to kill: two kills of one session at once would ask a server twice, which may by then give
    /// the id to another.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.state.wait(|state| (!std::mem::replace(&mut state.is_busy, true)).then_some(())).await;
        Turn { entry: self }
    }

    /// The name in messages: the id, or the command where there is none.
    pub(crate) fn name(&self) -> String {
        self.id().map_or_else(|| self.label.clone(), |id| id.to_string())
    }
}

impl Entry {
    /// Of what its leader had died before this kill began, where a signal has ended it.
    pub(crate) fn died_before(&self, ending: &Ending) -> Option<Death> {
        let is_ended_by_it = ending.steps.iter().any(|step| step.was_delivered);
        let status = ending.exit.filter(|status| status.signal().is_some() && !is_ended_by_it)?;
        // Outside of the lock: it reads the end of the output, and the kernel's counters.
        let session = self.state.peek(|state| state.session.clone())?;
        Some(session.died_of(status))
    }
}

impl EntryState {
    /// Takes the transition; what cannot happen leaves it where it is.
    pub(crate) fn take(&mut self, event: LifeEvent) {
        if let Some(next) = self.life.after(event) {
            self.life = next;
        }
    }

    pub(crate) fn leader(&self) -> Option<ProcessHandle> {
        self.leader.clone().or_else(|| self.session.as_ref()?.leader().cloned())
    }
}

/// The right to kill one entry; given back on drop, also by a kill that was given up halfway.
pub(crate) struct Turn<'a> {
    entry: &'a Entry,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.entry.state.update(|state| state.is_busy = false);
    }
}
