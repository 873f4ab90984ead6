//! A test's servers: they end after its sessions, and show their logs if it fails.

use crate::error::{Error, Result};
use crate::server::background;
use crate::server::guard::{Server, ServerGuard};
use parking_lot::Mutex;
use std::time::Duration;

/// How long a server takes at most, beside its grace, to end or to be given up.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Servers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Vec<Server>,
    has_ended: bool,
}

impl Servers {
    /// Takes over one that has started.
    pub(crate) fn take_in(&self, guard: ServerGuard) -> Result<Server> {
        let mut state = self.state.lock();
        if state.has_ended {
            return Err(Error::refused("the test has ended while its server started: it is ended, too"));
        }
        let server = guard.let_go();
        state.running.push(server.clone());
        Ok(server)
    }

    /// Ends all of them, and whatever guards of servers were dropped; answers with what went wrong. `begins` is called before
    /// each.
    pub(crate) async fn end(&self, begins: impl Fn(Duration)) -> Vec<String> {
        let mut failures = Vec::new();
        loop {
            // In a statement of its own: the lock must not be held while it ends.
            let next = self.state.lock().running.pop();
            let Some(server) = next else { break };
            begins(ENDS_WITHIN);
            failures.extend(server.close().await.err().map(|cause| cause.to_string()));
        }
        begins(ENDS_WITHIN);
        failures.extend(background::settled(ENDS_WITHIN).await);
        failures
    }

    /// None is taken in any more.
    pub(crate) fn close(&self) {
        self.state.lock().has_ended = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().running.is_empty()
    }

    /// Each with the end of its log, as it is now.
    pub(crate) fn logs(&self) -> Vec<(Server, String)> {
        let running = self.state.lock().running.clone();
        running.into_iter().map(|server| (server.clone(), server.last_words())).collect()
    }

    /// One line for each that is alive.
    pub(crate) fn alive(&self) -> Vec<String> {
        let running = self.state.lock().running.clone();
        running.iter().filter(|server| server.is_alive()).map(Server::line).collect()
    }
}
