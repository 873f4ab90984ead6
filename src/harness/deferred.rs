//! A test's own clean-ups: registered when something is started, run at the end whatever happens between.

use crate::catch::{caught, message};
use crate::error::{BoxError, Error, with_causes};
use crate::process::pump::Pump;
use parking_lot::Mutex;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

type Run = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), BoxError>>>> + Send>;

#[derive(Default)]
pub(crate) struct Deferred {
    waiting: Mutex<Vec<(Run, &'static Location<'static>)>>,
}

impl Deferred {
    pub(crate) fn push<F>(&self, run: F, made_at: &'static Location<'static>)
    where
        F: AsyncFnOnce() -> Result<(), BoxError> + Send + 'static,
    {
        let run: Run = Box::new(move || Box::pin(run()));
        self.waiting.lock().push((run, made_at));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    /// Runs them, the last registered first, each for at most `limit`; answers with what went wrong. One that registers
    /// another has that run next. `begins` is called before each.
    pub(crate) async fn run(&self, limit: Duration, begins: impl Fn()) -> Vec<String> {
        let mut failures = Vec::new();
        loop {
            // In a statement of its own: the lock must not be held while it runs.
            let next = self.waiting.lock().pop();
            let Some((run, made_at)) = next else { return failures };
            begins();
            let running = caught(run);
            let ended = match Pump::get() {
                Ok(pump) => pump.within(limit, running).await,
                Err(_) => Some(running.await),
            };
            let why = match ended {
                Some(Ok(Ok(()))) => continue,
                Some(Ok(Err(cause))) => with_causes(&cause),
                Some(Err(payload)) => format!("it panicked: {}", message(payload)),
                None => Error::timeout("it was still running, and was given up", limit).to_string(),
            };
            failures.push(format!("the clean-up deferred at {made_at} failed: {why}"));
        }
    }
}
