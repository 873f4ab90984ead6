//! A helper's watch: when sentinels are planted, looked at and ended, one at a time.

use crate::error::{Error, Result};
use crate::session::id::SessionId;
use crate::tracker::background::end_helper;
use crate::tracker::closing::Order;
use crate::tracker::interference::{Interference, Role};
use crate::tracker::outcome::KillOutcome;
use crate::tracker::sentinels::planting::Watch;
use crate::tracker::shared::Shared;
use crate::watched::Watched;
use std::panic::Location;
use std::sync::Arc;
use uuid::Uuid;

/// A helper's watch, if it has one. What is still planted when it is dropped is ended.
pub(crate) struct WatchCell {
    state: Watched<CellState>,
}

#[derive(Default)]
struct CellState {
    watch: Option<Arc<Watch>>,
    /// One at a time plants, looks and ends: what one ends another must not take for gone.
    is_busy: bool,
}

/// The right to plant, look and end; given back on drop.
struct Turn<'a>(&'a WatchCell);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state.update(|state| state.is_busy = false);
    }
}

impl Default for WatchCell {
    fn default() -> Self {
        Self { state: Watched::new(CellState::default()) }
    }
}

impl WatchCell {
    async fn turn(&self) -> Turn<'_> {
        self.state.wait(|state| (!std::mem::replace(&mut state.is_busy, true)).then_some(())).await;
        Turn(self)
    }

    fn current(&self) -> Option<Arc<Watch>> {
        self.state.peek(|state| state.watch.clone())
    }

    /// Lists, and plants the first sentinel; does nothing while a watch is on.
    pub(crate) async fn begin(&self, shared: &Arc<Shared>, made_at: &'static Location<'static>) -> Result<()> {
        let _turn = self.turn().await;
        if let Some(watch) = self.current() {
            if !*watch.is_over.lock() {
                return Ok(());
            }
            return Err(Error::refused(
                "the sentinels of the last watch are not proven to be gone: call `kill_tracked_sessions` again first",
            ));
        }
        if shared.has_ended() {
            return Err(Error::refused("its helper or its test had ended when it was to be watched for interference"));
        }
        let watch = Arc::new(Watch::new(shared, made_at).await?);
        self.state.update(|state| state.watch = Some(Arc::clone(&watch)));
        *shared.journal.lock() = Some(Arc::clone(&watch.journal));
        let planted = watch.plant(Role::Older, name_of_ours()).await;
        if planted.is_err() {
            self.finish(shared, &watch).await;
        }
        planted
    }

    /// After a session has come to be: plants what is to be younger than it, and what is to have a name like its.
    pub(crate) async fn after_creation(&self, name: Option<&str>) {
        let Some(watch) = self.current().filter(|watch| !*watch.is_over.lock()) else { return };
        // What fails is in the books, and told by the look.
        let _ = watch.plant(Role::Younger, name_of_ours()).await;
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let longer = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8]);
            let _ = watch.plant(Role::Prefix { of: name.to_owned() }, longer).await;
        }
    }

    /// Looks, and leaves them planted; `None` without a watch.
    pub(crate) async fn check(&self) -> Option<Interference> {
        let _turn = self.turn().await;
        let watch = self.current().filter(|watch| !*watch.is_over.lock())?;
        Some(watch.look().await)
    }

    /// Looks for the last time and ends them; answers with what was found, and with what could not be ended.
    pub(crate) async fn check_and_end(&self, shared: &Shared) -> (Option<Interference>, Vec<KillOutcome>) {
        let _turn = self.turn().await;
        let Some(watch) = self.current() else { return (None, Vec::new()) };
        let is_over = *watch.is_over.lock();
        let found = if is_over { None } else { Some(watch.look().await) };
        (found, self.finish(shared, &watch).await)
    }

    /// Ends them by their processes first, and judges nothing from here on: for a body that blocks.
    pub(crate) async fn end_by_processes(&self) {
        let Some(watch) = self.current() else { return };
        watch.end(Order::ProcessesFirst).await;
    }

    /// True if a session is one of its sentinels.
    pub(crate) fn has_planted(&self, id: &SessionId) -> bool {
        self.current().is_some_and(|watch| watch.sentinels.find(id).is_some())
    }

    async fn finish(&self, shared: &Shared, watch: &Arc<Watch>) -> Vec<KillOutcome> {
        let left = watch.end(Order::ServersFirst).await;
        if left.is_empty() {
            *shared.journal.lock() = None;
            self.state.update(|state| state.watch = None);
        }
        left
    }
}

/// With the last handle of a helper, and with the last task that it has.
impl Drop for WatchCell {
    fn drop(&mut self) {
        if let Some(watch) = self.current() {
            end_helper(&watch.sentinels);
        }
    }
}

fn name_of_ours() -> String {
    format!("termleash-sentinel-{}", &Uuid::new_v4().simple().to_string()[..8])
}
