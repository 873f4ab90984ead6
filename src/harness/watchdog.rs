//! The deadline of a test, kept outside of its runtime: a body that blocks its thread never looks at a timer.
//!
//! ```text
//!  Running ──deadline──► Expired (told to the body's runtime) ──a second──► blocked: report, end its sessions ──► abort
//!     └──body ended──► CleaningUp, step by step ──a minute more than a step may take──► blocked: the same
//! ```
//!
//! A test that is done within a tenth of a second costs one timer of the pump's, and no thread. Time in which the process
//! is stopped (Ctrl-Z, a debugger, a suspended machine) does not count: between two ticks at most twice a tick is counted.

use crate::event::warn;
use crate::harness::scope::Scope;
use crate::harness::{alive, body, measure, timelines};
use crate::keeper::patience::{TICK, is_stopped};
use crate::ledger::client;
use crate::probe::heap::top::top_sites;
use crate::probe::own_threads::OwnThread;
use crate::process::pump::{Pump, Sleep};
use crate::report::console::uncaptured;
use crate::report::text::duration;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::sys;
use crate::watched::Watched;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a body that has been told of its deadline may take to stop; one that is at an `.await` stops at once.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);
/// How long a blocked body may take to end once its sessions are dead: a read from one of them has ended then.
const LAST_CHANCE: Duration = Duration::from_secs(2);
/// How much longer than it may take a step of the clean-up goes on before it counts as blocked.
const STEP_BLOCKED_AFTER: Duration = Duration::from_secs(60);

pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    /// Starts the thread.
    timer: Option<Sleep<'static>>,
}

struct Shared {
    scope: Scope,
    timeout: Duration,
    /// Why the body is to end, once it is.
    expired: Watched<Option<Expired>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Why a body was to end before it had by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Its keeper's reason; `None` for its deadline.
    pub(crate) why: Option<String>,
    /// What was alive then.
    pub(crate) alive: String,
}

impl Expired {
    /// Its keeper has listed what lives; what the process itself has comes from somewhere in it.
    fn told(scope: &Scope, why: String, is_its_own: bool) -> Self {
        let alive = if is_its_own { top_sites(None, Some(scope.name())).to_string() } else { String::new() };
        Self { why: Some(why), alive }
    }

    fn at_the_deadline(scope: &Scope) -> Self {
        Self { why: None, alive: alive::describe(scope) }
    }
}

struct State {
    phase: Phase,
    /// How much of the phase's time is used, without that in which the process was stopped.
    used: Duration,
    last_tick: Instant,
    /// How long a step of the clean-up may take.
    limit: Duration,
    thread: Option<JoinHandle<()>>,
    /// The thread has begun.
    is_watching: bool,
    /// No thread could be had.
    is_unwatched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    CleaningUp,
    Over,
}

impl State {
    /// Adds the time since the last tick, unless most of it was spent stopped, or the runner or the keeper is.
    fn tick(&mut self) {
        let now = Instant::now();
        let mut passed = now.duration_since(self.last_tick);
        if client::body().is_some_and(|body| [body.runner, body.keeper].iter().any(|other| is_stopped(other.pid()))) {
            passed = Duration::ZERO;
        }
        // Without a thread nobody ticks, and all of it counts.
        self.used += if self.is_unwatched { passed } else { passed.min(2 * TICK) };
        self.last_tick = now;
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.used = Duration::ZERO;
        self.last_tick = Instant::now();
    }
}

