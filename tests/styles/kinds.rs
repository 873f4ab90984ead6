//! All kinds of test functions: with parameters and fixtures, made by macros, generic, in modules, with a runtime, plain.

use crate::children::{alone, binary, captured};
use crate::{here, own_name, process_of};
use rstest::{fixture, rstest};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use test_case::test_case;

const WRONG: &str = "TEST_WRONG_CASE";

/// Fails where the child is told so.
fn body_of(what: &str) {
    termleash::test(async |t| {
        assert_eq!(t.name(), own_name());
        println!("the body of {what} runs");
        assert_ne!(std::env::var(WRONG).as_deref(), Ok(what), "told to fail");
        Ok(())
    });
}

#[fixture]
fn words() -> Vec<&'static str> {
    vec!["none", "one", "two"]
}

#[rstest]
#[case(1, "one")]
#[case::with_a_name(2, "two")]
fn rstest_cases(#[case] number: usize, #[case] word: &str, words: Vec<&'static str>) {
    assert_eq!(words[number], word);
    body_of(word);
}

#[rstest]
fn rstest_values(#[values(3, 4)] number: usize, #[values("a", "b")] letter: &str) {
    body_of(&format!("{letter}{number}"));
}

#[test_case(5, "five" ; "a name with blanks")]
#[test_case(6, "six")]
fn test_cases(number: usize, word: &str) {
    assert!(number > 4);
    body_of(word);
}

macro_rules! made_by_a_macro {
    ($($name:ident => $word:expr),*) => {
        mod made {
            $(#[test]
            fn $name() {
                super::body_of($word);
            })*
        }
    };
}
made_by_a_macro! { first => "first", second => "second" }

fn generic_helper<T: Default + Debug>() {
    body_of(&format!("{} {:?}", std::any::type_name::<T>(), T::default()));
}

#[test]
fn generic_one() {
    generic_helper::<u8>();
}

#[test]
fn generic_other() {
    generic_helper::<char>();
}

mod inner {
    mod tests {
        #[test]
        fn in_a_module() {
            super::super::body_of("a module");
        }
    }
}

/// Each body ran once; where one is told to fail, it fails alone.
#[track_caller]
fn each_runs_once(filter: &str, all: &[&str]) {
    let ran = binary(&[filter, "--nocapture"], &[]);
    assert!(ran.status.success(), "{}", ran.text);
    for what in all {
        ran.says_once(&format!("the body of {what} runs"));
    }
    ran.says_once(&format!("running {} test", all.len())).says_once(&format!("{} passed", all.len()));
    let wrong = all[all.len() - 1];
    let ran = binary(&[filter], &[(WRONG, wrong)]);
    ran.failed().says_once(&format!("the body of {wrong} runs")).says_once("told to fail").says_once("; 1 failed");
}

#[test]
fn the_cases_of_rstest_have_each_a_process() {
    each_runs_once("kinds::rstest_cases::", &["one", "two"]);
}

#[test]
fn the_combinations_of_rstest_have_each_a_process() {
    each_runs_once("kinds::rstest_values::", &["a3", "b3", "a4", "b4"]);
}

#[test]
fn the_cases_of_test_case_have_each_a_process() {
    each_runs_once("kinds::test_cases::", &["five", "six"]);
}

#[test]
fn tests_that_a_macro_makes_have_each_a_process() {
    each_runs_once("kinds::made::", &["first", "second"]);
}

#[test]
fn a_generic_helper_runs_for_the_test_that_calls_it() {
    each_runs_once("kinds::generic_", &["u8 0", "char '\\0'"]);
}

#[test]
fn a_test_in_an_inner_module_is_found_by_its_path() {
    each_runs_once("kinds::inner::", &["a module"]);
}

/// Without the feature nothing of ours knows runtimes.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn inside_of_a_runtime_it_refuses_and_says_what_to_use() {
    let Some(ran) = captured(&[]) else { return termleash::test(async |_| Ok(())) };
    ran.failed().says_once("termleash::test was called inside of a test or of a runtime").says(&[
        "panicked at tests/styles/kinds.rs",
        &own_name(),
        "call it from a plain `#[test]` function",
        "SessionTestHelper",
    ]);
}

#[test]
fn inside_of_a_body_it_refuses() {
    let Some(ran) = captured(&[]) else {
        return termleash::test(async |_| {
            termleash::test(async |_| Ok(()));
            Ok(())
        });
    };
    ran.failed().says_once("termleash::test was called inside of a test");
}

static COUNT: AtomicU32 = AtomicU32::new(0);

#[test]
fn an_isolated_part_changes_nothing_outside() {
    let Some(ran) = alone(&[]) else {
        here("outside");
        termleash::isolated(|| {
            here("the part");
            assert_eq!(COUNT.fetch_add(1, Ordering::SeqCst), 0);
        });
        // In the part's own process, which comes here, too, it is one.
        return println!("outside it is {}", COUNT.load(Ordering::SeqCst));
    };
    ran.passed().says_once("outside it is 0");
    assert_ne!(process_of(&ran, "outside"), process_of(&ran, "the part"));
}

#[test]
fn an_isolated_part_fails_with_its_own_message_said_once() {
    let Some(ran) = captured(&[]) else { return termleash::isolated(|| assert_eq!(6 * 7, 41, "of the part")) };
    ran.failed().says_once("of the part").says(&["panicked at tests/styles/kinds.rs", "left: 42", "right: 41"]);
}

#[test]
#[should_panic(expected = "of the part, 7")]
fn an_isolated_parts_message_is_the_one_that_is_expected() {
    let number = 7;
    termleash::isolated(|| panic!("of the part, {number}"));
}

#[test]
fn an_isolated_parts_crash_ends_nothing_but_it() {
    let Some(ran) = captured(&[]) else { return termleash::isolated(|| std::process::abort()) };
    ran.failed().says(&["crashed: its process was ended by ", "signal 6", "1 failed"]);
}
