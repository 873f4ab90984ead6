//! How a session comes into a helper's hands: created by it, or handed over.

use crate::backoff::Backoff;
use crate::error::{Error, Result, Unanswered};
use crate::event::{Event, emit};
use crate::process::claim::{Marked, accept_leader};
use crate::process::cookie::Cookie;
use crate::process::death::{KillReason, OomCounters};
use crate::process::handle::ProcessHandle;
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::pump::{Pump, after};
use crate::process::variable::SessionVariable;
use crate::session::backend::{Created, DynBackend, Leader, NamedServer, Running, SessionBackend, SessionState};
use crate::session::id::SessionId;
use crate::session::life::LifeEvent;
use crate::session::live::Session;
use crate::session::spec::SessionSpec;
use crate::sys;
use crate::tracker::closing::{Order, close_all};
use crate::tracker::entry::{Creation, Entry};
use crate::tracker::gate::{Creating, Place};
use crate::tracker::guard::SessionGuard;
use crate::tracker::outcome::KillOutcome;
use crate::tracker::shared::Shared;
use std::backtrace::Backtrace;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a new leader may take to show its cookie: between fork and exec it shows the server's environment.
const UNTIL_EXEC: Duration = Duration::from_millis(200);
/// How many of those who have a place are named to one who got none.
const MOST_HOLDERS: usize = 5;

/// Announces, asks, identifies.
pub(crate) async fn create(
    shared: Arc<Shared>,
    spec: SessionSpec,
    made_at: &'static Location<'static>,
    stack: Option<Backtrace>,
) -> Result<SessionGuard> {
    let settings = shared.settings()?.clone();
    spec.check()?;
    if shared.has_ended() {
        return Err(has_ended(&spec.command_line()));
    }
    let pump = Pump::get()?;
    let _noted = shared.operation(|| match spec.session_name() {
        Some(name) => format!("create `{name}` (`{}`)", spec.command_line()),
        None => format!("create `{}`", spec.command_line()),
    });
    let (_creating, place) = enter(&shared, &spec, settings.wait).await?;
    if shared.has_ended() {
        return Err(has_ended(&spec.command_line()));
    }
    let cookie = Cookie::new();
    let spec = spec.with_cookie(cookie);
    let since = sys::now_ticks();
    let entry = shared.announce(&shared.backend, Some(cookie), since, spec.command_line(), made_at);
    entry.state.update(|state| state.place = Some(place));

    // While nothing of it can have died: a child of ours begins in our own group.
    let oom = OomCounters::own();
    let asked = InFlight { entry: &entry, until: after(settings.create) };
    let answer = pump.within(settings.create, shared.backend.create_boxed(&spec)).await;
    let Some(answer) = answer else {
        drop(asked);
        return Err(Error::timeout(
            format!(
                "the backend did not answer to the creation of `{}`; should it still come to be, the helper's kill \
                 finds it by its cookie; `TERMLEASH_CREATE_TIMEOUT` gives it more time",
                entry.label
            ),
            settings.create,
        ));
    };
    let created = match answer {
        Ok(created) => created,
        Err(cause) => {
            if cause.is::<Unanswered>() {
                // Its server may go on with what nobody waits for any more.
                drop(asked);
            } else {
                asked.answered();
                // Whatever the answer says, the server may just have started it.
                entry.state.update(|state| state.unseen_until = Some(after(UNTIL_EXEC)));
            }
            let error = Error::backend(format!("failed to create a session for `{}`", entry.label), cause);
            return Err(undo(&shared, &entry, error).await);
        }
    };
    let leader = believe(&entry, &created, cookie, since).await;
    let server = created.server.and_then(|server| server.identity);
    shared.ledger.identify(entry.record, shared.known(&entry, &created.id, leader.as_ref(), server));
    let id = created.id;
    let is_owned = matches!(created.leader, Leader::Owned(_));
    let oom = match &leader {
        // A server need not be in our group.
        Some(leader) if !is_owned => OomCounters::of(leader),
        _ => oom,
    };
    let (backend, last_error) = (Arc::clone(&shared.backend), Arc::clone(&shared.last_error));
    let session = Session::new(id.clone(), leader.clone(), created.terminal, backend, settings.wait, last_error, oom);
    let identified = shared.identify(&entry, &id, |state| {
        state.creation = Creation::Answered;
        state.unseen_until = leader.is_none().then(|| after(UNTIL_EXEC));
        state.is_owned = is_owned;
        state.server = server;
        state.session = Some(session.clone());
        state.take(LifeEvent::Created);
    });
    if let Err(other) = identified {
        entry.state.update(|state| state.leader = leader);
        asked.answered();
        let error = Error::refused(format!(
            "the backend answered to the creation of `{}` with the id `{id}`, which is that of a session made at {}: \
             an id must mean one session for as long as it is tracked",
            entry.label, other.made_at
        ));
        return Err(undo(&shared, &entry, error).await);
    }
    drop(asked);
    if shared.has_ended() {
        return Err(undo(&shared, &entry, has_ended(&entry.label)).await);
    }
    shared.register(&entry, stack);
    entry.track.created(id.as_str());
    session.record(entry.track.clone());
    emit(Event::Created { id: id.to_string(), at: made_at });
    Ok(SessionGuard::new(shared, entry, session))
}

