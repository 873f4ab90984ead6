//! Each cause beside the neighbours that it could be taken for.

use super::*;
use crate::process::death::core_pattern::CorePattern;
use crate::process::death::facts::KillReason;
use crate::process::death::oom::{GroupKills, OomCounters};

fn by(signal: i32) -> Facts {
    Facts::new(ExitStatus::Signaled { signal, core_dumped: false })
}

fn cause(facts: &Facts) -> CauseOfDeath {
    classify(facts).cause
}

fn counters(machine: Option<u64>, group: Option<(u64, bool)>) -> OomCounters {
    let group = group.map(|(kills, decides)| GroupKills { file: "/g/memory.events".into(), kills, decides });
    OomCounters { machine, group }
}

const FAILED: &str = "memory allocation of 1024 bytes failed\n";

#[test]
fn a_kill_by_the_kernel_and_one_by_a_stranger_differ_by_the_counters() {
    let kernel = |in_its_group| CauseOfDeath::OutOfMemory(OutOfMemory::Kernel { in_its_group });
    let stranger = CauseOfDeath::Signal { signal: 9 };
    let cases = [
        (counters(Some(3), Some((0, true))), counters(Some(4), Some((1, true))), kernel(true)),
        // Another group's: our own says that it was nobody here.
        (counters(Some(3), Some((0, true))), counters(Some(4), Some((0, true))), stranger.clone()),
        (counters(Some(3), Some((0, false))), counters(Some(4), Some((0, false))), kernel(false)),
        (counters(Some(3), None), counters(Some(4), None), kernel(false)),
        (counters(Some(3), None), counters(Some(3), None), stranger.clone()),
        (counters(None, None), counters(None, None), stranger.clone()),
        // A group that is gone by then says nothing.
        (counters(Some(3), Some((0, true))), counters(Some(3), None), stranger.clone()),
    ];
    for (before, after, expected) in cases {
        assert_eq!(cause(&by(9).oom(before.clone(), after.clone())), expected, "{before:?} {after:?}");
        // No other signal is the kernel's for that.
        assert_eq!(cause(&by(15).oom(before, after)), CauseOfDeath::Signal { signal: 15 });
    }
}

#[test]
fn a_counter_that_goes_back_says_nothing_and_one_that_rose_says_how_much_that_is_worth() {
    let stranger = CauseOfDeath::Signal { signal: 9 };
    let back = classify(&by(9).oom(counters(Some(3), Some((5, true))), counters(Some(3), Some((0, true)))));
    assert_eq!(back.cause, stranger);
    assert!(
        back.to_string().contains("/g/memory.events has gone back from 5 to 0, so that nothing follows from it"),
        "{back}"
    );
    assert!(!back.to_string().contains("the kernel killed none of its control group"), "{back}");
    // It does not decide then, and the machine's does.
    let machine = classify(&by(9).oom(counters(Some(3), Some((5, true))), counters(Some(4), Some((0, true)))));
    assert_eq!(machine.cause, CauseOfDeath::OutOfMemory(OutOfMemory::Kernel { in_its_group: false }));
    let both = classify(&by(9).oom(counters(Some(9), None), counters(Some(4), None)));
    assert_eq!(both.cause, stranger);
    assert!(both.to_string().contains("/proc/vmstat has gone back from 9 to 4"), "{both}");
    let rose = |before, after| classify(&by(9).oom(before, after)).evidence.contains(&Evidence::NamesNobody);
    assert!(rose(counters(None, Some((0, true))), counters(None, Some((1, true)))));
    assert!(rose(counters(Some(0), None), counters(Some(1), None)));
    assert!(!rose(counters(Some(0), Some((0, true))), counters(Some(1), Some((0, true)))));
}

#[test]
fn a_cause_by_words_alone_says_so() {
    let by_words = |facts: Facts| classify(&facts).evidence.contains(&Evidence::ItsOwnWords);
    assert!(by_words(by(6).output(FAILED)));
    assert!(!by_words(by(9).output(FAILED)) && !by_words(by(6).output("hello\n")) && !by_words(by(4)));
}

