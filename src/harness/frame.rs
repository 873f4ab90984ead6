//! The frame around a body: what happens before, after success, error, panic and timeout, and in which order.

use crate::catch::{caught, message, panic_of};
use crate::error::{BoxError, Error, with_causes};
use crate::event::recorder::{Part, Recorder};
use crate::harness::body::{cleans_up, current_call, judges};
use crate::harness::ending::{BodyEnd, Ending};
use crate::harness::hard_limit::HardLimit;
use crate::harness::limits_told::without_a_keeper;
use crate::harness::measure;
use crate::harness::scope::Scope;
use crate::harness::timelines;
use crate::harness::watchdog::{Expired, Watchdog};
use crate::leak::{Diff, Item, LeakCheck, Settled, settle};
use crate::ledger::client::{self, containment};
use crate::process::policy::KillPolicy;
use crate::process::pump::Pump;
use crate::report::AssertNoLeaks;
use crate::runtime::{Runtime, is_inside, park_on};
use crate::settings::Settings;
use crate::sys;
use crate::tracker::SessionTestHelper;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// The pump's thread has begun once it ends a sleep.
const PUMP_BEGINS_WITHIN: Duration = Duration::from_millis(1);

thread_local! {
    /// True on a thread that a body runs on.
    static IS_IN_A_TEST: Cell<bool> = const { Cell::new(false) };
}

/// # Panics
///
/// On a thread on which a body or a runtime runs.
#[track_caller]
pub(crate) fn refuse_nesting(name: &str) {
    assert!(
        !IS_IN_A_TEST.get() && !is_inside(),
        "termleash::test was called inside of a test or of a runtime (`{name}`): call it from a plain `#[test]` \
         function; in a test that has a runtime use `SessionTestHelper` and `LeakCheck`"
    );
}

/// One test, from its baseline to its check.
pub(crate) struct Frame {
    scope: Scope,
    check: LeakCheck,
    timeout: Duration,
    settings: Settings,
    pump: &'static Pump,
    /// The process that it began in.
    owner: u32,
    /// Why it runs in the test process, if it does.
    why_here: String,
    /// Which limit is not kept, and why.
    not_kept: Option<String>,
}

impl Frame {
    /// The baseline is taken last, so that nothing of the frame's own is in the difference.
    ///
    /// # Errors
    ///
    /// Why the test was not run, in words.
    pub(crate) fn begin(
        name: String,
        policy: KillPolicy,
        timeout: Option<Duration>,
        settings: Settings,
        why_here: String,
        check: impl FnOnce(&str) -> LeakCheck,
    ) -> Result<Self, String> {
        // Without a pump there is neither deadline nor session.
        let pump = Pump::get().map_err(|cause| format!("test `{name}` was not run: {cause}"))?;
        let recorder = Recorder::of_call(name.clone(), current_call(), sys::monotonic());
        measure::take_all(&recorder);
        let id = Scope::next_id();
        let check = check(&name).of_scope(id);
        let scope = Scope::new(name, policy, check.references().clone(), id, &settings.limits, recorder);
        let timeout = timeout.unwrap_or(settings.timeout);
        Ok(Self { scope, check, timeout, settings, pump, owner: std::process::id(), why_here, not_kept: None })
    }

    /// Runs an async body in a runtime of its own.
    pub(crate) fn run_async<F>(mut self, runtime: std::io::Result<Runtime>, body: F) -> Ending
    where
        F: AsyncFnOnce(&Scope) -> Result<(), BoxError>,
    {
        let runtime = match runtime.map_err(|cause| Error::os("start a runtime", "raise `ulimit -n`", cause)) {
            Ok(runtime) => runtime,
            Err(cause) => panic!("test `{}` was not run: {cause}", self.scope.name()),
        };
        let _inside = Inside::enter();
        let watchdog = Watchdog::start(self.pump, &self.scope, self.timeout);
        let limited = self.limit_memory(&watchdog);
        self.scope.recorder().begins(Part::Body);
        let cleaned = runtime.run(async {
            let (ended, dropped) = until_expired(&watchdog, body, &self.scope).await;
            drop(limited);
            let body = ending_of(ended, watchdog.body_ended(), self.timeout);
            if !self.is_in_its_process() {
                return Err(body);
            }
            self.body_is_over();
            if self.keeps() {
                return Err(body);
            }
            let mut left = self.clean_up(&watchdog).await;
            left.failures.splice(0..0, dropped.map(|text| format!("the body panicked when it was dropped: {text}")));
            Ok((body, left))
        });
        match cleaned {
            Ok((body, left)) => {
                self.shut_down(runtime, &watchdog);
                self.end(watchdog, body, left)
            }
            Err(body) => {
                runtime.forget();
                self.leave_as_it_is(watchdog, body)
            }
        }
    }

