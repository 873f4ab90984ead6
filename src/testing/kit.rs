//! The kit's hands: the sessions that it made, calls with a bound, and a clean-up that leaves none of them.

use crate::backoff::Backoff;
use crate::catch::{caught, message};
use crate::error::{BoxError, Error, Result};
use crate::process::claim::accept_leader;
use crate::process::cookie::Cookie;
use crate::process::handle::ProcessHandle;
use crate::process::kill::{Target, end_all};
use crate::process::pump::Pump;
use crate::process::rule::Mark;
use crate::runtime::Runtime;
use crate::session::backend::{Created, Leader, SessionBackend, SessionState};
use crate::session::fault::Method;
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use crate::sys;
use crate::testing::report::Outcome;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What takes a server a moment, such as the exec of the program between a session's creation and its start.
const MOMENT: Duration = Duration::from_secs(1);
/// What is left after the backend's own kill gets this long between the hang-up and the KILL.
const GRACE: Duration = Duration::from_millis(100);

/// A backend's answer; the text of its error if it was one.
pub(crate) type Answer<T> = std::result::Result<T, String>;
/// `Err` ends the check: the call hangs or panicked, or the rule is broken.
pub(crate) type Step<T> = std::result::Result<T, Outcome>;

/// A session that the kit made.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) id: SessionId,
    pub(crate) cookie: Cookie,
    pub(crate) server: Option<u32>,
    pub(crate) proof: Proof,
}

/// What can prove a session's life and death.
#[derive(Clone)]
pub(crate) enum Proof {
    Leader(ProcessHandle),
    /// There is the backend's word only, and why.
    Word(String),
    /// The backend names a leader that is not believed, or cannot be held.
    Refused(String),
}

impl Made {
    pub(crate) fn leader(&self) -> Option<&ProcessHandle> {
        if let Proof::Leader(leader) = &self.proof { Some(leader) } else { None }
    }
}

/// A creation that was asked for, whether or not it was answered.
struct Attempt {
    cookie: Cookie,
    since: u64,
    made: Option<Made>,
    /// True if the backend did not know it while it should have been alive: its death cannot be asked for.
    is_lost: bool,
}

pub(crate) struct Kit<B: SessionBackend> {
    backend: Arc<B>,
    pump: &'static Pump,
    pub(crate) limit: Duration,
    attempts: Vec<Attempt>,
    /// What did not answer once is not asked again, so that a hanging backend costs one deadline for each method.
    hung: Vec<Method>,
    /// Sessions that nothing may happen to.
    pub(crate) bystanders: Vec<Made>,
    /// The first id that was given twice, and when.
    pub(crate) reused: Option<String>,
    /// True once a leader was waited for in vain: the next ones are believed at once or not at all.
    has_refused: bool,
    is_clean: bool,
}

impl<B: SessionBackend> Kit<B> {
    pub(crate) fn new(backend: Arc<B>, limit: Duration) -> Result<Self> {
        Ok(Self {
            backend,
            pump: Pump::get()?,
            limit,
            attempts: Vec::new(),
            hung: Vec::new(),
            bystanders: Vec::new(),
            reused: None,
            has_refused: false,
            is_clean: false,
        })
    }

    async fn call<T>(
        &mut self,
        method: Method,
        id: Option<&SessionId>,
        future: impl Future<Output = std::result::Result<T, BoxError>>,
    ) -> Step<Answer<T>> {
        let what = id.map_or_else(|| format!("`{method}`"), |id| format!("`{method}` of `{id}`"));
        if self.hung.contains(&method) {
            return Err(Outcome::skipped(format!("`{method}` has not answered before, so it was not tried again")));
        }
        match self.pump.within(self.limit, caught(|| future)).await {
            Some(Ok(Ok(answer))) => Ok(Ok(answer)),
            Some(Ok(Err(cause))) => Ok(Err(format!("{what} was answered with an error: {cause}"))),
            Some(Err(payload)) => Err(Outcome::failed(format!("{what} panicked: {}", message(payload)))),
            None => {
                self.hung.push(method);
                let limit = humantime::format_duration(self.limit);
                Err(Outcome::failed(format!("{what} was not answered within {limit}")))
            }
        }
    }

