//! A session that a test ends by code of its own, without a backend.

use crate::catch::{caught, message};
use crate::error::{BoxError, Error, with_causes};
use crate::ledger::recipe::Recipe;
use crate::process::handle::ProcessHandle;
use crate::session::backend::{Created, KillRecipe, Running, SessionBackend, SessionState};
use crate::session::future::BoxFuture;
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use parking_lot::Mutex;

/// Ends the session with this id.
pub(crate) type End = Box<dyn Fn(SessionId) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// A backend of one session. What it says of it is what the closure's last call came to.
pub(crate) struct Closure {
    end: End,
    /// Only looked at: the test's word on a process is no proof that it may be signalled.
    leader: Option<ProcessHandle>,
    phase: Mutex<Phase>,
}

/// ```text
///  Runs ──call──► Ended
///   ▲ └──call──► Failed ─┐
///   └────── said once ───┘
/// ```
enum Phase {
    Runs,
    /// Whoever asks next is told; after that the closure may be called again.
    Failed(String),
    Ended,
}

impl Closure {
    pub(crate) fn new(end: End, leader: Option<ProcessHandle>) -> Self {
        Self { end, leader, phase: Mutex::new(Phase::Runs) }
    }

    fn running(&self) -> SessionState {
        let running = Running::new();
        self.leader.as_ref().map_or(running, |leader| running.with_leader(leader.pid())).into()
    }
}

impl SessionBackend for Closure {
    async fn create(&self, _: &SessionSpec) -> Result<Created, BoxError> {
        Err(Error::unsupported("a closure that ends a session creates none").into())
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        let result = match caught(|| (self.end)(id.clone())).await {
            Ok(result) => result.map_err(|cause| with_causes(&cause)),
            Err(payload) => Err(format!("it panicked: {}", message(payload))),
        };
        *self.phase.lock() = match &result {
            Ok(()) => Phase::Ended,
            Err(why) => Phase::Failed(why.clone()),
        };
        result.map_err(Into::into)
    }

    async fn state(&self, _: &SessionId) -> Result<SessionState, BoxError> {
        let mut phase = self.phase.lock();
        match &*phase {
            Phase::Ended if self.leader.as_ref().is_some_and(ProcessHandle::is_alive) => Ok(self.running()),
            Phase::Ended => Ok(SessionState::Exited(None)),
            Phase::Runs => Ok(self.running()),
            Phase::Failed(why) => {
                let why = format!("the closure that ends it has failed: {why}");
                *phase = Phase::Runs;
                Err(why.into())
            }
        }
    }

    fn kill_recipe(&self) -> KillRecipe {
        KillRecipe { recipe: Recipe::Unknown { backend: "a closure in the test".into() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn id() -> SessionId {
        SessionId::new("a").unwrap()
    }

    #[test]
    fn a_closure_that_fails_says_so_once_and_is_called_again() {
        let calls = AtomicU32::new(0);
        let end: End = Box::new(move |_| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                match call {
                    0 => Err("not now".into()),
                    1 => panic!("a fault of the test's own"),
                    _ => Ok(()),
                }
            })
        });
        let closure = Closure::new(end, None);
        for why in ["not now", "it panicked: a fault of the test's own"] {
            assert!(park_on(closure.state(&id())).unwrap().is_running());
            assert_eq!(park_on(closure.kill(&id())).unwrap_err().to_string(), why);
            let said = park_on(closure.state(&id())).unwrap_err().to_string();
            assert!(said.ends_with(why), "{said}");
        }
        assert!(park_on(closure.state(&id())).unwrap().is_running());
        park_on(closure.kill(&id())).unwrap();
        assert_eq!(park_on(closure.state(&id())).unwrap(), SessionState::Exited(None));
    }
}
