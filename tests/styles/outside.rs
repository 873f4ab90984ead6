//! What stands outside of the closure runs in two processes; where that cannot work, the failure says so and says why.

use crate::children::{captured, is_child};
use crate::{PLACE, here, own_name, process_of};
use std::fs::File;
use std::net::TcpListener;
use std::time::{Duration, Instant};

#[test]
fn a_lock_that_both_processes_take_is_named_with_its_file_and_its_holder() {
    // For the children, none of which makes another: what is killed takes nothing away.
    let file = (!is_child()).then(|| tempfile::NamedTempFile::new().unwrap());
    let path = file.as_ref().map_or("", |file| file.path().to_str().unwrap());
    let start = Instant::now();
    let Some(ran) = captured(&[(PLACE, path), ("TERMLEASH_TIMEOUT", "1s")]) else {
        let file = File::open(std::env::var_os(PLACE).unwrap()).unwrap();
        file.lock().unwrap();
        here("what is before");
        return termleash::test(async |_| {
            println!("the body runs");
            Ok(())
        });
    };
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    let holder = process_of(&ran, "what is before");
    ran.failed().does_not_say("the body runs").says(&[
        &format!(
            "test `{}` was ended; cause of death: deadline: it did not come to `termleash::test` within 1s",
            own_name()
        ),
        "runs in two processes",
        &format!("on {path}, which process {holder} holds"),
        "inside of the closure",
        "options().in_process()",
        "it ended by signal 1 (SIGHUP)",
        "we had sent it signal 1 (SIGHUP)",
        "thread `",
        "in the system call `flock` of descriptor ",
    ]);
}

#[test]
fn a_lock_inside_of_the_closure_is_taken_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let Some(ran) = captured(&[(PLACE, file.path().to_str().unwrap()), ("TERMLEASH_TIMEOUT", "10s")]) else {
        return termleash::test(async |_| {
            File::open(std::env::var_os(PLACE).unwrap())?.lock()?;
            Ok(())
        });
    };
    ran.passed();
}

#[test]
fn a_port_that_both_processes_bind_is_shown_by_the_panic_of_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let Some(ran) = captured(&[(PLACE, folder.path().to_str().unwrap())]) else {
        // The first process has it from the system, so that it is free, and the second the same.
        let path = std::path::PathBuf::from(std::env::var_os(PLACE).unwrap()).join("port");
        let port = std::fs::read_to_string(&path).map_or(0, |text| text.parse::<u16>().unwrap());
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port of its own");
        std::fs::write(path, listener.local_addr().unwrap().port().to_string()).unwrap();
        return termleash::test(async |_| {
            println!("the body runs at {}", listener.local_addr()?);
            Ok(())
        });
    };
    ran.failed().does_not_say("the body runs").says(&[
        &format!("test `{}` was not run: its own process ended", own_name()),
        "before it came to `termleash::test`",
        "outside of the closure runs in both processes",
        "its process printed:",
        "panicked at tests/styles/outside.rs",
        "a port of its own",
        "AddrInUse",
    ]);
}
