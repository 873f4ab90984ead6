//! Processes that die by themselves, or by a stranger.

use crate::dead::{Dead, dies, dies_beside, dies_by, this_test};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use std::thread;
use std::time::Duration;
use termleash::process::death::{AbortReason, HardLimit, KillReason, OutOfMemory};
use termleash::process::{CauseOfDeath, Evidence};

fn abort(reason: AbortReason, thread: Option<&str>, message: Option<&str>) -> CauseOfDeath {
    CauseOfDeath::Abort { reason, thread: thread.map(str::to_owned), message: message.map(str::to_owned) }
}

fn in_thread(name: &str, act: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name(name.into()).spawn(act).expect("a thread").join();
}

#[test]
fn a_plain_abort_says_no_reason() {
    let Some(dead) = dies() else { std::process::abort() };
    let death = dead.has_died_of(&abort(AbortReason::Unsaid, None, None));
    assert!(death.evidence().contains(&Evidence::NoLastWords), "{death:#}");
}

#[test]
fn an_abort_after_a_panic_that_was_caught_is_not_taken_for_a_panic() {
    let Some(dead) = dies() else {
        in_thread("unlucky", || panic!("it is caught"));
        eprintln!("it goes on");
        std::process::abort()
    };
    let death = dead.has_died_of(&abort(AbortReason::Unsaid, None, None));
    assert!(death.to_string().contains("it is caught"), "what was seen is shown: {death:#}");
}

/// As where panics abort: nothing is printed behind the panic.
#[test]
fn an_abort_right_behind_a_panic_is_by_that_panic() {
    let Some(dead) = dies() else {
        in_thread("unlucky", || panic!("the disk is full"));
        std::process::abort()
    };
    dead.has_died_of(&abort(AbortReason::Panic, Some("unlucky"), Some("the disk is full")));
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("on its way out");
    }
}

#[test]
fn a_double_panic_is_told_with_both_messages_and_the_threads_name() {
    let Some(dead) = dies() else {
        return in_thread("twice", || {
            let _panics = PanicsOnDrop;
            panic!("the first");
        });
    };
    let message = "on its way out (the first was: the first)";
    dead.has_died_of(&abort(AbortReason::DoublePanic, Some("twice"), Some(message)));
}

#[test]
fn a_panic_while_a_panic_is_told_is_a_double_panic() {
    struct Worse;
    impl std::fmt::Display for Worse {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("in the message")
        }
    }
    let Some(dead) = dies() else { panic!("{Worse}") };
    assert!(dead.text.contains("thread panicked while processing panic. aborting."), "{}", dead.text);
    let death = dead.death();
    assert!(
        matches!(death.cause(), CauseOfDeath::Abort { reason: AbortReason::DoublePanic, .. }),
        "{death:#}\n{}",
        dead.text
    );
}

#[test]
fn a_panic_in_a_foreign_function_cannot_unwind() {
    extern "C" fn foreign() {
        panic!("within C");
    }
    let Some(dead) = dies() else { return in_thread("caller", || foreign()) };
    dead.has_died_of(&abort(AbortReason::CannotUnwind, Some("caller"), Some("within C")));
}

/// Another C library has other words, or none.
#[test]
#[cfg(target_env = "gnu")]
fn a_failed_assertion_of_c_and_a_double_free_are_told_apart() {
    use libc::c_char;
    #[expect(unsafe_code, reason = "what the macro `assert` of C calls")]
    unsafe extern "C" {
        fn __assert_fail(text: *const c_char, file: *const c_char, line: u32, function: *const c_char) -> !;
    }
    if std::env::var_os("CAUSES_KIND").is_some() {
        #[expect(unsafe_code, reason = "it frees twice, as only C does")]
        // SAFETY: it is not safe: that is the test, in a process that has nothing else to do.
        unsafe {
            let block = libc::malloc(3000);
            let _between = libc::malloc(3000);
            libc::free(block);
            libc::free(std::hint::black_box(block));
        }
        return;
    }
    let Some(dead) = dies() else {
        #[expect(unsafe_code, reason = "what the macro `assert` of C calls")]
        // SAFETY: the texts end with a zero.
        unsafe {
            __assert_fail(c"x > 1".as_ptr(), c"a.c".as_ptr(), 3, c"main".as_ptr())
        }
    };
    dead.has_died_of(&abort(AbortReason::Assertion, None, Some("Assertion `x > 1' failed.")));
    let mut command = this_test();
    command.env("CAUSES_KIND", "free");
    let dead = dies_by(command).expect("this is not the victim");
    let death = dead.death();
    assert!(
        matches!(death.cause(), CauseOfDeath::Abort { reason: AbortReason::HeapCorruption, message: Some(_), .. }),
        "{death:#}\n{}",
        dead.text
    );
}

