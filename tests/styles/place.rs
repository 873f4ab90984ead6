//! Where a body runs: apart unless something speaks against it, from where the test process began, and what is said of it.

use crate::children::{Ran, alone, captured, command_in_child, is_child};
use crate::{PLACE, here, is_first, own_name, process_of};
use std::io::Write;
use std::process::{Command, Stdio};
use termleash::session::BoxError;

fn says_where() {
    here("outside");
    termleash::test(async |_| {
        here("the body");
        Ok(())
    });
}

#[track_caller]
fn was_in_process(ran: &Ran) {
    ran.passed();
    assert_eq!(process_of(ran, "outside"), process_of(ran, "the body"));
}

#[test]
fn a_variable_keeps_it_in_the_test_process_and_is_no_news() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else { return says_where() };
    was_in_process(&ran);
    ran.does_not_say("tests run in the test process");
}

#[test]
fn the_variable_that_says_the_default_changes_nothing() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "auto"), ("TERMLEASH_KEEP", "0")]) else { return says_where() };
    ran.passed();
    assert_ne!(process_of(&ran, "outside"), process_of(&ran, "the body"));
}

#[test]
fn a_test_may_ask_for_it_and_that_is_no_news() {
    let Some(ran) = alone(&[]) else {
        here("outside");
        return termleash::options().in_process().run(async |_| {
            here("the body");
            Ok(())
        });
    };
    was_in_process(&ran);
    ran.does_not_say("tests run in the test process");
}

#[test]
fn what_was_in_force_stands_in_the_report_of_a_failure() {
    for (isolate, containment) in [
        ("never", "containment: in the test process (TERMLEASH_ISOLATE is `never`)"),
        ("auto", "containment: a process of its own below a keeper"),
    ] {
        let Some(ran) = captured(&[("TERMLEASH_ISOLATE", isolate)]) else {
            return termleash::test(async |_| Err("no route".into()));
        };
        ran.failed().says(&["no route", containment]);
    }
}

#[test]
fn an_isolated_part_heeds_the_variable() {
    let Some(ran) = alone(&[("TERMLEASH_ISOLATE", "never")]) else {
        here("outside");
        return termleash::isolated(|| here("the body"));
    };
    was_in_process(&ran);
}

#[test]
fn a_wrong_value_is_an_error_that_names_the_good_ones() {
    for (name, good) in [("TERMLEASH_ISOLATE", "`auto` or `never`"), ("TERMLEASH_KEEP", "`1` or `0`")] {
        let Some(ran) = captured(&[(name, "perhaps")]) else { return says_where() };
        let begin = format!("test `{}` was not run: the environment variable {name} is `perhaps`", own_name());
        ran.failed().says(&["panicked at tests/styles/place.rs", &begin, good]).does_not_say("the body");
    }
}

/// Twice, and it is said once.
#[test]
fn under_a_tracer_it_stays_in_the_test_process_and_says_so_once() {
    if is_child() {
        says_where();
        return termleash::test(async |_| Ok(()));
    }
    let has = |tracer: &str| {
        let version = Command::new(tracer).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let mut command = if has("strace") {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=none"]);
        command
    } else if has("gdb") {
        let mut command = Command::new("gdb");
        command.args(["--batch", "--quiet", "-ex", "run", "--args"]);
        command
    } else {
        // Past libtest, which would hide it.
        let _ = writeln!(std::io::stderr(), "{} was not run: there is neither strace nor gdb", own_name());
        return;
    };
    command.arg(std::env::current_exe().unwrap()).args(["--exact", &own_name(), "--nocapture", "--test-threads=1"]);
    let ran = command_in_child(command, &[]);
    was_in_process(&ran);
    ran.says_once("tests run in the test process").says(&["it is traced by process", "strace"]);
}

#[test]
fn directory_and_environment_of_a_body_are_those_that_the_test_process_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("first").to_str().unwrap().to_owned();
    let began_in = std::env::current_dir().unwrap();
    let variables = [(PLACE, path.as_str()), ("TEST_BEGAN_IN", began_in.to_str().unwrap()), ("TEST_KEPT", "as it was")];
    let Some(ran) = alone(&variables) else {
        let began_in = std::env::var("TEST_BEGAN_IN").unwrap();
        if is_first() {
            std::env::set_current_dir("/").unwrap();
            #[allow(unsafe_code, reason = "that is what is tried; there is one test in this process")]
            // SAFETY: no other thread of this process reads the environment now.
            unsafe {
                std::env::set_var("TEST_KEPT", "changed");
                std::env::set_var("TEST_NEW", "new");
            }
        }
        let find = || -> Result<String, BoxError> {
            let directory = std::env::current_dir()?;
            let is_there = directory.to_str() == Some(&began_in);
            Ok(format!("{is_there} {:?} {:?}", std::env::var("TEST_KEPT"), std::env::var("TEST_NEW").ok()))
        };
        println!("outside finds {}", find().unwrap());
        return termleash::test(async |_| {
            println!("the body finds {}", find()?);
            Ok(())
        });
    };
    ran.passed()
        .says(&["outside finds false Ok(\"changed\") Some(\"new\")", "the body finds true Ok(\"as it was\") None"]);
}

/// Whoever outlives the body would hold them open.
#[test]
fn what_a_body_starts_has_no_descriptor_that_others_would_not_have() {
    let Some(ran) = alone(&[]) else {
        let list = || {
            let output = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
            println!("there are [{}]", String::from_utf8(output.stdout).unwrap().replace('\n', " "));
        };
        list();
        return termleash::test(async |_| {
            list();
            Ok(())
        });
    };
    let lists: Vec<_> = ran.text.split("there are [").skip(1).map(|rest| rest.split_once(']').unwrap().0).collect();
    assert!(lists.len() == 2 && lists[0] == lists[1], "{lists:?}:\n{}", ran.text);
}
