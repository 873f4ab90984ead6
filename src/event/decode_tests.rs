//! What is read back, of memory that is as it should be and of memory that is not.

use super::*;
use crate::event::End;
use crate::event::memory::WORDS;
use crate::event::moment::{Sample, Step, Way};
use crate::event::name::Name;
use crate::event::store::Store;
use proptest::prelude::*;

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A life of everything that there is.
fn written() -> Store {
    let mut store = Store::new(Memory::own());
    store.is_of_call(2, at(5));
    let sample = Sample {
        at: at(1),
        memory: Some(u64::MAX),
        descriptors: None,
        processes: Some(0),
        processor: Some(Duration::from_nanos(9)),
    };
    store.sample(&sample);
    store.begins(0, at(1));
    let number = store.add(Name::new("sh"), at(2));
    store.rename(number, Name::new("pty-1"));
    for what in kinds() {
        store.step(Some(number), at(3), &what);
    }
    store.step(None, at(4), &What::Breach { limit: "memory".into(), value: "é".repeat(40) });
    store.flow(number, at(4), Way::Write, 7);
    store.flow(number, at(5), Way::Read, 8);
    store.begins(1, at(6));
    store
}

fn kinds() -> Vec<What> {
    let kill = |step, pid, was_delivered| What::Kill { step, pid, was_delivered };
    vec![
        What::Announced,
        What::Created,
        What::Resized { rows: u16::MAX, cols: 3 },
        kill(Step::AskedBackend, None, false),
        kill(Step::HungUp, Some(u32::MAX), true),
        kill(Step::Terminated, Some(0), false),
        kill(Step::Killed, Some(7), true),
        What::Survived { processes: 3 },
        What::Breach { limit: "a limit".into(), value: String::new() },
        What::Untracked,
        What::Gone,
    ]
}

fn words(store: &Store) -> Vec<u64> {
    store.memory().words()
}

#[test]
fn another_process_reads_what_this_one_has_written() {
    let store = written();
    let here = timeline(store.memory(), Some("a test".into()), at(10));
    let memory = Memory::of(&words(&store));
    let there = timeline(&memory, Some("a test".into()), at(10));
    assert_eq!(here, there);
    assert_eq!(head(&memory), Some((2, at(5))));

    let of_session = |moment: &&Moment| moment.session == Some(0);
    let steps: Vec<What> = there.moments.iter().filter(of_session).map(|moment| moment.what.clone()).collect();
    assert_eq!(steps[..kinds().len()], kinds());
    let breach = there.moments.iter().find(|moment| moment.session.is_none()).map(|moment| moment.what.to_string());
    assert_eq!(breach, Some(format!("over its limit of memory: {}", "é".repeat(20))));
    let line = &there.sessions[0];
    assert_eq!((line.name.as_str(), line.wrote.bytes, line.read.bytes), ("pty-1", 7, 8));
    assert_eq!((line.from, line.ended), (at(2), Some((at(3), End::Gone))));
    assert_eq!((there.samples[0].memory, there.samples[0].descriptors), (Some(u64::MAX), None));
    assert_eq!(there.dropped.torn, 0);
    let parts = durations(&memory, at(10), Duration::ZERO, None);
    assert_eq!((parts.set_up, parts.body, parts.clean_up, parts.settle), (at(1), at(5), at(4), Duration::ZERO));
}

#[test]
fn what_says_to_be_later_than_the_end_is_left_out_and_counted() {
    let there = timeline(written().memory(), None, at(3));
    assert!(there.moments.iter().all(|moment| moment.at <= at(3)), "{:?}", there.moments);
    // The session, whose reads are later, with all of its moments, and the breach of the whole test.
    assert_eq!((there.sessions.len(), there.dropped.torn), (0, 2 + 2));
    let later = durations(written().memory(), at(3), Duration::MAX, None);
    assert_eq!(later.set_up + later.body + later.clean_up + later.settle, at(3));
}

#[test]
fn a_torn_record_costs_itself() {
    let store = written();
    let whole = timeline(store.memory(), None, at(10));
    for (index, word) in words(&store).into_iter().enumerate().filter(|(_, word)| *word != 0) {
        let mut torn = words(&store);
        torn[index] = word ^ 1;
        let memory = Memory::of(&torn);
        let there = timeline(&memory, None, at(10));
        assert!(there.dropped.torn <= 1 && there.moments.len() + 1 >= whole.moments.len().min(2), "{index}: {there:?}");
        if there.sessions.len() == whole.sessions.len() {
            assert!(there.moments.len() + 1 >= whole.moments.len(), "{index}: {there:?}");
        }
    }
}

proptest! {
    /// Of a process that has written all over it.
    #[test]
    fn whatever_stands_there_is_read_without_harm(seed in any::<[u64; 8]>(), step in 1..97usize, small in any::<bool>()) {
        let mut words = words(&written());
        for (index, word) in words.iter_mut().enumerate().step_by(step) {
            *word = seed[index % 8].rotate_left(index as u32) & if small { 0xFFFF } else { u64::MAX };
        }
        let memory = Memory::of(&words);
        let there = timeline(&memory, None, at(10));
        prop_assert!(there.moments.len() <= 1024 && there.sessions.len() <= 128 && there.samples.len() <= 120);
    }

    /// Of one that has done so with our own means, so that every sum is right.
    #[test]
    fn whatever_is_forged_is_bounded(record in any::<[u64; 15]>(), rows in 0..700usize, small in any::<bool>()) {
        let memory = Memory::own();
        memory.make_rings();
        let mask = if small { 0xFF } else { u64::MAX };
        let word = |row: usize, at: usize| record[at].rotate_left(row as u32) & mask;
        for row in 0..rows {
            memory.put(&STEPS, row, std::array::from_fn(|at| word(row, at)));
            memory.put(&FLOWS, row, std::array::from_fn(|at| word(row, at)));
            memory.put(&SESSIONS, row, std::array::from_fn(|at| if at == 0 { row as u64 % 200 } else { word(row, at) }));
            memory.put(&TOTALS, row, std::array::from_fn(|at| if at == 0 { row as u64 % 200 } else { word(row, at) }));
            memory.put(&SAMPLES, row, std::array::from_fn(|at| word(row, at)));
        }
        memory.put(&PARTS, 0, std::array::from_fn(|at| word(0, at)));
        memory.put(&DROPPED, 0, std::array::from_fn(|at| word(0, at)));
        for lasted in [Duration::ZERO, at(1), Duration::MAX] {
            let mut there = timeline(&memory, None, lasted);
            there.durations = Some(durations(&memory, lasted, lasted, None));
            prop_assert!(there.moments.len() <= 1024 && there.sessions.len() <= 128 && there.samples.len() <= 120);
            prop_assert!(there.moments.iter().all(|moment| moment.at <= lasted));
        }
    }
}

#[test]
fn nothing_is_read_of_nothing() {
    let memory = Memory::of(&vec![0; WORDS]);
    assert_eq!(head(&memory), None);
    assert_eq!(timeline(&memory, None, at(1)), Timeline { lasted: at(1), ..Timeline::default() });
}