    pub(crate) async fn create(&mut self, spec: &SessionSpec) -> Step<Made> {
        let (cookie, since) = (Cookie::new(), sys::now_ticks());
        self.attempts.push(Attempt { cookie, since, made: None, is_lost: false });
        let (backend, spec) = (Arc::clone(&self.backend), spec.clone().with_cookie(cookie));
        let created = self.call(Method::Create, None, async { backend.create(&spec).await }).await?;
        let created = created.map_err(Outcome::failed)?;
        let made = Made {
            id: created.id.clone(),
            cookie,
            server: created.server.map(|server| server.pid),
            proof: self.believe(&created, cookie, since).await,
        };
        self.has_refused |= matches!(made.proof, Proof::Refused(_));
        let earlier = self.attempts.iter().filter_map(|attempt| attempt.made.as_ref());
        if let Some(earlier) = earlier.clone().find(|earlier| earlier.id == made.id)
            && self.reused.is_none()
        {
            let is_bystander = self.bystanders.iter().any(|bystander| bystander.id == earlier.id);
            let whose =
                if is_bystander { "one that lives" } else { "one that was killed, so a late kill ends the new" };
            self.reused = Some(format!("a new session got the id `{}` of {whose}", made.id));
        }
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.made = Some(made.clone());
        }
        Ok(made)
    }

    /// Takes hold of the leader at once, while its number cannot mean another process.
    async fn believe(&self, created: &Created, cookie: Cookie, since: u64) -> Proof {
        let pid = match &created.leader {
            Leader::Owned(leader) => return Proof::Leader(leader.clone()),
            Leader::Unknown => return Proof::Word("the backend names no leader".to_owned()),
            Leader::Claimed(pid) => *pid,
        };
        let deadline = Instant::now() + MOMENT.min(self.limit);
        let mut pauses = Backoff::new();
        loop {
            // A server may answer before the new process has become the program, and so before it has the cookie.
            match accept_leader(pid, created.server.map(|server| server.pid), &Some(cookie).into(), Some(since)) {
                Ok(leader) => return Proof::Leader(leader),
                Err(cause) if cause.is_unsupported() => return Proof::Word(cause.to_string()),
                Err(cause) if !cause.is_refused() || self.has_refused || Instant::now() >= deadline => {
                    return Proof::Refused(cause.to_string());
                }
                Err(_) => self.pump.sleep(pauses.next().unwrap_or(MOMENT)).await,
            }
        }
    }

    pub(crate) async fn kill(&mut self, id: &SessionId) -> Step<Answer<()>> {
        let backend = Arc::clone(&self.backend);
        self.call(Method::Kill, Some(id), async { backend.kill(id).await }).await
    }

    pub(crate) async fn state(&mut self, id: &SessionId) -> Step<Answer<SessionState>> {
        let backend = Arc::clone(&self.backend);
        self.call(Method::State, Some(id), async { backend.state(id).await }).await
    }

    pub(crate) async fn discard(&mut self, id: &SessionId) -> Step<Answer<()>> {
        let backend = Arc::clone(&self.backend);
        self.call(Method::Discard, Some(id), async { backend.discard_record(id).await }).await
    }

    /// `None` from a backend that cannot list, which is no failure.
    pub(crate) async fn list(&mut self) -> Step<Answer<Option<Vec<SessionId>>>> {
        let backend = Arc::clone(&self.backend);
        let list = async {
            match backend.list().await {
                Ok(list) => Ok(Some(list)),
                Err(cause) if cause.downcast_ref().is_some_and(Error::is_unsupported) => Ok(None),
                Err(cause) => Err(cause),
            }
        };
        self.call(Method::List, None, list).await
    }

    pub(crate) async fn pause(&self, duration: Duration) {
        self.pump.sleep(duration).await;
    }

    pub(crate) fn made_by_us(&self, id: &SessionId) -> bool {
        self.attempts.iter().any(|attempt| attempt.made.as_ref().is_some_and(|made| made.id == *id))
    }

    /// The backend does not know it though it lives.
    pub(crate) fn lost(&mut self, id: &SessionId) {
        for attempt in self.attempts.iter_mut() {
            attempt.is_lost |= attempt.made.as_ref().is_some_and(|made| made.id == *id);
        }
    }

    /// Makes those that are missing to two.
    pub(crate) async fn fill_bystanders(&mut self, spec: &SessionSpec) -> Step<()> {
        while self.bystanders.len() < 2 {
            let made = self.create(spec).await?;
            self.bystanders.push(made);
        }
        Ok(())
    }

    /// Fails if something happened to a bystander, which then is one no longer.
    pub(crate) async fn unharmed(&mut self, by: &str) -> Step<()> {
        for index in 0..self.bystanders.len() {
            let bystander = self.bystanders[index].clone();
            let harm = if bystander.leader().is_some_and(|leader| !leader.is_alive()) {
                "is dead"
            } else {
                match self.state(&bystander.id).await? {
                    Ok(SessionState::Running(_)) => continue,
                    Ok(_) => "is no longer said to run",
                    Err(error) => return Err(Outcome::failed(format!("after {by}, {error}"))),
                }
            };
            self.bystanders.remove(index);
            return Err(Outcome::failed(format!("{by} hit another session: `{}` {harm}", bystander.id)));
        }
        Ok(())
    }

    /// Waits until a session has ended: by its process where that is known, else by the backend's word.
    pub(crate) async fn has_ended(&mut self, made: &Made, limit: Duration) -> Step<bool> {
        match made.leader() {
            Some(leader) => match self.pump.within(limit, leader.wait_gone()).await {
                Some(Ok(())) => Ok(true),
                Some(Err(cause)) => Err(Outcome::failed(cause.to_string())),
                None => Ok(false),
            },
            None => Ok(self.state_at_end(&made.id, limit).await?.is_some()),
        }
    }

    /// Waits until a session is not said to run any more; `None` if it still is.
    pub(crate) async fn state_at_end(&mut self, id: &SessionId, limit: Duration) -> Step<Option<SessionState>> {
        let deadline = Instant::now() + limit;
        let mut pauses = Backoff::new();
        loop {
            let state = self.state(id).await?;
            match state {
                Ok(state) if !state.is_running() => return Ok(Some(state)),
                Ok(_) if Instant::now() >= deadline => return Ok(None),
                Err(error) if Instant::now() >= deadline => return Err(Outcome::failed(error)),
                _ => self.pump.sleep(pauses.next().unwrap_or(MOMENT)).await,
            }
        }
    }

    /// Ends what the kit made: asks the backend, then ends what carries a cookie of the kit's. Answers with what is
    /// left, or may be.
    pub(crate) async fn clean_up(&mut self) -> Vec<String> {
        let made: Vec<Made> = self.attempts.iter().filter_map(|attempt| attempt.made.clone()).collect();
        let mut are_dying = Vec::new();
        for made in &made {
            let has_ended = match made.leader() {
                Some(leader) => !leader.is_alive(),
                None => matches!(self.state(&made.id).await, Ok(Ok(SessionState::Exited(_) | SessionState::Unknown))),
            };
            are_dying.push(has_ended || matches!(self.kill(&made.id).await, Ok(Ok(()))));
        }
        let start = Instant::now();
        let mut left = Vec::new();
        for (made, is_dying) in made.iter().zip(are_dying) {
            // What has a leader can be ended without the backend, and need not be waited for in full.
            let limit = if made.leader().is_some() { MOMENT.min(self.limit) } else { self.limit };
            let limit = if is_dying { limit.saturating_sub(start.elapsed()) } else { Duration::ZERO };
            match self.has_ended(made, limit).await {
                Ok(true) => drop(self.discard(&made.id).await),
                _ if made.leader().is_some() => {}
                Ok(false) => left.push(format!("`{}` still runs", made.id)),
                Err(_) => left.push(format!("`{}` may still run: its state cannot be asked for", made.id)),
            }
        }
        left.extend(self.end_processes().await);
        let lost = self.attempts.iter().filter(|attempt| attempt.is_lost).filter_map(|attempt| attempt.made.as_ref());
        left.extend(
            lost.filter(|made| made.leader().is_none())
                .map(|made| format!("`{}` may still run: the backend did not know it when it was alive", made.id)),
        );
        self.is_clean = true;
        left
    }

    /// Those whose leader is alive, and those whose leader nobody knows, be it that a creation was never answered or that the
    /// leader could not be proven in time: those the cookie finds.
    async fn end_processes(&mut self) -> Vec<String> {
        let leader = |attempt: &Attempt| attempt.made.as_ref().and_then(Made::leader).cloned();
        let is_open = |attempt: &&Attempt| attempt.is_lost || leader(attempt).is_none_or(|leader| leader.is_alive());
        let open: Vec<&Attempt> = self.attempts.iter().filter(is_open).collect();
        let mut targets: Vec<Target> = open
            .iter()
            .map(|attempt| {
                let leader = leader(attempt);
                let identity = leader.as_ref().map(ProcessHandle::identity);
                let mark = Mark { leader: identity, ..Mark::of(Some(attempt.cookie), attempt.since) };
                Target::new(mark, leader)
            })
            .collect();
        if targets.is_empty() {
            return Vec::new();
        }
        // Where nothing can be proven, nothing was held either, and what is left was named before.
        if let Err(cause) = end_all(&mut targets, GRACE, Instant::now()).await {
            return if cause.is_unsupported() { Vec::new() } else { vec![cause.to_string()] };
        }
        let survivors = targets.iter().zip(&open).flat_map(|(target, attempt)| {
            let id = attempt.made.as_ref().map_or("a creation without an answer", |made| made.id.as_str());
            target.ending.survivors.iter().map(move |survivor| format!("{survivor} of `{id}`"))
        });
        survivors.collect()
    }
}

/// A kit that is dropped in the middle, because its test gave up or panicked, still ends what it made.
impl<B: SessionBackend> Drop for Kit<B> {
    fn drop(&mut self) {
        if self.is_clean || self.attempts.is_empty() {
            return;
        }
        let mut rest = Self {
            backend: Arc::clone(&self.backend),
            pump: self.pump,
            limit: self.limit,
            attempts: std::mem::take(&mut self.attempts),
            hung: std::mem::take(&mut self.hung),
            bystanders: Vec::new(),
            reused: None,
            has_refused: false,
            is_clean: true,
        };
        // On a thread of its own: this one may be a runtime's, which the backend needs.
        let clean_up = move || match Runtime::new() {
            Ok(runtime) => match runtime.run(rest.clean_up()).as_slice() {
                [] => {}
                left => crate::event::warn(format!("a conformance check was dropped and left {}", left.join("; "))),
            },
            Err(cause) => {
                crate::event::warn(format!("a conformance check was dropped and could not clean up: {cause}"))
            }
        };
        if let Err(cause) = thread::Builder::new().name("termleash-clean-up".into()).spawn(clean_up) {
            crate::event::warn(format!("a conformance check was dropped and left its sessions: no thread: {cause}"));
        }
    }
}
