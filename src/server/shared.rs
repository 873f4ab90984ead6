//! One server for all tests of a run, though each test is a process of its own.

use crate::error::{Error, Result};
use crate::ledger::message::{hear, tell};
use crate::process::handle::ProcessHandle;
use crate::server::meeting::{FromSteward, FromUser, Reached};
use crate::server::port;
use crate::session::terminal::Output;
use crate::sys::{self, Channel};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a steward may take to say how its server has ended, or what that has printed.
const TELLS_WITHIN: Duration = Duration::from_secs(2);

/// A server that all tests of a run share; made by [`ServerGuard::shared`](crate::server::ServerGuard::shared).
///
/// The server lives as long as one of them holds this, and 2 s more ([`ServerSpec::idle`](crate::server::ServerSpec::idle)). What a test leaves in it the next
/// test finds: track sessions by a [helper](crate::SessionTestHelper), which ends those of its own test.
#[must_use = "the server may end when nobody holds it: bind it to a name"]
pub struct SharedServer {
    key: String,
    reached: Reached,
    process: ProcessHandle,
    channel: Mutex<Channel>,
    /// What the steward has said of its end.
    death: Mutex<Option<String>>,
    owner: u32,
}

impl SharedServer {
    pub(crate) fn new(key: String, reached: Reached, channel: Channel) -> Result<Self> {
        let process = ProcessHandle::open(reached.server.pid()).ok();
        let Some(process) = process.filter(|process| process.identity() == reached.server) else {
            return Err(Error::server_ended(format!("the shared server `{key}` has ended since it was ready")));
        };
        let (channel, death) = (Mutex::new(channel), Mutex::new(None));
        Ok(Self { key, reached, process, channel, death, owner: sys::own_pid() })
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its port on the loopback.
    ///
    /// # Panics
    ///
    /// If it was started [without one](crate::server::ServerSpec::without_port).
    #[track_caller]
    pub fn port(&self) -> u16 {
        port::expected(self.reached.port, || format!("the shared server `{}`", self.key))
    }

    /// As [`Server::url`](crate::server::Server::url).
    ///
    /// # Panics
    ///
    /// As [`port`](Self::port).
    #[track_caller]
    pub fn url(&self) -> String {
        let port = self.port();
        self.reached.url.clone().unwrap_or_else(|| port::url(port))
    }

    /// What `HOME` is for it.
    pub fn home(&self) -> &Path {
        &self.reached.home
    }

    /// What `XDG_RUNTIME_DIR` is for it.
    pub fn runtime_dir(&self) -> &Path {
        &self.reached.runtime
    }

    /// The id of its first process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its first process, held: no child of this one.
    pub fn process(&self) -> &ProcessHandle {
        &self.process
    }

    /// False once it has ended.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// What it has printed so far, on standard output and standard error: the newest 64 KiB at most. All tests of the run have
    /// printed to it, not only this one.
    ///
    /// Its steward is asked for it; that takes a moment, in which this waits, at most 2 s, on this thread.
    ///
    /// # Errors
    ///
    /// [`Error::is_server_ended`] as [`check`](Self::check), with the end of the log; [`Error::is_timeout`] if the steward does not
    /// answer.
    pub fn log(&self) -> Result<Output> {
        self.check()?;
        let is_answer = |told: &FromSteward| matches!(told, FromSteward::Log { .. } | FromSteward::Died { .. });
        match self.hear(Some(&FromUser::AskLog), is_answer) {
            Ok(Some(FromSteward::Log { text, dropped })) => Ok(Output::of_text(text, dropped)),
            Ok(Some(FromSteward::Died { text })) => {
                self.death.lock().get_or_insert(text);
                Err(self.ended())
            }
            Ok(_) => {
                let what = format!("asking the steward of the shared server `{}` for its log", self.key);
                Err(Error::timeout(what, TELLS_WITHIN))
            }
            // A steward that has ended answers nothing.
            Err(_) => Err(self.ended()),
        }
    }

    /// Whether it is there still.
    ///
    /// # Errors
    ///
    /// [`Error::is_server_ended`] if it has ended, with how, and the end of its log, as far as its steward has told: that takes a
    /// moment, in which this waits, at most 2 s, on this thread.
    pub fn check(&self) -> Result<()> {
        if self.is_alive() { Ok(()) } else { Err(self.ended()) }
    }

    /// How it has ended, as its steward tells.
    fn ended(&self) -> Error {
        let mut death = self.death.lock();
        let is_end = |told: &FromSteward| matches!(told, FromSteward::Died { .. });
        let text = death.get_or_insert_with(|| match self.hear(None, is_end) {
            Ok(Some(FromSteward::Died { text })) => text,
            Ok(_) => "its steward has not said how".into(),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => "its steward has ended, too".into(),
            Err(cause) => format!("its steward cannot be heard: {cause}"),
        });
        Error::server_ended(format!("the shared server `{}` has ended: {text}", self.key))
    }

    /// Asks, and waits for what is wanted; what was asked before, and is answered too late, is passed over. `None` if it does not come in
    /// time.
    fn hear(
        &self,
        ask: Option<&FromUser>,
        is_wanted: impl Fn(&FromSteward) -> bool,
    ) -> io::Result<Option<FromSteward>> {
        let mut channel = self.channel.lock();
        if let Some(ask) = ask {
            tell(&channel, ask)?;
        }
        let until = Instant::now() + TELLS_WITHIN;
        loop {
            match hear::<FromSteward>(&mut channel, Some(until.saturating_duration_since(Instant::now())))? {
                Some(other) if !is_wanted(&other) => {}
                answer => return Ok(answer),
            }
        }
    }
}

impl fmt::Debug for SharedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedServer")
            .field("key", &self.key)
            .field("pid", &self.pid())
            .field("port", &self.reached.port)
            .finish_non_exhaustive()
    }
}

/// Gives it back. A copy in a child that was forked without exec gives back nothing.
impl Drop for SharedServer {
    fn drop(&mut self) {
        if self.owner == sys::own_pid() {
            // A steward that has ended needs no word.
            let _ = tell(&self.channel.lock(), &FromUser::Release);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "shared_tests.rs"]
mod tests;
