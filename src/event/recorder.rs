//! Records what happens in one test, from all of its threads, whether anybody looks or not.

use crate::event::decode;
use crate::event::live;
use crate::event::memory::{Memory, Shared};
use crate::event::moment::{Flow, Sample, Way, What};
use crate::event::name::Name;
use crate::event::store::Store;
use crate::event::timeline::Timeline;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A test's parts, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Body,
    CleanUp,
    Settle,
}

/// The memory of this process that outlives it, if there is some, and who has it.
static SHARED: OnceCell<(Shared, Mutex<Weak<Recorder>>)> = OnceCell::new();

/// Says that the tests of this process are recorded there, one after the other.
pub(crate) fn record_in(shared: Shared) {
    let _ = SHARED.set((shared, Mutex::default()));
}

pub(crate) struct Recorder {
    test: Option<String>,
    begun: Instant,
    /// Made for the first thing that is recorded.
    store: OnceCell<Mutex<Store>>,
}

impl Recorder {
    /// Of a test, or of a helper outside of one.
    pub(crate) fn new(test: Option<String>) -> Self {
        Self { test, begun: Instant::now(), store: OnceCell::new() }
    }

    /// Of this call of a process that may die in it. `now` is on a clock that is the same in other processes.
    pub(crate) fn of_call(test: String, call: u32, now: Duration) -> Arc<Self> {
        let recorder = Arc::new(Self::new(Some(test)));
        if let Some((shared, owner)) = SHARED.get() {
            let mut owner = owner.lock();
            // Something holds it still: a scope that was leaked.
            if let Some(before) = owner.upgrade() {
                before.store().lock().move_out();
            }
            let was_used = !owner.ptr_eq(&Weak::new());
            let store = Store::new(Memory::shared(*shared, was_used));
            store.is_of_call(call, now);
            let _ = recorder.store.set(Mutex::new(store));
            *owner = Arc::downgrade(&recorder);
        }
        recorder
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn store(&self) -> &Mutex<Store> {
        self.store.get_or_init(|| Mutex::new(Store::new(Memory::own())))
    }

    /// The first time counts.
    pub(crate) fn begins(&self, part: Part) {
        let mut store = self.store().lock();
        store.begins(part as usize, self.now());
    }

    /// A session is announced.
    pub(crate) fn add(&self, label: &str) -> u32 {
        let name = Name::new(label);
        // The clock is read under the lock, so that the order of moments is that of their times.
        let mut store = self.store().lock();
        let at = self.now();
        let number = store.add(name, at);
        store.step(Some(number), at, &What::Announced);
        drop(store);
        live::step(self.test.as_deref(), at, Some(name), &What::Announced);
        number
    }

    pub(crate) fn rename(&self, session: u32, id: &str) {
        self.store().lock().rename(session, Name::new(id));
    }

    pub(crate) fn step(&self, session: Option<u32>, what: What) {
        let mut store = self.store().lock();
        let at = self.now();
        if !live::is_on() {
            return store.step(session, at, &what);
        }
        let name = session.and_then(|number| store.name(number));
        store.step(session, at, &what);
        drop(store);
        live::step(self.test.as_deref(), at, name, &what);
    }

    pub(crate) fn flow(&self, session: u32, way: Way, bytes: usize) {
        let bytes = bytes as u64;
        let mut store = self.store().lock();
        let at = self.now();
        store.flow(session, at, way, bytes);
        if live::is_of_all() {
            let name = store.name(session);
            drop(store);
            let flow = Flow { bytes, times: 1, until: at };
            let what = if way == Way::Write { What::Wrote(flow) } else { What::Read(flow) };
            live::step(self.test.as_deref(), at, name, &what);
        }
    }

    /// Its time is now.
    pub(crate) fn sample(&self, mut sample: Sample) {
        let mut store = self.store().lock();
        sample.at = self.now();
        store.sample(&sample);
        drop(store);
        live::sample(self.test.as_deref(), &sample);
    }

    /// What is there so far.
    pub(crate) fn timeline(&self) -> Timeline {
        let store = self.store().lock();
        decode::timeline(store.memory(), self.test.clone(), self.now())
    }

    /// The same at the end of the test, with its parts.
    pub(crate) fn timeline_at_end(&self, waited: Duration, settled_last: Option<String>) -> Timeline {
        let mut timeline = self.timeline();
        let store = self.store().lock();
        timeline.durations = Some(decode::durations(store.memory(), timeline.lasted, waited, settled_last));
        timeline
    }

    /// Whoever wants to know of the test has been told; should the process die now, nobody else need tell.
    pub(crate) fn mark_told(&self) {
        self.store().lock().mark_told();
    }
}
