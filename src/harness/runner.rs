//! The runner's side of an isolated test: starts keeper and body, prints what the body prints, and fails as it fails.
//!
//! ```text
//!  call k ──► (first: start) ──► "let call k run" ──► output, outcome ──► the body ended? ──yes──► told
//!                                                                          └─ it waits at call k+1 ──► told
//! ```

use crate::error::Error;
use crate::event::name::Name;
use crate::event::{live, warn};
use crate::harness::admission::{Where, admit};
use crate::harness::isolate::Again;
use crate::harness::limits_told::LimitsTold;
use crate::harness::relay::{Relay, standard_error};
use crate::harness::remains::{Died, Remains};
use crate::harness::told::{CallResult, tell_of};
use crate::keeper::{ending, leftovers};
use crate::leak::Level;
use crate::ledger::client;
use crate::ledger::containment::Containment;
use crate::ledger::keepers::{self, StartedKeeper};
use crate::ledger::message::{BodyStart, EndOfRun, LedgerAt, News, Order, Outcome, Outputs, Start, hear, tell};
use crate::process::death::{CorePattern, Death, Facts, HardLimit, OomCounters, classify};
use crate::process::exit::ExitStatus;
use crate::process::identity::ProcessIdentity;
use crate::process::tree::own_identity;
use crate::settings::Settings;
use crate::sys::{self, AsRawFd as _, BorrowedFd, Channel, Pidfd};
use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a keeper that has told everything may take to exit.
const KEEPER_ENDS: Duration = Duration::from_secs(2);
/// How long a body without a keeper may take to end itself.
const BODY_ENDS: Duration = Duration::from_secs(10);

thread_local! {
    /// The run of the test that this thread runs, `None` when it is over: its calls are answered by one body.
    static RUN: RefCell<Option<(Again, Option<Run>)>> = const { RefCell::new(None) };
}

/// One call, as far as the runner must know it.
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) level: Level,
    pub(crate) settle: Duration,
    pub(crate) settings: &'a Settings,
}

/// Has the body run its next call; returns as that returned, or panics as it panicked.
#[track_caller]
pub(crate) fn call(call: &Call<'_>, again: &Again) {
    let run = match RUN.take().filter(|(before, _)| before == again) {
        Some((_, Some(run))) => Ok(run),
        // Another process would answer by the function's first call.
        Some((_, None)) if again.is_by_name => {
            RUN.set(Some((again.clone(), None)));
            let name = call.name;
            panic!(
                "test `{name}` made another call than its own process, which has ended in an earlier call: a test function \
                 must make the same calls in both processes, and none is answered after a crash"
            )
        }
        _ => Run::start(call, again),
    };
    let mut run = match run {
        Ok(run) => run,
        Err(cause) => panic!("test `{}` was not run: {cause}", call.name),
    };
    let result = run.call(call, again);
    RUN.set(Some((again.clone(), run.end.is_none().then_some(run))));
    tell_of(result);
}

struct Run {
    /// What is said of a body that makes more calls, if that is a mistake.
    surplus: Option<String>,
    keeper: StartedKeeper,
    keeper_process: Pidfd,
    channel: Channel,
    relay: Relay,
    remains: Remains,
    /// The counters of kills for want of memory before there was a body: it begins in our group, or in one below.
    oom: OomCounters,
    ledger: LedgerAt,
    /// The one on the body's memory that is in force.
    hard_limit: Option<u64>,
    body: Option<ProcessIdentity>,
    containment: Option<Containment>,
    /// For what is printed as it happens.
    name: String,
    began: Instant,
    calls: u32,
    /// The body waits at this call.
    reached: u32,
    /// What the keeper has told of limits in this call.
    limits: LimitsTold,
    outcome: Option<Outcome>,
    /// How the run ended, once it has.
    end: Option<Box<EndOfRun>>,
}