/// Waits in line for a place.
async fn enter(shared: &Shared, spec: &SessionSpec, wait: Duration) -> Result<(Creating, Place)> {
    let gate = Arc::clone(&shared.gate.lock());
    if let Some(places) = Pump::get()?.within(wait, gate.enter()).await {
        return Ok(places);
    }
    let holders: Vec<String> = shared
        .entries()
        .iter()
        .take(MOST_HOLDERS)
        .map(|entry| format!("`{}` (made at {})", entry.name(), entry.made_at))
        .collect();
    let most = gate.max_sessions.map_or_else(|| "any number".to_owned(), |most| most.to_string());
    Err(Error::timeout(
        format!(
            "session `{}` waited in vain for its place: the test may have {most} at once (`TERMLEASH_SESSIONS`, \
             `Limits::max_sessions`), and {} have a place, such as {}; close some before, or set a higher limit",
            spec.command_line(),
            gate.sessions(),
            if holders.is_empty() { "those of another helper".to_owned() } else { holders.join(", ") },
        ),
        wait,
    ))
}

fn has_ended(label: &str) -> Error {
    Error::refused(format!("its helper or its test had ended when `{label}` was to be created"))
}

/// A creation that nobody waits for any more, when the future is dropped, may still bear a session.
struct InFlight<'a> {
    entry: &'a Entry,
    until: Instant,
}

impl InFlight<'_> {
    fn answered(self) {
        self.entry.state.update(|state| state.creation = Creation::Answered);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.entry.state.update(|state| {
            if state.creation == Creation::Pending {
                state.creation = Creation::Lost { until: self.until + UNTIL_EXEC };
            }
        });
    }
}

/// After a failure: whatever carries the cookie all the same is ended, so that an error leaves nothing behind.
async fn undo(shared: &Shared, entry: &Arc<Entry>, error: Error) -> Error {
    if error.leaves_nothing() {
        shared.forget(entry);
        return error;
    }
    let why = KillReason::Other("its creation has failed".into());
    let outcomes = close_all(shared, vec![Arc::clone(entry)], Order::ProcessesFirst, &why).await;
    match outcomes.iter().find(|outcome| !outcome.is_proven()) {
        None => error,
        Some(outcome) => Error::survived(format!("{error}\nand of it is left: {outcome}"), None::<KillOutcome>),
    }
}

/// The leader, if it is ours or the server's word on it is believed.
async fn believe(entry: &Entry, created: &Created, cookie: Cookie, since: Ticks) -> Option<ProcessHandle> {
    match &created.leader {
        Leader::Unknown => None,
        Leader::Owned(handle) => Some(handle.clone()),
        Leader::Claimed(pid) => {
            let marked = marked(entry, Some(cookie), &created.id);
            claimed(entry, *pid, created.server.map(|server| server.pid), &marked, Some(since)).await
        }
    }
}

/// What its processes carry: a session that was handed over has the server's own variable at most.
fn marked(entry: &Entry, cookie: Option<Cookie>, id: &SessionId) -> Marked {
    let variable = entry.backend.variable().and_then(|name| SessionVariable::new(&name, id.as_str()));
    Marked { cookie, variable }
}

async fn claimed(
    entry: &Entry,
    pid: u32,
    server: Option<u32>,
    marked: &Marked,
    since: Option<Ticks>,
) -> Option<ProcessHandle> {
    entry.state.update(|state| state.claimed_leader = Some(pid));
    if !sys::IS_COMPLETE {
        return None;
    }
    let give_up = Instant::now() + UNTIL_EXEC;
    for pause in Backoff::new() {
        match accept_leader(pid, server, marked, since) {
            Ok(leader) => return Some(leader),
            Err(cause) if cause.is_refused() && marked.cookie.is_some() && Instant::now() < give_up => {
                Pump::get().ok()?.sleep(pause).await;
            }
            Err(cause) => {
                let note = format!("its end is proven by its backend's word and its cookie only: {cause}");
                entry.state.update(|state| state.notes.push(note));
                return None;
            }
        }
    }
    None
}