    /// Runs a body on this thread, without a runtime.
    pub(crate) fn run_blocking<F>(mut self, body: F) -> Ending
    where
        F: FnOnce(&Scope) -> Result<(), BoxError>,
    {
        let _inside = Inside::enter();
        let watchdog = Watchdog::start(self.pump, &self.scope, self.timeout);
        let limited = self.limit_memory(&watchdog);
        self.scope.recorder().begins(Part::Body);
        let ended = catch_unwind(AssertUnwindSafe(|| body(&self.scope)));
        drop(limited);
        let body = ending_of(Some(ended), watchdog.body_ended(), self.timeout);
        if !self.is_in_its_process() {
            return self.leave_as_it_is(watchdog, body);
        }
        self.body_is_over();
        if self.keeps() {
            return self.leave_as_it_is(watchdog, body);
        }
        let left = match Runtime::new() {
            Ok(runtime) => {
                let left = runtime.run(self.clean_up(&watchdog));
                self.shut_down(runtime, &watchdog);
                left
            }
            Err(cause) => Left {
                failures: vec![format!("nothing was cleaned up, for want of a runtime: {cause}")],
                ..Left::default()
            },
        };
        self.end(watchdog, body, left)
    }

    /// For as long as the closure runs.
    #[track_caller]
    fn limit_memory(&mut self, watchdog: &Watchdog) -> HardLimit {
        let limits = &self.settings.limits;
        if limits.body_memory.is_some() {
            // A body at its limit has no room for the stack of a thread, nor for what one takes as it begins.
            watchdog.start_thread();
            park_on(self.pump.sleep(PUMP_BEGINS_WITHIN));
        }
        let (limited, hard) = HardLimit::set(self.scope.name(), limits);
        let watched = client::body().is_none().then(|| without_a_keeper(self.scope.name(), limits, &self.why_here));
        self.not_kept = watched.flatten().into_iter().chain(hard).reduce(|one, other| format!("{one}\n{other}"));
        limited
    }

    fn body_is_over(&self) {
        self.scope.recorder().begins(Part::CleanUp);
        measure::take_all(self.scope.recorder());
        cleans_up();
    }

    /// False in a child that was forked without exec: its copy of the body must not clean up for its parent.
    fn is_in_its_process(&self) -> bool {
        self.owner == std::process::id()
    }

    /// True where `TERMLEASH_KEEP` says that nothing is to be ended: the process waits for whoever looks at it.
    fn keeps(&self) -> bool {
        client::body().is_some_and(|welcome| welcome.keeps)
    }

    /// Without clean-up: of a copy, whose threads and descriptors are the parent's, nothing is dropped, nor of what is kept for
    /// debugging. What a copy's body came to, but for a panic, is nobody's outcome.
    fn leave_as_it_is(self, watchdog: Watchdog, body: BodyEnd) -> Ending {
        let body = match body {
            BodyEnd::Panicked(payload, _) => BodyEnd::Panicked(payload, None),
            _ if !self.is_in_its_process() => BodyEnd::Passed,
            body => body,
        };
        watchdog.forget();
        let name = self.scope.name().to_owned();
        std::mem::forget(self);
        Ending::of_body_alone(name, body)
    }

