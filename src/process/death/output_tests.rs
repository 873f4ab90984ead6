//! Last words as programs really print them, and what only looks like them.

use super::*;

fn said(output: &str) -> Option<Said> {
    LastWords::of(output).map(|words| words.said)
}

fn aborts(reason: AbortReason, thread: Option<&str>, message: &str) -> Option<Said> {
    let message = Some(message.to_owned()).filter(|message| !message.is_empty());
    Some(Said::Aborts { reason, thread: thread.map(str::to_owned), message })
}

const TRACE: &str = "stack backtrace:\n   0: std::panicking::begin_panic\n             at /rustc/x/panicking.rs:761:5\n   1: t::main\n\
                     note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n";

#[test]
fn a_panic_counts_as_the_last_thing_only() {
    let panic = "test a ... \nthread 'a::b' (7) panicked at t.rs:3:15:\nassertion `left == right` failed: words\n  left: 1\n right: 2\n";
    let message = "assertion `left == right` failed: words left: 1 right: 2";
    for trace in ["", TRACE, "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n\n"] {
        assert_eq!(said(&format!("{panic}{trace}")), aborts(AbortReason::Panic, Some("a::b"), message));
        assert_eq!(said(&format!("{panic}{trace}and it goes on\n")), Some(Said::Panicked), "{trace}");
    }
    let lines = "thread 'x' panicked at t.rs:1:1:\nthe first\nof two lines\nnote: run with\n";
    assert_eq!(said(lines), aborts(AbortReason::Panic, Some("x"), "the first of two lines"));
    let old = "thread 'it's' panicked at 'boom', src/a.rs:1:2\nnote: run with\n";
    assert_eq!(said(old), aborts(AbortReason::Panic, Some("it's"), "'boom', src/a.rs:1:2"));
    assert_eq!(said("somebody panicked at the disco\n"), None);
}

#[test]
fn a_panic_during_another_has_both_messages() {
    let double = format!(
        "\nthread 'main' (1) panicked at t.rs:2:86:\nthe first\nof two lines\n{TRACE}\nthread 'main' (1) panicked at t.rs:1:49:\n\
         on its way out\n{TRACE}\nthread 'main' (1) panicked at /rustc/5/library/core/src/panicking.rs:233:5:\n\
         panic in a destructor during cleanup\n{TRACE}thread caused non-unwinding panic. aborting.\n"
    );
    let message = "on its way out (the first was: the first of two lines)";
    assert_eq!(said(&double), aborts(AbortReason::DoublePanic, Some("main"), message));
    // Another thread's panic has nothing to do with it.
    let other = double.replacen("thread 'main'", "thread 'other'", 1);
    assert_eq!(said(&other), aborts(AbortReason::DoublePanic, Some("main"), "on its way out"));
    let told = "panicked at t.rs:4:114:\n\nthread panicked while processing panic. aborting.\n";
    assert_eq!(said(told), aborts(AbortReason::DoublePanic, None, ""));
    let foreign = "thread 'main' panicked at t.rs:2:1:\nwithin C\nnote: run with\nthread 'main' panicked at core/src/panicking.rs:225:5:\n\
                   panic in a function that cannot unwind\nthread caused non-unwinding panic. aborting.\n";
    assert_eq!(said(foreign), aborts(AbortReason::CannotUnwind, Some("main"), "within C"));
    assert_eq!(said("thread panicked while processing panic. aborting.\n"), aborts(AbortReason::DoublePanic, None, ""));
}

#[test]
fn what_is_always_fatal_counts_with_a_few_lines_behind_it() {
    let failed = format!("memory allocation of 70368744177664 bytes failed\n{TRACE}");
    assert_eq!(said(&failed), Some(Said::AllocationFailed { bytes: Some(70368744177664) }));
    assert_eq!(said(&format!("{failed}another thread\n")), said(&failed));
    assert_eq!(said(&format!("{failed}{}", "it lives\n".repeat(11))), None);
    assert_eq!(said("memory allocation of some bytes failed\n"), None);
    let overflow = "\nthread 'deep' (9) has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
    assert_eq!(said(overflow), Some(Said::StackOverflow { thread: Some("deep".into()) }));
    let node = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\r\n----- Native stack trace -----\r\n\r\n \
                1: 0xb78db3 node::OOMErrorHandler(char const*, v8::OOMDetails const&) [node]\r\n";
    assert_eq!(said(node), Some(Said::HeapLimit));
    assert_eq!(said("fatal runtime error: Rust cannot catch foreign exceptions, aborting\n"), {
        aborts(AbortReason::Runtime, None, "Rust cannot catch foreign exceptions, aborting")
    });
}

#[test]
fn the_c_librarys_words_are_known() {
    let of = |reason, text: &str, message: &str| assert_eq!(said(text), aborts(reason, None, message), "{text}");
    of(AbortReason::Assertion, "a: a.c:3: main: Assertion `x > 1' failed.\n", "Assertion `x > 1' failed.");
    of(
        AbortReason::Assertion,
        "Assertion failed: (x), function f, file a.c, line 3.\n",
        "Assertion failed: (x), function f, file a.c, line 3.",
    );
    for text in
        ["free(): double free detected in tcache 2", "double free or corruption (out)", "malloc(): corrupted top size"]
    {
        of(AbortReason::HeapCorruption, &format!("{text}\n"), text);
    }
    let smashed = "*** stack smashing detected ***: terminated";
    of(AbortReason::Overrun, smashed, smashed);
    let thrown = "terminate called after throwing an instance of 'std::runtime_error'\n  what():  no such thing\n";
    of(AbortReason::Exception, thrown, "std::runtime_error: no such thing");
    let full = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n";
    assert_eq!(said(full), Some(Said::AllocationFailed { bytes: None }));
    // Rust's own assertion is a panic.
    assert_eq!(said("assertion failed: x > 1\n"), None);
}

#[test]
fn of_two_the_later_one_counts() {
    let allocation = "memory allocation of 5 bytes failed\n";
    let panic = "thread 'a' panicked at a.rs:1:1:\nboom\n";
    assert_eq!(said(&format!("{panic}{allocation}")), Some(Said::AllocationFailed { bytes: Some(5) }));
    assert_eq!(said(&format!("{allocation}{panic}")), aborts(AbortReason::Panic, Some("a"), "boom"));
}

proptest::proptest! {
    #[test]
    fn no_output_makes_it_panic(pieces in proptest::collection::vec(piece(), 0..12)) {
        let _ = LastWords::of(&pieces.concat());
    }
}

fn piece() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let words = [
        "thread '",
        "' (7) ",
        "panicked at ",
        "\n",
        "'",
        ":\n",
        " has overflowed its stack",
        "thread panicked while p",
        "note: ",
        "memory allocation of ",
        "7 bytes failed",
        "terminate called ",
        "what():",
        "é",
        "stack backtrace:\n",
        "  1: ",
    ];
    prop_oneof![prop::sample::select(words.to_vec()).prop_map(str::to_owned), any::<String>()]
}
