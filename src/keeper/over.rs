//! The keeper over a body: watches it and its runner, and ends everything when either is dead.
//!
//! ```text
//!  Starting ──reached──► Running ──cleans up──► CleaningUp ──judges──► Judging ──outcome──► Between ──reached──► Waiting ──call──► Running …
//!     └─ too long ─┐        └─ too long ─┐                           too long ─┐           └─ too long ─┐
//!                  └─────────────────────┴──► everything is ended ◄────────────┴────────────────────────┘
//! ```
//! It never signals while runner and body live, unless one of these limits has gone by, or something has gone over one of
//! [`Limits`](crate::limits::Limits): see [`watch`](crate::keeper::watch).

use crate::keeper::begin::{Begun, MARK_EVERY, begin};
use crate::keeper::ending::{self, End};
use crate::keeper::patience::{Patience, TICK};
use crate::keeper::watch::heed::{Act, Limiting};
use crate::keeper::{leftovers, stall};
use crate::ledger::message::{EndOfRun, News, Order, Start, Told, Word, hear, tell};
use crate::probe::waiting;
use crate::process::death::{KillReason, ThreadStates};
use crate::process::exit::ExitStatus;
use crate::sys::{self, AsFd as _, Channel, Pidfd};
use std::time::Duration;

/// How much longer than it may take a body goes on before it counts as wedged: its own watchdog acts three seconds after the
/// deadline.
const WEDGED_AFTER: Duration = Duration::from_secs(10);
/// How long a body that has reported may take to end by itself: it may have a profile to write.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// How long a body may take to compare what is left with what there was, beside what that is given to settle.
const JUDGES_WITHIN: Duration = Duration::from_secs(30);

/// What the body is doing, as far as it has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not reached its first call.
    Starting,
    /// It waits to be let into a call.
    Waiting,
    Running,
    /// It has deadlines of its own for that.
    CleaningUp,
    /// It compares and tells, which has limits only as far as nothing blocks.
    Judging,
    /// It has told what a call came to, and runs on to the next one or to its end.
    Between,
}

struct Keeper {
    start: Start,
    begun: Begun,
    /// `None` once it is gone.
    runner: Option<Channel>,
    runner_process: Option<Pidfd>,
    /// `None` if it has ended by now. The signal of its end alone would not do: a thread that the program's own code has started
    /// before us, by a constructor, may take it.
    body_process: Option<Pidfd>,
    hears_body: bool,
    phase: Phase,
    patience: Patience,
    /// The calls that the runner has asked for, and that the body has reached.
    asked: u32,
    reached: u32,
    /// The last call that the body was let into; it need not have come to it yet.
    let_into: u32,
    timeout: Duration,
    limiting: Limiting,
    has_reported: bool,
    /// How the body ended, once it has.
    status: Option<ExitStatus>,
    /// Why everything is to be ended now.
    because: Option<KillReason>,
    /// What the body's threads did when its time was over.
    threads: Option<ThreadStates>,
}

/// From the first message to the end of the run.
pub(crate) fn keep(start: Start, runner: Channel) {
    let Some(body) = &start.body else { return };
    let begun = match begin(&start, body) {
        Ok(begun) => begun,
        Err(why) => {
            let end = EndOfRun { not_started: Some(why), ..EndOfRun::default() };
            ending::remove_ledger(&start.ledger);
            let _ = tell(&runner, &News::Ended(Box::new(end)));
            return;
        }
    };
    // While the body gets ready.
    let runner_process = ending::held(start.runner);
    let body_process = Pidfd::open(begun.body.pid()).ok();
    let _ = sys::close_standard_input();
    // Not before the body was forked, which takes a process of one thread.
    let others = leftovers::sweep_others(&begun.ledger);
    let mut keeper = Keeper {
        runner: Some(runner),
        runner_process,
        body_process,
        hears_body: true,
        phase: Phase::Starting,
        patience: Patience::new(),
        asked: 0,
        reached: 0,
        let_into: 0,
        timeout: Duration::MAX,
        limiting: Limiting::default(),
        has_reported: false,
        status: None,
        because: None,
        threads: None,
        begun,
        start,
    };
    keeper.tell_runner(&News::Started {
        keeper: keeper.begun.identity,
        body: keeper.begun.body,
        containment: keeper.begun.containment.clone(),
    });
    // It may have come with the first message.
    keeper.hear_runner();
    while !keeper.is_over() {
        keeper.look();
    }
    keeper.end();
    leftovers::wait_for(others);
}

impl Keeper {
    fn is_over(&self) -> bool {
        let is_kept = self.start.keeps && self.has_reported;
        self.status.is_some() || self.because.is_some() || self.runner_process.is_none() || is_kept
    }

    /// Waits for something to happen, and heeds it.
    fn look(&mut self) {
        let Some(runner_process) = &self.runner_process else { return };
        let mut fds = vec![self.begun.ends.as_fd(), runner_process.fd()];
        let body_at = self.hears_body.then_some(fds.len());
        if self.hears_body {
            fds.push(self.begun.channel.fd());
        }
        let runner_at = self.runner.as_ref().map(|_| fds.len());
        fds.extend(self.runner.as_ref().map(Channel::fd));
        fds.extend(self.body_process.as_ref().map(Pidfd::fd));
        let limit = if self.limit().is_some() || self.limiting.is_watching() { TICK } else { MARK_EVERY };
        let Ok(ready) = sys::wait_for(&fds, Some(limit)) else { return };
        let is_ready = |at: Option<usize>| at.is_some_and(|at| ready[at]);
        let (ends, runner_ended) = (ready[0], ready[1]);
        if is_ready(body_at) {
            self.hear_body();
        }
        if is_ready(runner_at) {
            self.hear_runner();
        }
        if ends {
            sys::drain(&self.begun.ends);
        }
        self.reap();
        if runner_ended {
            // Its last words, which may be that there is nothing more to come.
            self.runner_process = None;
            self.runner = None;
            self.because.get_or_insert(KillReason::RunnerGone);
        }
        self.begun.ledger.mark_as_watched();
        self.heed_limits();
        self.heed_the_clock();
    }

