//! What somebody outside has seen of a test's sessions: its keeper, which watches them for their limits, and tells the runner.

use crate::event::moment::{Moment, Sample, What};
use crate::event::name::Name;
use crate::event::timeline::Timeline;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How much of it a timeline takes, the newest: it is as bounded as what the test itself has recorded.
const MOST: usize = 512;

/// All times are on the system's monotonic clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// In order.
    pub(crate) moments: Vec<SeenMoment>,
    /// How much the sessions used together with all that they have started.
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenMoment {
    pub(crate) at: Duration,
    /// The session's id; `None` for what is the whole test's.
    pub(crate) session: Option<String>,
    pub(crate) what: What,
}

impl Timeline {
    /// Adds what was seen of it from outside, but for what was before it began. `begun` is on the same clock.
    pub(crate) fn add_seen(&mut self, seen: &Seen, begun: Duration) {
        for moment in seen.moments.iter().rev().take(MOST).rev() {
            let Some(at) = moment.at.checked_sub(begun) else { continue };
            // Of two of one name it is the later one: the earlier is gone.
            let name = moment.session.as_deref().map(|id| Name::new(id).text());
            let line = self.sessions.iter().rev().find(|line| name.as_ref() == Some(&line.name));
            self.lasted = self.lasted.max(at);
            self.moments.push(Moment { at, session: line.map(|line| line.number), what: moment.what.clone() });
        }
        self.moments.sort_by_key(|moment| moment.at);
        let since = |sample: &Sample| Some(Sample { at: sample.at.checked_sub(begun)?, ..*sample });
        self.sessions_use.extend(seen.samples.iter().rev().take(MOST).rev().filter_map(since));
    }
}
