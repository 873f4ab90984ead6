//! Planting sentinels, and looking at them.

use crate::error::{Error, Result};
use crate::probe::memory::killed_for_memory;
use crate::process::handle::ProcessHandle;
use crate::process::identity::Ticks;
use crate::process::pump::Pump;
use crate::session::id::SessionId;
use crate::session::live::Session;
use crate::session::spec::SessionSpec;
use crate::sys;
use crate::tracker::background::end_helper;
use crate::tracker::closing::{Order, close_all};
use crate::tracker::creating;
use crate::tracker::entry::Entry;
use crate::tracker::interference::{Fate, Interference, Others, Role, Sentinel};
use crate::tracker::journal::Journal;
use crate::tracker::outcome::KillOutcome;
use crate::tracker::sentinels::judge::{Evidence, Judgement, LeaderSeen, ServerSeen, judge};
use crate::tracker::shared::Shared;
use crate::watched::Watched;
use parking_lot::Mutex;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Eleven days, in seconds: longer than any test.
const FOR_EVER: &str = "1000000";
/// A server that ends kills its sessions first; so long one whose sessions are all gone may take to be gone itself.
const SERVER_ENDS: Duration = Duration::from_millis(300);
/// The longest wait for the pump to see an end that is there.
const PUMP_SEES: Duration = Duration::from_secs(5);
/// An end is noticed a little after it, on a busy machine too.
const NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// A helper's watch, if it has one. What is still planted when it is dropped is ended.
pub(crate) struct WatchCell {
    state: Watched<CellState>,
}

#[derive(Default)]
struct CellState {
    watch: Option<Arc<Watch>>,
    /// One at a time plants, looks and ends: what one ends another must not take for gone.
    is_busy: bool,
}

/// The right to plant, look and end; given back on drop.
struct Turn<'a>(&'a WatchCell);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state.update(|state| state.is_busy = false);
    }
}

/// What was planted, and what was there before.
pub(crate) struct Watch {
    /// The books of the sentinels: not those of the test's sessions, so that nothing counts, names or ends them with those.
    sentinels: Arc<Shared>,
    journal: Arc<Journal>,
    began: Ticks,
    made_at: &'static Location<'static>,
    before: Listing,
    /// From the first look, with its time.
    after: Mutex<Option<(Listing, Duration)>>,
    killed_for_memory: Option<u64>,
    notes: Vec<String>,
    plantings: Mutex<Vec<Planting>>,
    /// True once its sentinels are being ended: from then on nothing is judged.
    is_over: Mutex<bool>,
}

/// Whom the backend lists, or why that is not known.
type Listing = Result<Vec<SessionId>, String>;

struct Planting {
    role: Role,
    /// `None` while it is under way.
    planted: Option<Result<Planted, String>>,
}

#[derive(Clone)]
struct Planted {
    entry: Arc<Entry>,
    session: Session,
    server: Option<ProcessHandle>,
    at: Duration,
    last_seen: Duration,
}

impl Default for WatchCell {
    fn default() -> Self {
        Self { state: Watched::new(CellState::default()) }
    }
}

