//! Records what happens in one test, from all of its threads, whether anybody looks or not.

use crate::event::live;
use crate::event::moment::{Flow, Sample, What};
use crate::event::store::{Name, Samples, Store, Way};
use crate::event::timeline::{Durations, Timeline};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// A test's parts, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Body,
    CleanUp,
    Settle,
}

pub(crate) struct Recorder {
    test: Option<String>,
    begun: Instant,
    /// When each part began.
    parts: [OnceCell<Duration>; 3],
    /// Made for the first session: a test without need not pay for the rings.
    store: OnceCell<Mutex<Store>>,
    samples: Mutex<Option<Samples>>,
}

impl Recorder {
    /// Of a test, or of a helper outside of one.
    pub(crate) fn new(test: Option<String>) -> Self {
        Self {
            test,
            begun: Instant::now(),
            parts: Default::default(),
            store: OnceCell::new(),
            samples: Mutex::default(),
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn store(&self) -> &Mutex<Store> {
        self.store.get_or_init(|| Mutex::new(Store::new()))
    }

    /// The first time counts.
    pub(crate) fn begins(&self, part: Part) {
        let _ = self.parts[part as usize].set(self.now());
    }

    /// A session is announced.
    pub(crate) fn add(&self, label: &str) -> u32 {
        let name = Name::new(label);
        // The clock is read under the lock, so that the order of moments is that of their times.
        let mut store = self.store().lock();
        let at = self.now();
        let number = store.add(name, at);
        store.step(Some(number), at, What::Announced);
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
            return store.step(session, at, what);
        }
        let name = session.and_then(|number| store.name(number));
        store.step(session, at, what.clone());
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
        let mut samples = self.samples.lock();
        sample.at = self.now();
        samples.get_or_insert_with(Samples::new).add(sample);
        drop(samples);
        live::sample(self.test.as_deref(), &sample);
    }

    /// What is there so far.
    pub(crate) fn timeline(&self) -> Timeline {
        let mut timeline = Timeline { test: self.test.clone(), lasted: self.now(), ..Timeline::default() };
        if let Some(store) = self.store.get() {
            let store = store.lock();
            timeline.lasted = self.now();
            timeline.sessions = store.sessions();
            timeline.moments = store.moments();
            timeline.dropped = store.dropped();
        }
        timeline.samples = self.samples.lock().as_ref().map(Samples::kept).unwrap_or_default();
        timeline
    }

    /// The same at the end of the test. What the clean-up has waited until it settled is that part's.
    pub(crate) fn timeline_at_end(&self, waited: Duration, settled_last: Option<String>) -> Timeline {
        let mut timeline = self.timeline();
        let end = timeline.lasted;
        let began = |part: Part| self.parts[part as usize].get().copied().unwrap_or(end);
        let [body, clean_up, settle] = [Part::Body, Part::CleanUp, Part::Settle].map(began);
        let cleaning = settle.saturating_sub(clean_up);
        let waited = waited.min(cleaning);
        timeline.durations = Some(Durations {
            set_up: body,
            body: clean_up.saturating_sub(body),
            clean_up: cleaning - waited,
            settle: end.saturating_sub(settle) + waited,
            settled_last,
        });
        timeline
    }
}
