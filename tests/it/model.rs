//! A helper against the simplest model of one, for random sequences and from eight tasks at once.

use crate::checked::checked_blocking;
use crate::support::eventually;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::collections::BTreeSet;
use std::sync::Arc;
use termleash::session::{FakeBackend, SessionState};
use termleash::{
    PtyBackend, SessionBackend, SessionSpec, SessionTestHelper, session::SessionId, tracker::SessionGuard,
};

#[derive(Debug, Clone)]
enum Step {
    Create,
    /// The numbers choose among what there is at that moment.
    Close(usize),
    Drop(usize),
    Keep(usize),
    KillOne(usize),
    KillUnknown,
    KillAll,
    Clear,
    TrackBystander(usize),
    TrackAgain(usize),
    EndsByItself(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Create),
        2 => any::<usize>().prop_map(Step::Close),
        2 => any::<usize>().prop_map(Step::Drop),
        2 => any::<usize>().prop_map(Step::Keep),
        2 => any::<usize>().prop_map(Step::KillOne),
        1 => Just(Step::KillUnknown),
        2 => Just(Step::KillAll),
        1 => Just(Step::Clear),
        1 => any::<usize>().prop_map(Step::TrackBystander),
        1 => any::<usize>().prop_map(Step::TrackAgain),
        2 => any::<usize>().prop_map(Step::EndsByItself),
    ]
}

/// What a backend under the helper shows of the truth.
trait World: SessionBackend {
    /// Whether the session lives, whatever the helper thinks.
    fn lives(&self, id: &SessionId) -> impl Future<Output = bool> + Send;

    /// Has it end by itself, and waits for that.
    fn end(&self, id: &SessionId) -> impl Future<Output = ()> + Send;
}

impl World for FakeBackend {
    async fn lives(&self, id: &SessionId) -> bool {
        self.sessions().contains(id)
    }

    async fn end(&self, id: &SessionId) {
        self.exit(id, 0);
    }
}

impl World for PtyBackend {
    async fn lives(&self, id: &SessionId) -> bool {
        self.state(id).await.unwrap().is_running()
    }

    async fn end(&self, id: &SessionId) {
        self.kill(id).await.unwrap();
    }
}

fn spec() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

struct Model<B> {
    backend: Arc<B>,
    helper: SessionTestHelper,
    guards: Vec<SessionGuard>,
    tracked: BTreeSet<SessionId>,
    /// Alive, and none of the helper's business: strangers' sessions and those that were cleared.
    others: BTreeSet<SessionId>,
}

impl<B: World> Model<B> {
    async fn new(backend: Arc<B>) -> Self {
        let mut others = BTreeSet::new();
        for _ in 0..3 {
            others.insert(backend.create(&spec()).await.unwrap().id().clone());
        }
        let helper = SessionTestHelper::new(Arc::clone(&backend));
        Self { backend, helper, guards: Vec::new(), tracked: BTreeSet::new(), others }
    }

    fn pick<'a>(ids: &'a BTreeSet<SessionId>, number: &usize) -> Option<&'a SessionId> {
        ids.iter().nth(number.checked_rem(ids.len())?)
    }

    fn take_guard(&mut self, number: &usize) -> Option<SessionGuard> {
        let index = number.checked_rem(self.guards.len())?;
        Some(self.guards.swap_remove(index))
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Create => {
                let guard = self.helper.create_tracked_session(spec()).await.unwrap();
                assert!(self.tracked.insert(guard.id().clone()));
                self.guards.push(guard);
            }
            Step::Close(number) => {
                let Some(guard) = self.take_guard(number) else { return };
                let id = guard.id().clone();
                // A guard whose session was cleared has nothing to close.
                let was_cleared = self.others.contains(&id);
                assert_eq!(guard.close().await.is_err(), was_cleared);
                self.tracked.remove(&id);
            }
            Step::Drop(number) => {
                let Some(guard) = self.take_guard(number) else { return };
                let id = guard.id().clone();
                drop(guard);
                self.tracked.remove(&id);
                eventually("the end of a dropped session", || !self.helper.is_tracked(&id)).await;
            }
            Step::Keep(number) => drop(self.take_guard(number).map(SessionGuard::keep)),
            Step::KillOne(number) => {
                let Some(id) = Self::pick(&self.tracked, number).cloned() else { return };
                assert!(self.helper.kill_session(&id).await.unwrap().is_proven());
                self.tracked.remove(&id);
            }
            Step::KillUnknown => {
                for id in &self.others {
                    assert!(self.helper.kill_session(id).await.unwrap_err().is_not_tracked());
                }
            }
            Step::KillAll => {
                let report = self.helper.kill_tracked_sessions().await.unwrap();
                let killed: BTreeSet<_> =
                    report.outcomes().iter().filter_map(|outcome| outcome.id().cloned()).collect();
                assert_eq!(killed, std::mem::take(&mut self.tracked));
            }
            Step::Clear => {
                let cleared: BTreeSet<_> = self.helper.clear_tracked().into_iter().collect();
                assert_eq!(cleared, self.tracked);
                for id in std::mem::take(&mut self.tracked) {
                    if self.backend.lives(&id).await {
                        self.others.insert(id);
                    }
                }
                self.guards.clear();
            }
            Step::TrackBystander(number) => {
                let Some(id) = Self::pick(&self.others, number).cloned() else { return };
                self.helper.track_session(&id).await.unwrap();
                self.others.remove(&id);
                self.tracked.insert(id);
            }
            Step::TrackAgain(number) => {
                let Some(id) = Self::pick(&self.tracked, number).cloned() else { return };
                self.helper.track_session(id).await.unwrap();
            }
            Step::EndsByItself(number) => {
                let Some(id) = Self::pick(&self.tracked, number).cloned() else { return };
                self.backend.end(&id).await;
            }
        }
    }

    async fn check(&self) {
        assert_eq!(self.helper.tracked_ids().into_iter().collect::<BTreeSet<_>>(), self.tracked);
        assert_eq!(self.helper.tracked_count(), self.tracked.len());
        for id in &self.others {
            assert!(self.backend.lives(id).await, "a stranger's session `{id}` was touched");
            assert!(!self.helper.is_tracked(id));
        }
    }

    async fn finish(mut self) {
        self.helper.kill_tracked_sessions().await.unwrap();
        for id in std::mem::take(&mut self.tracked) {
            assert!(!self.backend.lives(&id).await, "`{id}` of ours is alive");
        }
        self.check().await;
        for id in &self.others {
            self.backend.end(id).await;
            self.backend.discard_record(id).await.unwrap();
        }
    }
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

