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
fn dies(act: fn(), how: &str, cause: Option<&str>) {
    if let Some(ran) = does(act) {
        ran.failed().says(&[&format!("crashed: its process was ended by {how} before it could report")]);
        match cause {
            Some(cause) => drop(ran.says(&[&format!("cause of death: {cause}")])),
            // An exit's status says it all.
            None => assert!(!ran.text.contains("cause of death"), "{}", ran.text),
        }
        ran.says(&["ended what it left, "]).says(&["containment: a process of its own below a keeper"]);
    }
}

#[test]
fn an_abort_is_told_by_its_signal() {
    let cause = "abort, by itself or by somebody's SIGABRT; it printed no reason\n    it ended by signal 6 (SIGABRT)";
    dies(|| std::process::abort(), "signal 6 (SIGABRT)", Some(cause));
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
        Some("stack overflow in thread `bodies::a_stack_overflow_"),
    );
}

#[test]
fn an_allocation_that_fails_is_told_as_want_of_memory() {
    const HUGE: usize = 1 << 50;
    let act = || drop(std::hint::black_box(Vec::<u8>::with_capacity(HUGE)));
    dies(act, "signal 6 (SIGABRT)", Some("out of memory: an allocation of 1.0 PiB failed"));
}

#[test]
fn an_exit_that_looks_like_success_is_no_success() {
    dies(|| std::process::exit(0), "exit status 0", None);
}

#[test]
fn an_exit_is_told_with_its_code() {
    dies(|| std::process::exit(3), "exit status 3", None);
}

#[test]
fn a_sigkill_of_its_own_is_told_by_its_signal() {
    let act = || kill_process(getpid(), Signal::KILL).expect("it is us");
    dies(act, "signal 9 (SIGKILL)", Some("signal 9 (SIGKILL) by somebody unknown\n    we had sent it nothing\n    "));
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
        ran.says(&[
            "cause of death: abort by a panic during another one in thread `",
            "`: on its way out (the first was: the first)",
        ]);
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
