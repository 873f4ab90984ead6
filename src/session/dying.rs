//! Of what a session has died: what is known of its end before there is one, and what is concluded then.

use crate::ledger::client;
use crate::process::death::{CorePattern, Death, Facts, KillReason, OomCounters, classify};
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use parking_lot::Mutex;

/// What is known while it lives.
pub(crate) struct Dying {
    /// The counters of kills for want of memory when it was created.
    oom: OomCounters,
    ended: Mutex<Option<Ended>>,
}

/// Somebody of this process ends it.
struct Ended {
    reason: KillReason,
    /// Its server was asked to.
    was_asked: bool,
}

impl Dying {
    pub(crate) fn new(oom: OomCounters) -> Self {
        Self { oom, ended: Mutex::new(None) }
    }

    /// It is about to be signalled, if it lives. Of several reasons the first one is what it dies of.
    pub(crate) fn note_end(&self, reason: &KillReason) {
        self.ended.lock().get_or_insert_with(|| Ended { reason: reason.clone(), was_asked: false });
    }

    /// Its server is about to be asked to end it.
    pub(crate) fn note_request(&self) {
        if let Some(ended) = &mut *self.ended.lock() {
            ended.was_asked = true;
        }
    }

    /// Of what its leader has died, which has ended so, after this output.
    pub(crate) fn judge(&self, status: ExitStatus, leader: Option<&ProcessHandle>, output: Option<&str>) -> Death {
        let mut facts = Facts::new(status);
        if let Some(output) = output {
            facts = facts.output(output);
        }
        if let ExitStatus::Signaled { .. } = status {
            facts = facts.oom(self.oom.clone(), self.oom.again()).core_pattern(CorePattern::read());
        }
        if let Some(leader) = leader {
            facts = facts.pid(leader.pid());
        }
        classify(&self.killed(facts, status, leader))
    }

    /// With who was to end it, and by what.
    fn killed(&self, facts: Facts, status: ExitStatus, leader: Option<&ProcessHandle>) -> Facts {
        // None that came when it had ended: those are not what it has died of.
        let signals = leader.map(ProcessHandle::sent).unwrap_or_default();
        if !status.success()
            && let Some(limit) = leader.and_then(|leader| client::breach_of(leader.identity()))
        {
            return facts.ended_by("its keeper", KillReason::Limit(limit), signals);
        }
        match &*self.ended.lock() {
            None => facts,
            Some(Ended { reason, was_asked: true }) => facts.ended_by("its server", reason.clone(), signals),
            Some(Ended { reason, was_asked: false }) => facts.killed(reason.clone(), signals),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::death::CauseOfDeath;

    #[test]
    fn of_several_reasons_the_first_is_what_it_dies_of() {
        let dying = Dying::new(OomCounters::default());
        let because = |why: &str| KillReason::Other(why.into());
        dying.note_end(&because("it was closed"));
        dying.note_request();
        dying.note_end(&because("its helper was dropped"));
        let death = dying.judge(ExitStatus::Signaled { signal: 9, core_dumped: false }, None, None);
        assert_eq!(*death.cause(), CauseOfDeath::Ended { why: "it was closed".into() }, "{death:#}");
    }
}
