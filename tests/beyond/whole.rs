//! The memory of a test as a whole: what lives is told, and what hears no word is ended.

use crate::children::alone;
use crate::{MIB, bystander};
use std::time::Duration;
use termleash::SessionSpec;
use termleash::testing::Limits;

/// 140 MB, in small steps.
const FILLS: &str = "perl -e 'for (1..70) { push @x, \"x\" x 2_000_000 } sleep 1000'";

#[test]
fn a_test_over_its_memory_fails_with_what_lives_and_how_big_it_is() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "128MiB")]) else {
        return termleash::test(async |t| {
            let _small = bystander(t).await?;
            let big = t.session(SessionSpec::shell(FILLS)).await?;
            big.wait_for_exit().await?;
            println!("it goes on");
            Ok(())
        });
    };
    ran.failed()
        .says(&["failed: the test went over its limit of 128.0 MiB of memory: it had ", "its own process, pid "]);
    ran.says(&["session `/bin/sh -c perl", "made at tests/beyond/whole.rs:", "session `cat`", "TERMLEASH_MEMORY"]);
    ran.says_once("went over").does_not_say("it goes on").does_not_say("heap profile");
}

/// Where its own process has it, the heap is where to look.
#[test]
fn a_test_that_has_too_much_itself_says_where_its_heap_is_or_how_to_learn_it() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::test(async |t| {
            let session = bystander(t).await?;
            let held = vec![1u8; 70 << 20];
            session.wait_for_exit_within(Duration::from_secs(100)).await?;
            drop(held);
            Ok(())
        });
    };
    ran.failed().says(&["failed: the test went over its limit of 64.0 MiB", "its own process, pid ", "session `cat`"]);
    ran.says(&["heap profile: none, the global allocator does not say who has made what"]);
}

#[test]
fn a_test_that_blocks_beyond_its_memory_is_ended() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::test(async |_| {
            let held = vec![1u8; 70 << 20];
            std::thread::sleep(Duration::from_secs(1000));
            drop(held);
            Ok(())
        });
    };
    ran.failed().says(&["was told to end, did not, and blocks its thread", "the test went over its limit of 64.0 MiB"]);
    ran.says(&["heap profile: none", "thread `", "let it await"]).says_once("went over");
}

/// No scope, no watchdog: only the keeper ends it.
#[test]
fn a_part_that_hears_no_word_is_ended_by_the_keeper() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::isolated(|| {
            let held = vec![1u8; 70 << 20];
            std::thread::sleep(Duration::from_secs(1000));
            drop(held);
        });
    };
    ran.failed().says(&["cause of death: killed for a limit: the test went over its limit of 64.0 MiB"]);
    ran.says(&["and it did not end when it was told to"]).says_once("went over");
}

#[test]
fn a_test_that_goes_on_to_grow_is_ended_at_once() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        return termleash::isolated(|| {
            let mut held = Vec::new();
            // 500 MiB, far more than a report takes.
            for _ in 0..50 {
                held.push(vec![1u8; 10 << 20]);
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_secs(1000));
        });
    };
    ran.failed().says(&["killed for a limit: the test went over its limit of 64.0 MiB", "and it went on to grow"]);
}

/// What another call has had, and what it was told, is not held against the one that runs.
#[test]
fn a_call_that_was_over_its_memory_costs_the_next_one_nothing() {
    let Some(ran) = alone(&[]) else {
        let fills = |name: &str| {
            let over = std::panic::catch_unwind(|| {
                termleash::options().limits(Limits::new().max_test_memory(64 * MIB)).run(async |t| {
                    let held = vec![1u8; 70 << 20];
                    t.session("cat").await?.wait_for_exit_within(Duration::from_secs(100)).await?;
                    drop(held);
                    Ok(())
                });
            });
            let why = *over.unwrap_err().downcast::<String>().unwrap();
            assert!(why.contains("went over its limit"), "{why}");
            println!("{name}: over");
        };
        fills("first");
        // Longer than one that was told may take to end.
        termleash::options().limits(Limits::new()).run(async |t| {
            let session = t.session("cat").await?;
            assert!(session.wait_for_exit_within(Duration::from_secs(8)).await.is_err());
            println!("second: lives");
            Ok(())
        });
        return fills("third");
    };
    ran.passed().says(&["first: over", "second: lives", "third: over"]);
}

/// Nobody looks for a word before, and it is not ended for not having heard one.
#[test]
fn a_test_that_has_too_much_before_its_part_runs_is_told_when_that_runs() {
    let Some(ran) = alone(&[("TERMLEASH_MEMORY", "64MiB")]) else {
        let held = vec![1u8; 70 << 20];
        // For as long as the keeper has looked.
        std::thread::sleep(Duration::from_millis(300));
        termleash::test(async |t| {
            t.session("cat").await?.wait_for_exit_within(Duration::from_secs(100)).await?;
            Ok(())
        });
        return drop(held);
    };
    ran.failed().says(&["failed: the test went over its limit of 64.0 MiB of memory: it had "]).says_once("went over");
    ran.does_not_say("when it was told to");
}