impl Run {
    fn start(call: &Call<'_>, again: &Again) -> Result<Self, Error> {
        let runner = own_identity()?;
        // Before there is anything that would take memory or time.
        let admitted = admit(call.name, call.settings, Where::Apart)?;
        let os = |cause: io::Error| Error::os("start a process for a test", "raise `ulimit -n` or `ulimit -u`", cause);
        let (relay, ends) = Relay::new().map_err(os)?;
        let uncaptured = standard_error().map_err(os)?;
        let remains = Remains::new().map_err(os)?;
        let outputs = Outputs {
            output: ends.output.as_raw_fd(),
            errors: ends.errors.as_raw_fd(),
            around: ends.around.as_raw_fd(),
            uncaptured: uncaptured.as_raw_fd(),
            timeline: remains.number(),
        };
        let oom = OomCounters::own();
        // It takes longer to get ready than what it is to be told takes to make up.
        let (keeper, channel) = keepers::start(call.name, call.settings.keeps, &outputs.all(), None)?;
        let keeper_process = keeper.hold().map_err(os)?;
        let run = Uuid::now_v7();
        let ledger = match client::make(run, runner, call.name, call.settings) {
            Ok((_, at)) => at,
            // The test runs with the containment that is left, which its report names.
            Err(cause) => LedgerAt::Nowhere { why: cause.to_string() },
        };
        // From here on others know of it.
        drop(admitted);
        let program = sys::start_arguments().ok().and_then(|arguments| arguments.into_iter().next());
        let body = BodyStart {
            program: program.unwrap_or_default().into_encoded_bytes(),
            arguments: again.arguments.clone(),
            outputs,
            settle: call.settle,
        };
        let start = Start {
            run,
            name: call.name.to_owned(),
            ledger: ledger.clone(),
            runner,
            grace: call.settings.grace,
            create_within: call.settings.create,
            keeps: call.settings.keeps,
            inherited: sys::inherited_descriptors().to_vec(),
            body: Some(body),
        };
        if let Err(cause) = tell(&channel, &start)
            && !is_hang_up(&cause)
        {
            return Err(os(cause));
        }
        let surplus = again.is_by_name.then(|| {
            format!(
                "test `{}` made fewer calls than its own process, and the next of those was not run: a test function must \
                 make the same calls in both processes",
                call.name
            )
        });
        Ok(Self {
            surplus,
            keeper,
            keeper_process,
            channel,
            relay,
            remains,
            oom,
            ledger,
            hard_limit: None,
            body: None,
            containment: None,
            name: call.name.to_owned(),
            began: Instant::now(),
            calls: 0,
            reached: 0,
            limits: LimitsTold::default(),
            outcome: None,
            end: None,
        })
    }

    fn call<'a>(&mut self, call: &Call<'a>, again: &'a Again) -> CallResult<'a> {
        self.calls += 1;
        self.outcome = None;
        let order = Order::Call { number: self.calls, timeout: call.timeout, limits: call.settings.limits.clone() };
        // A keeper that has died is seen below.
        let _ = tell(&self.channel, &order);
        while self.end.is_none() && !(self.outcome.is_some() && self.reached > self.calls) {
            self.look();
        }
        self.relay.finish();
        CallResult {
            name: call.name,
            again,
            level: call.level,
            outcome: self.outcome.clone(),
            has_reached: self.reached >= self.calls,
            end: self.end.clone(),
            around: self.relay.around(),
            death: self.death(),
            timeline: self.remains.of(&Died {
                name: call.name,
                number: self.calls,
                timelines: call.settings.timelines.as_deref(),
                pid: self.body.map(|body| body.pid()),
                outcome: self.outcome.as_ref(),
                end: self.end.as_deref(),
            }),
            expects_panic: self.relay.expects_panic(),
            containment: self.containment.clone(),
            limits: std::mem::take(&mut self.limits),
        }
    }

    /// Of what the body has died, if a signal or its keeper has ended it: an exit says all by its status, and most tests end so.
    fn death(&self) -> Option<Death> {
        let end = self.end.as_deref()?;
        let status = end.status?;
        if end.ended_because.is_none() && !matches!(status, ExitStatus::Signaled { .. }) {
            return None;
        }
        let facts = Facts::new(status).output(self.relay.last()).oom(self.oom.clone(), self.oom.again());
        let facts = self.body.iter().fold(facts, |facts, body| facts.pid(body.pid()));
        let facts = match &end.ended_because {
            Some(reason) => facts.killed(reason.clone(), end.signals.iter().copied()),
            None => facts,
        };
        let facts = end.threads.iter().fold(facts, |facts, threads| facts.threads(threads.clone()));
        let limit = self.hard_limit.map(HardLimit::Allocation);
        let facts = limit.into_iter().fold(facts, Facts::hard_limit);
        Some(classify(&facts.core_pattern(CorePattern::read())))
    }

