//! What is shown of a body that died in the middle: it can tell nothing, and its runner reads what it has left.

use crate::children::{Ran, alone};
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::process::Command;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use termleash::event::{self, Event};
use termleash::testing::Scope;
use termleash::{block_on, tracker::SessionGuard};

const HEADING: &str = "timeline until its process died, read after that: ";

/// A session that was typed into and has printed, and samples.
async fn live(t: &Scope) -> Result<SessionGuard, termleash::session::BoxError> {
    let session = t.session("cat").await?;
    session.write_line("typed").await?;
    session.wait_for_text("typed").await?;
    // Behind the first tick of the watchdog.
    while t.timeline().samples.len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(session)
}

#[track_caller]
fn shows_its_life(ran: &Ran) {
    ran.failed().says(&[HEADING, " = set-up ", "body ", "pty-", "w 6 B r ", "a announced", "last sample, "]);
    ran.says(&[" before its end: ", " of memory, ", "descriptors", "containment: "]).says_once(HEADING);
    ran.does_not_say("could not be read").does_not_say("x gone");
}

#[test]
fn a_body_that_somebody_kills_has_its_timeline_shown() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let _session = live(t).await?;
            Command::new("sh").args(["-c", "kill -9 $PPID; sleep 60"]).status()?;
            Ok(())
        });
    };
    ran.says(&["crashed: its process was ended by signal 9"]);
    shows_its_life(&ran);
}

#[test]
fn a_body_that_aborts_has_its_timeline_shown() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let _session = live(t).await?;
            std::process::abort()
        });
    };
    shows_its_life(&ran);
}

#[test]
fn a_body_whose_stack_overflows_has_its_timeline_shown() {
    fn deep(depth: u64) -> u64 {
        let frame = black_box([depth; 512]);
        if black_box(depth) == u64::MAX { 0 } else { deep(depth + 1) + frame[1] }
    }
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let _session = live(t).await?;
            black_box(deep(0));
            Ok(())
        });
    };
    ran.says(&["stack overflow"]);
    shows_its_life(&ran);
}

#[test]
fn a_body_that_exits_in_the_middle_has_its_timeline_shown() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let _session = live(t).await?;
            std::process::exit(0)
        });
    };
    ran.says(&["crashed: its process was ended by exit status 0"]);
    shows_its_life(&ran);
}

/// It blocks its thread, which its own watchdog sees: that shows it.
#[test]
fn a_body_that_its_watchdog_ends_shows_its_timeline_once() {
    let Some(ran) = alone(&[("TERMLEASH_TIMEOUT", "4s")]) else {
        return termleash::test(async |t| {
            t.session("cat").await?.keep();
            loop {
                std::thread::park();
            }
        });
    };
    ran.failed().says(&["did not end within its deadline of 4s", "timeline: ", "pty-"]).says_once("timeline: ");
}

#[test]
fn a_process_that_fails_behind_a_test_that_passed_shows_what_that_did() {
    let Some(ran) = alone(&[]) else {
        termleash::test(async |t| {
            live(t).await?.close().await?;
            Ok(())
        });
        if std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("TERMLEASH_S_")) {
            std::process::abort();
        }
        return;
    };
    ran.failed().says(&["passed, and its process was ended by signal 6", "timeline: ", "w 6 B r ", "x gone"]);
}

#[test]
fn of_several_calls_it_is_the_one_that_died_and_a_scope_that_was_leaked_keeps_its_own() {
    static LEAKED: Mutex<Option<Scope>> = Mutex::new(None);
    let Some(ran) = alone(&[("TERMLEASH_LEAKS", "off")]) else {
        termleash::test(async |t| {
            *LEAKED.lock().unwrap() = Some(t.clone());
            t.session("sh").await?.close().await?;
            t.session("sh").await?.close().await?;
            Ok(())
        });
        return termleash::test(async |t| {
            let _session = live(t).await?;
            let first = LEAKED.lock().unwrap().as_ref().map(Scope::timeline).ok_or("it was leaked")?;
            println!("the first had {} sessions, this has {}", first.sessions.len(), t.timeline().sessions.len());
            std::process::abort()
        });
    };
    ran.says(&["the first had 2 sessions, this has 1"]);
    assert_eq!(ran.text.matches("  pty-").count(), 1, "{}", ran.text);
    shows_its_life(&ran);
}

