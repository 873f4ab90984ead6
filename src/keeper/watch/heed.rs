//! What comes of what was seen: who is told, and when a test that was told does not end.

use crate::event::What;
use crate::event::seen::{Seen, SeenMoment};
use crate::keeper::patience::Patience;
use crate::keeper::watch::notice::{Excess, Notice};
use crate::keeper::watch::watcher::Watcher;
use crate::ledger::message::{LedgerAt, News, Word};
use crate::limits::Limits;
use crate::process::identity::ProcessIdentity;
use crate::sys;
use std::time::Duration;

/// How long a test that is over its limit of memory may take to begin its clean-up: its watchdog acts within three seconds and a tick.
const OBEYS_WITHIN: Duration = Duration::from_secs(6);

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Act {
    TellRunner(News),
    TellBody(Word),
    /// The run is to be ended, for this limit.
    End(String),
}

/// The limits of a run, and how far a test has gone beyond.
#[derive(Default)]
pub(crate) struct Limiting {
    watcher: Option<Watcher>,
    over: Option<Pending>,
    /// For the timeline, the newest.
    seen: Seen,
}

/// A test that is over its limit of memory, and has not ended.
struct Pending {
    why: String,
    is_its_own: bool,
    /// How much time it had since it was told; `None` until its own part runs, since nobody looks for a word before.
    told: Option<Patience>,
}

/// More samples than this are not kept.
const MOST_SAMPLES: usize = 512;

impl Limiting {
    /// A call begins, which has these.
    pub(crate) fn set(
        &mut self,
        ledger: &LedgerAt,
        [runner, body]: [ProcessIdentity; 2],
        limits: &Limits,
    ) -> Vec<News> {
        if let Some(watcher) = &self.watcher {
            watcher.set(limits);
            let news = for_runner(self.heed(false, &[]));
            // It was another call that was over.
            self.over = None;
            return news;
        }
        match Watcher::start(ledger, runner, body, limits) {
            Ok(watcher) => {
                self.watcher = watcher;
                Vec::new()
            }
            Err(why) => vec![News::NotKept { why }],
        }
    }

    /// A call has come to something: what was seen in it, and not told yet.
    pub(crate) fn settle(&mut self) -> Vec<News> {
        if let Some(watcher) = &self.watcher {
            watcher.settle();
        }
        for_runner(self.heed(false, &[]))
    }

    /// True where something may have to be done soon.
    pub(crate) fn is_watching(&self) -> bool {
        self.watcher.is_some()
    }

    /// `is_running`: the test's own part runs, and its watchdog looks for a word; `pids` are those that may be stopped.
    pub(crate) fn heed(&mut self, is_running: bool, pids: &[u32]) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some(notice) = self.watcher.as_ref().and_then(Watcher::notice) {
            self.act(notice, &mut acts);
        }
        if let Some(over) = self.over.as_mut().filter(|_| is_running) {
            let Pending { why, is_its_own, told } = over;
            let patience = told.get_or_insert_with(|| {
                acts.push(Act::TellBody(Word::Fail { why: why.clone(), is_its_own: *is_its_own }));
                Patience::new()
            });
            patience.tick(pids);
            if patience.has_used(OBEYS_WITHIN) {
                acts.push(Act::End(format!("{why}\n    and it did not end when it was told to")));
                self.over = None;
            }
        }
        acts
    }

    fn act(&mut self, notice: Notice, acts: &mut Vec<Act>) {
        match notice {
            Notice::Breach(breach) => {
                self.note(breach.at, breach.id.clone(), breach.moment());
                acts.push(Act::TellRunner(News::Breach(breach)));
            }
            Notice::Sample(sample) => {
                let samples = &mut self.seen.samples;
                if samples.len() == MOST_SAMPLES {
                    samples.remove(0);
                }
                samples.push(sample);
            }
            Notice::NotKept(why) => acts.push(Act::TellRunner(News::NotKept { why })),
            Notice::Over(Excess { why, is_its_own, limit, was }) => {
                let limit = format!("{limit} of memory for the whole test");
                self.note(sys::monotonic(), None, What::Breach { limit, value: was });
                acts.push(Act::TellRunner(News::Over { why: why.clone() }));
                self.over = Some(Pending { why, is_its_own, told: None });
            }
            Notice::Far => {
                // Seen again before the first was heeded.
                let Some(Pending { why, .. }) = self.over.take() else { return };
                acts.push(Act::End(format!("{why}\n    and it went on to grow")));
            }
        }
    }

    fn note(&mut self, at: Duration, session: Option<String>, what: What) {
        self.seen.moments.push(SeenMoment { at, session, what });
    }

    /// What there is for the timeline.
    pub(crate) fn take_seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// Nothing is signalled for a limit any more when this returns.
    pub(crate) fn stop(&mut self) -> Vec<News> {
        let mut acts = Vec::new();
        for notice in self.watcher.take().map(Watcher::stop).unwrap_or_default() {
            self.act(notice, &mut acts);
        }
        for_runner(acts)
    }
}

/// The body has nothing to hear any more, and is not ended for it.
fn for_runner(acts: Vec<Act>) -> Vec<News> {
    let of_it = |act| match act {
        Act::TellRunner(news) => Some(news),
        Act::TellBody(_) | Act::End(_) => None,
    };
    acts.into_iter().filter_map(of_it).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn over() -> Notice {
        let text = |text: &str| text.to_owned();
        Notice::Over(Excess { why: text("over"), is_its_own: true, limit: text("1 MiB"), was: text("2 MiB") })
    }

    fn ends(acts: &[Act]) -> Vec<&str> {
        acts.iter().filter_map(|act| if let Act::End(why) = act { Some(why.as_str()) } else { None }).collect()
    }

    /// A keeper that is busy hears of both at once.
    #[test]
    fn a_test_that_goes_far_is_ended_once_with_its_reason() {
        let mut limiting = Limiting::default();
        let mut acts = Vec::new();
        for notice in [over(), Notice::Far, Notice::Far] {
            limiting.act(notice, &mut acts);
        }
        acts.extend(limiting.heed(true, &[]));
        assert_eq!(ends(&acts), ["over\n    and it went on to grow"]);
        assert_eq!(limiting.take_seen().moments.len(), 1);
    }

    /// What it makes before its call, such as a fixture, may be too much.
    #[test]
    fn a_test_that_is_over_before_its_part_runs_is_told_once_when_that_runs_and_has_its_time_from_then_on() {
        let mut limiting = Limiting::default();
        let mut acts = Vec::new();
        limiting.act(over(), &mut acts);
        assert!(matches!(&acts[..], [Act::TellRunner(News::Over { .. })]), "{acts:?}");
        assert!(limiting.heed(false, &[]).is_empty());
        let told = limiting.heed(true, &[]);
        assert!(
            matches!(&told[..], [Act::TellBody(Word::Fail { why, is_its_own: true })] if why == "over"),
            "{told:?}"
        );
        assert!(limiting.heed(true, &[]).is_empty());
        if let Some(Pending { told: Some(patience), .. }) = &mut limiting.over {
            *patience = Patience::with(OBEYS_WITHIN);
        }
        assert!(limiting.heed(false, &[]).is_empty(), "it cleans up");
        let acts = limiting.heed(true, &[]);
        assert_eq!(ends(&acts), ["over\n    and it did not end when it was told to"]);
        assert!(limiting.heed(true, &[]).is_empty());
    }
}
