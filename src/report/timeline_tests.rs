//! The chart, of data made by hand.

use crate::event::{Dropped, Durations, End, Flow, Moment, Sample, SessionLine, Timeline, What};
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
      sleep 1000                                  a────L──B────────────────!─
      never came                                  a─u
      r read, w wrote, z resized, a announced, c created, u not tracked any more,
      B backend asked to end it, H HUP, T TERM, K KILL, x gone, ! survived, L over a limit
      session `sleep 1000` at 1.200s: over its limit of memory, 64 MiB: 80 MiB
      memory           ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁██████████████████████████▅ 4.0 MiB to 8.0 MiB
      descriptors      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁██████████████████████████▁ 10 to 12
      child processes  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█ 0 to 2
      % of a core      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁███████████████████████████ 0 % to 1 %
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

/// Of so many sessions, one after the other, in a test of so long.
fn busy(sessions: u32, lasted: Duration) -> Timeline {
    let part = lasted / sessions.max(1);
    let line = |number: u32| SessionLine {
        number,
        name: format!("pty-{number}"),
        from: part * number,
        ended: (number + 1 < sessions).then(|| (part * (number + 1), End::Gone)),
        wrote: Flow::default(),
        read: Flow { bytes: 1 << 30, times: 7, until: part * number },
    };
    let created = |number: u32| Moment { at: part * number + part / 4, session: Some(number), what: What::Created };
    let sample = |number: u32| Sample {
        at: lasted / 4 * number,
        memory: Some(u64::from(number + 1) << 20),
        processor: Some(lasted / 4 * number * number / 3),
        ..Sample::default()
    };
    Timeline {
        lasted,
        // A recorder keeps the newest.
        sessions: (0..sessions).rev().take(128).rev().map(line).collect(),
        moments: (0..sessions).rev().take(128).rev().map(created).collect(),
        dropped: Dropped { sessions: u64::from(sessions.saturating_sub(128)), ..Dropped::default() },
        samples: (0..5).map(sample).collect(),
        durations: Some(Durations { body: lasted, ..Durations::default() }),
        ..Timeline::default()
    }
}

