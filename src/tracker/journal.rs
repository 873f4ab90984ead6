//! What a helper has done while it was watched for interference: a bounded log, so that a session's end can be laid beside it.

use crate::session::id::SessionId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many operations are kept: those of the last moments are what is asked for.
const MOST_OPERATIONS: usize = 64;

/// Something that the helper has done; times are since the watch began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// What, such as "create `bash`".
    pub what: String,
    /// When it began.
    pub began: Duration,
    /// When it ended, well or not; `None` while it is under way.
    pub ended: Option<Duration>,
}

impl Operation {
    /// True if it was under way at any time between those two.
    pub(crate) fn overlaps(&self, from: Duration, to: Duration) -> bool {
        self.began <= to && self.ended.is_none_or(|ended| ended >= from)
    }
}

/// `create build-2 (1.2s to 1.3s)`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} to ", self.what, shown(self.began))?;
        match self.ended {
            Some(ended) => write!(f, "{})", shown(ended)),
            None => f.write_str("now)"),
        }
    }
}

/// A time in milliseconds: more digits help nobody.
pub(crate) fn shown(time: Duration) -> String {
    humantime::format_duration(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))).to_string()
}

pub(crate) struct Journal {
    began: Instant,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    operations: VecDeque<Operation>,
    dropped: u64,
    /// Every session that was the helper's at any time.
    own: HashSet<SessionId>,
}

impl Journal {
    pub(crate) fn new(own: impl IntoIterator<Item = SessionId>) -> Self {
        let log = Log { own: own.into_iter().collect(), ..Log::default() };
        Self { began: Instant::now(), log: Mutex::new(log) }
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes that something begins; its end is noted when the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>, what: String) -> Ongoing {
        let mut log = self.log.lock();
        if log.operations.len() == MOST_OPERATIONS {
            log.operations.pop_front();
            log.dropped += 1;
        }
        log.operations.push_back(Operation { what, began: self.now(), ended: None });
        let number = log.dropped + log.operations.len() as u64 - 1;
        Ongoing { journal: Arc::clone(self), number }
    }

    pub(crate) fn owns(&self, id: SessionId) {
        self.log.lock().own.insert(id);
    }

    pub(crate) fn is_own(&self, id: &SessionId) -> bool {
        self.log.lock().own.contains(id)
    }

    /// What was under way between two times, and how many older operations are not known any more.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> (Vec<Operation>, u64) {
        let log = self.log.lock();
        (log.operations.iter().filter(|one| one.overlaps(from, to)).cloned().collect(), log.dropped)
    }
}

/// An operation that is under way.
pub(crate) struct Ongoing {
    journal: Arc<Journal>,
    number: u64,
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let now = self.journal.now();
        let mut log = self.journal.log.lock();
        let index = self.number.checked_sub(log.dropped).and_then(|index| usize::try_from(index).ok());
        if let Some(one) = index.and_then(|index| log.operations.get_mut(index)) {
            one.ended = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_last_ones_and_says_how_many_it_lost() {
        let journal = Arc::new(Journal::new([]));
        let first = journal.begin("first".into());
        for number in 0..MOST_OPERATIONS {
            drop(journal.begin(number.to_string()));
        }
        // Its place is another's by now.
        drop(first);
        let last = journal.begin("last".into());
        let (all, dropped) = journal.between(Duration::ZERO, Duration::MAX);
        assert_eq!((all.len(), dropped, all[0].what.as_str()), (MOST_OPERATIONS, 2, "1"));
        assert!(all[..MOST_OPERATIONS - 1].iter().all(|one| one.ended.is_some()));
        assert_eq!(all.last().map(|one| (one.what.as_str(), one.ended)), Some(("last", None)));
        drop(last);
    }

    #[test]
    fn what_was_under_way_then_is_found() {
        let at = Duration::from_secs;
        let one = Operation { what: "kill `a`".into(), began: at(2), ended: Some(at(4)) };
        assert!(one.overlaps(at(3), at(3)) && one.overlaps(at(1), at(2)) && one.overlaps(at(4), at(9)));
        assert!(!one.overlaps(at(0), at(1)) && !one.overlaps(at(5), at(9)));
        assert!(Operation { ended: None, ..one }.overlaps(at(5), at(9)));
    }
}
