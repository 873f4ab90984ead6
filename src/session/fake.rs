//! A backend in memory that does wrong what it is told to: for tests of what stands on a backend.
//!
//! It keeps two books: what is true of each session, and what it says of it. Every fault is a difference between them.

use crate::backoff::Backoff;
use crate::error::{BoxError, Error, Result};
use crate::process::exit::ExitStatus;
use crate::process::pump::Pump;
use crate::session::backend::{Created, Running, SessionBackend, SessionState};
use crate::session::environment;
use crate::session::fault::{Call, Fault, Method, matches};
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use parking_lot::Mutex;
use std::fmt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// How a session ends that this backend kills.
const KILLED: ExitStatus = ExitStatus::Signaled { signal: 9, core_dumped: false };

/// A backend without a server, for tests of helpers, scopes and the conformance kit: it does wrong what a
/// [`Fault`] tells it to, and shows what is true.
///
/// Its sessions run nothing, but for a shell line `exit N`, which ends at once with that status. With
/// [`with_processes`](Self::with_processes) each has a real process. Ids are `fake-1`, `fake-2` and so on. Cloning
/// gives another handle to the same backend, so that a test keeps one and gives the other to a helper; the processes
/// that are left end with the last handle.
///
/// ```
/// use std::time::Duration;
/// use termleash::session::{FakeBackend, Fault, Method, SessionBackend, SessionSpec};
///
/// # termleash::block_on(async {
/// let fake = FakeBackend::new().fault(Fault::Slow(Method::Kill, Duration::from_millis(20)));
/// let stranger = fake.spawn_bystander("fake-10")?;
/// let created = fake.create(&SessionSpec::new("bash")).await?;
/// fake.kill(created.id()).await?;
/// assert_eq!(fake.sessions(), [stranger]);
///
/// fake.set_faults([Fault::Fails(Method::State)]);
/// assert!(fake.state(created.id()).await.is_err());
/// assert_eq!(fake.calls().len(), 3);
/// # Ok::<(), termleash::BoxError>(())
/// # })?;
/// # Ok::<(), termleash::BoxError>(())
/// ```
#[derive(Clone, Default)]
pub struct FakeBackend {
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    has_processes: bool,
    created: u64,
    sessions: Vec<Fake>,
    /// Each with how many calls it has met.
    faults: Vec<(Fault, usize)>,
    calls: Vec<Call>,
    /// A thread that waits to end a session stops waiting when its sender is dropped.
    timers: Vec<Sender<()>>,
}

/// One session.
struct Fake {
    /// Ids may be given twice, numbers are not.
    number: u64,
    id: SessionId,
    is_alive: bool,
    says: Record,
    child: Option<Child>,
}

/// What the backend says of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Record {
    Running,
    Exited(ExitStatus),
    None,
}

impl Fake {
    /// The truth of its end; what is said of it follows, unless a fault has said something before.
    fn ended(&mut self, status: ExitStatus) {
        self.is_alive = false;
        self.child = None;
        if self.says == Record::Running {
            self.says = Record::Exited(status);
        }
    }

    /// Ends it and waits for its death, which takes milliseconds after a KILL.
    fn end(&mut self, status: ExitStatus) {
        if let Some(child) = &mut self.child {
            // It fails only for a child that has been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.ended(status);
    }
}

impl State {
    fn has(&self, fault: &Fault) -> bool {
        self.faults.iter().any(|(set, _)| set == fault)
    }

    fn find_fault<R>(&self, look: impl FnMut(&Fault) -> Option<R>) -> Option<R> {
        self.faults.iter().map(|(fault, _)| fault).find_map(look)
    }

    /// Notices who has ended by themselves.
    fn look(&mut self) {
        for fake in self.sessions.iter_mut().filter(|fake| fake.is_alive) {
            if let Some(Ok(Some(status))) = fake.child.as_mut().map(Child::try_wait) {
                fake.ended(status.code().map_or(ExitStatus::Unknown, ExitStatus::Exited));
            }
        }
    }

    fn by_number(&mut self, number: u64) -> Option<&mut Fake> {
        self.sessions.iter_mut().find(|fake| fake.number == number)
    }

    /// The session that the backend means by an id; of two that have it the living one.
    fn known(&mut self, id: &SessionId) -> Option<&mut Fake> {
        let known = self.sessions.iter_mut().filter(|fake| fake.id == *id && fake.says != Record::None);
        known.max_by_key(|fake| (fake.is_alive, std::cmp::Reverse(fake.number)))
    }

