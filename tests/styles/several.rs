//! Several calls in one test function: one process answers them all, the k-th of it the k-th of the test's.

use crate::children::{alone, is_child};
use crate::{PLACE, here, is_first, process_of};
use std::panic::catch_unwind;

#[test]
fn the_calls_of_a_function_run_each_once_in_their_order_and_in_one_process() {
    let Some(ran) = alone(&[]) else {
        here("outside");
        let mut all = Vec::new();
        for call in ["the first", "the second", "the third"] {
            termleash::test(async |_| {
                here(call);
                all.push(call);
                println!("{call} finds {all:?}");
                Ok(())
            });
        }
        return;
    };
    ran.passed().says(&[
        "the first finds [\"the first\"]",
        "the second finds [\"the first\", \"the second\"]",
        "the third finds [\"the first\", \"the second\", \"the third\"]",
    ]);
    let first = process_of(&ran, "the first");
    assert_eq!([process_of(&ran, "the second"), process_of(&ran, "the third")], [first; 2]);
    assert_ne!(process_of(&ran, "outside"), first);
}

#[test]
fn the_call_that_fails_is_the_one_that_failed() {
    let Some(ran) = alone(&[]) else {
        termleash::test(async |_| Ok(()));
        println!("between");
        termleash::test(async |_| Err("of the second".into()));
        return println!("behind");
    };
    ran.failed().says_once("of the second").says(&["between", "of the second"]).does_not_say("behind");
}

#[test]
fn a_failure_that_is_caught_is_followed_by_the_next_call() {
    let Some(ran) = alone(&[]) else {
        let first = catch_unwind(|| termleash::test(async |_| Err("of the first".into())));
        assert!(first.is_err());
        return termleash::test(async |_| {
            println!("the second runs");
            Ok(())
        });
    };
    ran.passed().says_once("of the first").says_once("the second runs");
}

/// For the children, none of which makes another: what is killed takes nothing away.
fn a_path() -> (Option<tempfile::TempDir>, String) {
    let folder = (!is_child()).then(|| tempfile::tempdir().unwrap());
    let path = folder.as_ref().map(|folder| folder.path().join("first").to_str().unwrap().to_owned());
    (folder, path.unwrap_or_default())
}

/// A function whose second call one of its two processes makes.
fn makes_a_second_call_in(the_first: bool) {
    let is_first = is_first();
    termleash::test(async |_| {
        println!("the first runs");
        Ok(())
    });
    if is_first == the_first {
        termleash::test(async |_| {
            println!("the second runs");
            Ok(())
        });
    }
}

#[test]
fn a_call_that_its_own_process_does_not_make_is_an_error() {
    let (_folder, path) = a_path();
    let Some(ran) = alone(&[(PLACE, &path)]) else { return makes_a_second_call_in(true) };
    ran.failed()
        .says_once("the first runs")
        .does_not_say("the second runs")
        .says(&["made another call than its own process", "the same calls"]);
}

#[test]
fn a_call_that_only_its_own_process_makes_is_not_run_and_is_told() {
    let (_folder, path) = a_path();
    let Some(ran) = alone(&[(PLACE, &path)]) else { return makes_a_second_call_in(false) };
    ran.passed()
        .says_once("the first runs")
        .does_not_say("the second runs")
        .says(&["made fewer calls", "the same calls"]);
}

#[test]
fn a_call_after_a_crash_that_was_caught_is_an_error_and_runs_nothing_twice() {
    let Some(ran) = alone(&[]) else {
        let first = catch_unwind(|| {
            termleash::isolated(|| {
                println!("the first runs");
                std::process::abort()
            });
        });
        assert!(first.is_err());
        return termleash::isolated(|| println!("the second runs"));
    };
    ran.failed().says_once("the first runs").does_not_say("the second runs").says(&["has ended in an earlier call"]);
}
