//! Looking at sentinels: what is seen of each, who else has sessions, and what there is to say beside.

use crate::process::death::oom::killed_on_machine;
use crate::process::handle::ProcessHandle;
use crate::process::identity::Ticks;
use crate::process::pump::Pump;
use crate::session::id::SessionId;
use crate::sys;
use crate::tracker::interference::{Fate, Interference, Others, Role, Sentinel};
use crate::tracker::sentinels::judge::{Evidence, Judgement, LeaderSeen, ServerSeen, judge};
use crate::tracker::sentinels::planting::{Planted, Watch, list, within};
use std::time::Duration;

/// A server that ends kills its sessions first; so long one whose sessions are all gone may take to be gone itself.
const SERVER_ENDS: Duration = Duration::from_millis(300);
/// The longest wait for the pump to see an end that is there.
const PUMP_SEES: Duration = Duration::from_secs(5);
/// An end is noticed a little after it, on a busy machine too.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

impl Watch {
    pub(crate) async fn look(&self) -> Interference {
        let others = self.others().await;
        let plantings: Vec<(Role, Option<Result<Planted, String>>)> =
            self.plantings.lock().iter().map(|one| (one.role.clone(), one.planted.clone())).collect();
        let mut blind = Vec::new();
        let mut notes = self.notes.clone();
        let mut seen = Vec::new();
        for (role, planted) in plantings {
            match planted {
                Some(Ok(planted)) => {
                    let evidence = self.evidence(&planted).await;
                    seen.push((role, planted, evidence));
                }
                Some(Err(cause)) => blind.push(format!("the sentinel {role} was not planted: {cause}")),
                None => blind.push(format!("the sentinel {role} was not planted: that was given up, or is under way")),
            }
        }
        wait_for_dying_server(&mut seen).await;
        let mut sentinels = Vec::new();
        for (role, planted, evidence) in seen {
            let judgement = judge(&evidence);
            if let Judgement::There { note: Some(note) } = &judgement {
                notes.push(format!("`{}` is there {note}", planted.session.id()));
            }
            sentinels.push(self.sentinel(role, &planted, judgement));
        }
        self.saw(&sentinels);
        notes.extend(self.missing());
        notes.extend(self.memory(&sentinels));
        Interference { sentinels, others, blind, notes, lasted: self.journal.now() }
    }

    async fn evidence(&self, planted: &Planted) -> Evidence {
        let leader = match planted.session.leader() {
            Some(leader) => {
                let is_alive = leader.is_alive();
                if let (false, Ok(pump)) = (is_alive, Pump::get()) {
                    // Its time and status are known once the pump has seen the end, which is a moment later.
                    let _ = pump.within(PUMP_SEES, leader.wait_gone()).await;
                }
                Some(LeaderSeen { pid: leader.pid(), is_alive, exit: leader.exit_status() })
            }
            None => None,
        };
        let wait = self.sentinels.settings_or_default().wait;
        let said = within(wait, self.sentinels.backend.state_boxed(planted.session.id())).await;
        let server =
            planted.server.as_ref().map(|server| ServerSeen { pid: server.pid(), is_alive: server.is_alive() });
        Evidence { leader, said, claimed_leader: planted.entry.state.peek(|state| state.claimed_leader), server }
    }

    fn sentinel(&self, role: Role, planted: &Planted, judgement: Judgement) -> Sentinel {
        let now = self.journal.now();
        let fate = match judgement {
            Judgement::There { .. } => Fate::There,
            Judgement::ServerEnded(why) => Fate::ServerEnded(why),
            Judgement::Unknown(why) => Fate::Unknown(why),
            Judgement::Vanished { how, exit } => {
                let noticed = planted.session.leader().and_then(ProcessHandle::end_noticed);
                let noticed = noticed.and_then(|ticks| since(self.began, ticks));
                let (from, to) = ended_between(noticed, planted.last_seen, now);
                let (meanwhile, _) = self.journal.between(from, to);
                Fate::Vanished { how, exit, noticed, meanwhile }
            }
        };
        let last_seen = if fate == Fate::There { now } else { planted.last_seen };
        let (id, leader) = (planted.session.id().clone(), planted.session.leader_pid());
        Sentinel { role, id, leader, planted: planted.at, last_seen, fate }
    }

    fn saw(&self, sentinels: &[Sentinel]) {
        for one in self.plantings.lock().iter_mut() {
            if let Some(Ok(planted)) = &mut one.planted
                && let Some(sentinel) = sentinels.iter().find(|sentinel| sentinel.id == *planted.session.id())
            {
                planted.last_seen = sentinel.last_seen;
            }
        }
    }

