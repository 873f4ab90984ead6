//! What the runner makes of memory that a body has left.

use super::*;
use crate::event::memory::Shared;
use crate::event::moment::What;
use crate::event::name::Name;
use crate::event::seen::{Seen, SeenMoment};
use crate::event::store::Store;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A body that began 10 ms after its runner, and died 100 ms after that.
fn left(remains: &Remains, call: u32) -> (Store, EndOfRun) {
    let (words, is_ours) = sys::map_shared(remains.memory.try_clone().unwrap(), WORDS).unwrap();
    let mut store = Store::new(Memory::shared(Shared { words, is_ours }, false));
    store.is_of_call(call, remains.since + milliseconds(10));
    let number = store.add(Name::new("sh"), milliseconds(20));
    store.step(Some(number), milliseconds(20), &What::Announced);
    (store, EndOfRun { ended_at: Some(remains.since + milliseconds(110)), ..EndOfRun::default() })
}

fn died<'a>(number: u32, outcome: Option<&'a Outcome>, end: &'a EndOfRun) -> Died<'a> {
    Died { name: "a test", number, timelines: None, pid: Some(7), outcome, end: Some(end) }
}

#[test]
fn it_is_of_the_call_that_died_and_ends_with_the_death() {
    let remains = Remains::new().unwrap();
    let (_store, end) = left(&remains, 2);
    let timeline = remains.of(&died(2, None, &end)).unwrap();
    assert_eq!((timeline.lasted, timeline.sessions.len(), timeline.is_of_dead), (milliseconds(100), 1, true));
    assert!(remains.of(&died(1, None, &end)).is_none() && remains.of(&died(3, None, &end)).is_none());
    assert!(remains.of(&Died { end: None, ..died(2, None, &end) }).is_none());
}

#[test]
fn a_time_that_cannot_be_is_not_believed() {
    let remains = Remains::new().unwrap();
    let (store, end) = left(&remains, 1);
    for begun in
        [Duration::ZERO, remains.since - milliseconds(1), end.ended_at.unwrap() + milliseconds(1), Duration::MAX]
    {
        store.is_of_call(1, begun);
        assert!(remains.of(&died(1, None, &end)).is_none(), "{begun:?}");
    }
}

#[test]
fn what_the_body_has_shown_is_not_shown_again_unless_there_is_more() {
    let remains = Remains::new().unwrap();
    let (mut store, mut end) = left(&remains, 1);
    store.mark_told();
    let panicked = Outcome::Panicked { text: "own".into() };
    let passed = Outcome::Passed;
    assert!(remains.of(&died(1, Some(&panicked), &end)).is_none());
    assert!(remains.of(&died(1, Some(&passed), &end)).is_none());
    end.status = Some(ExitStatus::Exited(3));
    assert!(remains.of(&died(1, Some(&passed), &end)).is_some_and(|timeline| !timeline.is_of_dead));

    let what = || What::Breach { limit: "memory, 64 MiB".into(), value: "80 MiB".into() };
    let moment = |at, session: Option<&str>| SeenMoment { at, session: session.map(str::to_owned), what: what() };
    let begun = remains.since + milliseconds(10);
    let moments = vec![
        moment(remains.since, None),
        moment(begun + milliseconds(50), Some("sh")),
        moment(begun + milliseconds(60), Some("nobody")),
    ];
    end.seen = Seen { moments, samples: Vec::new() };
    let timeline = remains.of(&died(1, Some(&panicked), &end)).unwrap();
    let breaches = timeline.moments.iter().filter(|moment| moment.what == what());
    let breaches: Vec<_> = breaches.map(|moment| (moment.at, moment.session)).collect();
    assert_eq!(breaches, [(milliseconds(50), Some(0)), (milliseconds(60), None)]);
    let text = timeline.render();
    assert!(text.contains("session `sh` at 50ms: over its limit of memory, 64 MiB: 80 MiB\n"), "{text}");
    assert!(text.contains("the test at 60ms: over its limit of memory, 64 MiB: 80 MiB\n"), "{text}");
}

#[test]
fn nothing_is_left_of_a_body_that_never_came_to_its_call() {
    let remains = Remains::new().unwrap();
    assert!(remains.of(&died(1, None, &EndOfRun::default())).is_none());
    let none = Remains { memory: sys::null().unwrap(), since: Duration::ZERO };
    assert!(none.of(&died(1, None, &EndOfRun::default())).is_none());
}
