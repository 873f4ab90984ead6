//! From facts to a cause of death: pure.
//!
//! ```text
//!  a signal of ours ended it ──► ours: deadline, limit, runner gone, another reason
//!  SIGABRT, SIGILL, SIGTRAP, SIGSEGV, SIGBUS with last words ──► by those
//!  SIGABRT ──► abort      SIGILL ──► illegal instruction
//!  SIGKILL ──► its group's counter rose? ── or none that decides, and the machine's rose? ──► out of memory
//!  any other signal, or in doubt ──► that signal, by somebody unknown
//! ```

use crate::process::death::cause::{AbortReason, CauseOfDeath, OutOfMemory};
use crate::process::death::evidence::Evidence;
use crate::process::death::facts::{Facts, HardLimit};
use crate::process::death::oom::MACHINE;
use crate::process::death::output::{LastWords, Said};
use crate::process::exit::ExitStatus;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

const ILL: i32 = 4;
const TRAP: i32 = 5;
const ABRT: i32 = 6;
const KILL: i32 = 9;
/// What a handler may end a process by that has said why: SIGILL, SIGTRAP, SIGABRT, SIGBUS (two systems), SIGSEGV.
const LOUD: [i32; 6] = [ILL, TRAP, ABRT, 7, 10, 11];
/// What servers end sessions by: SIGHUP, SIGINT, SIGKILL, SIGTERM.
const ENDING: [i32; 4] = [1, 2, KILL, 15];
/// No machine has as much: an allocation of it fails under any limit and under none.
const MORE_THAN_THERE_IS: u64 = 1 << 47;

/// Of what a process has died, and from what that was concluded.
///
/// `{}` is one line, `{:#}` has a line for each piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    cause: CauseOfDeath,
    status: ExitStatus,
    evidence: Vec<Evidence>,
}

impl Death {
    /// Of what.
    pub fn cause(&self) -> &CauseOfDeath {
        &self.cause
    }

    /// How it ended.
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// What was looked at, and what was seen there.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// True if the cause says more than the status alone: a report that shows the status need not repeat it.
    pub fn says_more_than_its_status(&self) -> bool {
        !matches!(self.cause, CauseOfDeath::Exit { .. } | CauseOfDeath::Unknown)
    }
}

/// Judges. What is not known is not guessed at: a SIGKILL without a trace is one by somebody unknown.
///
/// ```
/// # use termleash::process::{ExitStatus, death::{classify, CauseOfDeath, Facts, KillReason}};
/// let status = ExitStatus::Signaled { signal: 9, core_dumped: false };
/// let death = classify(&Facts::new(status).output("working\n"));
/// assert_eq!(*death.cause(), CauseOfDeath::Signal { signal: 9 });
/// let death = classify(&Facts::new(status).killed(KillReason::RunnerGone, [1, 15, 9]));
/// assert_eq!(*death.cause(), CauseOfDeath::RunnerGone);
/// ```
pub fn classify(facts: &Facts) -> Death {
    let mut evidence = Vec::new();
    let words = facts.output.as_deref().map(LastWords::of);
    let cause = by_us(facts, &mut evidence).unwrap_or_else(|| match facts.status {
        ExitStatus::Exited(status) => {
            let shell = status.checked_sub(128).filter(|signal| (1..=31).contains(signal));
            evidence.extend(shell.map(Evidence::ShellStatus));
            if status != 0 {
                note(words.iter().flatten(), &mut evidence);
            }
            CauseOfDeath::Exit { status }
        }
        ExitStatus::Signaled { signal, .. } => by_signal(signal, facts, words.as_ref(), &mut evidence),
        ExitStatus::Unknown => {
            note(words.iter().flatten(), &mut evidence);
            CauseOfDeath::Unknown
        }
    });
    let report = facts.crash_report.as_ref().map(|at| format!("a crash report about it is `{}`", at.display()));
    evidence.extend(report.map(Evidence::Core));
    if let Some(threads) = &facts.threads {
        evidence.extend(threads.evidence());
    }
    if let (ExitStatus::Signaled { signal, core_dumped: true }, Some(pattern)) = (facts.status, &facts.core_pattern) {
        evidence.push(Evidence::Core(pattern.pointer(facts.pid, signal)));
    }
    if !matches!(cause, CauseOfDeath::Signal { .. } | CauseOfDeath::Exit { .. } | CauseOfDeath::Unknown) {
        evidence.insert(0, Evidence::Status(facts.status));
    }
    Death { cause, status: facts.status, evidence }
}

fn note<'a>(words: impl Iterator<Item = &'a LastWords>, evidence: &mut Vec<Evidence>) {
    evidence.extend(words.flat_map(|words| words.lines.iter().cloned().map(Evidence::Printed)));
}

/// If a signal that was sent to it is what it ended by, or after.
fn by_us(facts: &Facts, evidence: &mut Vec<Evidence>) -> Option<CauseOfDeath> {
    let kill = facts.kill.as_ref()?;
    evidence.extend(kill.by.clone().map(Evidence::LeftTo));
    evidence.extend((!kill.signals.is_empty()).then(|| Evidence::Sent(kill.signals.clone())));
    let is_by_it = |signal| kill.signals.contains(&signal) || (kill.by.is_some() && ENDING.contains(&signal));
    facts.status.signal().is_none_or(is_by_it).then(|| kill.reason.clone().into())
}

