//! Ending tracked sessions: all together, until each one's end is proven.
//!
//! ```text
//!  turns ─► ask the servers ─► end the processes ─► who holds a terminal? ─► what do the servers say? ─► books
//!                (1)                  (2)                                            (3)
//! ```
//! A test that waits has its servers asked first (1, 2, 3), as their users would. Clean-up that nobody waits for goes
//! by the processes first (2, 1, 3): the server may live in the very runtime that is blocked meanwhile.

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::event::{Event, What, emit};
use crate::join::join_all;
use crate::process::claim::{Marked, accept_leader};
use crate::process::dead::is_proven_dead;
use crate::process::death::KillReason;
use crate::process::handle::ProcessHandle;
use crate::process::identity::ProcessIdentity;
use crate::process::kill::{self, Target, end_all};
use crate::process::policy::{Ending, KillAction, KillStep, Suspect};
use crate::process::pump::Pump;
use crate::process::rule::{Mark, Refusal};
use crate::process::scan::{self, Side};
use crate::process::summary::ProcessSummary;
use crate::process::tree::own_identity;
use crate::session::backend::{Running, SessionState};
use crate::session::life::{Life, LifeEvent};
use crate::session::live::Session;
use crate::sys;
use crate::tracker::entry::Entry;
use crate::tracker::outcome::KillOutcome;
use crate::tracker::shared::Shared;
use crate::tracker::terminals::{self, Seen};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a server may go on saying that a session runs whose processes are gone.
const SERVER_NOTICES: Duration = Duration::from_secs(5);
/// From the answer of a server to the death of what it has killed, on a busy machine.
const DEATH_IS_SEEN: Duration = Duration::from_millis(50);
/// How long a terminal may take to end once its last known holder is dead.
const TERMINAL_ENDS: Duration = Duration::from_millis(20);

/// How many sessions the log of what was done names.
const MOST_NAMED: usize = 3;

/// Whether servers or processes come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    ServersFirst,
    ProcessesFirst,
}

/// One session on its way out.
struct Closing {
    entry: Arc<Entry>,
    mark: Option<Mark>,
    session: Option<Session>,
    leader: Option<ProcessHandle>,
    is_owned: bool,
    terminal: Option<Seen>,
    /// What descended from its leader before its server was asked to end that.
    below: Vec<ProcessSummary>,
    ending: Ending,
    notes: Vec<String>,
    failures: Vec<String>,
    /// False once the server's id turned out to name another session: it is not asked about it any more.
    id_is_ours: bool,
    /// The server does not know its id, and nobody knows its leader.
    is_unknown: bool,
}

impl Closing {
    /// Says it once, though it is asked before and after the kill.
    fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Named, unless it is already.
    fn suspects(&mut self, process: ProcessSummary, why: Refusal) {
        let ending = &mut self.ending;
        let mut named = ending.suspects.iter().map(|suspect| &suspect.process).chain(&ending.survivors);
        if named.all(|named| named.identity != process.identity) {
            ending.suspects.push(Suspect { process, why });
        }
    }
}

/// Ends them, and answers with an outcome for each.
pub(crate) async fn close_all(
    shared: &Shared,
    mut entries: Vec<Arc<Entry>>,
    order: Order,
    why: &KillReason,
) -> Vec<KillOutcome> {
    let start = Instant::now();
    entries.sort_by_key(|entry| entry.serial);
    let _noted = if entries.is_empty() { None } else { shared.operation(|| said(&entries)) };
    // In the order of their numbers, or two kills could wait for each other.
    let mut turns = Vec::with_capacity(entries.len());
    for entry in &entries {
        turns.push(entry.turn().await);
    }
    let mut closings: Vec<Closing> = entries.iter().map(|entry| begin(shared, entry, why)).collect();
    let result = match order {
        Order::ServersFirst => {
            ask_servers(shared, &mut closings, start).await;
            end_processes(shared, &mut closings, start).await
        }
        Order::ProcessesFirst => {
            let result = end_processes(shared, &mut closings, start).await;
            ask_servers(shared, &mut closings, start).await;
            result
        }
    };
    if let Err(cause) = result {
        closings.iter_mut().for_each(|closing| closing.failures.push(format!("nothing is proven: {cause}")));
    }
    name_holders(&mut closings).await;
    hear_servers(shared, &mut closings).await;
    name_master_holders(&mut closings).await;
    let outcomes = closings.into_iter().filter_map(|closing| finish(shared, closing, start)).collect();
    drop(turns);
    outcomes
}

