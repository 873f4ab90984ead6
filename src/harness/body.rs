//! The body's side: a call waits to be let in, runs with its output where the runner hears it, and reports.

use crate::catch::text_of;
use crate::harness::relay::{flush, turn_output};
use crate::keeper::orphaned;
use crate::ledger::client;
use crate::ledger::message::{Outcome, Outputs, Told, Word, hear, tell};
use crate::report::console::uncaptured;
use crate::sys;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// How long what a blocked body has printed may take to be on its way.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// A longer text is cut: it was printed as a whole.
const LONGEST_TEXT: usize = 1 << 20;

/// Calls so far.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// The call that is running has reported.
static HAS_REPORTED: AtomicBool = AtomicBool::new(false);

/// One call of this body, from when it is let in until its outcome is told: at the latest when it is dropped.
pub(crate) struct Turn {
    number: u32,
    outcome: Outcome,
    /// The process that it began in: a copy that the test has forked tells nothing.
    owner: u32,
}

impl Turn {
    /// Waits until the runner is at its call with the same number, and sends output there from then on.
    pub(crate) fn wait() -> Self {
        if !orphaned::is_body_itself() {
            // What it hears and tells by is its parent's, and so is the call that it would take.
            uncaptured(
                "termleash: a child that was forked without exec came to another call of `termleash::test`, and is ended\n",
            );
            sys::exit_now(101);
        }
        let number = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
        wait_for_turn(number);
        HAS_REPORTED.store(false, Ordering::SeqCst);
        if let Some(welcome) = client::body() {
            turn_output(welcome.outputs.output, welcome.outputs.errors);
        }
        let outcome = Outcome::Panicked { text: "it was not run".into() };
        Self { number, outcome, owner: sys::own_pid() }
    }

    pub(crate) fn came_to(&mut self, outcome: Outcome) {
        self.outcome = outcome.cut(LONGEST_TEXT);
    }

    /// Does what may panic.
    pub(crate) fn take<T>(&mut self, act: impl FnOnce() -> T) -> T {
        match catch_unwind(AssertUnwindSafe(act)) {
            Ok(value) => value,
            Err(payload) => {
                self.came_to(Outcome::Panicked { text: text_of(&payload) });
                resume_unwind(payload)
            }
        }
    }
}

/// Also while a panic goes through: then all that it had to say has been printed.
impl Drop for Turn {
    fn drop(&mut self) {
        let Some(welcome) = client::body().filter(|_| sys::own_pid() == self.owner) else { return };
        let Outputs { around, uncaptured, .. } = welcome.outputs;
        turn_output(around, around);
        report(self.number, self.outcome.clone());
        if welcome.keeps {
            // Whoever reads the tests' output to its end is not kept waiting.
            sys::redirect_number(around, uncaptured);
            wait_for_the_end();
        }
    }
}

/// The number of the call that is running, from 1 on.
pub(crate) fn current_call() -> u32 {
    CALLS.load(Ordering::SeqCst)
}

/// The test's own part is over.
pub(crate) fn cleans_up() {
    if client::body().is_some() {
        send(&Told::CleansUp);
    }
}

/// Its clean-up is over.
pub(crate) fn judges() {
    if client::body().is_some() {
        send(&Told::Judges);
    }
}

/// The hard limit on its memory that is in force from now on.
pub(crate) fn tell_limit(bytes: Option<u64>) {
    if client::body().is_some() {
        send(&Told::HardLimit { bytes });
    }
}

/// Ends this process with an outcome, from whatever thread: nothing else can end a thread that blocks.
pub(crate) fn fail_now(text: String) -> ! {
    // On a thread of its own: whoever blocks may have locked standard output.
    let (told, hears) = mpsc::channel();
    let flushes = move || {
        flush();
        let _ = told.send(());
    };
    if std::thread::Builder::new().name("termleash-flush".into()).spawn(flushes).is_ok() {
        let _ = hears.recv_timeout(FLUSHED_WITHIN);
    }
    report(CALLS.load(Ordering::SeqCst), Outcome::Stuck { text });
    sys::exit_now(101)
}

/// Once for each call. All that was printed must be on its way before it.
fn report(number: u32, outcome: Outcome) {
    if !HAS_REPORTED.swap(true, Ordering::SeqCst) {
        send(&Told::Outcome { number, outcome });
    }
}

fn send(told: &Told) {
    if let Some(channel) = orphaned::channel()
        && tell(&channel.lock(), told).is_err()
    {
        orphaned::end();
    }
}

/// The runner may still be before its own call with this number.
fn wait_for_turn(number: u32) {
    send(&Told::Reached { number });
    let Some(channel) = orphaned::channel() else { return };
    loop {
        match hear::<Word>(&mut channel.lock(), None) {
            Ok(Some(Word::Go { number: let_in })) if let_in == number => return,
            // It came too late for the call before, which its runner knows.
            Ok(Some(Word::Fail { .. })) => {}
            _ => orphaned::end(),
        }
    }
}

/// Why its keeper wants the running test to fail, if it does, and whether its own process has too much: asked for by the watchdog, since
/// nobody else waits for a word.
pub(crate) fn word_to_fail() -> Option<(String, bool)> {
    client::body()?;
    let mut channel = orphaned::channel()?.try_lock()?;
    match hear::<Word>(&mut channel, Some(Duration::ZERO)) {
        Ok(Some(Word::Fail { why, is_its_own })) => Some((why, is_its_own)),
        _ => None,
    }
}

/// For as long as its keeper likes.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}