impl WatchCell {
    async fn turn(&self) -> Turn<'_> {
        self.state.wait(|state| (!std::mem::replace(&mut state.is_busy, true)).then_some(())).await;
        Turn(self)
    }

    fn current(&self) -> Option<Arc<Watch>> {
        self.state.peek(|state| state.watch.clone())
    }

    /// Lists, and plants the first sentinel; does nothing while a watch is on.
    pub(crate) async fn begin(&self, shared: &Arc<Shared>, made_at: &'static Location<'static>) -> Result<()> {
        let _turn = self.turn().await;
        if let Some(watch) = self.current() {
            if !*watch.is_over.lock() {
                return Ok(());
            }
            return Err(Error::refused(
                "the sentinels of the last watch are not proven to be gone: call `kill_tracked_sessions` again first",
            ));
        }
        if shared.has_ended() {
            return Err(Error::refused("its helper or its test had ended when it was to be watched for interference"));
        }
        let watch = Arc::new(Watch::new(shared, made_at).await?);
        self.state.update(|state| state.watch = Some(Arc::clone(&watch)));
        *shared.journal.lock() = Some(Arc::clone(&watch.journal));
        let planted = watch.plant(Role::Older, name_of_ours()).await;
        if planted.is_err() {
            self.finish(shared, &watch).await;
        }
        planted
    }

    /// After a session has come to be: plants what is to be younger than it, and what is to have a name like its.
    pub(crate) async fn after_creation(&self, name: Option<&str>) {
        let Some(watch) = self.current().filter(|watch| !*watch.is_over.lock()) else { return };
        // What fails is in the books, and told by the look.
        let _ = watch.plant(Role::Younger, name_of_ours()).await;
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let longer = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8]);
            let _ = watch.plant(Role::Prefix { of: name.to_owned() }, longer).await;
        }
    }

    /// Looks, and leaves them planted; `None` without a watch.
    pub(crate) async fn check(&self) -> Option<Interference> {
        let _turn = self.turn().await;
        let watch = self.current().filter(|watch| !*watch.is_over.lock())?;
        Some(watch.look().await)
    }

    /// Looks for the last time and ends them; answers with what was found, and with what could not be ended.
    pub(crate) async fn check_and_end(&self, shared: &Shared) -> (Option<Interference>, Vec<KillOutcome>) {
        let _turn = self.turn().await;
        let Some(watch) = self.current() else { return (None, Vec::new()) };
        let is_over = *watch.is_over.lock();
        let found = if is_over { None } else { Some(watch.look().await) };
        (found, self.finish(shared, &watch).await)
    }

    /// Ends them by their processes first, and judges nothing from here on: for a body that blocks.
    pub(crate) async fn end_by_processes(&self) {
        let Some(watch) = self.current() else { return };
        watch.end(Order::ProcessesFirst).await;
    }

    /// True if a session is one of its sentinels.
    pub(crate) fn has_planted(&self, id: &SessionId) -> bool {
        self.current().is_some_and(|watch| watch.sentinels.find(id).is_some())
    }

    async fn finish(&self, shared: &Shared, watch: &Arc<Watch>) -> Vec<KillOutcome> {
        let left = watch.end(Order::ServersFirst).await;
        if left.is_empty() {
            *shared.journal.lock() = None;
            self.state.update(|state| state.watch = None);
        }
        left
    }
}

/// With the last handle of a helper, and with the last task that it has.
impl Drop for WatchCell {
    fn drop(&mut self) {
        if let Some(watch) = self.current() {
            end_helper(&watch.sentinels);
        }
    }
}

fn name_of_ours() -> String {
    format!("termleash-sentinel-{}", &Uuid::new_v4().simple().to_string()[..8])
}

impl Watch {
    async fn new(shared: &Arc<Shared>, made_at: &'static Location<'static>) -> Result<Self> {
        shared.settings()?;
        let sentinels = Shared::new(Arc::clone(&shared.backend));
        *sentinels.policy.lock() = shared.policy.lock().clone();
        *sentinels.scope.lock() = *shared.scope.lock();
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
            killed_for_memory: killed_for_memory(),
            notes,
            plantings: Mutex::default(),
            is_over: Mutex::new(false),
        })
    }

    /// Plants one, unless there is one of its kind.
    async fn plant(&self, role: Role, name: String) -> Result<()> {
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

    async fn look(&self) -> Interference {
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
        let ended = killed_for_memory()?.checked_sub(self.killed_for_memory?).filter(|ended| *ended > 0)?;
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

    /// Ends them; answers with those whose end is not proven.
    async fn end(&self, order: Order) -> Vec<KillOutcome> {
        *self.is_over.lock() = true;
        self.sentinels.end();
        let entries = self.sentinels.entries().into_iter().filter(|entry| entry.is_to_end()).collect();
        let mut outcomes = close_all(&self.sentinels, entries, order).await;
        outcomes.retain(|outcome| !outcome.is_proven());
        let what = "it is a sentinel, planted by `watch_for_interference`";
        outcomes.iter_mut().for_each(|outcome| outcome.notes.push(what.into()));
        outcomes
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

async fn list(shared: &Shared) -> Listing {
    within(shared.settings_or_default().wait, shared.backend.list_boxed()).await
}

async fn within<T, F>(limit: Duration, future: F) -> Result<T, String>
where
    F: Future<Output = Result<T, crate::error::BoxError>>,
{
    let pump = Pump::get().map_err(|cause| cause.to_string())?;
    match pump.within(limit, future).await {
        Some(answer) => answer.map_err(|cause| cause.to_string()),
        None => Err(format!("the backend did not answer within {}", humantime::format_duration(limit))),
    }
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
