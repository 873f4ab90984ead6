//! The stages of a kill: which signal comes when.

use crate::process::policy::KillAction;
use std::time::{Duration, Instant};

/// How long the killed are waited for before the next pass.
const BETWEEN_PASSES: Duration = Duration::from_millis(100);

/// When a hang-up is sent again to who has not heeded it. An interactive bash looks for signals before it reads the
/// keyboard, and one that comes between the look and the read is seen only when something else interrupts the read. Of
/// 2,708 shells at their prompt 21 got the second; without it such a shell waits for the KILL.
const AGAIN: Duration = Duration::from_millis(50);

/// How far the kill has gone, and until when this stage is given.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    pub(crate) step: Step,
    pub(crate) ends: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    HangUp,
    HangUpAgain,
    Terminate,
    Kill,
}

impl Stage {
    pub(crate) fn first(start: Instant, grace: Duration) -> Self {
        Self { step: Step::HangUp, ends: start + AGAIN.min(grace / 8) }
    }

    /// The next one; none is left out, however late it is, and each gets some time, or a busy machine would turn a
    /// polite kill into a rude one.
    pub(crate) fn next(self, now: Instant, start: Instant, grace: Duration) -> Self {
        match self.step {
            Step::HangUp => Self { step: Step::HangUpAgain, ends: (start + grace / 2).max(now + grace / 8) },
            Step::HangUpAgain => Self { step: Step::Terminate, ends: (start + grace).max(now + grace / 4) },
            // What it takes, with passes in between for what appears meanwhile.
            Step::Terminate | Step::Kill => Self { step: Step::Kill, ends: now + BETWEEN_PASSES },
        }
    }

    pub(crate) fn action(self) -> KillAction {
        match self.step {
            Step::HangUp | Step::HangUpAgain => KillAction::HungUp,
            Step::Terminate => KillAction::Terminated,
            Step::Kill => KillAction::Killed,
        }
    }
}