    /// What the test deferred, its sessions, its servers, and what must be gone by then.
    async fn clean_up(&self, watchdog: &Watchdog) -> Left {
        // Before they are ended: those that a failure is about.
        let logs = self.scope.servers().logs();
        let failures = self.deferred_and_killed(watchdog).await;
        let logs = logs.into_iter().filter(|(server, _)| !server.has_told_its_log()).map(|(_, log)| log).collect();
        // Within the runtime: a task that was spawned and never ended holds what it holds until the runtime ends, which in
        // a server is never.
        let look = || {
            let mut diff = Diff::default();
            diff.extend_booked(self.scope.references().alive());
            diff
        };
        watchdog.step(self.check.settle_limit());
        let (held, settled) = settle(self.check.settle_limit(), look).await;
        Left { failures, held: held.items().cloned().collect(), settled, logs }
    }

    /// Runs what was deferred, then ends what is tracked by any of its helpers; answers with what went wrong.
    async fn deferred_and_killed(&self, watchdog: &Watchdog) -> Vec<String> {
        let wait = self.settings.wait;
        let mut failures = self.scope.deferred().run(wait, || watchdog.step(wait)).await;
        let mut of_sessions = Vec::new();
        for helper in self.scope.helpers() {
            watchdog.step(wait);
            let was_told = helper.is_told();
            // A backend is the user's code.
            match caught(|| helper.kill_tracked_sessions()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) if was_told => {}
                Ok(Err(cause)) => {
                    of_sessions.push(cause.to_string());
                    helper.mark_told();
                }
                Err(payload) => {
                    of_sessions.push(format!("a backend panicked when its sessions were ended: {}", message(payload)))
                }
            }
        }
        // A server that has died is why its sessions could not be ended, so it is told first.
        failures.extend(self.scope.servers().end(|limit| watchdog.step(limit)).await);
        failures.extend(of_sessions);
        failures
    }

    fn end(self, watchdog: Watchdog, body: BodyEnd, mut left: Left) -> Ending {
        let name = self.scope.name().to_owned();
        left.failures.extend(self.late_clean_up(&watchdog));
        let alive = self.scope.references().alive();
        let is_alive =
            |item: &Item| alive.iter().any(|still| (&still.name, &still.made_at) == (&item.name, &item.made_at));
        // What is alive is found by the check itself.
        left.held.retain(|item| !is_alive(item));
        for item in &mut left.held {
            item.notes
                .push("it was dropped only when the runtime was shut down: a task that was spawned held it".into());
        }
        drop(watchdog);
        // From here on its keeper keeps the time.
        judges();
        let recorder = Arc::clone(self.scope.recorder());
        recorder.begins(Part::Settle);
        let Self { scope, check, why_here, not_kept, settings, .. } = self;
        // Its helpers complain by a panic of what they could not end.
        let complaint = panic_of(|| drop(scope));
        left.failures.extend(complaint);
        let waited = left.settled.clone();
        let report = park_on(check.find_with(left.held, left.settled));
        let last = report.as_ref().ok().and_then(|report| report.settled.last.clone()).or(waited.last);
        let leaks = report.passing().err();
        measure::take(&recorder);
        let timeline = recorder.timeline_at_end(waited.took, last);
        timelines::tell(&timeline, settings.timelines.as_deref(), sys::own_pid());
        recorder.mark_told();
        let containment = containment(&why_here);
        let Left { failures: clean_up, logs, .. } = left;
        Ending { name, body, clean_up, leaks, logs, timeline: Some(timeline), not_kept, containment }
    }

    /// After the runtime's end nothing more can be started; what was started or deferred by tasks on their way out is ended.
    fn late_clean_up(&self, watchdog: &Watchdog) -> Vec<String> {
        let helpers = self.scope.helpers();
        helpers.iter().for_each(SessionTestHelper::end);
        self.scope.servers().close();
        let has_nothing = self.scope.deferred().is_empty() && self.scope.servers().is_empty();
        if has_nothing && helpers.iter().all(|helper| helper.tracked_count() == 0) {
            return Vec::new();
        }
        let Ok(runtime) = Runtime::new() else { return Vec::new() };
        let failures = runtime.run(self.deferred_and_killed(watchdog));
        self.shut_down(runtime, watchdog);
        failures
    }

    /// Blocking tasks that never end are not waited for for ever; they are found as threads.
    fn shut_down(&self, runtime: Runtime, watchdog: &Watchdog) {
        let limit = self.check.settle_limit();
        watchdog.step(limit);
        runtime.shutdown(limit);
    }
}

