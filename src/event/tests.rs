//! What a recorder keeps, and what it drops.

use super::decode;
use super::memory::Memory;
use super::moment::{Sample, Step, Way, What};
use super::recorder::{Part, Recorder};
use super::store::Store;
use super::timeline::{End, Timeline};
use super::track::Track;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

fn recorder() -> Arc<Recorder> {
    Arc::new(Recorder::new(Some("a test".into())))
}

fn is_in_order(timeline: &Timeline) -> bool {
    timeline.moments.is_sorted_by_key(|moment| moment.at)
        && timeline.moments.iter().all(|moment| moment.at <= timeline.lasted)
}

#[test]
fn a_life_is_recorded_in_order_with_its_times() {
    let recorder = recorder();
    let track = Track::announced(&recorder, "sh");
    track.created("pty-1");
    track.wrote(3);
    track.read(5);
    track.resized(10, 20);
    track.kill(Step::HungUp, Some(7), true);
    track.add(What::Gone);
    let timeline = recorder.timeline();
    let what: Vec<String> = timeline.moments.iter().map(|moment| moment.what.to_string()).collect();
    let expected = [
        "announced",
        "created",
        "wrote 3 bytes",
        "read 5 bytes",
        "resized to 10 rows and 20 columns",
        "HUP to process 7",
        "gone",
    ];
    assert_eq!(what, expected);
    assert!(is_in_order(&timeline), "{:?}", timeline.moments);
    let line = &timeline.sessions[0];
    assert_eq!((line.name.as_str(), line.wrote.bytes, line.read.bytes), ("pty-1", 3, 5));
    assert!(line.ended.is_some_and(|(at, end)| at >= line.from && end == End::Gone));
}

#[test]
fn reads_in_a_row_are_one_moment_and_what_comes_between_parts_them() {
    let recorder = recorder();
    let track = Track::announced(&recorder, "sh");
    let reads = || {
        let is_read = |what: &What| if let What::Read(flow) = what { Some((flow.bytes, flow.times)) } else { None };
        recorder.timeline().moments.iter().filter_map(|moment| is_read(&moment.what)).collect::<Vec<_>>()
    };
    // However slow the machine is, fewer of them than there were reads: they take nanoseconds.
    (0..1000).for_each(|_| track.read(2));
    let merged = reads();
    assert!(merged.len() < 100, "{merged:?}");
    assert_eq!(merged.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)), (2000, 1000));
    track.resized(1, 1);
    track.read(9);
    assert_eq!(reads().last(), Some(&(9, 1)));
}

#[test]
fn a_million_events_stay_within_bounds_and_are_counted() {
    let recorder = recorder();
    thread::scope(|scope| {
        for part in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                let mut track = Track::announced(recorder, "first");
                for index in 0..125_000_u32 {
                    if index % 500 == 0 {
                        track = Track::announced(
                            recorder,
                            &format!("session {part} {index} {}", "with a long name ".repeat(9)),
                        );
                    }
                    track.read(1);
                    // It parts the reads, so that nothing is merged.
                    track.resized(1, 1);
                }
            });
        }
    });
    let timeline = recorder.timeline();
    assert!(timeline.moments.len() <= 1024 && timeline.sessions.len() == 128, "{}", timeline.moments.len());
    assert!(timeline.sessions.iter().all(|line| line.name.len() <= 40));
    assert!(is_in_order(&timeline));
    let announced = 4 + 4 * 250;
    assert_eq!(timeline.dropped.sessions, announced - 128);
    assert_eq!(timeline.dropped.steps, announced + 500_000 - 512);
    let is_read = |what: &What| if let What::Read(flow) = what { flow.bytes } else { 0 };
    let most: u64 =
        timeline.dropped.read.bytes + timeline.moments.iter().map(|moment| is_read(&moment.what)).sum::<u64>();
    // Those of sessions that were dropped are neither shown nor counted twice.
    assert!(most <= 500_000 && timeline.dropped.read.bytes >= 500_000 - 512, "{most}");
    assert!(timeline.to_json_length() < 1 << 20);
}

impl Timeline {
    fn to_json_length(&self) -> usize {
        serde_json::to_string(self).unwrap().len()
    }
}

#[test]
fn a_long_test_keeps_samples_of_all_of_its_time() {
    let mut store = Store::new(Memory::own());
    for second in 0..100_000 {
        store.sample(&Sample { at: Duration::from_secs(second), ..Sample::default() });
    }
    let kept = decode::timeline(store.memory(), None, Duration::MAX).samples;
    assert!((60..=120).contains(&kept.len()), "{}", kept.len());
    assert!(kept.is_sorted_by_key(|sample| sample.at));
    let [first, last] = [kept.first().unwrap(), kept.last().unwrap()];
    assert!(first.at < Duration::from_secs(10_000) && last.at > Duration::from_secs(90_000));
}

#[test]
fn a_name_is_cut_between_characters() {
    let recorder = recorder();
    Track::announced(&recorder, &"é".repeat(50));
    Track::announced(&recorder, &format!("x{}", "é".repeat(50)));
    let names: Vec<String> = recorder.timeline().sessions.into_iter().map(|line| line.name).collect();
    assert_eq!(names, ["é".repeat(20), format!("x{}", "é".repeat(19))]);
}

#[test]
fn what_is_written_to_a_session_that_was_dropped_is_counted_only() {
    let recorder = recorder();
    let first = Track::announced(&recorder, "first");
    (0..128).for_each(|_| drop(Track::announced(&recorder, "more")));
    recorder.flow(0, Way::Write, 7);
    first.add(What::Gone);
    let timeline = recorder.timeline();
    assert_eq!((timeline.dropped.sessions, timeline.dropped.wrote.bytes), (1, 7));
    assert!(timeline.moments.iter().all(|moment| moment.session != Some(0)));
}

#[test]
fn the_parts_of_a_test_make_up_all_of_it() {
    let recorder = recorder();
    for part in [Part::Body, Part::CleanUp, Part::Settle] {
        recorder.begins(part);
    }
    let timeline = recorder.timeline_at_end(Duration::from_secs(9), Some("a file".into()));
    let parts = timeline.durations.unwrap();
    assert_eq!(parts.set_up + parts.body + parts.clean_up + parts.settle, timeline.lasted);
    assert_eq!(parts.settled_last.as_deref(), Some("a file"));
}
