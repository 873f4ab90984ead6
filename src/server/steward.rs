//! The process that holds a shared server: it starts it, tells its users where it is, and ends it with the run, or when nobody
//! has used it for a while.
//!
//! ```text
//!  name taken ─► server started ─► users come and go ─► owner dead │ idle │ server dead ─► name given back ─► server ended
//!     └─ somebody was faster: nothing to do
//! ```
//! It is this very program, executed again and caught before its `main`. It is no child of a test's body, so that no keeper of a
//! test ends it; it has a ledger and a keeper of its own, which end the server should the steward be killed.

use crate::error::{Error, Result};
use crate::ledger::message::{StewardStart, hear, tell};
use crate::process::handle::ProcessHandle;
use crate::process::identity::ProcessIdentity;
use crate::runtime::park_on;
use crate::server::guard::ServerGuard;
use crate::server::meeting::{FromSteward, FromUser, Reached};
use crate::server::spec::ServerSpec;
use crate::server::starting::start;
use crate::session::terminal::Output;
use crate::sys::{self, AsFd as _, Channel, OwnedFd, Pidfd};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How often is looked at what announces no event: a user that could not be held.
const TICK: Duration = Duration::from_millis(50);
/// How long a server that has no user yet waits for the first, however short its idle time is; and how long who comes too late
/// is told that it could not be started.
const FIRST_USER: Duration = Duration::from_secs(1);
/// How long one who has connected may take to say what it wants.
const JOINS_WITHIN: Duration = Duration::from_secs(5);

/// From the first message to the end of the server.
pub(crate) fn hold(begin: &StewardStart) {
    let Ok(Some(listener)) = sys::listen_at_name(begin.name.as_bytes()) else { return };
    let Some(owner) = held(begin.owner) else { return };
    let steward = Steward { begin, listener, owner, guests: Vec::new(), idle_since: Instant::now() };
    match steward.start() {
        None => {}
        Some(Ok(server)) => steward.serve(server),
        Some(Err(cause)) => steward.refuse(&FromSteward::Failed { text: cause.to_string() }),
    }
}

struct Steward<'a> {
    begin: &'a StewardStart,
    listener: OwnedFd,
    owner: ProcessHandle,
    guests: Vec<Guest>,
    idle_since: Instant,
}

/// One that has connected.
struct Guest {
    /// `None` when it cannot be talked to any more; then its process counts.
    channel: Option<Channel>,
    since: Instant,
    /// Its process, once it has joined.
    user: Option<Pidfd>,
}

/// The process of this identity.
fn held(identity: ProcessIdentity) -> Option<ProcessHandle> {
    ProcessHandle::open(identity.pid()).ok().filter(|handle| handle.identity() == identity)
}

