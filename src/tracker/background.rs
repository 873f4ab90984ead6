//! Clean-up that nobody waits for: dropped guards, and a helper's own end.
//!
//! A drop must not block a runtime's thread and cannot await, so what it leaves is ended by a thread with a runtime of
//! its own, which ends when there is nothing left to do.

use crate::event::{Event, emit, emit_to_listener};
use crate::process::death::KillReason;
use crate::process::pump::Pump;
use crate::runtime::Runtime;
use crate::tracker::closing::{Order, close_all};
use crate::tracker::entry::{Creation, Entry};
use crate::tracker::shared::Shared;
use crate::watched::Watched;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the drop of a helper waits, from the moment on from which no lost creation can bear a session any more.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Ends a session whose guard was dropped. If no thread can be had it stays tracked, and the helper's end sees to it.
pub(crate) fn close_in_background(shared: &Arc<Shared>, entry: Arc<Entry>) {
    entry.state.update(|state| state.is_let_go = true);
    let starts = shared.background.update(|background| {
        background.queue.push(entry);
        !std::mem::replace(&mut background.is_running, true)
    });
    if starts {
        let of_thread = Arc::clone(shared);
        if thread::Builder::new().name("termleash-close".into()).spawn(move || work_off(&of_thread)).is_err() {
            stop(shared);
        }
    }
}

struct StopOnPanic<'a>(&'a Shared);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            stop(self.0);
        }
    }
}

/// What is in the queue stays tracked: the helper's next kill or its end sees to it.
fn stop(shared: &Shared) {
    shared.background.update(|background| {
        background.is_running = false;
        background.queue.clear();
    });
}

fn work_off(shared: &Shared) {
    // Also when a backend panics: the next dropped guard starts another thread then.
    let _stop = StopOnPanic(shared);
    let Ok(runtime) = Runtime::new() else { return stop(shared) };
    loop {
        let entries = shared.background.update(|background| {
            let entries = std::mem::take(&mut background.queue);
            background.is_running = !entries.is_empty();
            entries
        });
        if entries.is_empty() {
            return;
        }
        // What fails stays tracked with its outcome: the helper's next kill or its end tells.
        let why = KillReason::Other("its guard was dropped".into());
        runtime.run(close_all(shared, entries, Order::ProcessesFirst, &why));
    }
}

/// The end of the last handle of a helper: ends what is left, and complains of what the test should have ended.
pub(crate) fn end_helper(shared: &Arc<Shared>) {
    if !shared.is_in_its_process() {
        return;
    }
    shared.end();
    // A creation that somebody still waits for ends itself when its answer comes.
    let left: Vec<_> = shared.entries().into_iter().filter(|entry| !entry.is_pending()).collect();
    if left.is_empty() {
        return;
    }
    let neglected: Vec<Arc<Entry>> = left.iter().filter(|entry| is_neglected(entry)).cloned().collect();
    let is_done = Arc::new(Watched::new(false));
    let (of_thread, done) = (Arc::clone(shared), Arc::clone(&is_done));
    let entries = left.clone();
    let spawned = thread::Builder::new().name("termleash-end".into()).spawn(move || {
        // A panic in a backend must not leave the test waiting.
        let _told = Told(done);
        if let Ok(runtime) = Runtime::new() {
            let why = KillReason::Other("its helper was dropped".into());
            runtime.run(close_all(&of_thread, entries, Order::ProcessesFirst, &why));
        }
    });
    if spawned.is_ok()
        && let Ok(pump) = Pump::get()
    {
        let born_late = left.iter().filter_map(|entry| entry.lost_until()).max();
        let from = born_late.map_or_else(Instant::now, |until| until.max(Instant::now()));
        crate::runtime::park_on(pump.until(from + LAST_WAIT, is_done.wait(|done| done.then_some(()))));
    }
    let is_untold = |entry: &Arc<Entry>| shared.holds(entry) && !entry.state.peek(|state| state.is_told);
    let still_there: Vec<Arc<Entry>> = left.into_iter().filter(is_untold).collect();
    complain(shared, &neglected, &still_there);
}

struct Told(Arc<Watched<bool>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.update(|done| *done = true);
    }
}

/// True for what the test itself should have ended: its guard was not dropped, it is no creation that failed, and no
/// kill of it has told the test already.
fn is_neglected(entry: &Entry) -> bool {
    entry.state.peek(|state| {
        let is_tests = state.session.is_some() && !state.is_let_go && state.creation == Creation::Answered;
        is_tests && state.last_outcome.is_none()
    })
}

fn complain(shared: &Shared, neglected: &[Arc<Entry>], still_there: &[Arc<Entry>]) {
    let mut text = String::new();
    if !neglected.is_empty() {
        text += "a SessionTestHelper was dropped while these sessions were alive:\n";
        text.extend(neglected.iter().map(|entry| describe(entry)));
        text += if still_there.is_empty() { "They were ended now. " } else { "" };
        text += "End the test with `helper.kill_tracked_sessions().await?`, or close each with \
                 `session.close().await?`: then a failure is told to the test.";
    }
    if !still_there.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text += "not proven to be gone at the end of a SessionTestHelper:\n";
        for entry in still_there {
            let outcome = last_outcome(entry);
            let waited = || {
                "    its backend did not answer within the 5 s that a drop waits: does it live in the runtime that the drop \
                 blocks? Then await `kill_tracked_sessions` before\n"
            };
            text += &outcome.map_or_else(|| describe(entry) + waited(), |outcome| format!("  {outcome}\n"));
        }
    }
    if text.is_empty() {
        return;
    }
    let repeats = |error: &str| {
        still_there.iter().any(|entry| last_outcome(entry).is_some_and(|outcome| error.contains(&outcome)))
    };
    if let Some(error) = shared.last_error.lock().as_deref().filter(|error| !repeats(error)) {
        text = format!("the last error that the helper or its sessions gave: {error}\n{text}");
    }
    if thread::panicking() {
        // A second panic would abort the process and hide the first.
        emit(Event::Warning { text });
    } else {
        emit_to_listener(&Event::Warning { text: text.clone() });
        panic!("{text}");
    }
}

fn last_outcome(entry: &Entry) -> Option<String> {
    entry.state.peek(|state| state.last_outcome.as_ref().map(ToString::to_string))
}

fn describe(entry: &Entry) -> String {
    let name = entry.name();
    let command = if name == entry.label { String::new() } else { format!(" (`{}`)", entry.label) };
    format!("  session `{name}`{command}, made at {}\n", entry.made_at)
}