#[test]
fn no_session_and_one() {
    assert_snapshot!(busy(0, Duration::from_millis(3)).render(), @r"
    timeline: 3ms = set-up 0ns, body 3ms, clean-up 0ns, settle 0ns
      memory           ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▅▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆█ 1.0 MiB to 5.0 MiB
      % of a core      ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆▆▆▆▆▆▆██████████████ 33 % to 233 %
    ");
    assert_snapshot!(busy(1, Duration::from_millis(3)).render(), @r"
    timeline: 3ms = set-up 0ns, body 3ms, clean-up 0ns, settle 0ns
      pty-0            a────────────c──────────────────────────────────────── r 1.0 GiB
      a announced, c created
      memory           ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▅▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆█ 1.0 MiB to 5.0 MiB
      % of a core      ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆▆▆▆▆▆▆██████████████ 33 % to 233 %
    ");
}

#[test]
fn thirty_sessions_in_ten_minutes_show_the_last() {
    assert_snapshot!(busy(30, Duration::from_secs(600)).render(), @r"
    timeline: 10m = set-up 0ns, body 10m, clean-up 0ns, settle 0ns
      pty-10                             acx                                  r 1.0 GiB
      pty-11                              acx                                 r 1.0 GiB
      pty-12                                acx                               r 1.0 GiB
      pty-13                                  acx                             r 1.0 GiB
      pty-14                                    acx                           r 1.0 GiB
      pty-15                                      acx                         r 1.0 GiB
      pty-16                                       acx                        r 1.0 GiB
      pty-17                                         acx                      r 1.0 GiB
      pty-18                                           acx                    r 1.0 GiB
      pty-19                                             acx                  r 1.0 GiB
      pty-20                                               acx                r 1.0 GiB
      pty-21                                                acx               r 1.0 GiB
      pty-22                                                  acx             r 1.0 GiB
      pty-23                                                    acx           r 1.0 GiB
      pty-24                                                      acx         r 1.0 GiB
      pty-25                                                        acx       r 1.0 GiB
      pty-26                                                         acx      r 1.0 GiB
      pty-27                                                           acx    r 1.0 GiB
      pty-28                                                             acx  r 1.0 GiB
      pty-29                                                               ac r 1.0 GiB
      and 10 more sessions
      a announced, c created, x gone
      memory           ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▅▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆█ 1.0 MiB to 5.0 MiB
      % of a core      ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆▆▆▆▆▆▆██████████████ 33 % to 233 %
    ");
}

#[test]
fn of_three_hundred_the_rest_is_counted_and_what_went_wrong_is_shown() {
    let mut timeline = busy(300, Duration::from_secs(60));
    timeline.sessions[3].name = "the one that broke".into();
    let what = What::Breach { limit: "processes, 10".into(), value: "11".into() };
    let at = timeline.sessions[3].from;
    timeline.moments.push(Moment { at, session: Some(timeline.sessions[3].number), what });
    let text = timeline.render();
    assert!(text.contains("and 280 more sessions") && text.contains("  the one that br… "), "{text}");
    assert!(text.contains("session `the one that broke` at "), "{text}");
    assert!(text.lines().count() < 30 && text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_name_of_wide_or_hidden_characters_moves_nothing() {
    let mut timeline = busy(5, Duration::from_secs(1));
    let names = ["端末のセッション一二三", "端末", "\u{202e}desrever\u{301}", "a\tb\n", "x"];
    for (line, name) in timeline.sessions.iter_mut().zip(names) {
        line.name = name.into();
    }
    assert_snapshot!(timeline.render(), @r"
    timeline: 1s = set-up 0ns, body 1s, clean-up 0ns, settle 0ns
      端末のセッショ…  a─c───────x                                            r 1.0 GiB
      端末                       a──c───────x                                 r 1.0 GiB
      ?desrever?                            a──c───────x                      r 1.0 GiB
      a?b?                                             a──c───────x           r 1.0 GiB
      x                                                           a─c──────── r 1.0 GiB
      a announced, c created, x gone
      memory           ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▅▅▅▅▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆█ 1.0 MiB to 5.0 MiB
      % of a core      ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆▆▆▆▆▆▆██████████████ 33 % to 233 %
    ");
}

#[test]
fn of_a_test_whose_process_died_it_says_so_with_the_last_that_is_known() {
    let mut timeline = busy(1, Duration::from_secs(4));
    timeline.is_of_dead = true;
    timeline.samples.pop();
    timeline.dropped.torn = 2;
    timeline.sessions_use = timeline.samples.clone();
    let what = |value: u32| What::Breach { limit: "memory of the test, 1 GiB".into(), value: format!("{value} GiB") };
    timeline.moments.extend((1..=9).map(|number| Moment {
        at: Duration::from_millis(3000 + u64::from(number)),
        session: None,
        what: what(number),
    }));
    assert_snapshot!(timeline.render(), @r"
    timeline until its process died, read after that: 4s = body 4s
      pty-0            a────────────c──────────────────────────────────────── r 1.0 GiB
      the test         ────────────────────────────────────────L─────────────
      a announced, c created, L over a limit
      the test at 3.001s: over its limit of memory of the test, 1 GiB: 1 GiB
      the test at 3.002s: over its limit of memory of the test, 1 GiB: 2 GiB
      the test at 3.003s: over its limit of memory of the test, 1 GiB: 3 GiB
      the test at 3.004s: over its limit of memory of the test, 1 GiB: 4 GiB
      the test at 3.005s: over its limit of memory of the test, 1 GiB: 5 GiB
      the test at 3.006s: over its limit of memory of the test, 1 GiB: 6 GiB
      and 3 more times over a limit
      memory           ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆▆▆▆▆▆▆██████████████ 1.0 MiB to 4.0 MiB
      % of a core      ▁▁▁▁▁▁▁▁▁▁▁▁▁▅▅▅▅▅▅▅▅▅▅▅▅▅▅███████████████████████████ 33 % to 167 %
      sessions' memory ▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆▆▆▆▆▆▆██████████████ 1.0 MiB to 4.0 MiB
        % of a core    ▁▁▁▁▁▁▁▁▁▁▁▁▁▅▅▅▅▅▅▅▅▅▅▅▅▅▅███████████████████████████ 33 % to 167 %
      last sample, 1s before its end: 4.0 MiB of memory, 3s of processor time
      2 of its records could not be read, and are missing here
    ");
}

/// As of a process that has forged it.
#[test]
fn whatever_the_numbers_are_it_stays_small() {
    let far = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for lasted in far {
        let mut timeline = busy(300, Duration::from_secs(1));
        (timeline.lasted, timeline.is_of_dead) = (lasted, true);
        timeline.dropped = Dropped { sessions: u64::MAX, torn: u64::MAX, ..Dropped::default() };
        for (line, at) in timeline.sessions.iter_mut().zip(far.into_iter().cycle()) {
            (line.from, line.ended) = (at, Some((Duration::MAX - at, End::Gone)));
            (line.read.bytes, line.wrote.bytes, line.wrote.times) = (u64::MAX, u64::MAX, 1);
        }
        for (sample, at) in timeline.samples.iter_mut().zip(far) {
            (sample.at, sample.memory, sample.processor) = (at, Some(u64::MAX), Some(Duration::MAX - at));
        }
        let text = timeline.render();
        assert!(text.lines().count() < 40 && text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert_eq!(Timeline::from_json(&timeline.to_json()).unwrap(), timeline);
    }
}
