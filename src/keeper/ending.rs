//! The end of a run: the body, what it has lost, what its servers were asked for, its control group, its ledger.

use crate::event::seen::Seen;
use crate::keeper::begin::{Begun, Ledger};
use crate::keeper::{descendants, kept, leftovers, sweep};
use crate::ledger::message::{EndOfRun, LedgerAt, News, Start, tell};
use crate::ledger::record::{BODY_RECORD, Record, parse};
use crate::ledger::replay::Replayed;
use crate::process::cgroup::Leaf;
use crate::process::death::{KillReason, ThreadStates};
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use crate::process::identity::ProcessIdentity;
use crate::sys::{self, Channel, Pidfd};
use std::time::Duration;

/// What is known when it begins.
pub(crate) struct End<'a> {
    pub(crate) start: &'a Start,
    pub(crate) begun: &'a mut Begun,
    pub(crate) status: Option<ExitStatus>,
    /// Why the keeper ends a body that lives, if it does so before anybody's death.
    pub(crate) because: Option<KillReason>,
    /// What its threads did then, if its time was over.
    pub(crate) threads: Option<ThreadStates>,
    /// The body has reported and ended by itself.
    pub(crate) is_orderly: bool,
    pub(crate) runner: Option<&'a Channel>,
    /// Of the sessions, for the timeline.
    pub(crate) seen: Seen,
}

impl End<'_> {
    /// Does it all and tells the runner, last, when everything is done.
    pub(crate) fn run(mut self) {
        // One that was about to be ended, and has ended by itself before.
        let ended_because = self.because.take().filter(|_| self.status.is_none());
        let ended_at = Some(sys::monotonic());
        let mut end = EndOfRun {
            status: self.status,
            ended_because,
            threads: self.threads.take(),
            seen: std::mem::take(&mut self.seen),
            ended_at,
            ..EndOfRun::default()
        };
        if self.start.keeps {
            end.kept = Some(kept::how_to(self.start, self.begun));
            self.begun.ledger.append(&Record::Kept);
            self.tell(end);
            kept::wait(&self.begun.ledger);
            self.clean_up(&mut EndOfRun::default());
            return;
        }
        self.clean_up(&mut end);
        self.tell(end);
    }

    fn clean_up(&mut self, end: &mut EndOfRun) {
        // What a body that had reported has lost gets time to end by itself, as what it has itself; after a crash nobody
        // judges what is left.
        if self.is_orderly {
            let settle = self.start.body.as_ref().map_or(Duration::ZERO, |body| body.settle);
            end.left = descendants::settle(settle);
        }
        let died = sys::now_ticks();
        let mut body = descendants::Own { pid: self.begun.body.pid(), status: self.status, signals: Vec::new() };
        end.swept = descendants::end_all(self.start.grace.min(descendants::GRACE), Some(&mut body));
        (end.status, end.signals) = (body.status, body.signals);
        self.sweep_the_rest(end, died);
        let leaf = self.begun.leaf.take();
        let is_empty = leaf.is_none_or(|leaf| leftovers::remove_group(&leaf, &mut end.swept));
        // It leads to what is left, for the next run.
        if is_empty && end.swept.is_over() {
            self.begun.ledger.remove();
        }
    }

    /// By the marks: what is nobody's descendant here, and what hides in the control group. An orderly end has nothing of
    /// the kind, unless a session is in the books still.
    fn sweep_the_rest(&mut self, end: &mut EndOfRun, died: u64) {
        let Some(held) = &self.begun.ledger.open else { return };
        let read = held.file.read_all().map_err(|cause| cause.to_string());
        let replayed = read.and_then(|bytes| Replayed::new(parse(&bytes)).map_err(|why| why.to_string()));
        let mut replayed = match replayed {
            Ok(replayed) => replayed,
            Err(why) => {
                end.swept
                    .undone
                    .push(format!("the ledger could not be read, so that nothing was looked for by it: {why}"));
                return;
            }
        };
        let is_populated = |leaf: &Leaf| leaf.is_populated().unwrap_or(false);
        if self.is_orderly && end.left.is_empty() && !self.begun.leaf.as_ref().is_some_and(is_populated) {
            replayed.open.remove(&BODY_RECORD);
        }
        if replayed.damaged > 0 {
            end.swept.undone.push(leftovers::damaged(replayed.damaged));
        }
        end.swept.add(sweep::sweep(&replayed, died, self.start.grace.min(descendants::GRACE)));
    }

    fn tell(&self, end: EndOfRun) {
        if let Some(runner) = self.runner {
            // A runner that has died meanwhile needs no report.
            let _ = tell(runner, &News::Ended(Box::new(end)));
        }
    }
}

/// Holds a process of this identity; `None` if it is gone.
pub(crate) fn held(identity: ProcessIdentity) -> Option<Pidfd> {
    let fd = Pidfd::open(identity.pid()).ok()?;
    // Asked for after it is held, so that both are of one process.
    let handle = ProcessHandle::open(identity.pid()).ok()?;
    (handle.identity() == identity && !fd.has_exited().unwrap_or(true)).then_some(fd)
}

/// Of a run that has not begun.
pub(crate) fn remove_ledger(at: &LedgerAt) {
    if let Ok(mut ledger) = Ledger::hold(at) {
        ledger.remove();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::tree::own_identity;

    #[test]
    fn a_number_with_a_new_owner_is_not_held() {
        let ours = own_identity().unwrap();
        assert!(held(ours).is_some());
        assert!(held(ProcessIdentity { started: ours.started - 1, ..ours }).is_none());
    }
}