fn play<B: World>(backend: B, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new(Arc::new(backend)).await;
        for step in steps {
            model.take(step).await;
            model.check().await;
        }
        model.finish().await;
    });
}

#[test]
fn a_helper_does_what_the_model_does() {
    checked_blocking(|| {
        proptest!(config(64), |(steps in vec(step(), 1..30))| play(FakeBackend::new(), &steps));
    });
}

#[test]
fn a_helper_does_what_the_model_does_on_real_ptys() {
    checked_blocking(|| {
        proptest!(config(6), |(steps in vec(step(), 1..20))| play(PtyBackend::new(), &steps));
    });
}

/// Eight tasks at once, each with random steps of its own: whatever they do to each other, at the end nothing of ours
/// is left and nobody else was touched.
async fn eight_tasks<B: World>(backend: B, steps: Vec<Vec<Step>>) {
    let backend = Arc::new(backend);
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(backend.create(&spec()).await.unwrap().id().clone());
    }
    let helper = SessionTestHelper::new(Arc::clone(&backend));
    let tasks: Vec<_> = steps
        .into_iter()
        .map(|steps| {
            let (helper, strangers) = (helper.clone(), strangers.clone());
            tokio::spawn(async move {
                let mut guards = Vec::new();
                let mut made = Vec::new();
                for step in steps {
                    match (step, guards.pop()) {
                        (Step::Create | Step::TrackAgain(_), kept) => {
                            let guard = helper.create_tracked_session(spec()).await.unwrap();
                            made.push(guard.id().clone());
                            guards.extend(kept);
                            guards.push(guard);
                        }
                        (Step::KillAll | Step::Clear, _) => drop(helper.kill_tracked_sessions().await.unwrap()),
                        (Step::KillUnknown, _) => {
                            assert!(helper.kill_session(&strangers[0]).await.unwrap_err().is_not_tracked());
                        }
                        (Step::KillOne(_), Some(guard)) => {
                            // Another task's kill of all may have been first.
                            if let Err(cause) = helper.kill_session(guard.id()).await {
                                assert!(cause.is_not_tracked(), "{cause}");
                            }
                        }
                        (Step::Close(_), Some(guard)) => assert!(guard.close().await.unwrap().is_proven()),
                        (Step::Keep(_), Some(guard)) => drop(guard.keep()),
                        (_, guard) => drop(guard),
                    }
                }
                guards.into_iter().for_each(|guard| drop(guard.keep()));
                made
            })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        made.extend(task.await.unwrap());
    }
    helper.kill_tracked_sessions().await.unwrap();
    assert_eq!(helper.tracked_count(), 0);
    assert!(helper.survivors().unwrap().is_empty());
    for id in &made {
        assert!(!backend.lives(id).await, "`{id}` of ours is alive");
        assert!(!matches!(backend.state(id).await.unwrap(), SessionState::Running(_)));
    }
    for id in &strangers {
        assert!(backend.lives(id).await, "a stranger's session was touched");
        backend.end(id).await;
        backend.discard_record(id).await.unwrap();
    }
}

fn eight() -> impl Strategy<Value = Vec<Vec<Step>>> {
    vec(vec(step(), 1..15), 8)
}

fn play_with_eight<B: World>(backend: B, steps: Vec<Vec<Step>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(eight_tasks(backend, steps));
}

#[test]
fn eight_tasks_share_a_helper() {
    checked_blocking(|| {
        proptest!(config(48), |(steps in eight())| play_with_eight(FakeBackend::new(), steps));
    });
}

#[test]
fn eight_tasks_share_a_helper_on_real_ptys() {
    checked_blocking(|| {
        proptest!(config(4), |(steps in eight())| play_with_eight(PtyBackend::new(), steps));
    });
}
