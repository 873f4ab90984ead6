//! The two books of the fake backend: what is true of each session, and what it says of it. Every fault is a
//! difference between them.

use crate::error::{Error, Result};
use crate::process::exit::ExitStatus;
use crate::session::backend::Created;
use crate::session::environment;
use crate::session::fault::{Call, Fault, matches};
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use parking_lot::Mutex;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// How a session ends that this backend kills.
pub(crate) const KILLED: ExitStatus = ExitStatus::Signaled { signal: 9, core_dumped: false };

#[derive(Default)]
pub(crate) struct World {
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) has_processes: bool,
    /// How many sessions there ever were, and how many ids were made up for them.
    pub(crate) numbers: u64,
    pub(crate) ids: u64,
    pub(crate) sessions: Vec<Fake>,
    /// Each with how many calls it has met.
    pub(crate) faults: Vec<(Fault, usize)>,
    pub(crate) calls: Vec<Call>,
    /// A thread that waits stops waiting when its sender is dropped.
    pub(crate) timers: Vec<Sender<()>>,
}

/// One session.
pub(crate) struct Fake {
    /// Ids may be given twice, numbers are not.
    pub(crate) number: u64,
    pub(crate) id: SessionId,
    pub(crate) is_alive: bool,
    pub(crate) is_killed: bool,
    pub(crate) says: Record,
    pub(crate) child: Option<Child>,
}

/// What the backend says of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Running,
    Exited(ExitStatus),
    None,
}

impl Fake {
    /// The truth of its end; what is said of it follows, unless a fault has said something before.
    pub(crate) fn ended(&mut self, status: ExitStatus) {
        self.is_alive = false;
        self.child = None;
        if self.says == Record::Running {
            self.says = Record::Exited(status);
        }
    }

    /// Has it begin to die, which takes milliseconds where there is a process.
    pub(crate) fn kill(&mut self) {
        match &mut self.child {
            Some(child) => {
                // It fails only for a child that has been waited for.
                let _ = child.kill();
                self.is_killed = true;
            }
            None => self.ended(KILLED),
        }
    }

    /// Ends it and waits for its death.
    pub(crate) fn end(&mut self, status: ExitStatus) {
        if let Some(child) = &mut self.child {
            // Both fail only for a child that has been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.ended(status);
    }
}

impl State {
    pub(crate) fn has(&self, fault: &Fault) -> bool {
        self.faults.iter().any(|(set, _)| set == fault)
    }

    pub(crate) fn find_fault<R>(&self, look: impl FnMut(&Fault) -> Option<R>) -> Option<R> {
        self.faults.iter().map(|(fault, _)| fault).find_map(look)
    }

    /// Notices who has ended by themselves.
    pub(crate) fn look(&mut self) {
        for fake in self.sessions.iter_mut().filter(|fake| fake.is_alive) {
            if let Some(Ok(Some(status))) = fake.child.as_mut().map(Child::try_wait) {
                let unknown = if fake.is_killed { KILLED } else { ExitStatus::Unknown };
                fake.ended(status.code().map_or(unknown, ExitStatus::Exited));
            }
        }
    }

    pub(crate) fn by_number(&mut self, number: u64) -> Option<&mut Fake> {
        self.sessions.iter_mut().find(|fake| fake.number == number)
    }

    /// The session that the backend means by an id; of two that have it the living one.
    pub(crate) fn known(&mut self, id: &SessionId) -> Option<&mut Fake> {
        let known = self.sessions.iter_mut().filter(|fake| fake.id == *id && fake.says != Record::None);
        known.max_by_key(|fake| (fake.is_alive, std::cmp::Reverse(fake.number)))
    }

    /// Whom a kill of this id ends.
    pub(crate) fn victims(&mut self, id: &SessionId) -> Vec<u64> {
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
            victims.extend(living().next_back());
        }
        victims.iter().map(|fake| fake.number).collect()
    }

    pub(crate) fn start(&mut self, id: Option<SessionId>, spec: &SessionSpec) -> Result<(Created, u64)> {
        let id = id.map_or_else(|| self.next_id(), Ok)?;
        let child = if self.has_processes { Some(start_process(spec, self.has(&Fault::LosesCookie))?) } else { None };
        let mut created = Created::new(id.clone());
        if let Some(child) = &child {
            created = created.with_leader(child.id()).with_server(std::process::id());
        }
        self.numbers += 1;
        let number = self.numbers;
        let ended = exit_line(spec).filter(|_| child.is_none());
        let mut fake = Fake { number, id: id.clone(), is_alive: true, is_killed: false, says: Record::Running, child };
        if let Some(status) = ended {
            fake.ended(ExitStatus::Exited(status));
        }
        self.sessions.push(fake);
        Ok((created, number))
    }

    pub(crate) fn next_id(&mut self) -> Result<SessionId> {
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
        self.ids += 1;
        SessionId::new(format!("fake-{}", self.ids))
    }
}

/// A shell line runs as it is; anything else is stood in for by a program that reads a pipe of ours, and so ends with
/// the test process whatever happens to that.
fn start_process(spec: &SessionSpec, loses_cookie: bool) -> Result<Child> {
    let is_line = is_shell(spec);
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
    command.env_clear().envs(environment.iter());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|cause| {
        Error::os(
            format!("start a process for the fake session `{}`", spec.command_line()),
            "it needs `cat` and `sh`",
            cause,
        )
    })
}

fn is_shell(spec: &SessionSpec) -> bool {
    std::path::Path::new(spec.program()).file_name() == Some("sh".as_ref())
}

/// The status of the one line that is understood without a process, `exit N`.
fn exit_line(spec: &SessionSpec) -> Option<i32> {
    let [option, line] = spec.arguments() else { return None };
    let line = (is_shell(spec) && option == "-c").then_some(line)?;
    line.to_str()?.strip_prefix("exit ")?.trim().parse().ok()
}

impl World {
    /// Does something after a while, unless the backend ends before.
    pub(crate) fn later(
        self: &Arc<Self>,
        state: &mut State,
        after: Duration,
        act: impl FnOnce(&mut State) + Send + 'static,
    ) -> Result<()> {
        let (sender, is_over) = channel();
        state.timers.push(sender);
        let world: Weak<Self> = Arc::downgrade(self);
        let wait = move || {
            if is_over.recv_timeout(after) == Err(RecvTimeoutError::Timeout)
                && let Some(world) = world.upgrade()
            {
                act(&mut world.state.lock());
            }
        };
        thread::Builder::new()
            .name("termleash-fake".into())
            .spawn(wait)
            .map(drop)
            .map_err(|cause| Error::os("start a thread for a fake session", "raise `ulimit -u`", cause))
    }

    pub(crate) fn end_later(
        self: &Arc<Self>,
        state: &mut State,
        number: u64,
        after: Duration,
        status: ExitStatus,
    ) -> Result<()> {
        self.later(state, after, move |state| {
            if let Some(fake) = state.by_number(number).filter(|fake| fake.is_alive) {
                fake.end(status);
            }
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for fake in &mut self.state.get_mut().sessions {
            fake.end(KILLED);
        }
    }
}
