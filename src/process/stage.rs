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

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(800);

    /// What comes after how long, where each stage is looked at with this delay.
    fn stages(grace: Duration, delay: Duration) -> Vec<(KillAction, Duration)> {
        let start = Instant::now();
        let mut stage = Stage::first(start, grace);
        let mut stages = Vec::new();
        for _ in 0..6 {
            stages.push((stage.action(), stage.ends - start));
            stage = stage.next(stage.ends + delay, start, grace);
        }
        stages
    }

    #[test]
    fn in_time_it_asks_twice_until_half_of_the_grace_and_kills_at_its_end() {
        let at = Duration::from_millis;
        let (asked, told, killed) = (KillAction::HungUp, KillAction::Terminated, KillAction::Killed);
        assert_eq!(
            stages(GRACE, Duration::ZERO),
            [
                (asked, at(50)),
                (asked, at(400)),
                (told, at(800)),
                (killed, at(900)),
                (killed, at(1000)),
                (killed, at(1100))
            ]
        );
        // A short grace has as many stages.
        assert_eq!(stages(at(80), Duration::ZERO)[..3], [(asked, at(10)), (asked, at(40)), (told, at(80))]);
    }

    #[test]
    fn however_late_it_is_no_stage_is_left_out_and_each_gets_some_time() {
        let late = 10 * GRACE;
        let stages = stages(GRACE, late);
        let actions: Vec<KillAction> = stages.iter().map(|(action, _)| *action).collect();
        let (asked, told, killed) = (KillAction::HungUp, KillAction::Terminated, KillAction::Killed);
        assert_eq!(actions, [asked, asked, told, killed, killed, killed]);
        let times: Vec<Duration> = stages.windows(2).map(|two| two[1].1 - two[0].1 - late).collect();
        assert_eq!(times[..3], [GRACE / 8, GRACE / 4, BETWEEN_PASSES]);
    }
}