/// Takes over a session that was made by other means.
pub(crate) async fn track(
    shared: &Shared,
    id: SessionId,
    made_at: &'static Location<'static>,
    stack: Option<Backtrace>,
) -> Result<()> {
    let settings = shared.settings()?.clone();
    if shared.find(&id).is_some() {
        return Ok(());
    }
    let _noted = shared.operation(|| format!("track `{id}`"));
    let (running, server) = match ask(shared, &id, settings.wait).await? {
        (running, ServerOf::Itself(server)) => (running, server),
        // It has ended since. Another one may be there, with a session of this id or without.
        (_, ServerOf::Later) => match ask(shared, &id, settings.wait).await? {
            (running, ServerOf::Itself(server)) => (running, server),
            (_, ServerOf::Later) => {
                return Err(Error::refused(format!(
                    "session `{id}` is not tracked: the process that the backend names as its server has ended since it \
                     answered, and another has its number"
                )));
            }
        },
    };
    let entry = shared.announce(&shared.backend, None, sys::now_ticks(), id.to_string(), made_at);
    let leader = match running.leader {
        Some(pid) => claimed(&entry, pid, running.server, &marked(&entry, None, &id), None).await,
        None => None,
    };
    take_over(shared, &entry, &id, leader, server, stack);
    Ok(())
}

/// Who has the number of the server that has answered.
enum ServerOf {
    /// It, if it was named and can be held.
    Itself(Option<ProcessIdentity>),
    /// One that was started after the question, so that it was not this one that answered.
    Later,
}

/// What the server says of a session that runs, and which process that server is.
async fn ask(shared: &Shared, id: &SessionId, wait: Duration) -> Result<(Running, ServerOf)> {
    let asked = sys::now_ticks();
    let state = Pump::get()?.within(wait, shared.backend.state_boxed(id)).await;
    let state = state.ok_or_else(|| Error::timeout(format!("asking the backend for session `{id}`"), wait))?;
    let running = match state.map_err(|cause| Error::backend(format!("failed to ask for session `{id}`"), cause))? {
        SessionState::Running(running) => running,
        // Its record is left to be discarded.
        SessionState::Exited(_) => Running::new(),
        SessionState::Unknown => {
            return Err(Error::unknown_session(format!(
                "the backend has no session `{id}`, so it is not tracked: give the id exactly as the server does"
            )));
        }
    };
    let server = running.server.and_then(|pid| NamedServer::of(pid).identity);
    let is_later = server.is_some_and(|server| server.started_ticks() > asked);
    Ok((running, if is_later { ServerOf::Later } else { ServerOf::Itself(server) }))
}

/// A session that something else than this helper's backend ends.
pub(crate) fn track_with(
    shared: &Arc<Shared>,
    id: &SessionId,
    backend: impl SessionBackend,
    note: String,
    made_at: &'static Location<'static>,
    stack: Option<Backtrace>,
) -> Result<()> {
    shared.settings()?;
    if shared.find(id).is_some() {
        return Ok(());
    }
    if shared.has_ended() {
        return Err(has_ended(id.as_str()));
    }
    let backend: Arc<dyn DynBackend> = Arc::new(backend);
    let entry = shared.announce(&backend, None, sys::now_ticks(), id.to_string(), made_at);
    entry.state.update(|state| state.notes.push(note));
    take_over(shared, &entry, id, None, None, stack);
    Ok(())
}

fn take_over(
    shared: &Shared,
    entry: &Arc<Entry>,
    id: &SessionId,
    leader: Option<ProcessHandle>,
    server: Option<ProcessIdentity>,
    stack: Option<Backtrace>,
) {
    shared.ledger.hand_over(entry.record, shared.known(entry, id, leader.as_ref(), server));
    let (backend, last_error) = (Arc::clone(&entry.backend), Arc::clone(&shared.last_error));
    let wait = shared.settings_or_default().wait;
    let oom = leader.as_ref().map(OomCounters::of).unwrap_or_default();
    let session = Session::new(id.clone(), leader, None, backend, wait, last_error, oom);
    let identified = shared.identify(entry, id, |state| {
        state.creation = Creation::Answered;
        state.server = server;
        state.session = Some(session);
        state.take(LifeEvent::Created);
    });
    match identified {
        Ok(()) => {
            shared.register(entry, stack);
            entry.track.created(id.as_str());
            emit(Event::Created { id: id.to_string(), at: entry.made_at });
        }
        // Another task was first.
        Err(_) => shared.forget(entry),
    }
}
