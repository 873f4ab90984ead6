//! The frame around a body: what happens before, after success, error, panic and timeout, and in which order.

use crate::error::{BoxError, Error, Result};
use crate::harness::catch::caught;
use crate::harness::ending::{BodyEnd, Ending};
use crate::harness::scope::Scope;
use crate::harness::watchdog::Watchdog;
use crate::leak::{Diff, Item, LeakCheck, Settled, settle};
use crate::process::policy::KillPolicy;
use crate::process::pump::Pump;
use crate::report::AssertNoLeaks;
use crate::runtime::{Runtime, is_inside, park_on};
use crate::settings::Settings;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

thread_local! {
    /// True on a thread that a body runs on.
    static IS_IN_A_TEST: Cell<bool> = const { Cell::new(false) };
}

/// One test, from its baseline to its check.
pub(crate) struct Frame {
    scope: Scope,
    check: LeakCheck,
    timeout: Duration,
    settings: Settings,
    pump: &'static Pump,
}

impl Frame {
    /// The baseline is taken last, so that nothing of the frame's own is in the difference.
    #[track_caller]
    pub(crate) fn begin(
        name: String,
        policy: KillPolicy,
        timeout: Option<Duration>,
        check: impl FnOnce(&str) -> LeakCheck,
    ) -> Self {
        assert!(
            !IS_IN_A_TEST.get() && !is_inside(),
            "termleash::test was called inside of a test or of a runtime (`{name}`): call it from a plain `#[test]` \
             function, once; in a test that has a runtime use `SessionTestHelper` and `LeakCheck`"
        );
        // Without a pump there is neither deadline nor session.
        let settings = Settings::from_env().and_then(|settings| Ok((settings, Pump::get()?)));
        let (settings, pump) = match settings {
            Ok(both) => both,
            Err(cause) => panic!("test `{name}` was not run: {cause}"),
        };
        let id = Scope::next_id();
        let check = check(&name).of_scope(id);
        let scope = Scope::new(name, policy, check.references().clone(), id);
        Self { scope, check, timeout: timeout.unwrap_or(settings.timeout), settings, pump }
    }

    /// Runs an async body in a runtime of its own.
    #[track_caller]
    pub(crate) fn run_async<F>(self, runtime: std::io::Result<Runtime>, body: F)
    where
        F: AsyncFnOnce(&Scope) -> Result<(), BoxError>,
    {
        let runtime = match runtime.map_err(|cause| Error::os("start a runtime", "raise `ulimit -n`", cause)) {
            Ok(runtime) => runtime,
            Err(cause) => panic!("test `{}` was not run: {cause}", self.scope.name()),
        };
        let _inside = Inside::enter();
        let watchdog = Watchdog::start(self.pump, &self.scope, self.timeout);
        let scope = &self.scope;
        let (body, clean_up, held) = runtime.run(async {
            let ended = until_expired(&watchdog, body, scope).await;
            let body = ending_of(ended, watchdog.body_ended(), self.timeout);
            let (clean_up, held) = self.clean_up().await;
            (body, clean_up, held)
        });
        // Blocking tasks that never end are not waited for for ever; they are found as threads.
        runtime.shutdown(self.check.settle_limit());
        self.end(watchdog, body, clean_up, held);
    }

    /// Runs a body on this thread, without a runtime.
    #[track_caller]
    pub(crate) fn run_blocking<F>(self, body: F)
    where
        F: FnOnce(&Scope) -> Result<(), BoxError>,
    {
        let _inside = Inside::enter();
        let watchdog = Watchdog::start(self.pump, &self.scope, self.timeout);
        let ended = catch_unwind(AssertUnwindSafe(|| body(&self.scope)));
        let body = ending_of(Some(ended), watchdog.body_ended(), self.timeout);
        let (clean_up, held) = match Runtime::new() {
            Ok(runtime) => {
                let cleaned = runtime.run(self.clean_up());
                runtime.shutdown(self.check.settle_limit());
                cleaned
            }
            Err(cause) => (vec![format!("nothing was cleaned up, for want of a runtime: {cause}")], Held::default()),
        };
        self.end(watchdog, body, clean_up, held);
    }

    /// What the test deferred, its sessions, and what must be gone by then: what went wrong, and what is still held.
    async fn clean_up(&self) -> (Vec<String>, Held) {
        let mut failures = self.scope.deferred().run(self.settings.wait).await;
        for helper in self.scope.helpers() {
            if let Err(cause) = helper.kill_tracked_sessions().await {
                failures.push(cause.to_string());
            }
        }
        // Within the runtime: a task that was spawned and never ended holds what it holds until the runtime ends, which in
        // a server is never.
        let look = || {
            let mut diff = Diff::default();
            diff.extend_booked(self.scope.references().alive());
            diff
        };
        let (held, settled) = settle(self.check.settle_limit(), look).await;
        (failures, Held { items: held.items().cloned().collect(), settled })
    }

    #[track_caller]
    fn end(self, watchdog: Watchdog, body: BodyEnd, clean_up: Vec<String>, mut held: Held) {
        let name = self.scope.name().to_owned();
        let alive = self.scope.references().alive();
        for item in &mut held.items {
            if !alive.iter().any(|still| (&still.name, &still.made_at) == (&item.name, &item.made_at)) {
                item.notes
                    .push("it was dropped only when the runtime was shut down: a task that was spawned held it".into());
            }
        }
        self.scope.references().forget();
        watchdog.stop();
        let Self { scope, check, .. } = self;
        drop(scope);
        let leaks = park_on(check.find_with(held.items, held.settled)).passing().err();
        Ending { name, body, clean_up, leaks }.tell();
    }
}

/// What must have been dropped and was not, and how long it was waited for.
#[derive(Default)]
struct Held {
    items: Vec<Item>,
    settled: Settled,
}

/// What the body came to, or `None` if its deadline went by first; then it is dropped where it waits.
async fn until_expired<F>(
    watchdog: &Watchdog,
    body: F,
    scope: &Scope,
) -> Option<std::thread::Result<Result<(), BoxError>>>
where
    F: AsyncFnOnce(&Scope) -> Result<(), BoxError>,
{
    let mut running = pin!(caught(|| Box::pin(body(scope))));
    let mut expired = pin!(watchdog.expired());
    std::future::poll_fn(|context| {
        if let Poll::Ready(ended) = running.as_mut().poll(context) {
            return Poll::Ready(Some(ended));
        }
        expired.as_mut().poll(context).map(|_| None)
    })
    .await
}

/// A panic counts more than lateness, a late error is told beside it, and a late success counts nothing.
fn ending_of(
    ended: Option<std::thread::Result<Result<(), BoxError>>>,
    late: Option<String>,
    timeout: Duration,
) -> BodyEnd {
    match (ended, late) {
        (Some(Err(payload)), _) => BodyEnd::Panicked(payload),
        (Some(Ok(Err(cause))), None) => BodyEnd::Failed(cause),
        (Some(Ok(Ok(()))), None) => BodyEnd::Passed,
        (Some(Ok(Err(cause))), Some(alive)) => BodyEnd::TimedOut { after: timeout, alive, error: Some(cause) },
        (_, alive) => BodyEnd::TimedOut { after: timeout, alive: alive.unwrap_or_default(), error: None },
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