impl Steward<'_> {
    /// `None` if its owner ends first: then it is ended before it is ready.
    fn start(&self) -> Option<Result<ServerGuard>> {
        let spec: ServerSpec = match serde_json::from_value(self.begin.spec.clone()) {
            Ok(spec) => spec,
            Err(cause) => return Some(Err(Error::invalid(format!("the server's specification: {cause}")))),
        };
        let mut starting = Box::pin(start(spec, self.begin.made_at.clone()));
        let mut gone = pin!(self.owner.wait_gone());
        let started = park_on(std::future::poll_fn(|context| match starting.as_mut().poll(context) {
            Poll::Ready(started) => Poll::Ready(Some(started)),
            Poll::Pending => gone.as_mut().poll(context).map(|_| None),
        }));
        if started.is_none() {
            // What was begun ends in the background, which this process must wait for.
            drop(starting);
            park_on(crate::server::background::settled(Duration::from_secs(30)));
        }
        started
    }

    fn serve(mut self, server: ServerGuard) {
        let reached = Reached {
            port: server.inner().port,
            url: server.inner().url(),
            server: server.process().identity(),
            home: server.home().to_owned(),
            runtime: server.runtime_dir().to_owned(),
        };
        self.idle_since = Instant::now();
        let mut has_had_users = false;
        loop {
            self.wait(&server);
            self.take_in();
            self.heed(&FromSteward::Ready(reached.clone()), &server);
            has_had_users |= self.has_users();
            if self.has_users() {
                self.idle_since = Instant::now();
            }
            let idle = if has_had_users { self.begin.idle } else { self.begin.idle.max(FIRST_USER) };
            let is_idle = self.guests.is_empty() && self.idle_since.elapsed() >= idle;
            if !self.owner.is_alive() || is_idle {
                break;
            }
            if !server.is_alive() {
                return self.died(server);
            }
        }
        // Whoever comes from now on starts another one.
        drop(self.listener);
        let _ = park_on(server.close());
    }

    /// It has ended by itself: each user is told, and whoever comes from now on starts another.
    fn died(self, server: ServerGuard) {
        drop(self.listener);
        let text = match park_on(server.close()) {
            Err(cause) => cause.to_string(),
            Ok(end) => format!("the shared server `{}` has ended: {:?}", self.begin.key, end.status()),
        };
        for channel in self.guests.iter().filter_map(|guest| guest.channel.as_ref()) {
            let _ = tell(channel, &FromSteward::Died { text: text.clone() });
        }
    }

    /// The same answer for all, and nobody else comes.
    fn refuse(mut self, answer: &FromSteward) {
        let start = Instant::now();
        while start.elapsed() < FIRST_USER && self.owner.is_alive() {
            self.take_in();
            self.guests.retain_mut(|guest| {
                let Some(channel) = &mut guest.channel else { return false };
                let has_spoken = !matches!(hear::<FromUser>(channel, Some(Duration::ZERO)), Ok(None));
                if has_spoken {
                    let _ = tell(channel, answer);
                }
                !has_spoken
            });
            // Those that wait have connected before it failed.
            if self.guests.is_empty() && start.elapsed() >= 2 * TICK {
                break;
            }
            let _ = sys::wait_for(&[self.listener.as_fd()], Some(TICK));
        }
    }

    /// Until something happens, or a tick has gone by.
    fn wait(&self, server: &ServerGuard) {
        let pidfds = [server.process().identity(), self.begin.owner].map(|who| Pidfd::open(who.pid()).ok());
        let mut fds = vec![self.listener.as_fd()];
        fds.extend(pidfds.iter().flatten().map(Pidfd::fd));
        for guest in &self.guests {
            fds.extend(guest.channel.as_ref().map(Channel::fd));
            fds.extend(guest.user.as_ref().map(Pidfd::fd));
        }
        let _ = sys::wait_for(&fds, Some(TICK));
    }

    fn take_in(&mut self) {
        while let Ok(Some(fd)) = sys::accept_now(self.listener.as_fd()) {
            // A name is open to everybody; a server is not.
            if sys::peer_of(fd.as_fd()).is_ok_and(|(_, user)| user == sys::own_uid()) {
                self.guests.push(Guest { channel: Some(Channel::over(fd)), since: Instant::now(), user: None });
            }
        }
    }

    /// What they say, and who of them has gone.
    fn heed(&mut self, ready: &FromSteward, server: &ServerGuard) {
        let begin = self.begin;
        self.guests.retain_mut(|guest| guest.heed(begin, ready, || server.log()));
    }

    fn has_users(&self) -> bool {
        self.guests.iter().any(|guest| guest.user.is_some())
    }
}

impl Guest {
    /// False if it is gone.
    fn heed(&mut self, begin: &StewardStart, ready: &FromSteward, log: impl Fn() -> Output) -> bool {
        while let Some(channel) = &mut self.channel {
            match hear::<FromUser>(channel, Some(Duration::ZERO)) {
                Ok(Some(FromUser::Release)) => return false,
                Ok(Some(FromUser::AskLog)) if self.user.is_none() => return false,
                // One who asks again has one to read already, if it has not read: no user may stop the steward.
                Ok(Some(FromUser::AskLog)) if !channel.has_room() => {}
                Ok(Some(FromUser::AskLog)) => {
                    let _ = tell(channel, &FromSteward::log(&log()));
                }
                Ok(Some(FromUser::Join { spec, shown, made_at, user })) => {
                    let peer = sys::peer_of(channel.fd()).ok().map(|(pid, _)| pid);
                    let process = held(user).filter(|_| peer == Some(user.pid())).and(Pidfd::open(user.pid()).ok());
                    if process.is_none() {
                        return false;
                    }
                    if spec != begin.spec {
                        let _ = tell(channel, &FromSteward::Refused { text: two_of(begin, &spec, &shown, &made_at) });
                        return false;
                    }
                    // One that has given up meanwhile has closed its end, and uses nothing.
                    if tell(channel, ready).is_err() {
                        return false;
                    }
                    self.user = process;
                }
                Ok(None) => break,
                // An end of file is no death: somebody may have closed what is not its own.
                Err(_) => self.channel = None,
            }
        }
        match &self.user {
            Some(process) => !process.has_exited().unwrap_or(true),
            None => self.channel.is_some() && self.since.elapsed() < JOINS_WITHIN,
        }
    }
}

/// Two tests of a run that mean two servers by one key.
fn two_of(begin: &StewardStart, spec: &serde_json::Value, shown: &str, made_at: &str) -> String {
    let first =
        serde_json::from_value::<ServerSpec>(begin.spec.clone()).map(|spec| spec.command_line()).unwrap_or_default();
    format!(
        "the run has a shared server `{}` by another specification: give each a key of its own, or make both the same\n  \
         running: `{first}`, asked for at {}\n    {}\n  wanted:  `{shown}`, asked for at {made_at}\n    {spec}",
        begin.key, begin.made_at, begin.spec
    )
}

#[cfg(all(test, target_os = "linux"))]
#[path = "steward_tests.rs"]
pub(crate) mod tests;