/// For the log of what was done.
fn said(entries: &[Arc<Entry>]) -> String {
    let names: Vec<String> = entries.iter().take(MOST_NAMED).map(|entry| format!("`{}`", entry.name())).collect();
    let more = entries.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("kill {}{more}", names.join(", "))
}

fn begin(shared: &Shared, entry: &Arc<Entry>, why: &KillReason) -> Closing {
    // Without a mark it is out of the books: gone, or cleared, while this kill waited for its turn.
    let mark = shared.ledger.mark(entry.record);
    let is_ours = mark.is_some();
    let mut closing = entry.state.update(|state| {
        state.take(LifeEvent::KillBegins);
        Closing {
            entry: Arc::clone(entry),
            mark,
            session: state.session.clone().filter(|_| is_ours),
            leader: state.leader().filter(|_| is_ours),
            is_owned: state.is_owned,
            terminal: None,
            below: Vec::new(),
            ending: Ending::default(),
            notes: state.notes.clone(),
            failures: Vec::new(),
            id_is_ours: is_ours,
            is_unknown: false,
        }
    });
    if let Some(session) = &closing.session {
        session.dying().note_end(why);
    }
    let device = closing.session.as_ref().and_then(|session| session.terminal()?.input().device());
    closing.terminal = match device {
        Some(device) => terminals::own(&device),
        None => closing.leader.as_ref().and_then(terminals::seen),
    };
    closing
}

/// Asks each server to kill its session, all at once, after a look at whether the id still means it.
async fn ask_servers(shared: &Shared, closings: &mut [Closing], start: Instant) {
    let limit = shared.settings_or_default().wait;
    let asked = closings.iter_mut().filter(|closing| !closing.is_owned && closing.mark.is_some());
    join_all(asked.map(|closing| ask_server(closing, limit, start))).await;
}

async fn ask_server(closing: &mut Closing, limit: Duration, start: Instant) {
    let Some(session) = closing.session.clone() else { return };
    let Some(running) = check_id(closing, &session, limit).await else { return };
    if !running {
        return;
    }
    closing.below = closing.leader.as_ref().map(kill::below).unwrap_or_default();
    session.dying().note_request();
    let answer = within(limit, closing.entry.backend.kill_boxed(session.id())).await;
    let was_delivered = matches!(answer, Ok(Ok(())));
    closing.ending.steps.push(KillStep {
        at: start.elapsed(),
        action: KillAction::AskedBackend,
        pid: None,
        was_delivered,
    });
    closing.entry.track.kill(KillAction::AskedBackend.step(), None, was_delivered);
    match answer {
        Ok(Ok(())) => note_if_it_lives(closing).await,
        Ok(Err(cause)) => closing.notes.push(format!("the backend failed to kill it: {cause}")),
        Err(cause) => closing.notes.push(format!("the backend was asked to kill it, {cause}")),
    }
}

/// A server whose word is not true is what its author wants to know, although the processes are ended all the same.
async fn note_if_it_lives(closing: &mut Closing) {
    let Some(leader) = closing.leader.clone() else { return };
    let Ok(pump) = Pump::get() else { return };
    if leader.is_alive() && pump.within(DEATH_IS_SEEN, leader.wait_gone()).await.is_none() {
        closing
            .notes
            .push(format!("its server said that it was killed, and its leader, pid {}, lived on", leader.pid()));
    }
}

