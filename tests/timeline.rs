//! What a test's timeline has and who sees it: a failing test's reader, a listener, and whoever sets `TERMLEASH_LOG`.

#![cfg(all(target_os = "linux", feature = "tokio"))]

#[path = "timeline/bounded.rs"]
mod bounded;
mod children;
#[path = "timeline/deaths.rs"]
mod deaths;
#[path = "timeline/files.rs"]
mod files;
#[path = "timeline/printing.rs"]
mod printing;
#[path = "timeline/settles.rs"]
mod settles;

use children::{alone, captured};
use std::fs::File;
use std::mem::forget;
use termleash::event::{self, End, Event, Step, Timeline, What};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, block_on};

const HERE: (&str, &str) = ("TERMLEASH_ISOLATE", "never");

#[test]
fn a_session_leaves_its_whole_life_in_the_timeline() {
    termleash::test(async |t| {
        let session = t.session("sh").await?;
        let id = session.id().to_string();
        assert_eq!(session.run("echo it").await?.stdout(), "it");
        session.resize(10, 20).await?;
        let printed = session.output()?.bytes().len() as u64;
        session.close().await?;

        let timeline = Timeline::from_json(&t.timeline().to_json())?;
        assert_eq!(timeline.test.as_deref(), Some("a_session_leaves_its_whole_life_in_the_timeline"));
        let [line] = &timeline.sessions[..] else { panic!("{:?}", timeline.sessions) };
        assert_eq!(line.name, id);
        assert!(line.wrote.bytes >= 8 && line.read.bytes >= printed, "{line:?}");
        assert!(line.ended.is_some_and(|(at, end)| end == End::Gone && at <= timeline.lasted));
        assert!(timeline.moments.is_sorted_by_key(|moment| moment.at), "{:?}", timeline.moments);
        let position = |wanted: &dyn Fn(&What) -> bool| {
            timeline.moments.iter().position(|moment| wanted(&moment.what)).expect("it is recorded")
        };
        let places = [
            position(&|what| *what == What::Announced),
            position(&|what| *what == What::Created),
            position(&|what| matches!(what, What::Wrote(_))),
            position(&|what| matches!(what, What::Resized { rows: 10, cols: 20, .. })),
            position(&|what| matches!(what, What::Kill { step: Step::HungUp, was_delivered: true, .. })),
            position(&|what| *what == What::Gone),
        ];
        assert!(places.is_sorted(), "{places:?} in {:?}", timeline.moments);
        Ok(())
    });
}

#[test]
fn a_helper_outside_of_a_test_has_a_timeline_of_its_own() {
    let helper = SessionTestHelper::new(PtyBackend::new());
    block_on(async {
        helper.create_tracked_session("sh").await.unwrap().keep();
        helper.kill_tracked_sessions().await.unwrap();
    });
    let timeline = helper.timeline();
    assert_eq!((timeline.test.as_deref(), timeline.sessions.len()), (None, 1));
    assert_eq!(timeline.moments.last().map(|moment| &moment.what), Some(&What::Gone));
}

#[test]
fn a_failed_test_shows_its_timeline_with_what_settled_last() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            t.session("sh").await?.keep();
            let file = File::open("/etc/hostname")?;
            std::thread::spawn(move || {
                // Held for as long as the leak check has looked a few times.
                std::thread::sleep(std::time::Duration::from_millis(300));
                drop(file);
            });
            Err("its own failure".into())
        });
    };
    ran.failed().says(&["failed: its own failure", "timeline: ", " = set-up ", "body ", "clean-up ", "settle "]);
    ran.says(&["last to settle: file `/etc/hostname`", "pty-", "a announced", "x gone", "containment: "]);
}

#[test]
fn a_test_that_panics_shows_it_beside_its_panic() {
    let Some(ran) = alone(&[HERE]) else {
        return termleash::test(async |t| {
            t.session("sh").await?.keep();
            panic!("its own panic")
        });
    };
    ran.failed().says(&["its own panic", "panicked; timeline: ", "x gone"]);
}

#[test]
fn a_test_that_leaks_shows_it_though_it_has_no_session() {
    let Some(ran) = alone(&[HERE]) else {
        return termleash::test(async |_| {
            forget(File::open("/etc/hostname")?);
            Ok(())
        });
    };
    ran.failed().says(&["leaked: file `/etc/hostname`", "timeline: ", "set-up "]).does_not_say("created");
}

#[test]
fn a_test_that_passes_shows_nothing_and_a_listener_gets_it_all_the_same() {
    let Some(ran) = alone(&[HERE]) else {
        event::listen(|event| {
            if let Event::TestEnded { timeline, .. } = event {
                let parts = timeline.durations.as_ref().expect("it is over");
                let sum = parts.set_up + parts.body + parts.clean_up + parts.settle;
                assert_eq!(sum, timeline.lasted);
                assert!(timeline.samples.len() >= 3 && timeline.samples.iter().all(|sample| sample.memory.is_some()));
                println!("heard of {} sessions", timeline.sessions.len());
            }
        })
        .unwrap();
        return termleash::test(async |t| {
            t.session("sh").await?.keep();
            Ok(())
        });
    };
    ran.passed().says_once("heard of 1 sessions").does_not_say("timeline:");
}

/// Past what libtest captures, as it happens.
#[test]
fn the_log_is_live_in_the_process_of_a_test_and_outside_of_tests() {
    let Some(ran) = captured(&[("TERMLEASH_LOG", "all")]) else {
        return termleash::test(async |t| {
            let session = t.session(SessionSpec::new("cat")).await?;
            session.write_line("typed").await?;
            session.close().await?;
            Ok(())
        });
    };
    let name = "the_log_is_live_in_the_process_of_a_test_and_outside_of_tests";
    ran.passed().says(&[&format!("termleash: {name} +"), "session `cat` announced"]);
    ran.says(&["session `pty-", "created", "wrote 6 bytes", "HUP to process ", "gone"]).says(&["KiB", "descriptors"]);
}

#[test]
fn the_log_of_sessions_has_their_lives_alone() {
    let Some(ran) = captured(&[HERE, ("TERMLEASH_LOG", "sessions")]) else {
        let helper = SessionTestHelper::new(PtyBackend::new());
        return block_on(async {
            let session = helper.create_tracked_session("sh").await.unwrap();
            session.run("true").await.unwrap();
            session.close().await.unwrap();
        });
    };
    ran.passed().says(&["termleash: +", "session `sh` announced", "created", "gone"]).does_not_say("wrote");
    ran.does_not_say("descriptors");
}

#[test]
fn without_the_variable_there_is_no_log() {
    let Some(ran) = alone(&[HERE]) else {
        return termleash::test(async |t| {
            t.session("sh").await?.close().await?;
            Ok(())
        });
    };
    ran.passed().does_not_say("announced");
}