/// A server that was asked to end a session does it by a signal of its choice.
#[test]
fn what_somebody_else_was_to_end_is_ended_by_what_ends_sessions_only() {
    let asked = |status: Facts| status.ended_by("its server", KillReason::Other("it was closed".into()), []);
    let ours = CauseOfDeath::Ended { why: "it was closed".into() };
    for signal in [1, 2, 9, 15] {
        assert_eq!(cause(&asked(by(signal))), ours);
    }
    for signal in [4, 6, 11] {
        assert_ne!(cause(&asked(by(signal))), ours);
    }
    assert!(classify(&asked(by(9))).to_string().contains("its server was to end it"));
}

#[test]
fn what_is_not_known_is_listed() {
    let death = classify(&by(9));
    assert_eq!(
        death.to_string(),
        "signal 9 (SIGKILL) by somebody unknown (we had sent it nothing; \
         the kernel's counters of kills for want of memory were not looked at)"
    );
    let death = classify(&by(9).oom(counters(Some(3), Some((2, true))), counters(Some(4), Some((2, true)))));
    assert_eq!(
        format!("{death:#}"),
        "signal 9 (SIGKILL) by somebody unknown\n    we had sent it nothing\n    \
         the kernel killed none of its control group for want of memory (/g/memory.events says 2)\n    \
         the kernel killed 1 on this machine for want of memory (/proc/vmstat says 4, before 3)"
    );
}

#[test]
fn a_kill_of_ours_is_ours_also_beside_the_kernels_and_an_abort_after_our_term_is_an_abort() {
    let ours = |status: Facts| status.killed(KillReason::Deadline("it hung".into()), [15, 9]);
    let deadline = CauseOfDeath::Deadline { why: "it hung".into() };
    let full = (counters(Some(3), None), counters(Some(4), None));
    assert_eq!(cause(&ours(by(9)).oom(full.0, full.1)), deadline);
    assert_eq!(cause(&ours(by(15))), deadline);
    assert_eq!(cause(&ours(Facts::new(ExitStatus::Exited(0)))), deadline, "it heeded the TERM");
    assert!(matches!(cause(&ours(by(6))), CauseOfDeath::Abort { .. }));
    assert!(classify(&ours(by(6))).evidence.contains(&Evidence::Sent(vec![15, 9])));
    let nothing_sent = by(9).killed(KillReason::RunnerGone, []);
    assert_eq!(cause(&nothing_sent), CauseOfDeath::Signal { signal: 9 });
    let limit = KillReason::Limit("200 processes, at most 100".into());
    assert_eq!(cause(&by(9).killed(limit, [9])).to_string(), "killed for a limit: 200 processes, at most 100");
    let hard = KillReason::HardLimit(HardLimit::Group(1 << 20));
    let said = cause(&by(9).killed(hard, [9])).to_string();
    assert_eq!(said, "out of memory: it came to its hard limit, 1.0 MiB of its control group");
    assert_eq!(cause(&by(9).killed(KillReason::RunnerGone, [9])), CauseOfDeath::RunnerGone);
    let other = KillReason::Other("its test is over".into());
    assert_eq!(cause(&by(1).killed(other, [1])).to_string(), "ended: its test is over");
}

#[test]
fn words_count_beside_the_status_that_they_lead_to() {
    let allocation = CauseOfDeath::OutOfMemory(OutOfMemory::Allocation { bytes: Some(1024) });
    assert_eq!(cause(&by(6).output(FAILED)), allocation);
    assert_eq!(cause(&by(11).output(FAILED)), CauseOfDeath::Signal { signal: 11 });
    assert_eq!(cause(&by(9).output(FAILED)), CauseOfDeath::Signal { signal: 9 });
    let exited = classify(&Facts::new(ExitStatus::Exited(101)).output(FAILED));
    assert_eq!(exited.cause, CauseOfDeath::Exit { status: 101 });
    assert!(
        exited.evidence.contains(&Evidence::Printed(FAILED.trim_end().into())) && !exited.says_more_than_its_status()
    );
    let overflow = "thread 'a' has overflowed its stack\n";
    for signal in [6, 11] {
        assert_eq!(cause(&by(signal).output(overflow)), CauseOfDeath::StackOverflow { thread: Some("a".into()) });
    }
    assert_eq!(cause(&by(4).output("hello\n")), CauseOfDeath::IllegalInstruction);
    let caught = "thread 'a' panicked at a.rs:1:1:\nboom\nnote: x\nwent on\n";
    let unsaid = CauseOfDeath::Abort { reason: AbortReason::Unsaid, thread: None, message: None };
    assert_eq!(cause(&by(6).output(caught)), unsaid);
    assert_eq!(cause(&by(6)), unsaid);
    assert_eq!(cause(&Facts::new(ExitStatus::Unknown).output(FAILED)), CauseOfDeath::Unknown);
}

