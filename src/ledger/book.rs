//! The book of sessions: who is announced, who is identified; forgotten when gone.
//!
//! It lives in memory and dies with the test process; its records are what a crash-safe one needs.

use crate::ledger::record::RecordId;
use crate::process::cookie::Cookie;
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::rule::Mark;
use parking_lot::Mutex;
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Ledger {
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    next: RecordId,
    open: BTreeMap<RecordId, Mark>,
}

impl Ledger {
    /// Before anybody is asked to create the session: from here on what carries the cookie is ours.
    pub(crate) fn announce(&self, cookie: Option<Cookie>, since: Ticks) -> RecordId {
        let mark = Mark { cookie, leader: None, leader_ended: None, since, until: None, cgroup: None };
        let mut records = self.records.lock();
        records.next += 1;
        let id = records.next;
        records.open.insert(id, mark);
        id
    }

    /// Once the leader is proven.
    pub(crate) fn identify(&self, id: RecordId, leader: ProcessIdentity) {
        if let Some(mark) = self.records.lock().open.get_mut(&id) {
            mark.leader = Some(leader);
        }
    }

    /// A session that was made by other means: its time begins with its leader.
    pub(crate) fn hand_over(&self, id: RecordId, leader: ProcessIdentity) {
        if let Some(mark) = self.records.lock().open.get_mut(&id) {
            mark.leader = Some(leader);
            mark.since = leader.started;
        }
    }

    /// Once the session's end is proven, or the test has taken it out of our hands.
    pub(crate) fn forget(&self, id: RecordId) {
        self.records.lock().open.remove(&id);
    }

    pub(crate) fn mark(&self, id: RecordId) -> Option<Mark> {
        self.records.lock().open.get(&id).cloned()
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
        let id = ledger.announce(Some(cookie), 5);
        let mark = ledger.mark(id).unwrap();
        assert_eq!((mark.cookie, mark.leader, mark.since), (Some(cookie), None, 5));
        let leader = ProcessIdentity { pid: 9, started: 6, boot: BootId(1), pid_namespace: 2 };
        ledger.identify(id, leader);
        assert_eq!(ledger.mark(id).unwrap().leader, Some(leader));
        ledger.forget(id);
        assert!(ledger.mark(id).is_none());
    }
}
