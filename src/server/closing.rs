//! The end of a server: its whole tree, then the proof that nobody has what was its own.

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::process::handle::ProcessHandle;
use crate::process::kill::{Target, end_all};
use crate::process::listening::tree_of;
use crate::process::policy::Ending;
use crate::process::pump::Pump;
use crate::process::rule::Refusal;
use crate::server::holders::{self, Had};
use crate::server::inner::{Inner, Phase, threads_of};
use crate::server::outcome::{Holder, ServerEnd};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after the death of its tree somebody may still have what was its own: a kernel that closes files late, a stranger
/// that ends just then.
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);

/// Ends it, or says what an end before this one came to. Given up halfway, the rest is the next one's.
///
/// # Errors
///
/// [`Error::is_survived`] if something of it is still there; it can be called again. [`Error::is_server_ended`] if it had ended
/// before: then everything else was done.
pub(crate) async fn close(inner: &Arc<Inner>) -> Result<ServerEnd> {
    let known = inner
        .life
        .wait(|life| match &life.phase {
            Phase::Closing => None,
            Phase::Closed(end) => Some(Some(end.clone())),
            Phase::Open => {
                life.phase = Phase::Closing;
                Some(None)
            }
        })
        .await;
    if let Some(end) = known {
        return end.map_err(Error::server_ended);
    }
    let turn = Turn { inner };
    let end = end(inner).await?;
    drop(turn.closed(end.clone()));
    end.map_err(Error::server_ended)
}

/// The right to end it; given back on drop.
struct Turn<'a> {
    inner: &'a Inner,
}

impl Turn<'_> {
    fn closed(self, end: Result<ServerEnd, String>) -> Self {
        self.inner.life.update(|life| life.phase = Phase::Closed(end));
        self
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.inner.life.update(|life| {
            if matches!(life.phase, Phase::Closing) {
                life.phase = Phase::Open;
            }
        });
    }
}

async fn end(inner: &Inner) -> Result<Result<ServerEnd, String>> {
    let began = Instant::now();
    let had_died = died_before(inner).await?;
    let had = holders::had_by(&tree_of(inner.handle.pid()));
    let mark = inner.ledger.mark(inner.record).ok_or_else(|| Error::refused("the server is in no ledger any more"))?;
    let mut targets = [Target::of_server(mark, Some(inner.handle.clone()))];
    inner.life.update(|life| life.may_be_signalled = true);
    end_all(&mut targets, inner.spec.grace, began).await?;
    let [Target { ending, .. }] = targets;
    inner.log.close();
    let holders = if ending.survivors.is_empty() { let_go(inner, &had).await? } else { Vec::new() };
    if let Some(text) = left(inner, &ending, &holders) {
        return Err(Error::survived(text, None::<()>));
    }
    inner.home.remove(Some(inner.cookie))?;
    inner.ledger.forget(inner.record);
    drop(inner.lease.lock().take());
    let Ending { steps, suspects, exit, .. } = ending;
    let took = began.elapsed();
    let log = inner.log.output();
    Ok(match had_died {
        Some(text) => Err(text),
        None => Ok(ServerEnd { status: exit.or(inner.handle.exit_status()), took, steps, suspects, holders, log }),
    })
}

/// What there is to say of one that has ended by itself, if nobody waited for that.
async fn died_before(inner: &Inner) -> Result<Option<String>> {
    if inner.handle.is_alive() {
        return Ok(None);
    }
    // Until it is reaped nobody is told how.
    inner.handle.wait_gone().await?;
    let how = inner.how_it_ended();
    if inner.life.peek(|life| life.may_be_dead) {
        return Ok(None);
    }
    let (name, log) = (inner.name(), inner.shown_log());
    Ok(Some(format!(
        "{name} died during the test: {how}; a test that ends it by other means waits with `wait_for_exit`{log}"
    )))
}

/// Waits until nobody has what was its own; answers with those who still have.
async fn let_go(inner: &Inner, had: &Had) -> Result<Vec<Holder>> {
    let pump = Pump::get()?;
    let start = Instant::now();
    for time in Backoff::new() {
        let holders = holders::look(had, inner.home.path(), inner.port)?;
        if holders.is_empty() || start.elapsed() >= LETS_GO_WITHIN {
            return Ok(holders);
        }
        pump.sleep(time).await;
    }
    Ok(Vec::new())
}

/// What is the server's and is still there.
fn left(inner: &Inner, ending: &Ending, holders: &[Holder]) -> Option<String> {
    let descends = |holder: &&Holder| {
        let is_it = |process| process == holder.process.identity;
        let mut suspects = ending.suspects.iter().filter(|suspect| suspect.why == Refusal::UnmarkedDescendant);
        holder.is_inherited || suspects.any(|suspect| is_it(suspect.process.identity))
    };
    let holders: Vec<&Holder> = holders.iter().filter(descends).collect();
    if ending.survivors.is_empty() && holders.is_empty() {
        return None;
    }
    let mut text = format!("{} was ended, and not all of it is gone:", inner.name());
    for process in &ending.survivors {
        let _ = write!(text, "\n  still alive: {process}");
        // It sits in the kernel, as a rule.
        if let Ok(handle) = ProcessHandle::open(process.identity.pid())
            && handle.identity() == process.identity
        {
            text += &threads_of(&handle);
        }
    }
    for holder in holders {
        let _ = write!(text, "\n  started by it, and without its mark, so that it got no signal: {holder}");
    }
    for suspect in &ending.suspects {
        let _ = write!(text, "\n  suspect, not signalled: {suspect}");
    }
    text += "\nits home and its port are kept for them; end them, or have the server end what it starts";
    Some(text)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use crate::runtime::block_on;
    use crate::server::ServerGuard;

    #[test]
    fn nothing_is_kept_for_one_that_is_closed() {
        let script = "echo ready; exec sleep 1000";
        let spec = ServerGuard::command("sh").args(["-c", script]).port_variable("PORT").ready_line("ready");
        let server = spec.start_blocking().unwrap();
        let inner = server.inner();
        assert!(inner.ledger.mark(inner.record).is_some() && inner.lease.lock().is_some());
        block_on((*server).close()).unwrap();
        assert!(inner.ledger.mark(inner.record).is_none(), "nobody need end it");
        assert!(inner.lease.lock().is_none(), "its port is free for others");
    }
}
