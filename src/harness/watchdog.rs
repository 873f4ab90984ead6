//! The deadline of a test, kept outside of its runtime: a body that blocks its thread never looks at a timer.
//!
//! ```text
//!  Running ──deadline──► Expired (told to the body's runtime) ──a second──► blocked: report, end its sessions ──► abort
//!     └──body ended──► CleaningUp ──limit──► blocked: the same
//! ```
//!
//! A test that is done within a tenth of a second costs one timer of the pump's, and no thread. Time in which the process
//! is stopped (Ctrl-Z, a debugger, a suspended machine) does not count: between two ticks at most twice a tick is counted.

use crate::harness::alive;
use crate::harness::scope::Scope;
use crate::probe::own_threads::OwnThread;
use crate::process::pump::{Pump, Sleep};
use crate::report::console::uncaptured;
use crate::report::text::duration;
use crate::runtime::Runtime;
use crate::watched::Watched;
use parking_lot::{Condvar, Mutex};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How long a body that has been told of its deadline may take to stop; one that is at an `.await` stops at once.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);
/// How long a blocked body may take to end once its sessions are dead: a read from one of them has ended then.
const LAST_CHANCE: Duration = Duration::from_secs(2);
/// How long all clean-up together may take, beside what each part is allowed. It stands in the docs of `Scope::defer`.
const CLEAN_UP: Duration = Duration::from_secs(60);

pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    /// Starts the thread.
    timer: Option<Sleep<'static>>,
}

struct Shared {
    scope: Scope,
    timeout: Duration,
    /// What was alive at the deadline, once that has gone by.
    expired: Watched<Option<String>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    /// How much of the phase's time is used, without that in which the process was stopped.
    used: Duration,
    last_tick: Instant,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    CleaningUp,
    Over,
}

impl State {
    /// Adds the time since the last tick, unless most of it was spent stopped.
    fn tick(&mut self) {
        let now = Instant::now();
        self.used += now.duration_since(self.last_tick).min(2 * TICK);
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
        let state = State { phase: Phase::Running, used: Duration::ZERO, last_tick: Instant::now(), thread: None };
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

    /// Waits for the deadline; answers with what was alive then.
    pub(crate) async fn expired(&self) -> String {
        self.shared.expired.wait(|expired| expired.clone()).await
    }

    /// The body has ended. What was alive at the deadline, if that has gone by: then a late success is none.
    pub(crate) fn body_ended(&self) -> Option<String> {
        let mut state = self.shared.state.lock();
        state.tick();
        let is_late = state.phase == Phase::Running && state.used >= self.shared.timeout;
        state.enter(Phase::CleaningUp);
        drop(state);
        self.shared.changed.notify_all();
        self.shared.expired.peek(Clone::clone).or_else(|| is_late.then(|| alive::describe(&self.shared.scope)))
    }

    /// Ends it, and its thread.
    pub(crate) fn stop(mut self) {
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
    // If no thread can be had there is no deadline; the body's own waits have theirs.
    state.thread = std::thread::Builder::new().name("termleash-watch".into()).spawn(move || watch(&of_thread)).ok();
}

fn watch(shared: &Shared) {
    let _own = OwnThread::here();
    if wait(shared, Phase::Running, shared.timeout) {
        let alive = alive::describe(&shared.scope);
        shared.expired.update(|expired| *expired = Some(alive));
        if wait(shared, Phase::Running, shared.timeout + BLOCKED_AFTER) {
            let what = format!("did not end within its deadline of {}", duration(shared.timeout));
            last_resort(shared, Phase::Running, &what);
        }
    }
    if wait(shared, Phase::CleaningUp, CLEAN_UP) {
        last_resort(shared, Phase::CleaningUp, &format!("was not cleaned up within {}", duration(CLEAN_UP)));
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
    }
}

/// For a body that blocks its thread: reports, ends what it may be waiting for, and aborts if that does not help. Nothing
/// else can end a thread.
fn last_resort(shared: &Shared, phase: Phase, what: &str) {
    let name = shared.scope.name();
    let alive = alive::describe(&shared.scope);
    if let Ok(runtime) = Runtime::new() {
        for helper in shared.scope.helpers() {
            runtime.run(helper.end_by_processes());
        }
    }
    let limit = shared.state.lock().used + LAST_CHANCE;
    if wait(shared, phase, limit) {
        uncaptured(&format!(
            "\ntermleash: test `{name}` {what}, and blocks its thread, which nothing can end: its sessions were killed, and \
             the process is aborted now.\n{alive}    to do: let the body await instead of block, or give what it waits for \
             a deadline\n"
        ));
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_the_process_was_stopped_does_not_count() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap_or_else(Instant::now);
        let mut state = State { phase: Phase::Running, used: Duration::ZERO, last_tick: long_ago, thread: None };
        state.tick();
        assert!(state.used <= 2 * TICK, "{:?}", state.used);
    }
}