/// Whether the server's id still means our session, and then whether the server says that it runs; `None` if it does
/// not, or that cannot be known.
async fn check_id(closing: &mut Closing, session: &Session, limit: Duration) -> Option<bool> {
    if !closing.id_is_ours {
        return None;
    }
    match within(limit, closing.entry.backend.state_boxed(session.id())).await {
        Ok(Ok(SessionState::Running(running))) => match objection(closing, running) {
            None => Some(true),
            Some(why) => {
                closing.id_is_ours = false;
                // It says the same id, and is carried by the other session now.
                closing.mark.iter_mut().for_each(|mark| mark.variable = None);
                let note = format!("its id names another session by now, which was not touched: {why}");
                closing.notes.push(note);
                if closing.leader.is_none() && closing.mark.as_ref().is_none_or(|mark| !mark.is_carried()) {
                    closing.failures.push("refused to kill by an id that is not its own any more".into());
                }
                None
            }
        },
        Ok(Ok(state @ (SessionState::Exited(_) | SessionState::Unknown))) => {
            match closing.leader.as_ref().filter(|leader| leader.is_alive()) {
                Some(leader) => {
                    let says =
                        if state == SessionState::Unknown { "does not know it" } else { "says that it has ended" };
                    closing.notes.push(format!("its server {says}, and its leader, pid {}, lives", leader.pid()));
                }
                // One that was never found: the server may have answered with another id than it has given.
                None => closing.is_unknown = state == SessionState::Unknown && closing.leader.is_none(),
            }
            Some(false)
        }
        Ok(Err(cause)) => {
            closing.note(format!("the backend could not be asked what it does: {cause}"));
            // With a leader that we hold and that lives, the id cannot have been given to another.
            closing.leader.as_ref().is_some_and(ProcessHandle::is_alive).then_some(true)
        }
        Err(cause) => {
            closing.note(format!("the backend was asked what it does, {cause}"));
            None
        }
    }
}

/// Why a session that the server says is running under our id is not ours.
fn objection(closing: &Closing, running: Running) -> Option<String> {
    let (claimed, server) = closing.entry.state.peek(|state| (state.claimed_leader, state.server));
    if let (Some(now), Some(then)) = (running.leader, claimed)
        && now != then
        && !carries_cookie(closing, now)
    {
        return Some(format!("its leader was pid {then} and is pid {now}"));
    }
    if let (Some(now), Some(leader)) = (running.leader, &closing.leader)
        && let Ok(holder) = ProcessHandle::open(now)
        && is_taken_over(holder.identity(), leader.identity())
        && !carries_cookie(closing, now)
    {
        return Some(format!("its leader was {}, whose number another process has", leader.identity()));
    }
    let (pid, then) = (running.server?, server?);
    match ProcessHandle::open(pid) {
        Ok(now) if now.identity() == then => None,
        _ => Some(format!("its server was {then} and is another process, pid {pid}")),
    }
}

/// Whether a leader's number has come to another process: a server that counts anew may give that one our session's id, too.
fn is_taken_over(holder: ProcessIdentity, leader: ProcessIdentity) -> bool {
    holder.pid() == leader.pid() && holder != leader
}

/// A server that started a session's program anew: the new leader carries the session's own cookie. The server's own variable
/// proves nothing here: it is the very id in question.
fn carries_cookie(closing: &Closing, leader: u32) -> bool {
    let Some(cookie) = closing.mark.as_ref().and_then(|mark| mark.cookie) else { return false };
    let marked = Marked { cookie: Some(cookie), variable: None };
    // One look can fall into its exec, in which it has no environment; the other waits for that.
    let carriers = || scan::marked_by(&[cookie]).unwrap_or_default();
    accept_leader(leader, None, &marked, None).is_ok()
        || carriers().iter().any(|process| process.identity.pid == leader)
}

