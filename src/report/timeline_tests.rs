//! The chart, of data made by hand.

use crate::event::{Durations, Timeline};
use insta::assert_snapshot;
use std::time::Duration;

/// By its JSON, which thereby is seen to be what it was.
fn timeline() -> Timeline {
    Timeline::from_json(include_str!("timeline.json")).unwrap()
}

#[test]
fn a_timeline_is_a_chart_with_a_legend() {
    assert_snapshot!(timeline().render(), @r"
    timeline: 2s = set-up 50ms, body 1s, clean-up 900ms, settle 50ms
      last to settle: child process `sh`
      pty-1              a──c───────w────r────────z─────────H─────T────K──x   w 12 B r 4.0 KiB
      sleep 1000                                  a────!──B────────────────!─
      never came                                  a─u
      r read, w wrote, z resized, a announced, c created, u not tracked any more,
      B backend asked to end it, H HUP, T TERM, K KILL, x gone, ! survived, or over a limit
      memory           ▁█▅ 4.0 MiB to 8.0 MiB
      descriptors      ▁█▁ 10 to 12
      child processes  ▁█ 0 to 2
      processor        ▁█ 2ms to 6ms
    ");
}

#[test]
fn the_json_of_a_timeline_is_what_it_was() {
    assert_eq!(timeline().to_json().trim(), include_str!("timeline.json").trim());
}

#[test]
fn however_much_there_is_it_is_small() {
    let mut timeline = timeline();
    let line = timeline.sessions[0].clone();
    for number in 0..100 {
        let mut more = line.clone();
        (more.number, more.name) = (number, format!("a name as long as {number}\n\u{1b}[31m"));
        (more.wrote.bytes, more.read.bytes) = (1023 << 30, 1023 << 30);
        timeline.sessions.push(more);
    }
    timeline.dropped.sessions = 7;
    timeline.durations = Some(Durations {
        set_up: Duration::from_micros(123_456),
        body: Duration::from_micros(123_456),
        clean_up: Duration::from_micros(123_456),
        settle: Duration::from_micros(123_456),
        settled_last: Some("x".repeat(300)),
    });
    for sample in &mut timeline.samples {
        sample.memory = sample.memory.map(|bytes| bytes * 1023);
    }
    let text = timeline.render();
    assert!(text.lines().count() < 36, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.contains("and 90 more sessions") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn what_happened_in_an_instant_is_shown_in_its_order() {
    let mut timeline = timeline();
    timeline.sessions.truncate(1);
    timeline.lasted *= 1000;
    let text = timeline.render();
    assert!(text.contains(" acwrzHTKx "), "{text}");
}

#[test]
fn nothing_is_no_chart() {
    assert_snapshot!(Timeline::default().render(), @"timeline: 0ns");
}