#[test]
fn a_call_that_dies_without_a_session_shows_none_of_an_earlier_one() {
    let Some(ran) = alone(&[]) else {
        termleash::test(async |t| {
            t.session("sh").await?.close().await?;
            Ok(())
        });
        return termleash::test(async |_| std::process::abort());
    };
    ran.failed().says(&[HEADING, " = set-up "]).does_not_say("pty-").does_not_say("could not be read");
}

/// Where a copy of the process would write into what its parent's runner reads.
#[test]
#[expect(unsafe_code, reason = "a child that is forked without exec")]
fn what_a_forked_copy_of_the_body_does_is_not_in_it() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let session = live(t).await?;
            let before = t.timeline().moments.len();
            // SAFETY: the child touches what this thread holds alone, and exits.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    let is_done = pin!(session.resize(7, 9)).poll(&mut Context::from_waker(Waker::noop()));
                    let has_more = t.timeline().moments.len() > before;
                    libc::_exit(i32::from(!(has_more && matches!(is_done, Poll::Ready(Ok(()))))));
                }
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                assert_eq!(status, 0, "the copy has none of its own");
            }
            std::process::abort()
        });
    };
    ran.does_not_say("z resized");
    shows_its_life(&ran);
}

/// Where its memory is mapped: from, and how many bytes.
fn memory() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("a list");
    let line = maps.lines().find(|line| line.contains("termleash-timeline")).expect("it is mapped");
    let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| usize::from_str_radix(text, 16).expect("a number");
    (number(from), number(to) - number(from))
}

#[test]
#[expect(unsafe_code, reason = "what a wild pointer does")]
fn a_body_that_writes_over_its_timeline_has_the_rest_of_it_shown() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let _session = live(t).await?;
            let (start, bytes) = memory();
            // Steps stand in the second half.
            let steps = start + bytes / 2;
            // SAFETY: it is mapped, for writing, as long as this process lives.
            unsafe { std::ptr::with_exposed_provenance_mut::<u8>(steps).write_bytes(0xA5, bytes / 2) };
            std::process::abort()
        });
    };
    ran.failed().says(&[HEADING, "pty-", "w 6 B r ", "512 of its records could not be read, and are missing here"]);
}

#[test]
#[expect(unsafe_code, reason = "what a wild pointer does")]
fn a_body_that_writes_over_all_of_it_is_told_without() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |t| {
            let _session = live(t).await?;
            let (start, bytes) = memory();
            // SAFETY: as above.
            unsafe { std::ptr::with_exposed_provenance_mut::<u8>(start).write_bytes(0xFF, bytes) };
            std::process::abort()
        });
    };
    ran.failed().says(&["crashed: its process was ended by signal 6", "containment: "]).does_not_say(HEADING);
}

/// A test looks at its descriptors, and may close them all.
#[test]
fn its_memory_is_no_descriptor_of_the_body() {
    termleash::test(async |_| {
        let links = std::fs::read_dir("/proc/self/fd")?.flatten().flat_map(|entry| std::fs::read_link(entry.path()));
        let links: Vec<_> = links.filter(|link| link.to_string_lossy().contains("memfd")).collect();
        assert!(links.is_empty(), "{links:?}");
        assert!(memory().1 > 100_000);
        Ok(())
    });
}

#[test]
fn a_listener_of_the_runner_hears_of_a_body_that_died() {
    let Some(ran) = alone(&[]) else {
        event::listen(|event| {
            if let Event::TestEnded { timeline, .. } = event {
                println!("heard of {} sessions, dead: {}", timeline.sessions.len(), timeline.is_of_dead);
            }
        })
        .unwrap();
        return termleash::test(async |t| {
            let _session = live(t).await?;
            std::process::abort()
        });
    };
    ran.says_once("heard of 1 sessions, dead: true");
    shows_its_life(&ran);
}

/// It has no frame, and so no timeline.
#[test]
fn a_part_that_dies_shows_none() {
    let Some(ran) = alone(&[]) else {
        return termleash::isolated(|| {
            block_on(async {
                let helper = termleash::SessionTestHelper::new(termleash::PtyBackend::new());
                helper.create_tracked_session("cat").await.expect("a session").keep();
                std::mem::forget(helper);
            });
            std::process::abort()
        });
    };
    ran.failed().says(&["crashed: its process was ended by signal 6"]).does_not_say(HEADING);
}