fn by_signal(
    signal: i32,
    facts: &Facts,
    words: Option<&Option<LastWords>>,
    evidence: &mut Vec<Evidence>,
) -> CauseOfDeath {
    if signal == KILL {
        return killed(facts, evidence);
    }
    if LOUD.contains(&signal) {
        match words {
            None => evidence.push(Evidence::NoOutput),
            Some(None) => evidence.push(Evidence::NoLastWords),
            Some(Some(words)) => {
                note(std::iter::once(words), evidence);
                if let Some(cause) = said(&words.said, signal, facts.hard_limit) {
                    evidence.push(Evidence::ItsOwnWords);
                    return cause;
                }
            }
        }
    }
    match signal {
        ABRT => CauseOfDeath::Abort { reason: AbortReason::Unsaid, thread: None, message: None },
        ILL => CauseOfDeath::IllegalInstruction,
        signal => {
            if facts.kill.is_none() {
                evidence.push(Evidence::NotSent);
            }
            CauseOfDeath::Signal { signal }
        }
    }
}

/// What the last words mean beside this signal; `None` if they do not belong to it.
fn said(said: &Said, signal: i32, hard_limit: Option<HardLimit>) -> Option<CauseOfDeath> {
    let may_abort = [ABRT, ILL, TRAP].contains(&signal);
    Some(match said {
        Said::StackOverflow { thread } => CauseOfDeath::StackOverflow { thread: thread.clone() },
        Said::HeapLimit if may_abort => CauseOfDeath::OutOfMemory(OutOfMemory::V8Heap),
        Said::AllocationFailed { bytes } if may_abort => CauseOfDeath::OutOfMemory(match hard_limit {
            Some(limit @ HardLimit::Allocation(_)) if bytes.is_none_or(|bytes| bytes < MORE_THAN_THERE_IS) => {
                OutOfMemory::HardLimit(limit)
            }
            _ => OutOfMemory::Allocation { bytes: *bytes },
        }),
        Said::Aborts { reason, thread, message } if may_abort => {
            CauseOfDeath::Abort { reason: *reason, thread: thread.clone(), message: message.clone() }
        }
        _ => return None,
    })
}

/// By a SIGKILL that is not ours.
fn killed(facts: &Facts, evidence: &mut Vec<Evidence>) -> CauseOfDeath {
    if facts.kill.is_none() {
        evidence.push(Evidence::NotSent);
    }
    let stranger = CauseOfDeath::Signal { signal: KILL };
    let Some((before, after)) = &facts.oom else {
        evidence.push(Evidence::NoCounters);
        return stranger;
    };
    let group = before.group.as_ref().zip(after.group.as_ref()).filter(|(before, after)| before.file == after.file);
    let group = group.filter(|(before, after)| forward(&before.file, before.kills, after.kills, evidence));
    let machine = before.machine.zip(after.machine);
    let machine = machine.filter(|(before, after)| forward(Path::new(MACHINE), *before, *after, evidence));
    match group {
        Some((before, after)) => {
            evidence.push(Evidence::GroupKills { file: after.file.clone(), before: before.kills, after: after.kills })
        }
        None => evidence.push(Evidence::NoGroupCounter),
    }
    evidence.extend(machine.map(|(before, after)| Evidence::MachineKills { before, after }));
    let is_in_its_group = group.is_some_and(|(before, after)| after.kills > before.kills);
    let is_excluded = group.is_some_and(|(before, _)| before.decides);
    let is_on_the_machine = machine.is_some_and(|(before, after)| after > before);
    if is_in_its_group || (is_on_the_machine && !is_excluded) {
        evidence.push(Evidence::NamesNobody);
    }
    match facts.hard_limit {
        Some(limit @ HardLimit::Group(_)) if is_in_its_group => {
            CauseOfDeath::OutOfMemory(OutOfMemory::HardLimit(limit))
        }
        _ if is_in_its_group => CauseOfDeath::OutOfMemory(OutOfMemory::Kernel { in_its_group: true }),
        _ if is_on_the_machine && !is_excluded => {
            CauseOfDeath::OutOfMemory(OutOfMemory::Kernel { in_its_group: false })
        }
        _ => stranger,
    }
}

/// Counters only grow. One that has not is of another group by that name, and no counter.
fn forward(file: &Path, before: u64, after: u64, evidence: &mut Vec<Evidence>) -> bool {
    if after < before {
        evidence.push(Evidence::WentBack { file: file.to_owned(), before, after });
    }
    after >= before
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        for (at, evidence) in self.evidence.iter().enumerate() {
            match (f.alternate(), at) {
                (true, _) => write!(f, "\n    {evidence}")?,
                (false, 0) => write!(f, " ({evidence}")?,
                (false, _) => write!(f, "; {evidence}")?,
            }
        }
        if f.alternate() || self.evidence.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
