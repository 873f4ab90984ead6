//! A backend in memory that does wrong what it is told to: for tests of what stands on a backend.

use crate::backoff::Backoff;
use crate::error::{BoxError, Error, Result};
use crate::process::exit::ExitStatus;
use crate::process::pump::Pump;
use crate::session::backend::{Created, Running, SessionBackend, SessionState};
use crate::session::fake_world::{KILLED, Record, World};
use crate::session::fault::{Call, Fault, Method};
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use std::fmt;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

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
/// # Ok::<(), termleash::session::BoxError>(())
/// # })?;
/// # Ok::<(), termleash::session::BoxError>(())
/// ```
#[derive(Clone, Default)]
pub struct FakeBackend {
    world: Arc<World>,
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
        let (_nobody_asked, _) = self.world.state.lock().start(Some(id.clone()), &SessionSpec::new("cat"))?;
        Ok(id)
    }

    /// Has a session end by itself with this status, as if its program had. Does nothing if no living session has
    /// the id.
    pub fn exit(&self, id: &SessionId, status: i32) {
        let mut state = self.world.state.lock();
        if let Some(fake) = state.sessions.iter_mut().find(|fake| fake.is_alive && fake.id == *id) {
            fake.end(ExitStatus::Exited(status));
        }
    }

    /// What a stranger does who cleans up by listing the sessions and killing them all: every living one has ended when it
    /// returns. No call is noted.
    pub fn kill_all(&self) {
        for fake in self.world.state.lock().sessions.iter_mut().filter(|fake| fake.is_alive) {
            fake.end(KILLED);
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

    fn will_be_born_late(&self, spec: &SessionSpec) -> Result<bool> {
        let mut state = self.world.state.lock();
        let late = state.find_fault(|fault| if let Fault::BornLate(after) = fault { Some(*after) } else { None });
        let Some(after) = late else { return Ok(false) };
        let spec = spec.clone();
        // That it cannot be started is told to nobody, as nobody waits.
        self.world.later(&mut state, after, move |state| drop(state.start(None, &spec)))?;
        Ok(true)
    }

    /// What a kill does at once. Answers with those whose death is to be waited for.
    fn kill_now(&self, id: &SessionId) -> Result<Vec<u64>> {
        let mut state = self.world.state.lock();
        let victims = state.victims(id);
        if victims.is_empty() && state.known(id).is_none() {
            return Err(Error::unknown_session(format!("the fake backend has no session `{id}`")));
        }
        let late = state.find_fault(|fault| if let Fault::DiesLate(by) = fault { Some(*by) } else { None });
        let says = match () {
            () if state.has(&Fault::SaysKilled) => Some(Record::Exited(KILLED)),
            () if state.has(&Fault::Forgets) => Some(Record::None),
            () => None,
        };
        let dies_now = late.is_none() && says.is_none() && !state.has(&Fault::IgnoresKill);
        let mut dying = Vec::new();
        for number in victims {
            let Some(fake) = state.by_number(number) else { continue };
            fake.says = says.unwrap_or(fake.says);
            if let Some(after) = late {
                self.world.end_later(&mut state, number, after, KILLED)?;
            } else if dies_now {
                fake.kill();
                dying.push(number);
            }
        }
        Ok(dying)
    }
}

impl SessionBackend for FakeBackend {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        self.enter(Method::Create, None).await?;
        spec.check()?;
        if self.will_be_born_late(spec)? {
            std::future::pending::<()>().await;
        }
        let mut state = self.world.state.lock();
        let (mut created, number) = state.start(None, spec)?;
        if let Some((after, status)) = state.find_fault(|fault| match fault {
            Fault::EndsAfter(after, status) => Some((*after, *status)),
            _ => None,
        }) {
            self.world.end_later(&mut state, number, after, ExitStatus::Exited(status))?;
        }
        if state.has(&Fault::LosesAnswer) {
            return Err("the session was created, and the answer was lost".into());
        }
        if state.has(&Fault::AnswersOtherId) {
            created.id = SessionId::new(format!("other-{number}"))?;
        }
        if let Some(pid) = state.find_fault(|fault| if let Fault::NamesLeader(pid) = fault { Some(*pid) } else { None })
        {
            created = created.with_leader(pid);
        }
        Ok(created)
    }

    /// Ends the session and waits for its death. That a session has ended already is no error.
    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.enter(Method::Kill, Some(id)).await?;
        let hangs = {
            let mut state = self.world.state.lock();
            state.has(&Fault::HangsOnDead) && state.known(id).is_some_and(|fake| !fake.is_alive)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        let dying = self.kill_now(id)?;
        let are_dying = || {
            let mut state = self.world.state.lock();
            state.look();
            state.sessions.iter().any(|fake| fake.is_alive && dying.contains(&fake.number))
        };
        for pause in Backoff::new().take_while(|_| are_dying()) {
            Pump::get()?.sleep(pause).await;
        }
        Ok(())
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.enter(Method::State, Some(id)).await?;
        let mut state = self.world.state.lock();
        let stays = state.has(&Fault::StaysRunning);
        let Some(fake) = state.known(id) else { return Ok(SessionState::Unknown) };
        let running = match &fake.child {
            Some(child) => Running::new().with_leader(child.id()).with_server(std::process::id()),
            None => Running::new(),
        };
        Ok(match fake.says {
            Record::Exited(status) if !stays => SessionState::Exited(Some(status)),
            _ => running.into(),
        })
    }

    /// Drops the record of a session that has ended; for one that runs an error.
    async fn discard_record(&self, id: &SessionId) -> Result<(), BoxError> {
        self.enter(Method::Discard, Some(id)).await?;
        let mut state = self.world.state.lock();
        let Some(fake) = state.known(id) else { return Ok(()) };
        if fake.is_alive {
            return Err(format!("the session `{id}` still runs: kill it before its record is dropped").into());
        }
        let (number, all) = (fake.number, state.has(&Fault::DiscardsAll));
        state.sessions.retain(|fake| fake.is_alive || (fake.number != number && !all));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<SessionId>, BoxError> {
        self.enter(Method::List, None).await?;
        let state = self.world.state.lock();
        if state.has(&Fault::ListsNothing) {
            return Ok(Vec::new());
        }
        Ok(state.sessions.iter().filter(|fake| fake.says != Record::None).map(|fake| fake.id.clone()).collect())
    }
}

impl fmt::Debug for FakeBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.world.state.lock();
        let faults: Vec<_> = state.faults.iter().map(|(fault, _)| fault).collect();
        f.debug_struct("FakeBackend").field("faults", &faults).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;

    fn create(fake: &FakeBackend) -> SessionId {
        park_on(fake.create(&SessionSpec::new("bash"))).unwrap().id().clone()
    }

    fn state(fake: &FakeBackend, id: &SessionId) -> SessionState {
        park_on(fake.state(id)).unwrap()
    }

    #[test]
    fn two_books_are_kept() {
        for (fault, says) in [
            (Fault::IgnoresKill, SessionState::running()),
            (Fault::SaysKilled, SessionState::Exited(Some(KILLED))),
            (Fault::Forgets, SessionState::Unknown),
        ] {
            let fake = FakeBackend::new().fault(fault);
            let id = create(&fake);
            park_on(fake.kill(&id)).unwrap();
            assert_eq!((state(&fake, &id), fake.sessions()), (says, vec![id]));
        }
    }

    #[test]
    fn without_a_fault_nobody_else_is_hit() {
        let fake = FakeBackend::new();
        let id = create(&fake);
        let strangers = ["fake-10", "fake", "x"].map(|id| fake.spawn_bystander(id).unwrap());
        for id in [&id, &id, &SessionId::new("fake-").unwrap(), &SessionId::new("*").unwrap()] {
            let _ = park_on(fake.kill(id));
        }
        assert_eq!(fake.sessions(), strangers);
        assert!(park_on(fake.kill(&SessionId::new("fa").unwrap())).is_err());
    }

    #[test]
    fn a_fault_for_the_first_calls_ends_with_them() {
        let fake = FakeBackend::new().fault(Fault::FailsFirst(Method::Kill, 2));
        let id = create(&fake);
        let answers = [(); 3].map(|()| park_on(fake.kill(&id)).is_ok());
        assert_eq!(answers, [false, false, true]);
        assert_eq!(fake.calls().iter().filter(|call| call.method == Method::Kill).count(), 3);
    }

    fn wait_for(fake: &FakeBackend, living: usize) {
        for pause in Backoff::new().take_while(|_| fake.sessions().len() != living) {
            park_on(Pump::get().unwrap().sleep(pause));
        }
    }

    #[test]
    fn births_and_deaths_come_late() {
        let soon = Duration::from_millis(5);
        let fake = FakeBackend::new().fault(Fault::DiesLate(soon));
        let id = create(&fake);
        park_on(fake.kill(&id)).unwrap();
        wait_for(&fake, 0);
        assert_eq!(state(&fake, &id), SessionState::Exited(Some(KILLED)));

        fake.set_faults([Fault::BornLate(soon)]);
        let spec = SessionSpec::new("bash");
        let asked = Pump::get().unwrap().within(Duration::from_millis(1), fake.create(&spec));
        assert!(park_on(asked).is_none());
        wait_for(&fake, 1);
    }

    #[test]
    fn a_natural_end_has_its_status() {
        let fake = FakeBackend::new().fault(Fault::EndsAfter(Duration::from_millis(5), 4));
        let id = create(&fake);
        wait_for(&fake, 0);
        assert_eq!(state(&fake, &id), SessionState::Exited(Some(ExitStatus::Exited(4))));
        fake.set_faults([]);
        let id = create(&fake);
        fake.exit(&id, 3);
        assert_eq!(state(&fake, &id), SessionState::Exited(Some(ExitStatus::Exited(3))));
    }

    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn a_process_carries_the_cookie_and_ends_with_the_last_handle() {
        use crate::process::{cookie::Cookie, handle::ProcessHandle, scan::marked_by};
        let cookie = Cookie::new();
        let fake = FakeBackend::new().with_processes();
        let created = park_on(fake.create(&SessionSpec::new("bash").with_cookie(cookie))).unwrap();
        let leader = created.leader_pid().unwrap();
        assert_eq!(fake.leader(created.id()), Some(leader));
        let held = ProcessHandle::open(leader).unwrap();
        let marked = marked_by(&[cookie]).unwrap();
        assert_eq!(marked.iter().map(|process| process.identity).collect::<Vec<_>>(), [held.identity()]);
        let other = fake.clone();
        drop(fake);
        assert!(held.is_alive());
        drop(other);
        assert!(!held.is_alive());
    }
}