#[test]
fn an_allocation_that_fails_under_a_hard_limit_is_that_limits_unless_no_machine_had_as_much() {
    let limit = HardLimit::Allocation(512 << 20);
    let under = |output: &str| cause(&by(6).output(output).hard_limit(limit));
    assert_eq!(under(FAILED), CauseOfDeath::OutOfMemory(OutOfMemory::HardLimit(limit)));
    let huge = format!("memory allocation of {} bytes failed\n", 1u64 << 50);
    assert_eq!(under(&huge), CauseOfDeath::OutOfMemory(OutOfMemory::Allocation { bytes: Some(1 << 50) }));
    let group = HardLimit::Group(512 << 20);
    let rose = |facts: Facts| facts.oom(counters(None, Some((0, true))), counters(None, Some((1, true))));
    assert_eq!(cause(&rose(by(9)).hard_limit(group)), CauseOfDeath::OutOfMemory(OutOfMemory::HardLimit(group)));
    let kernel = CauseOfDeath::OutOfMemory(OutOfMemory::Kernel { in_its_group: true });
    assert_eq!(cause(&rose(by(9)).hard_limit(limit)), kernel, "of a limit on allocations nobody is killed");
}

/// A counter of one group and one of another say nothing together.
#[test]
fn two_groups_are_not_compared() {
    let group = |file: &str, kills| OomCounters {
        machine: None,
        group: Some(GroupKills { file: file.into(), kills, decides: true }),
    };
    let moved = classify(&by(9).oom(group("/a/memory.events", 0), group("/b/memory.events", 1)));
    assert_eq!(moved.cause, CauseOfDeath::Signal { signal: 9 });
    assert!(moved.evidence.contains(&Evidence::NoGroupCounter), "{moved:#}");
}

#[test]
fn what_has_nothing_to_do_with_a_death_is_no_evidence_of_it() {
    let passed = classify(&Facts::new(ExitStatus::Exited(0)).output(FAILED));
    assert_eq!(passed.evidence, []);
    let ended = classify(&by(15).output(FAILED));
    assert_eq!(ended.evidence, [Evidence::NotSent]);
    // By another signal than the one that it was sent.
    for signal in [9, 12] {
        let death = classify(&by(signal).killed(KillReason::RunnerGone, [15]));
        assert_eq!(death.cause, CauseOfDeath::Signal { signal });
        let is_said = |evidence: &Evidence| death.evidence.contains(evidence);
        assert!(is_said(&Evidence::Sent(vec![15])) && !is_said(&Evidence::NotSent), "{death:#}");
    }
}

#[test]
fn a_shells_status_and_a_core_file_are_pointed_at() {
    let death = classify(&Facts::new(ExitStatus::Exited(134)).output("FATAL ERROR: JavaScript heap out of memory\n"));
    let shown = death.to_string();
    assert!(shown.contains("a shell answers so when its child was ended by signal 6 (SIGABRT)"), "{shown}");
    assert!(shown.contains("it printed `FATAL ERROR: JavaScript heap out of memory`"), "{shown}");
    let core = |core_dumped| {
        let facts = Facts::new(ExitStatus::Signaled { signal: 11, core_dumped }).pid(7);
        classify(&facts.core_pattern(Some(CorePattern::new("/c/%p")))).to_string()
    };
    assert!(core(true).contains("its core file is `/c/7`"), "{}", core(true));
    assert!(!core(false).contains("/c/7"), "{}", core(false));
}

#[test]
fn only_the_end_of_an_output_is_looked_at_and_a_death_survives_being_written_down() {
    let long = format!("{FAILED}{}", "é".repeat(40_000));
    assert!(matches!(cause(&by(6).output(&long)), CauseOfDeath::Abort { reason: AbortReason::Unsaid, .. }));
    let death = classify(&by(6).output(FAILED));
    let text = serde_json::to_string(&death).unwrap();
    assert_eq!(serde_json::from_str::<Death>(&text).unwrap(), death);
}