    fn look(&mut self) {
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.channel.fd(), self.keeper_process.fd()];
        fds.extend(self.relay.fds());
        let Ok(ready) = sys::wait_for(&fds, None) else { return };
        let (is_told, keeper_ended) = (ready[0], ready[1]);
        self.relay.print();
        if is_told {
            self.hear();
        } else if keeper_ended {
            self.keeper_died();
        }
    }

    /// All that has come: one wake-up may be for several messages.
    fn hear(&mut self) {
        while self.end.is_none() {
            match hear::<News>(&mut self.channel, Some(Duration::ZERO)) {
                Ok(Some(News::Started { body, containment, .. })) => {
                    self.body = Some(body);
                    self.containment = Some(containment);
                }
                Ok(Some(News::Reached { number })) => self.reached = number,
                Ok(Some(News::Wants(start))) => {
                    // The body waits for it in vain then, and says so.
                    if let Err(cause) = keepers::start_steward(&start) {
                        warn(cause.to_string());
                    }
                }
                Ok(Some(News::Breach(breach))) => {
                    let session = Name::new(breach.id.as_deref().unwrap_or(&breach.label));
                    live::step(Some(&self.name), self.began.elapsed(), Some(session), &breach.moment());
                    self.limits.breaches.push(*breach);
                }
                Ok(Some(News::Over { why })) => self.limits.over = Some(why),
                Ok(Some(News::NotKept { why })) => self.limits.not_kept = Some(why),
                Ok(Some(News::HardLimit { bytes })) => self.hard_limit = bytes,
                Ok(Some(News::Outcome { number, outcome })) if number == self.calls => self.outcome = Some(outcome),
                Ok(Some(News::Outcome { .. })) => {}
                Ok(Some(News::Ended(end))) => {
                    let is_kept = end.kept.is_some();
                    self.end = Some(end);
                    if !is_kept {
                        self.reap();
                    }
                }
                Ok(None) => return,
                Err(_) => self.keeper_died(),
            }
        }
    }

    fn reap(&mut self) {
        let _ = sys::wait_for(&[self.keeper_process.fd()], Some(KEEPER_ENDS));
        self.keeper.has_ended();
    }

    /// Its body ends itself, and what is left is ended by this process.
    fn keeper_died(&mut self) {
        self.reap();
        let body = self.body.or_else(|| self.body_by_ledger());
        let deadline = Instant::now() + BODY_ENDS;
        while let Some(body) = body.and_then(ending::held) {
            if Instant::now() >= deadline {
                break;
            }
            // What it prints meanwhile must not hold it up.
            let fds: Vec<_> = self.relay.fds().chain([body.fd()]).collect();
            let _ = sys::wait_for(&fds, Some(Duration::from_millis(50)));
            self.relay.print();
        }
        let ended_at = Some(sys::monotonic());
        let swept = leftovers::sweep_own(&self.ledger);
        self.end = Some(Box::new(EndOfRun { keeper_died: true, swept, ended_at, ..EndOfRun::default() }));
    }

    fn body_by_ledger(&self) -> Option<ProcessIdentity> {
        let (_, _, file) = self.ledger.open().ok()?;
        leftovers::body_in(&file)
    }
}

/// The test's thread ends, or its function has failed between two calls: nobody answers the body any more.
impl Drop for Run {
    fn drop(&mut self) {
        if self.end.is_some() {
            return;
        }
        if std::thread::panicking() {
            self.relay.mute();
        } else if let Some(text) = self.surplus.take() {
            warn(text);
        }
        let why = "its test function has ended in the other process without another call".to_owned();
        let _ = tell(&self.channel, &Order::End { why });
        while self.end.is_none() {
            self.look();
        }
    }
}

/// A keeper that has died is seen where it is waited for.
fn is_hang_up(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