    /// Whom a kill of this id ends.
    fn victims(&mut self, id: &SessionId) -> Vec<u64> {
        if let Some(exact) = self.known(id).filter(|exact| exact.is_alive) {
            return vec![exact.number];
        }
        let living = || self.sessions.iter().filter(|fake| fake.is_alive);
        let mut victims = Vec::new();
        if self.has(&Fault::KillsByPrefix) {
            victims.extend(living().find(|fake| fake.id.as_str().starts_with(id.as_str())));
        }
        if self.has(&Fault::KillsByPattern) {
            victims.extend(living().filter(|fake| matches(id.as_str(), fake.id.as_str())));
        }
        if self.has(&Fault::KillsNewest) {
            victims.extend(living().last());
        }
        victims.iter().map(|fake| fake.number).collect()
    }

    fn start(&mut self, id: Option<SessionId>, spec: &SessionSpec) -> Result<(SessionId, Created, u64)> {
        let number = self.created + 1;
        let id = match id {
            Some(id) => id,
            None => self.next_id(number)?,
        };
        let child = if self.has_processes { Some(start_process(spec, self.has(&Fault::LosesCookie))?) } else { None };
        let mut created = Created::new(id.clone());
        if let Some(child) = &child {
            created = created.with_leader(child.id()).with_server(std::process::id());
        }
        self.created = number;
        let is_process = child.is_some();
        self.sessions.push(Fake { number, id: id.clone(), is_alive: true, says: Record::Running, child });
        if let (Some(status), false, Some(fake)) = (exit_line(spec), is_process, self.sessions.last_mut()) {
            fake.ended(ExitStatus::Exited(status));
        }
        Ok((id, created, number))
    }

    fn next_id(&mut self, number: u64) -> Result<SessionId> {
        if self.has(&Fault::ReusesLiveId)
            && let Some(living) = self.sessions.iter().find(|fake| fake.is_alive)
        {
            return Ok(living.id.clone());
        }
        if self.has(&Fault::ReusesDeadId)
            && let Some(dead) = self.sessions.iter().position(|fake| !fake.is_alive)
        {
            return Ok(self.sessions.remove(dead).id);
        }
        SessionId::new(format!("fake-{number}"))
    }
}

/// A shell line runs as it is; anything else is stood in for by a program that reads a pipe of ours, and so ends with
/// the test process whatever happens to that.
fn start_process(spec: &SessionSpec, loses_cookie: bool) -> Result<Child> {
    let is_line = spec.program() == "sh";
    let mut command = Command::new(if is_line { spec.program() } else { "cat".as_ref() });
    if is_line {
        command.args(spec.arguments());
    }
    if let Some(directory) = spec.directory() {
        command.current_dir(directory);
    }
    let mut environment = environment::for_session(spec);
    if let (true, Some(cookie)) = (loses_cookie, spec.cookie()) {
        environment.remove(std::ffi::OsStr::new(&cookie.name()));
    }
    command.env_clear().envs(environment);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|cause| {
        Error::os(format!("start a process for the fake session `{}`", spec.command_line()), "it needs `cat` and `sh`", cause)
    })
}

/// The status of the one line that is understood without a process, `exit N`.
fn exit_line(spec: &SessionSpec) -> Option<i32> {
    let [option, line] = spec.arguments() else { return None };
    let line = (spec.program() == "sh" && option == "-c").then_some(line)?;
    line.to_str()?.strip_prefix("exit ")?.trim().parse().ok()
}

impl World {
    /// Ends a session after a while, unless the backend ends before.
    fn end_later(self: &Arc<Self>, number: u64, after: Duration, status: ExitStatus) -> Result<()> {
        let (sender, is_over) = channel();
        self.state.lock().timers.push(sender);
        let world: Weak<Self> = Arc::downgrade(self);
        let end = move || {
            if is_over.recv_timeout(after) == Err(RecvTimeoutError::Timeout)
                && let Some(world) = world.upgrade()
                && let Some(fake) = world.state.lock().by_number(number).filter(|fake| fake.is_alive)
            {
                fake.end(status);
            }
        };
        thread::Builder::new()
            .name("termleash-fake".into())
            .spawn(end)
            .map(drop)
            .map_err(|cause| Error::os("start a thread that ends a fake session", "raise `ulimit -u`", cause))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for fake in &mut self.state.get_mut().sessions {
            fake.end(KILLED);
        }
    }
}

