//! Bodies that do something to their own process. When the runner has told, everything has been cleaned up.

use crate::dying::bystanders::Bystanders;
use crate::dying::{Place, Ran, part};
use crate::{is_clean, leave};
use rustix::process::{Signal, getpid, kill_process};

/// Runs a test whose body leaves much and does this; `None` in the process that does it.
fn does(act: fn()) -> Option<Ran> {
    if let Some((_, mark)) = part() {
        termleash::test(async |t| {
            leave(t, &mark).await?;
            println!("it has left them");
            act();
            Ok(())
        });
        return None;
    }
    let bystanders = Bystanders::start();
    let place = Place::new(true).with(&[("TERMLEASH_TIMEOUT", "5s"), ("TERMLEASH_SETTLE", "100ms")]);
    let ran = place.run("victim");
    is_clean(&place, &bystanders);
    ran.says(&["it has left them"]);
    Some(ran)
}

#[track_caller]
fn dies(act: fn(), how: &str) {
    if let Some(ran) = does(act) {
        ran.failed().says(&[&format!("crashed: its process was ended by {how} before it could report")]);
        ran.says(&["ended what it left, "]).says(&["containment: a process of its own below a keeper"]);
    }
}

#[test]
fn an_abort_is_told_by_its_signal() {
    dies(|| std::process::abort(), "signal 6 (SIGABRT)");
}

#[test]
fn a_stack_overflow_is_told_by_the_signal_of_its_abort() {
    fn deeper(depth: u64) -> u64 {
        let room = std::hint::black_box([depth; 512]);
        if depth == u64::MAX { 0 } else { deeper(depth + 1) + room[7] }
    }
    dies(
        || {
            std::hint::black_box(deeper(0));
        },
        "signal 6 (SIGABRT)",
    );
}

#[test]
fn an_exit_that_looks_like_success_is_no_success() {
    dies(|| std::process::exit(0), "exit status 0");
}

#[test]
fn an_exit_is_told_with_its_code() {
    dies(|| std::process::exit(3), "exit status 3");
}

#[test]
fn a_sigkill_of_its_own_is_told_by_its_signal() {
    dies(|| kill_process(getpid(), Signal::KILL).expect("it is us"), "signal 9 (SIGKILL)");
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("on its way out");
    }
}

#[test]
fn a_panic_while_another_one_unwinds_is_an_abort() {
    let act = || {
        let _panics = PanicsOnDrop;
        panic!("the first");
    };
    if let Some(ran) = does(act) {
        ran.failed().says(&["the first"]).says(&["on its way out"]).says(&["signal 6 (SIGABRT)"]);
    }
}

#[test]
fn a_panic_in_a_drop_is_a_panic() {
    if let Some(ran) = does(|| drop(PanicsOnDrop)) {
        ran.failed().says(&["on its way out"]);
        assert!(!ran.text.contains("crashed"), "{}", ran.text);
    }
}

/// Whether it can report is not said, only that nobody waits for it for ever.
#[test]
fn a_body_that_closes_all_its_descriptors_by_number_holds_nobody_up() {
    if let Some(ran) = does(close_all) {
        ran.failed();
    }
}

#[expect(unsafe_code, reason = "what a daemon does when it starts, and std does not")]
fn close_all() {
    // SAFETY: what is closed belongs to others in this process, who have to bear it: that is the test.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}