/// Ends the processes of all, as far as there is anything to know them by.
async fn end_processes(shared: &Shared, closings: &mut [Closing], began: Instant) -> Result<()> {
    if !sys::IS_COMPLETE {
        for closing in closings {
            closing.notes.push("its processes were not looked at, which needs Linux".into());
        }
        return Ok(());
    }
    let mut known = Vec::new();
    let mut targets = Vec::new();
    for (index, closing) in closings.iter().enumerate() {
        let Some(mark) = closing.mark.clone().filter(|mark| mark.is_carried() || mark.leader.is_some()) else {
            continue;
        };
        known.push(index);
        targets.push(
            Target::new(mark, closing.leader.clone())
                .with_below(closing.below.clone())
                .tracked_by(&closing.entry.track),
        );
    }
    let lost = closings.iter().filter_map(|closing| closing.entry.lost_until()).max();
    let result = end_until(&mut targets, shared.grace(), lost, began).await;
    for (index, target) in known.into_iter().zip(targets) {
        let closing = &mut closings[index];
        let steps = std::mem::take(&mut closing.ending.steps);
        closing.ending = target.ending;
        closing.ending.steps.splice(0..0, steps);
    }
    result
}

/// Once, or again and again until the latest moment at which a lost creation may still bear a session.
async fn end_until(targets: &mut [Target], grace: Duration, lost: Option<Instant>, began: Instant) -> Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    end_all(targets, grace, began).await?;
    let pump = Pump::get()?;
    for pause in Backoff::new() {
        if lost.is_none_or(|until| Instant::now() >= until) {
            break;
        }
        pump.sleep(pause).await;
        end_all(targets, grace, began).await?;
    }
    Ok(())
}

/// Names who still holds a terminal open although everything proven is dead.
async fn name_holders(closings: &mut [Closing]) {
    let held = join_all(closings.iter().enumerate().map(async |(index, closing)| {
        let terminal = closing.session.as_ref().and_then(Session::terminal)?;
        let device = terminal.input().device()?;
        let has_ended = Pump::get().ok()?.within(TERMINAL_ENDS, terminal.output_state().finished()).await;
        has_ended.is_none().then_some((index, device))
    }));
    let (of, devices): (Vec<usize>, Vec<Vec<u8>>) = held.await.into_iter().flatten().unzip();
    if devices.is_empty() {
        return;
    }
    match scan::holders_of(&devices) {
        Ok(holders) => {
            for (index, _, process) in holders.into_iter().filter(|(_, side, _)| *side == Side::Program) {
                closings[of[index]].suspects(process, Refusal::HoldsTerminal);
            }
        }
        Err(cause) => {
            for index in of {
                closings[index]
                    .notes
                    .push(format!("somebody holds its terminal open, and who could not be found: {cause}"));
            }
        }
    }
}

/// Names who keeps a terminal alive whose session is gone, and whose server need not know.
async fn name_master_holders(closings: &mut [Closing]) {
    let mut left = Vec::new();
    for (index, closing) in closings.iter_mut().enumerate() {
        let terminal = closing.terminal.take().filter(|_| closing.ending.survivors.is_empty());
        left.extend(terminal.map(|terminal| (index, terminal)));
    }
    // What cannot be looked through was told of by the proof itself, which needs the same.
    for (index, process, why) in terminals::holders(&left).await.unwrap_or_default() {
        let server = closings[index].entry.state.peek(|state| state.server);
        if server != Some(process.identity) {
            closings[index].suspects(process, why);
        }
    }
}

/// Waits until each server says that its session is dead, has it drop its record, and closes the terminal.
async fn hear_servers(shared: &Shared, closings: &mut [Closing]) {
    let limit = shared.settings_or_default().wait;
    join_all(closings.iter_mut().map(|closing| hear_server(closing, limit))).await;
}