impl FakeBackend {
    /// A backend that does everything right, purely in memory: nothing is known of a leader or a server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives each session from now on a real process, a child of this one, which it names as the leader, and this
    /// process as the server. A shell line runs; instead of any other program `cat` does. There is no terminal, and
    /// the process stays in this one's kernel session: only the cookie marks it.
    #[must_use = "it takes and gives the backend"]
    pub fn with_processes(self) -> Self {
        self.world.state.lock().has_processes = true;
        self
    }

    /// Adds a fault.
    #[must_use = "it takes and gives the backend"]
    pub fn fault(self, fault: Fault) -> Self {
        self.world.state.lock().faults.push((fault, 0));
        self
    }

    /// Has these faults from now on and no others. A call that is under way goes on with those it has met.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().map(|fault| (fault, 0)).collect();
        self.world.state.lock().faults = faults;
    }

    /// Who is alive in truth, oldest first, bystanders included.
    pub fn sessions(&self) -> Vec<SessionId> {
        let mut state = self.world.state.lock();
        state.look();
        state.sessions.iter().filter(|fake| fake.is_alive).map(|fake| fake.id.clone()).collect()
    }

    /// A session of somebody else's: put there with exactly this id, without a call of `create` and without a cookie.
    ///
    /// # Errors
    ///
    /// If the id is hostile, or the session's process cannot be started.
    pub fn spawn_bystander(&self, id: impl Into<String>) -> Result<SessionId> {
        let id = SessionId::new(id)?;
        self.world.state.lock().start(Some(id), &SessionSpec::new("cat")).map(|(id, _, _)| id)
    }

    /// Has a session end by itself with this status, as if its program had. Does nothing if no living session has
    /// the id.
    pub fn exit(&self, id: &SessionId, status: i32) {
        let mut state = self.world.state.lock();
        if let Some(fake) = state.sessions.iter_mut().find(|fake| fake.is_alive && fake.id == *id) {
            fake.end(ExitStatus::Exited(status));
        }
    }

    /// The process of a living session, if it has one.
    pub fn leader(&self, id: &SessionId) -> Option<u32> {
        let mut state = self.world.state.lock();
        state.look();
        state.sessions.iter().find(|fake| fake.is_alive && fake.id == *id)?.child.as_ref().map(Child::id)
    }

    /// Every call so far, in order, also those that failed or hang.
    pub fn calls(&self) -> Vec<Call> {
        self.world.state.lock().calls.clone()
    }

    /// Notes a call, and does what its faults want before it does anything.
    async fn enter(&self, method: Method, id: Option<&SessionId>) -> Result<(), BoxError> {
        let (mut delay, mut fails, mut hangs) = (Duration::ZERO, false, false);
        {
            let mut state = self.world.state.lock();
            state.look();
            state.calls.push(Call::new(method, id));
            for (fault, met) in &mut state.faults {
                match fault {
                    Fault::Slow(slow, by) if *slow == method => delay += *by,
                    Fault::Fails(failing) if *failing == method => fails = true,
                    Fault::FailsFirst(failing, count) if *failing == method => {
                        fails |= *met < *count;
                        *met += 1;
                    }
                    Fault::Hangs(hanging) if *hanging == method => hangs = true,
                    _ => {}
                }
            }
        }
        if !delay.is_zero() {
            Pump::get()?.sleep(delay).await;
        }
        if hangs {
            std::future::pending::<()>().await;
        }
        if fails { Err(format!("the fake backend was told to fail at `{method}`").into()) } else { Ok(()) }
    }

    /// What a kill does at once; answers with the session whose death is to be waited for, if one dies now.
    fn kill_now(&self, id: &SessionId) -> Result<Vec<u64>> {
        let mut state = self.world.state.lock();
        let victims = state.victims(id);
        let late = state.find_fault(|fault| if let Fault::DiesLate(by) = fault { Some(*by) } else { None });
        let says = if state.has(&Fault::SaysKilled) {
            Some(Record::Exited(KILLED))
        } else {
            state.has(&Fault::Forgets).then_some(Record::None)
        };
        if victims.is_empty() && state.known(id).is_none() {
            return Err(Error::unknown_session(format!("the fake backend has no session `{id}`")));
        }
        let stays = (says.is_some() && late.is_none()) || state.has(&Fault::IgnoresKill);
        let mut dying = Vec::new();
        for number in victims {
            let Some(fake) = state.by_number(number) else { continue };
            fake.says = says.unwrap_or(fake.says);
            if late.is_none() && !stays {
                match &mut fake.child {
                    // Its death is waited for without blocking the test's runtime.
                    Some(child) => drop(child.kill()),
                    None => fake.ended(KILLED),
                }
                dying.push(number);
            }
        }
        drop(state);
        Ok(dying)
    }
}