#[test]
fn a_stack_overflow_names_its_thread() {
    fn deeper(depth: u64) -> u64 {
        let room = std::hint::black_box([depth; 512]);
        if depth == u64::MAX { 0 } else { deeper(depth + 1) + room[7] }
    }
    let Some(dead) = dies() else {
        return in_thread("deep", || {
            std::hint::black_box(deeper(0));
        });
    };
    dead.has_died_of(&CauseOfDeath::StackOverflow { thread: Some("deep".into()) });
}

/// Asks for more than there are addresses for.
#[test]
fn a_huge_allocation_that_fails_is_want_of_memory_also_under_a_hard_limit() {
    const HUGE: usize = 1 << 50;
    let Some(mut dead) = dies() else {
        let block: Vec<u8> = Vec::with_capacity(HUGE);
        std::process::exit(i32::from(std::hint::black_box(block).capacity() == 0));
    };
    let cause = CauseOfDeath::OutOfMemory(OutOfMemory::Allocation { bytes: Some(HUGE as u64) });
    dead.has_died_of(&cause);
    dead.facts = dead.facts.hard_limit(HardLimit::Allocation(1 << 30));
    dead.has_died_of(&cause);
}

#[test]
fn an_allocation_that_fails_at_a_limit_is_that_limits_where_it_is_known() {
    const STEP: usize = 1 << 20;
    let Some(mut dead) = dies() else {
        let limit = Rlimit { current: Some(256 << 20), maximum: getrlimit(Resource::Data).maximum };
        setrlimit(Resource::Data, limit).expect("a soft limit can be lowered");
        let mut blocks = Vec::new();
        loop {
            blocks.push(std::hint::black_box(vec![1u8; STEP]));
        }
    };
    let bytes = Some(STEP as u64);
    dead.has_died_of(&CauseOfDeath::OutOfMemory(OutOfMemory::Allocation { bytes }));
    let limit = HardLimit::Allocation(256 << 20);
    dead.facts = dead.facts.hard_limit(limit);
    dead.has_died_of(&CauseOfDeath::OutOfMemory(OutOfMemory::HardLimit(limit)));
}

#[test]
fn an_illegal_instruction_is_one() {
    let Some(dead) = dies() else {
        #[expect(unsafe_code, reason = "no safe code has one")]
        // SAFETY: it ends the process, which is the test.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            std::arch::asm!("ud2");
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!("udf #0");
        }
        return;
    };
    dead.has_died_of(&CauseOfDeath::IllegalInstruction);
}

#[test]
fn a_fault_is_told_by_its_signal() {
    let Some(dead) = dies() else {
        #[expect(unsafe_code, reason = "no safe code has one")]
        // SAFETY: it ends the process, which is the test.
        unsafe {
            std::ptr::without_provenance_mut::<u8>(std::hint::black_box(16)).write_volatile(1);
        }
        return;
    };
    let death = dead.has_died_of(&CauseOfDeath::Signal { signal: 11 });
    assert!(death.to_string().contains("a fault of its own, unless somebody sent it"), "{death}");
}

/// Lives until it is killed.
fn killed(signal: Signal) -> Option<Dead> {
    let killed = dies_beside(this_test(), |pid| {
        let pid = Pid::from_raw(pid.cast_signed()).expect("it is a number");
        kill_process(pid, signal).expect("it is our child, and not reaped");
    });
    if killed.is_none() {
        thread::sleep(Duration::from_secs(120));
    }
    killed
}

#[test]
fn a_sigkill_by_a_stranger_is_by_somebody_unknown_and_one_of_ours_is_ours() {
    let Some(mut dead) = killed(Signal::KILL) else { return };
    let death = dead.has_died_of(&CauseOfDeath::Signal { signal: 9 });
    let shown = death.to_string();
    assert!(shown.starts_with("signal 9 (SIGKILL) by somebody unknown"), "{shown}");
    let looked = |evidence: &Evidence| {
        matches!(evidence, Evidence::GroupKills { .. } | Evidence::NoGroupCounter | Evidence::MachineKills { .. })
    };
    assert!(death.evidence().contains(&Evidence::NotSent) && death.evidence().iter().any(looked), "{death:#}");
    // The same end, with our own signal in the book.
    dead.facts = dead.facts.killed(KillReason::Deadline("it slept".into()), [15, 9]);
    dead.has_died_of(&CauseOfDeath::Deadline { why: "it slept".into() });
}

#[test]
fn a_sigterm_by_a_stranger_is_no_kill_for_want_of_memory() {
    let Some(dead) = killed(Signal::TERM) else { return };
    dead.has_died_of(&CauseOfDeath::Signal { signal: 15 });
}

const FAILED: &str = "memory allocation of 1024 bytes failed";

#[test]
fn an_exit_is_one_whatever_it_has_printed() {
    let Some(dead) = dies() else {
        eprintln!("{FAILED}");
        std::process::exit(3)
    };
    let death = dead.has_died_of(&CauseOfDeath::Exit { status: 3 });
    let is_shown = |evidence: &Evidence| matches!(evidence, Evidence::Printed(line) if line.ends_with(FAILED));
    assert!(death.evidence().iter().any(is_shown), "{death:#}");
}
