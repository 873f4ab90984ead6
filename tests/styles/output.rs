//! What a body prints is its test's own output: once, in order, captured where libtest captures, and nothing beside it.

use crate::children::{Ran, alone, captured};
use crate::{here, own_name, process_of};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

/// All ways to print, and what came of them.
fn prints_in_all_ways() {
    println!("by println");
    eprintln!("by eprintln");
    let stdout = std::io::stdout();
    rustix::io::write(&stdout, b"by write(1)\n").unwrap();
    // Into the C library's own buffer: standard output is no terminal.
    #[allow(unsafe_code, reason = "what C code prints")]
    // SAFETY: the text ends with a NUL.
    unsafe {
        libc::puts(c"by puts".as_ptr());
    }
}

const WAYS: [&str; 4] = ["by println", "by eprintln", "by write(1)", "by puts"];

/// The child's own libtest is the only one that is heard.
#[track_caller]
fn has_one_libtest(ran: &Ran) {
    ran.says_once("running 1 test").says_once("test result: ");
}

#[test]
fn what_a_failing_body_prints_is_shown_once_below_its_tests_name() {
    let Some(ran) = captured(&[]) else {
        return termleash::test(async |_| {
            prints_in_all_ways();
            Err("no route".into())
        });
    };
    ran.failed();
    has_one_libtest(&ran);
    let heading = format!("---- {} stdout ----", own_name());
    for way in WAYS {
        ran.says_once(way).says(&[&heading, way, "\nfailures:\n"]);
    }
    ran.says(&[&heading, "no route", "\nfailures:\n"]);
}

fn passes_and_prints() {
    termleash::test(async |_| {
        prints_in_all_ways();
        Ok(())
    });
}

#[test]
fn what_a_passing_body_prints_is_hidden() {
    let Some(ran) = captured(&[]) else { return passes_and_prints() };
    ran.passed();
    has_one_libtest(&ran);
    for way in WAYS {
        ran.does_not_say(way);
    }
}

#[test]
fn uncaptured_it_is_shown_once() {
    let Some(ran) = alone(&[]) else { return passes_and_prints() };
    ran.passed();
    has_one_libtest(&ran);
    for way in WAYS {
        ran.says_once(way);
    }
}

#[test]
fn what_stands_outside_of_the_closure_is_printed_once_and_by_the_test_process() {
    let Some(ran) = alone(&[]) else {
        here("what is before");
        termleash::test(async |_| {
            here("the body");
            Ok(())
        });
        return here("what is behind");
    };
    ran.passed().says(&["what is before", "the body", "what is behind"]);
    let before = process_of(&ran, "what is before");
    assert_eq!(before, process_of(&ran, "what is behind"));
    assert_ne!(before, process_of(&ran, "the body"));
}

#[test]
fn a_process_that_holds_the_output_open_does_not_hold_the_test_up() {
    let Some(ran) = alone(&[]) else {
        termleash::isolated(|| {
            assert!(Command::new("sh").args(["-c", "sleep 1000 & echo first"]).status().unwrap().success());
        });
        println!("between");
        return termleash::isolated(|| println!("second"));
    };
    ran.failed().says(&["first", "between", "second"]).says(&["left behind, and ended now", "sleep 1000"]);
}

#[test]
fn ten_megabytes_arrive_whole_and_in_order() {
    const LINES: usize = 160_000;
    let line = |number: usize| format!("{number:063}\n");
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |_| {
            let all: String = (0..LINES).map(line).collect();
            assert!(all.len() > 10_000_000);
            println!();
            std::io::stdout().write_all(all.as_bytes())?;
            Ok(())
        });
    };
    ran.passed();
    let numbers = ran.text.lines().filter(|line| line.len() == 63).filter_map(|line| line.parse::<usize>().ok());
    assert!(numbers.eq(0..LINES), "some are missing, or out of order");
}

#[test]
fn a_character_in_two_pieces_is_whole_and_what_is_no_text_is_shown_as_such() {
    let Some(ran) = alone(&[]) else {
        return termleash::testing::test_blocking(|_| {
            let mut stdout = std::io::stdout();
            for piece in [&b"begin \xff between \xe2\x86"[..], b"\x92 and \xe2", b"\x86", b"\x92 cut \xe2\x86"] {
                stdout.write_all(piece)?;
                stdout.flush()?;
                // It is read meanwhile.
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        });
    };
    ran.passed().says_once("begin \u{fffd} between \u{2192} and \u{2192} cut \u{fffd}");
}

#[test]
fn what_a_blocked_body_has_printed_is_shown_although_it_ended_no_line() {
    let Some(ran) = captured(&[("TERMLEASH_TIMEOUT", "200ms")]) else {
        return termleash::test(async |_| {
            print!("its last words");
            loop {
                std::thread::park();
            }
        });
    };
    ran.failed()
        .says_once("its last words")
        .says_once("did not end within its deadline of 200ms, and blocks its thread");
}

#[test]
fn a_blocked_body_that_has_locked_its_output_is_reported_all_the_same() {
    let Some(ran) = captured(&[("TERMLEASH_TIMEOUT", "200ms")]) else {
        return termleash::test(async |_| {
            let mut output = std::io::stdout().lock();
            writeln!(output, "its last words")?;
            loop {
                std::thread::park();
            }
        });
    };
    ran.failed()
        .says_once("its last words")
        .says_once("did not end within its deadline of 200ms, and blocks its thread");
}