    fn reap(&mut self) {
        while let Some((pid, status)) = sys::reap_any() {
            if pid == self.begun.body.pid() {
                self.status = Some(status.into());
                // What it told in its last moment.
                self.hear_body();
            }
        }
    }

    /// All that has come: one wake-up may be for several messages.
    fn hear_body(&mut self) {
        while self.hears_body {
            match hear::<Told>(&mut self.begun.channel, Some(Duration::ZERO)) {
                Ok(Some(told)) => self.heed_body(told),
                // No whole message: the rest comes, unless it is dead.
                Ok(None) if self.status.is_none() => return,
                // Its end closes the channel, or the test does, by number; then its process is what counts.
                Ok(None) | Err(_) => self.hears_body = false,
            }
        }
    }

    fn heed_body(&mut self, told: Told) {
        match told {
            Told::Reached { number } => {
                self.reached = number;
                self.enter(Phase::Waiting);
                self.tell_runner(&News::Reached { number });
                self.let_in();
            }
            Told::Wants(start) => self.tell_runner(&News::Wants(start)),
            Told::HardLimit { bytes } => self.tell_runner(&News::HardLimit { bytes }),
            Told::CleansUp => self.enter(Phase::CleaningUp),
            Told::Judges => self.enter(Phase::Judging),
            Told::Outcome { number, outcome } => {
                // Of a session that is being ended now, the call that made it is told.
                for news in self.limiting.settle() {
                    self.tell_runner(&news);
                }
                self.has_reported = true;
                self.enter(Phase::Between);
                self.tell_runner(&News::Outcome { number, outcome });
            }
        }
    }

    fn hear_runner(&mut self) {
        while let Some(runner) = &mut self.runner {
            match hear::<Order>(runner, Some(Duration::ZERO)) {
                Ok(Some(Order::Call { number, timeout, limits })) => {
                    self.asked = number;
                    self.timeout = timeout;
                    let news = self.limiting.set(&self.start.ledger, [self.start.runner, self.begun.body], &limits);
                    news.iter().for_each(|news| self.tell_runner(news));
                    self.let_in();
                }
                Ok(Some(Order::End { why })) => self.because = Some(KillReason::Other(why)),
                Ok(None) => return,
                // A runner that lives and does not listen has given up this run.
                Err(_) => {
                    self.runner = None;
                    self.because = Some(KillReason::RunnerGone);
                }
            }
        }
    }

    /// The body's k-th call answers the runner's k-th. Where the runner was first, the body finds the answer when it comes.
    fn let_in(&mut self) {
        if self.asked > self.let_into && self.asked <= self.reached + 1 {
            self.let_into = self.asked;
            let _ = tell(&self.begun.channel, &Word::Go { number: self.asked });
        }
        if self.phase == Phase::Waiting && self.reached == self.asked {
            self.enter(Phase::Running);
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.patience.restart();
    }

    /// How long this phase may take.
    fn limit(&self) -> Option<Duration> {
        match self.phase {
            Phase::Starting => (self.asked > 0).then_some(self.timeout),
            Phase::Running => Some(self.timeout.saturating_add(WEDGED_AFTER)),
            Phase::Judging => Some(self.start.body.as_ref().map_or(JUDGES_WITHIN, |body| body.settle + JUDGES_WITHIN)),
            Phase::Between => Some(ENDS_WITHIN),
            Phase::Waiting | Phase::CleaningUp => None,
        }
    }

    fn heed_limits(&mut self) {
        let pids = [self.start.runner.pid(), self.begun.body.pid()];
        for act in self.limiting.heed(self.phase == Phase::Running, &pids) {
            match act {
                Act::TellRunner(news) => self.tell_runner(&news),
                // One that has died needs no word.
                Act::TellBody(word) => drop(tell(&self.begun.channel, &word)),
                Act::End(why) => self.because = Some(KillReason::Limit(why)),
            }
        }
    }

    fn heed_the_clock(&mut self) {
        let Some(limit) = self.limit() else { return };
        self.patience.tick(&[self.start.runner.pid(), self.begun.body.pid()]);
        if self.is_over() || !self.patience.has_used(limit) {
            return;
        }
        let body = self.begun.body.pid();
        // Before anybody is signalled.
        self.threads = waiting::of_all_threads_of(body).ok();
        self.because = Some(KillReason::Deadline(match self.phase {
            Phase::Starting => stall::before_the_call(body, limit),
            Phase::Running => stall::in_the_call(self.timeout),
            Phase::Judging => stall::at_its_judgement(limit),
            _ => stall::after_the_call(limit),
        }));
    }

    fn tell_runner(&mut self, news: &News) {
        if let Some(runner) = &self.runner
            && tell(runner, news).is_err()
        {
            self.runner = None;
        }
    }

    fn end(mut self) {
        for news in self.limiting.stop() {
            self.tell_runner(&news);
        }
        let is_orderly = self.has_reported && self.status.is_some();
        let end = End {
            start: &self.start,
            begun: &mut self.begun,
            status: self.status,
            because: self.because.take(),
            threads: self.threads.take(),
            is_orderly,
            runner: self.runner.as_ref(),
            seen: self.limiting.take_seen(),
        };
        end.run();
    }
}
