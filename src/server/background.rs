//! Servers whose guards were dropped: ended by a thread, since a drop must not block a runtime's thread and cannot await.

use crate::event::warn;
use crate::process::pump::Pump;
use crate::runtime::park_on;
use crate::server::closing::close;
use crate::server::inner::{Inner, Phase};
use crate::watched::Watched;
use once_cell::sync::Lazy;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Those of this process that are on their way.
static UNDER_WAY: Lazy<Watched<UnderWay>> = Lazy::new(|| Watched::new(UnderWay::default()));

#[derive(Default)]
struct UnderWay {
    count: usize,
    /// What could not be done, and was told to nobody but by a warning.
    failures: Vec<String>,
}

/// Ends a server whose guard was dropped. What goes wrong is a warning, and fails the test that runs in this process of its own.
pub(crate) fn end_in_background(inner: Arc<Inner>) {
    if !inner.is_in_its_process() || inner.life.peek(|life| matches!(life.phase, Phase::Closed(_))) {
        return;
    }
    UNDER_WAY.update(|under_way| under_way.count += 1);
    let name = inner.name();
    let thread = thread::Builder::new().name("termleash-server".into());
    let end = move || {
        let _told = Told;
        if let Err(cause) = park_on(close(&inner)) {
            fail(format!("the guard of a server was dropped, and then: {cause}"));
        }
    };
    if let Err(cause) = thread.spawn(end) {
        drop(Told);
        fail(format!("{name} was not ended, for want of a thread: {cause}; its keeper will"));
    }
}

fn fail(text: String) {
    warn(text.clone());
    UNDER_WAY.update(|under_way| under_way.failures.push(text));
}

/// Also if the end panics.
struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        UNDER_WAY.update(|under_way| under_way.count -= 1);
    }
}

/// Waits for those that are on their way, for so long; answers with what could not be done.
pub(crate) async fn settled(limit: Duration) -> Vec<String> {
    let is_idle = UNDER_WAY.peek(|under_way| under_way.count == 0 && under_way.failures.is_empty());
    // Mostly there was none.
    if is_idle {
        return Vec::new();
    }
    let Ok(pump) = Pump::get() else { return Vec::new() };
    let ended = pump.within(limit, UNDER_WAY.wait(|under_way| (under_way.count == 0).then_some(()))).await;
    let mut failures = UNDER_WAY.update(|under_way| std::mem::take(&mut under_way.failures));
    if ended.is_none() {
        failures.push("a server whose guard was dropped had not ended when the test did".into());
    }
    failures
}
