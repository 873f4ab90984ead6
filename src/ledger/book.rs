//! The book of one helper's sessions: who is announced, who is identified; forgotten when gone.
//!
//! It answers from memory, and what it is told goes to the run's file as well, for whoever comes after this process.

use crate::ledger::client;
use crate::ledger::home::Home;
use crate::ledger::recipe::Recipe;
use crate::ledger::record::{BODY_RECORD, Record, RecordId};
use crate::process::cookie::Cookie;
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::rule::Mark;
use crate::process::variable::SessionVariable;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// One file has the records of all helpers of a process.
static NEXT: AtomicU64 = AtomicU64::new(BODY_RECORD + 1);

#[derive(Default)]
pub(crate) struct Ledger {
    open: Mutex<BTreeMap<RecordId, Mark>>,
}

/// What is known of a session before anybody is asked to create it.
pub(crate) struct Announcement {
    pub(crate) cookie: Option<Cookie>,
    pub(crate) since: Ticks,
    pub(crate) label: String,
    pub(crate) made_at: String,
    pub(crate) recipe: Recipe,
    /// Of a server.
    pub(crate) home: Option<Home>,
}

/// What is known of a session once its server has answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// If it is proven.
    pub(crate) leader: Option<ProcessIdentity>,
    /// The server's id of it.
    pub(crate) session: Option<String>,
    pub(crate) server: Option<ProcessIdentity>,
    /// The name of the variable in which the server tells the session its id.
    pub(crate) variable: Option<String>,
}

impl Known {
    fn mark(&self) -> Option<SessionVariable> {
        SessionVariable::new(self.variable.as_ref()?, self.session.as_ref()?)
    }

    fn record(self, id: RecordId, since: Option<Ticks>) -> Record {
        let Self { leader, session, server, variable } = self;
        Record::Identified { id, leader, since, session, server, variable }
    }
}

impl Ledger {
    /// Before anybody is asked to create the session: from here on what carries the cookie is ours.
    pub(crate) fn announce(&self, announced: Announcement) -> RecordId {
        let Announcement { cookie, since, label, made_at, recipe, home } = announced;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(id, Mark::of(cookie, since));
        client::write(&Record::Announced { id, cookie, since, label, made_at, recipe, home });
        id
    }

    /// Once the backend has answered.
    pub(crate) fn identify(&self, id: RecordId, known: Known) {
        if let Some(mark) = self.open.lock().get_mut(&id) {
            mark.leader = known.leader.or(mark.leader);
            mark.variable = known.mark();
            client::write(&known.record(id, None));
        }
    }

    /// A session that was made by other means: its time begins with its leader.
    pub(crate) fn hand_over(&self, id: RecordId, known: Known) {
        if let Some(mark) = self.open.lock().get_mut(&id) {
            let since = known.leader.map(|leader| leader.started);
            mark.leader = known.leader;
            mark.variable = known.mark();
            mark.since = since.unwrap_or(mark.since);
            client::write(&known.record(id, since));
        }
    }

    /// Once the session's end is proven, or the test has taken it out of our hands.
    pub(crate) fn forget(&self, id: RecordId) {
        if self.open.lock().remove(&id).is_some() {
            client::write(&Record::Forgotten { id });
        }
    }

    pub(crate) fn mark(&self, id: RecordId) -> Option<Mark> {
        self.open.lock().get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::identity::BootId;

    #[test]
    fn a_record_is_announced_identified_and_forgotten() {
        let ledger = Ledger::default();
        let cookie = Cookie::new();
        let id = ledger.announce(Announcement {
            cookie: Some(cookie),
            since: 5,
            label: "sh".into(),
            made_at: "here".into(),
            recipe: Recipe::Own,
            home: None,
        });
        let mark = ledger.mark(id).unwrap();
        assert_eq!((mark.cookie, mark.leader, mark.since), (Some(cookie), None, 5));
        let leader = ProcessIdentity { pid: 9, started: 6, boot: BootId(1), pid_namespace: 2 };
        ledger.identify(id, Known { leader: Some(leader), ..Known::default() });
        assert_eq!(ledger.mark(id).unwrap().leader, Some(leader));
        ledger.forget(id);
        assert!(ledger.mark(id).is_none());
    }
}
