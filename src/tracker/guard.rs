//! One session for one scope.

use crate::error::{Error, Result};
use crate::process::death::KillReason;
use crate::session::live::{Session, noted};
use crate::tracker::background::close_in_background;
use crate::tracker::closing::{Order, close_all};
use crate::tracker::entry::Entry;
use crate::tracker::outcome::{KillOutcome, KillReport};
use crate::tracker::shared::Shared;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A session that ends with its scope.
///
/// It dereferences to the [`Session`], which has what a test writes, reads and waits for.
///
/// # How it ends
///
/// - [`close`](Self::close) ends it and tells: the outcome, or what is still alive.
/// - Dropping it begins to end it, on a thread of the helper's, and does not wait. What that could not do is told by
///   the helper's next kill, or by the helper's own end.
/// - [`keep`](Self::keep) leaves it to the helper, whose end is its end.
///
/// # Limits
///
/// A drop does not run when the test process is killed, aborts or exits: then the keeper ends the session by its marks, see
/// [`SessionTestHelper`](crate::SessionTestHelper#limits). Beside that there is only the hang-up that the kernel sends when the
/// terminal's other end is closed.
#[must_use = "a guard that is dropped ends its session at once: bind it to a name, or `keep()` it"]
pub struct SessionGuard {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    session: Session,
    is_armed: bool,
}

impl SessionGuard {
    pub(crate) fn new(shared: Arc<Shared>, entry: Arc<Entry>, session: Session) -> Self {
        Self { shared, entry, session, is_armed: true }
    }

    /// Ends the session and waits until its death is proven.
    ///
    /// # Errors
    ///
    /// [`Error::is_survived`] if something of it is still alive after all; it stays tracked, and the helper tries
    /// again. [`Error::is_not_tracked`] after [`clear_tracked`](crate::SessionTestHelper::clear_tracked).
    pub async fn close(mut self) -> Result<KillOutcome> {
        self.is_armed = false;
        // Given up halfway, the rest is the helper's: its books still have the entry.
        noted(&self.shared.last_error, close_one(&self.shared, &self.entry).await)
    }

    /// Leaves the session to the helper, which ends it with the others.
    pub fn keep(mut self) -> Session {
        self.is_armed = false;
        self.session.clone()
    }
}

/// Ends one session with everything told.
pub(crate) async fn close_one(shared: &Shared, entry: &Arc<Entry>) -> Result<KillOutcome> {
    if !shared.holds(entry) {
        // Ended by a kill of all meanwhile, or cleared. Looked at in this order: the outcome is written before the book.
        let known = entry.state.peek(|state| state.last_outcome.clone());
        return known.filter(KillOutcome::is_proven).ok_or_else(|| Error::not_tracked(&entry.name()));
    }
    let why = KillReason::Other("its guard or its helper has closed it".into());
    let outcomes = close_all(shared, vec![Arc::clone(entry)], Order::ServersFirst, &why).await;
    let took = outcomes.iter().map(KillOutcome::took).max().unwrap_or_default();
    let mut report = KillReport { outcomes, took, ..KillReport::default() }.into_result()?;
    report.outcomes.pop().ok_or_else(|| Error::not_tracked(&entry.name()))
}

impl Deref for SessionGuard {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        if self.is_armed && self.shared.is_in_its_process() && self.shared.holds(&self.entry) {
            close_in_background(&self.shared, Arc::clone(&self.entry));
        }
    }
}

impl fmt::Debug for SessionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionGuard").field("session", &self.session).finish_non_exhaustive()
    }
}