impl Watchdog {
    pub(crate) fn start(pump: &'static Pump, scope: &Scope, timeout: Duration) -> Self {
        let state = State {
            phase: Phase::Running,
            used: Duration::ZERO,
            last_tick: Instant::now(),
            limit: timeout,
            thread: None,
            is_watching: false,
            is_unwatched: false,
        };
        let shared = Arc::new(Shared {
            scope: scope.clone(),
            timeout,
            expired: Watched::new(None),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let mut timer = pump.sleep(TICK.min(timeout));
        let waker = Waker::from(Arc::new(StartThread(Arc::clone(&shared))));
        if Pin::new(&mut timer).poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
        Self { shared, timer: Some(timer) }
    }

    /// Watches from now on by a thread, which may not be had later. It has begun when this returns: until then it takes memory for
    /// itself, and ends the process where it gets none.
    pub(crate) fn start_thread(&self) {
        start_thread(&self.shared);
        let mut state = self.shared.state.lock();
        self.shared.changed.wait_while(&mut state, |state| state.thread.is_some() && !state.is_watching);
    }

    /// Waits for the deadline, or its keeper's word; answers with what was alive then.
    pub(crate) async fn expired(&self) -> Expired {
        self.shared.expired.wait(|expired| expired.clone()).await
    }

    /// The body has ended. Why it was to end, if it was: then a late success is none.
    pub(crate) fn body_ended(&self) -> Option<Expired> {
        let mut state = self.shared.state.lock();
        state.tick();
        let is_late = state.phase == Phase::Running && state.used >= self.shared.timeout;
        state.enter(Phase::CleaningUp);
        drop(state);
        self.shared.changed.notify_all();
        self.shared.expired.peek(Clone::clone).or_else(|| is_late.then(|| Expired::at_the_deadline(&self.shared.scope)))
    }

    /// A step of the clean-up begins, which may take so long.
    pub(crate) fn step(&self, limit: Duration) {
        let mut state = self.shared.state.lock();
        state.enter(Phase::CleaningUp);
        state.limit = limit + STEP_BLOCKED_AFTER;
    }

    /// For a copy in a child that was forked without exec, where neither its thread nor the pump's is.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

/// Ends it, and its thread, also when a panic goes through the frame: else it would abort another test.
impl Drop for Watchdog {
    fn drop(&mut self) {
        self.timer = None;
        let mut state = self.shared.state.lock();
        state.enter(Phase::Over);
        let thread = state.thread.take();
        drop(state);
        self.shared.changed.notify_all();
        if let Some(thread) = thread {
            // Its panic was told by the panic hook.
            let _ = thread.join();
        }
    }
}

/// The waker of the timer.
struct StartThread(Arc<Shared>);

impl Wake for StartThread {
    fn wake(self: Arc<Self>) {
        start_thread(&self.0);
    }
}

fn start_thread(shared: &Arc<Shared>) {
    let mut state = shared.state.lock();
    if state.phase == Phase::Over || state.thread.is_some() {
        return;
    }
    let of_thread = Arc::clone(shared);
    match std::thread::Builder::new().name("termleash-watch".into()).spawn(move || watch(&of_thread)) {
        Ok(thread) => state.thread = Some(thread),
        // A late success is still found to be late; a body that blocks for ever is not ended.
        Err(cause) => {
            state.is_unwatched = true;
            drop(state);
            warn(format!("no thread could be started to keep the deadline of a test: {cause}"));
        }
    }
}

fn watch(shared: &Shared) {
    let _own = OwnThread::here();
    shared.state.lock().is_watching = true;
    shared.changed.notify_all();
    if let Some(expired) = wait_for_expiry(shared) {
        let what = match &expired.why {
            None => format!("did not end within its deadline of {}", duration(shared.timeout)),
            Some(_) => "was told to end, did not".to_owned(),
        };
        // What was alive at a deadline is looked at anew.
        let why = expired.why.iter().map(|why| format!("{why}\n{}", expired.alive)).collect::<String>();
        shared.expired.update(|slot| *slot = Some(expired));
        let limit = shared.state.lock().used + BLOCKED_AFTER;
        if wait(shared, Phase::Running, limit) {
            last_resort(shared, Phase::Running, &what, &why);
        }
    }
    if wait_for_steps(shared) {
        last_resort(shared, Phase::CleaningUp, "was not cleaned up: a step took a minute more than it may", "");
    }
}

/// `None` if the body ended by itself.
fn wait_for_expiry(shared: &Shared) -> Option<Expired> {
    loop {
        let next = shared.state.lock().used + TICK;
        if wait(shared, Phase::Running, next.min(shared.timeout)) {
            if let Some((why, is_its_own)) = body::word_to_fail() {
                return Some(Expired::told(&shared.scope, why, is_its_own));
            }
            if next >= shared.timeout {
                return Some(Expired::at_the_deadline(&shared.scope));
            }
        } else {
            return None;
        }
    }
}

/// True if a step of the clean-up has used up its time, false if all have ended.
fn wait_for_steps(shared: &Shared) -> bool {
    loop {
        let limit = shared.state.lock().limit;
        if !wait(shared, Phase::CleaningUp, limit) {
            return false;
        }
        // It may have been the next step that began meanwhile, with more time.
        let state = shared.state.lock();
        if state.used >= state.limit {
            return true;
        }
    }
}

/// True if the phase has used up its time, false if it has ended.
fn wait(shared: &Shared, phase: Phase, limit: Duration) -> bool {
    let mut state = shared.state.lock();
    loop {
        if state.phase != phase {
            return false;
        }
        state.tick();
        if state.used >= limit {
            return true;
        }
        let rest = limit - state.used;
        shared.changed.wait_for(&mut state, rest.min(TICK));
        // Without the lock: the live log may have to wait for its reader.
        MutexGuard::unlocked(&mut state, || measure::take(shared.scope.recorder()));
    }
}

/// For a body that blocks its thread: reports, ends what it may be waiting for, and aborts if that does not help. Nothing
/// else can end a thread.
fn last_resort(shared: &Shared, phase: Phase, what: &str, why: &str) {
    let name = shared.scope.name();
    let alive = alive::describe(&shared.scope);
    // On a thread of its own: it calls the user's backend, which may block or panic, and it may have to wait for a kill that the
    // blocked thread has begun.
    let (helpers, has_ended) = (shared.scope.helpers(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&has_ended);
    let rescue = move || {
        let _own = OwnThread::here();
        let Ok(runtime) = Runtime::new() else { return };
        for helper in helpers {
            runtime.run(helper.end_by_processes());
        }
        told.store(true, Ordering::SeqCst);
    };
    // Without a thread for it nothing is ended before the abort, and the text says so.
    let _ = std::thread::Builder::new().name("termleash-rescue".into()).spawn(rescue);
    let limit = shared.state.lock().used + LAST_CHANCE;
    if wait(shared, phase, limit) {
        let sessions = if has_ended.load(Ordering::SeqCst) {
            "its sessions were killed"
        } else {
            "its sessions could not be killed"
        };
        let timeline = shared.scope.timeline();
        if client::body().is_none() {
            // Of a body its runner does that.
            let directory = Settings::from_env().ok().and_then(|settings| settings.timelines);
            timelines::tell(&timeline, directory.as_deref(), sys::own_pid());
        }
        let timeline = timeline.render();
        let text = |end: &str| {
            format!(
                "test `{name}` {what}, and blocks its thread, which nothing can end: {sessions}, and {end} now.\n{why}{alive}    \
                 to do: let it await instead of block, or give what it waits for a deadline\n{timeline}"
            )
        };
        if client::body().is_some() {
            body::fail_now(text("its process is ended"));
        }
        uncaptured(&format!("\ntermleash: {}", text("the process is aborted")));
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn time_in_which_the_process_was_stopped_does_not_count() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap_or_else(Instant::now);
        let mut state = State {
            phase: Phase::Running,
            used: Duration::ZERO,
            last_tick: long_ago,
            limit: TICK,
            thread: None,
            is_watching: false,
            is_unwatched: false,
        };
        state.tick();
        assert!(state.used <= 2 * TICK, "{:?}", state.used);
        // Nobody ticks: then it is the clock that counts.
        (state.is_unwatched, state.last_tick) = (true, long_ago);
        state.tick();
        assert!(state.used > Duration::from_secs(3000), "{:?}", state.used);
    }

    fn watchdog(timeout: Duration) -> Watchdog {
        let recorder = Arc::new(crate::event::recorder::Recorder::new(None));
        let (name, policy, limits) = ("a test".into(), Default::default(), Limits::new());
        let scope = Scope::new(name, policy, Arc::default(), Scope::next_id(), &limits, recorder);
        Watchdog::start(Pump::get().unwrap(), &scope, timeout)
    }

    /// With or without a thread that has noticed: there may be none to be had.
    #[test]
    fn a_body_that_used_up_its_time_is_late_whoever_notices() {
        let in_time = watchdog(Duration::from_secs(3600));
        assert_eq!(in_time.body_ended(), None);
        assert_eq!(in_time.shared.state.lock().phase, Phase::CleaningUp);
        drop(in_time);

        let unnoticed = watchdog(Duration::from_secs(3600));
        unnoticed.shared.state.lock().used = Duration::from_secs(3600);
        assert!(unnoticed.body_ended().is_some());
        drop(unnoticed);

        let since_the_last_tick = watchdog(Duration::from_secs(3600));
        {
            let mut state = since_the_last_tick.shared.state.lock();
            state.used = Duration::from_secs(3600) - TICK;
            state.last_tick = Instant::now().checked_sub(2 * TICK).unwrap();
        }
        assert!(since_the_last_tick.body_ended().is_some());
        drop(since_the_last_tick);

        let noticed = watchdog(Duration::from_secs(3600));
        let expired = Expired { why: None, alive: "sh".into() };
        noticed.shared.expired.update(|slot| *slot = Some(expired.clone()));
        assert_eq!(noticed.body_ended(), Some(expired));
        drop(noticed);
    }

    #[test]
    fn a_thread_that_is_started_in_advance_has_begun() {
        let watchdog = watchdog(Duration::from_secs(3600));
        watchdog.start_thread();
        assert!(watchdog.shared.state.lock().is_watching);
    }

    #[test]
    fn what_begins_after_the_end_starts_no_thread() {
        let watchdog = watchdog(Duration::from_secs(3600));
        let shared = Arc::clone(&watchdog.shared);
        drop(watchdog);
        start_thread(&shared);
        assert!(shared.state.lock().thread.is_none());
    }
}