/// What the clean-up could not do, and what must have been dropped and was not, with how long that was waited for.
#[derive(Default)]
struct Left {
    failures: Vec<String>,
    held: Vec<Item>,
    settled: Settled,
    /// The ends of its servers' logs, before those were ended.
    logs: Vec<String>,
}

/// What the body came to, or `None` if its deadline went by first; then it is dropped where it waits, and what that panicked
/// with is beside it.
async fn until_expired<F>(
    watchdog: &Watchdog,
    body: F,
    scope: &Scope,
) -> (Option<std::thread::Result<Result<(), BoxError>>>, Option<String>)
where
    F: AsyncFnOnce(&Scope) -> Result<(), BoxError>,
{
    let mut running = Box::pin(caught(|| body(scope)));
    let mut expired = pin!(watchdog.expired());
    let ended = std::future::poll_fn(|context| {
        if let Poll::Ready(ended) = running.as_mut().poll(context) {
            return Poll::Ready(Some(ended));
        }
        expired.as_mut().poll(context).map(|_| None)
    })
    .await;
    (ended, panic_of(|| drop(running)))
}

/// A panic counts more than lateness, a late error is told beside it, and a late success counts nothing.
fn ending_of(
    ended: Option<std::thread::Result<Result<(), BoxError>>>,
    late: Option<Expired>,
    timeout: Duration,
) -> BodyEnd {
    let none = || Expired { why: None, alive: String::new() };
    let timed_out = |expired: Option<Expired>, error| {
        let expired = expired.unwrap_or_else(none);
        BodyEnd::Expired { after: timeout, expired, error }
    };
    match (ended, late) {
        (Some(Err(payload)), late) => BodyEnd::Panicked(payload, late.map(|expired| (timeout, expired))),
        (Some(Ok(Err(cause))), None) => BodyEnd::Failed(with_causes(&cause)),
        (Some(Ok(Ok(()))), None) => BodyEnd::Passed,
        (Some(Ok(Err(cause))), late) => timed_out(late, Some(with_causes(&cause))),
        (_, late) => timed_out(late, None),
    }
}

/// Marks the thread for as long as a body runs on it.
struct Inside;

impl Inside {
    fn enter() -> Self {
        IS_IN_A_TEST.set(true);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        IS_IN_A_TEST.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_failure_is_told_beside_the_timeout_and_a_late_success_is_none() {
        let late = |alive: &str| Expired { why: None, alive: alive.to_owned() };
        let text = |ended, alive: Option<&str>| match ending_of(ended, alive.map(late), Duration::from_secs(1)) {
            BodyEnd::Passed => "passed".to_owned(),
            BodyEnd::Failed(cause) => format!("failed: {cause}"),
            BodyEnd::Panicked(_, None) => "panicked".to_owned(),
            BodyEnd::Panicked(_, Some((_, late))) => format!("panicked late: {}", late.alive),
            BodyEnd::Expired { expired, error, .. } => {
                format!("timed out: {}{}", expired.alive, error.unwrap_or_default())
            }
        };
        assert_eq!(text(Some(Ok(Ok(()))), None), "passed");
        assert_eq!(text(Some(Ok(Ok(()))), Some("sh")), "timed out: sh");
        assert_eq!(text(Some(Ok(Err("own".into()))), None), "failed: own");
        assert_eq!(text(Some(Ok(Err("own".into()))), Some("sh")), "timed out: shown");
        assert_eq!(text(Some(Err(Box::new("own"))), None), "panicked");
        assert_eq!(text(Some(Err(Box::new("own"))), Some("sh")), "panicked late: sh");
        assert_eq!(text(None, Some("sh")), "timed out: sh");
        assert_eq!(text(None, None), "timed out: ");
    }
}
