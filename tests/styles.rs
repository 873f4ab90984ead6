//! Isolated tests work the way people write tests: each case runs again as a test process of its own, under which its body
//! is isolated once more, and what a person would see of that is read.

#![cfg(target_os = "linux")]

mod children;
#[path = "styles/kinds.rs"]
mod kinds;
#[path = "styles/outcomes.rs"]
mod outcomes;
#[path = "styles/output.rs"]
mod output;
#[path = "styles/outside.rs"]
mod outside;
#[path = "styles/place.rs"]
mod place;
#[path = "styles/several.rs"]
mod several;
#[path = "styles/ways.rs"]
mod ways;

use children::Ran;
use std::fs::File;

/// Where a test finds a path of its own in its child.
const PLACE: &str = "TEST_PLACE";

/// Says in which process this is.
fn here(what: &str) {
    println!("{what} is in process {}.", std::process::id());
}

/// In which process it was.
#[track_caller]
fn process_of(ran: &Ran, what: &str) -> u32 {
    ran.says_once(&format!("{what} is in process "));
    let (_, after) = ran.text.split_once(&format!("{what} is in process ")).expect("it is there once");
    let number = after.split('.').next().expect("there is a first piece");
    number.parse().unwrap_or_else(|cause| panic!("{number:?} is no process: {cause}"))
}

/// True in the first of the processes that ask, which is the test process: it starts the others.
fn is_first() -> bool {
    File::create_new(std::env::var_os(PLACE).expect("a path that does not exist")).is_ok()
}

/// The name that libtest has for this test.
fn own_name() -> String {
    std::thread::current().name().expect("libtest names its threads").to_owned()
}