async fn hear_server(closing: &mut Closing, limit: Duration) {
    let Some(session) = closing.session.clone() else { return };
    if closing.is_owned {
        // The proof is ours, and the record goes only with it.
        if closing.ending.survivors.is_empty() && closing.failures.is_empty() {
            discard(closing, &session, limit).await;
        }
        return;
    }
    let deadline = Instant::now() + SERVER_NOTICES;
    for pause in Backoff::new() {
        match check_id(closing, &session, limit).await {
            Some(false) => {
                // Only of a session whose end is proven: its record is what there is to find the rest by.
                if closing.ending.survivors.is_empty() && closing.failures.is_empty() {
                    discard(closing, &session, limit).await;
                }
                break;
            }
            // The id is another's by now: ours is what its processes say.
            None if !closing.id_is_ours => break,
            None if has_died_with_its_server(closing) => {
                closing.notes.push("its server is dead, and with that what it knew of the session".into());
                break;
            }
            None => {
                closing.failures.push("its backend could not say whether it is dead".into());
                break;
            }
            Some(true) if Instant::now() >= deadline => {
                let seconds = SERVER_NOTICES.as_secs();
                closing.failures.push(format!("its backend still says that it runs, {seconds} s after its kill"));
                break;
            }
            Some(true) => match Pump::get() {
                Ok(pump) => pump.sleep(pause).await,
                Err(_) => break,
            },
        }
    }
    if let Some(terminal) = session.terminal() {
        terminal.input().close();
    }
}

/// The very process that made the session is dead, and so is the session's leader: whoever may be asked at that address by
/// now never had it.
fn has_died_with_its_server(closing: &Closing) -> bool {
    let is_dead = |leader: &ProcessHandle| !leader.is_alive();
    let server = closing.entry.state.peek(|state| state.server);
    closing.leader.as_ref().is_some_and(is_dead)
        && server.zip(own_identity().ok()).is_some_and(|(server, here)| is_proven_dead(server, here))
}

async fn discard(closing: &mut Closing, session: &Session, limit: Duration) {
    match within(limit, closing.entry.backend.discard_boxed(session.id())).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => closing.notes.push(format!("its record could not be discarded: {cause}")),
        Err(cause) => closing.notes.push(format!("its record was to be discarded, {cause}")),
    }
}

/// The output, or a text that ends a sentence.
async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, String> {
    let pump = Pump::get().map_err(|cause: Error| format!("and {cause}"))?;
    let late = || format!("and did not answer within {}", humantime::format_duration(limit));
    pump.within(limit, future).await.ok_or_else(late)
}

/// Writes it into the books; nothing of one that was cleared while this kill waited for its turn.
fn finish(shared: &Shared, mut closing: Closing, start: Instant) -> Option<KillOutcome> {
    if closing.is_unknown && !closing.ending.signalled.is_empty() {
        closing.notes.push("its server does not know its id, and its processes, found by their mark, lived".into());
    }
    let entry = &closing.entry;
    if let Some(before) = entry.state.peek(|state| state.last_outcome.clone().filter(|_| state.life == Life::Gone)) {
        // Somebody else's kill was first.
        return Some(before);
    }
    closing.mark.as_ref()?;
    let outcome = KillOutcome {
        id: entry.id(),
        label: entry.name(),
        made_at: entry.made_at.to_string(),
        death: entry.died_before(&closing.ending),
        ending: closing.ending,
        notes: closing.notes,
        failures: closing.failures,
        took: start.elapsed(),
    };
    let is_proven = outcome.is_proven();
    entry.state.update(|state| {
        state.take(if is_proven { LifeEvent::Proven } else { LifeEvent::NotProven });
        state.last_outcome = Some(outcome.clone());
    });
    let processes = outcome.survivors().len();
    entry.track.add(if is_proven { What::Gone } else { What::Survived { processes } });
    if is_proven {
        shared.forget(entry);
        if let Some(id) = &outcome.id {
            emit(Event::Gone { id: id.to_string() });
        }
    }
    Some(outcome)
}