    /// What was not planted because there was no occasion.
    fn missing(&self) -> Vec<String> {
        let plantings = self.plantings.lock();
        let mut notes = Vec::new();
        if !plantings.iter().any(|one| one.role == Role::Younger) {
            notes.push("the test has made no session, so there is no sentinel that is younger than one".into());
        } else if !plantings.iter().any(|one| matches!(one.role, Role::Prefix { .. })) {
            notes.push(
                "no session of the test's has a name (`SessionSpec::name`), so there is no sentinel whose name begins with it"
                    .into(),
            );
        }
        let (_, lost) = self.journal.between(Duration::MAX, Duration::ZERO);
        if lost > 0 {
            notes.push(format!("{lost} older operations of this helper are not kept"));
        }
        notes
    }

    fn memory(&self, sentinels: &[Sentinel]) -> Option<String> {
        let ended = killed_on_machine()?.checked_sub(self.killed_for_memory?).filter(|ended| *ended > 0)?;
        sentinels.iter().any(|sentinel| matches!(sentinel.fate, Fate::Vanished { .. })).then(|| {
            format!(
                "the kernel has ended {ended} processes of this machine for want of memory meanwhile: a sentinel that ended by \
                 SIGKILL may be one of them"
            )
        })
    }

    /// One request when the watch began and one at its first look, and no more.
    async fn others(&self) -> Others {
        let before = match &self.before {
            Ok(before) => before,
            Err(why) => return Others::NotListed(why.clone()),
        };
        let known = self.after.lock().clone();
        let (after, _) = match known {
            Some(known) => known,
            None => {
                let listed = (list(&self.sentinels).await, self.journal.now());
                self.after.lock().insert(listed).clone()
            }
        };
        let after = match after {
            Ok(after) => after,
            Err(why) => return Others::NotListed(why),
        };
        let is_other = |id: &&SessionId| !self.journal.is_own(id) && !self.is_sentinel(id);
        let of = |ids: &[SessionId], other: &[SessionId], is_in: bool| {
            ids.iter().filter(is_other).filter(|id| other.contains(id) == is_in).cloned().collect()
        };
        Others::Listed {
            stayed: of(before, &after, true),
            appeared: of(&after, before, false),
            vanished: of(before, &after, false),
        }
    }

    fn is_sentinel(&self, id: &SessionId) -> bool {
        let plantings = self.plantings.lock();
        plantings.iter().any(|one| matches!(&one.planted, Some(Ok(planted)) if planted.session.id() == id))
    }
}

/// Where every sentinel is gone and its server is there, the server may be on its way out.
async fn wait_for_dying_server(seen: &mut [(Role, Planted, Evidence)]) {
    let all_are_gone = seen.iter().all(|(_, _, evidence)| matches!(judge(evidence), Judgement::Vanished { .. }));
    let Some(server) = seen.iter().find_map(|(_, planted, _)| planted.server.clone()) else { return };
    // Our own process is not.
    if !all_are_gone || server.pid() == sys::own_pid() {
        return;
    }
    if let Ok(pump) = Pump::get()
        && pump.within(SERVER_ENDS, server.wait_gone()).await.is_some()
    {
        let servers = seen.iter_mut().filter_map(|(_, _, evidence)| evidence.server.as_mut());
        servers.filter(|seen| seen.pid == server.pid()).for_each(|seen| seen.is_alive = false);
    }
}

/// The last moment at which it was there, and the first at which it was gone.
fn ended_between(noticed: Option<Duration>, last_seen: Duration, now: Duration) -> (Duration, Duration) {
    let from = noticed.map_or(Duration::ZERO, |noticed| noticed.saturating_sub(NOTICED_WITHIN));
    (from.max(last_seen), noticed.map_or(now, |noticed| noticed + NOTICED_WITHIN))
}

/// Between two moments in clock ticks, rounded as they are.
fn since(began: Ticks, then: Ticks) -> Option<Duration> {
    let second = u32::try_from(sys::ticks_in(Duration::from_secs(1))).ok().filter(|ticks| *ticks > 0)?;
    let ticks = u32::try_from(then.saturating_sub(began)).ok()?;
    Some(Duration::from_secs(1) * ticks / second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_was_noticed_was_about_then_and_not_before_it_was_seen_last() {
        let at = Duration::from_millis;
        assert_eq!(ended_between(None, at(30), at(9_000)), (at(30), at(9_000)));
        assert_eq!(ended_between(Some(at(5_000)), at(30), at(9_000)), (at(4_900), at(5_100)));
        assert_eq!(ended_between(Some(at(5_000)), at(4_990), at(9_000)), (at(4_990), at(5_100)));
    }
}
