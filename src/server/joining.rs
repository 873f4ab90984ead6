//! How a test comes to a server that it shares: it asks for a steward until one answers.

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::ledger::message::{StewardStart, hear, tell};
use crate::ledger::steward::ask_for;
use crate::process::pump::{Pump, after};
use crate::process::tree::own_identity;
use crate::server::guard::ServerGuard;
use crate::server::meeting::{FromSteward, FromUser, Run};
use crate::server::shared::SharedServer;
use crate::server::socket::holder_of;
use crate::server::spec::ServerSpec;
use crate::settings::Settings;
use crate::sys::{self, AsFd as _, Channel, OwnedFd};
use std::panic::Location;
use std::time::{Duration, Instant};

/// How much longer than the server its steward may take to be there.
const STEWARD_WITHIN: Duration = Duration::from_secs(10);
/// After that long another steward is asked for: the first may have been killed.
const ASKS_AGAIN: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

impl ServerGuard {
    /// One server for all tests of this run that ask for this key: the first has it started, the others wait until it is ready and
    /// use it, too. A run is a test process of `cargo test`, or a whole run of cargo-nextest, whose tests are processes of their
    /// own.
    ///
    /// It ends when the run has ended, however that dies, or 2 s ([`ServerSpec::idle`]) after its last user; a test that dies is
    /// no user any more. Should it end by itself, the next call starts another.
    ///
    /// A process of its own holds it, the *steward*: started by the test process, so that no keeper of a test ends it, with a ledger
    /// and a keeper of its own, which end the server should the steward be killed.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", feature = "tokio"))]
    /// # fn a_test() {
    /// use termleash::server::ServerGuard;
    ///
    /// termleash::test(async |_| {
    ///     let spec = ServerGuard::command("my-server").port_flag("--port");
    ///     let server = ServerGuard::shared("my-server", spec).await?;
    ///     assert!(server.url().starts_with("http://127.0.0.1:"));
    ///     Ok(())
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::is_server_ended`] if it could not be started, told to each test that waits for it.
    /// - [`Error::is_invalid_input`] if the run has one of this key by another specification, with both.
    /// - [`Error::is_timeout`] if it, or its steward, is not there in time.
    ///
    /// # Limits
    ///
    /// The server gets the environment that the test process was started with. Processes that do not see each other's network
    /// (`unshare --net`) have a server each.
    #[track_caller]
    pub fn shared(
        key: impl Into<String>,
        spec: ServerSpec,
    ) -> impl Future<Output = Result<SharedServer>> + Send + 'static {
        join(key.into(), spec, Location::caller())
    }
}

async fn join(key: String, spec: ServerSpec, made_at: &'static Location<'static>) -> Result<SharedServer> {
    spec.check()?;
    let settings = Settings::from_env()?;
    let run = Run::of_this_process()?;
    let name = run.meeting_place(&key)?;
    let json =
        serde_json::to_value(&spec).map_err(|cause| Error::invalid(format!("the server's specification: {cause}")))?;
    let limit = spec.limit(&settings).saturating_add(STEWARD_WITHIN);
    let start = StewardStart {
        name,
        key: key.clone(),
        spec: json.clone(),
        made_at: made_at.to_string(),
        owner: run.owner,
        idle: spec.idle,
    };
    let user = own_identity()?;
    let hello =
        || FromUser::Join { spec: json.clone(), shown: spec.command_line(), made_at: made_at.to_string(), user };
    let mut joining = Joining { start: &start, deadline: after(limit), turn: None, asked: None, is_silent: false };
    match joining.answer(hello).await? {
        Some((channel, FromSteward::Ready(reached))) => SharedServer::new(key, reached, channel),
        Some((_, FromSteward::Refused { text })) => Err(Error::invalid(text)),
        Some((_, FromSteward::Failed { text } | FromSteward::Died { text })) => {
            Err(Error::server_ended(format!("the shared server `{key}` could not be started: {text}")))
        }
        // Nobody has asked it for a log.
        Some((_, FromSteward::Log { .. })) | None => {
            let why = joining.why_nobody_answers();
            let what =
                format!("the shared server `{key}` (`{}`) has no steward that answers{why}", spec.command_line());
            Err(Error::timeout(what, limit))
        }
    }
}

struct Joining<'a> {
    start: &'a StewardStart,
    deadline: Instant,
    /// The right to ask for a steward: one of all who wait has it, and the kernel takes it back at that one's death.
    turn: Option<OwnedFd>,
    asked: Option<Instant>,
    /// The last one that was asked was there until the deadline, and said nothing.
    is_silent: bool,
}

/// One that has asked to join, and gives the server back should nobody wait for the answer any more.
struct Guest(Option<Channel>);

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(channel) = &self.0 {
            // A steward that has ended needs no word.
            let _ = tell(channel, &FromUser::Release);
        }
    }
}

impl Joining<'_> {
    /// The steward's answer; `None` after the deadline.
    async fn answer(&mut self, hello: impl Fn() -> FromUser) -> Result<Option<(Channel, FromSteward)>> {
        let pump = Pump::get()?;
        let os = |cause| Error::os("reach the steward of a shared server", "raise `ulimit -n`", cause);
        let mut pauses = Backoff::new();
        while Instant::now() < self.deadline {
            match sys::connect_to_name(self.start.name.as_bytes()).map_err(os)? {
                Some(fd) => {
                    let (_, user) = sys::peer_of(fd.as_fd()).map_err(os)?;
                    if user != sys::own_uid() {
                        let why = format!("user {user} listens at the name of the shared server `{}`", self.start.key);
                        return Err(Error::refused(why));
                    }
                    let channel = Channel::over(fd);
                    if let Some(answered) = self.ask(channel, &hello()).await? {
                        return Ok(Some(answered));
                    }
                    // It has ended meanwhile: another one is needed.
                    self.asked = None;
                    self.is_silent = Instant::now() >= self.deadline;
                }
                None => self.see_to_a_steward()?,
            }
            pump.sleep(pauses.next().unwrap_or_default().min(LONGEST_PAUSE)).await;
        }
        Ok(None)
    }

    /// `None` if the steward ends before it answers, or in time.
    async fn ask(&self, channel: Channel, hello: &FromUser) -> Result<Option<(Channel, FromSteward)>> {
        let pump = Pump::get()?;
        let mut guest = Guest(Some(channel));
        let Some(channel) = &mut guest.0 else { return Ok(None) };
        if tell(channel, hello).is_err() {
            return Ok(None);
        }
        for time in Backoff::new() {
            match hear::<FromSteward>(channel, Some(Duration::ZERO)) {
                // Before it had an answer for us: the next one has.
                Ok(Some(FromSteward::Died { .. })) => return Ok(None),
                Ok(Some(answer)) => return Ok(guest.0.take().map(|channel| (channel, answer))),
                Ok(None) if Instant::now() >= self.deadline => return Ok(None),
                Ok(None) => pump.sleep(time.min(LONGEST_PAUSE)).await,
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn name_of_turn(&self) -> String {
        format!("{}/start", self.start.name)
    }

    /// Names are open to everybody: somebody else may have one of ours.
    fn why_nobody_answers(&self) -> String {
        let held = |name: &str| Some(format!("its name, `{name}`, is held by {}", holder_of(name)?));
        if self.is_silent {
            let held = held(&self.start.name).unwrap_or_else(|| "it has ended by now".into());
            return format!(", although one was reached: {held}; is it stopped, or starved?");
        }
        if self.turn.is_some() {
            let held = held(&self.start.name).map(|held| format!("; {held}")).unwrap_or_default();
            return format!(": the test process was asked to start one{held}");
        }
        let held = held(&self.name_of_turn()).unwrap_or_else(|| "who had it has ended by now".into());
        format!(", and this test did not ask for one, since only one of all who wait has the right to: {held}")
    }

    fn see_to_a_steward(&mut self) -> Result<()> {
        if self.turn.is_none() {
            let name = self.name_of_turn();
            let os = |cause| Error::os("take a turn at a shared server", "raise `ulimit -n`", cause);
            self.turn = sys::take_name(name.as_bytes()).map_err(os)?;
        }
        if self.turn.is_some() && self.asked.is_none_or(|asked| asked.elapsed() >= ASKS_AGAIN) {
            self.asked = Some(Instant::now());
            ask_for(self.start)?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "joining_tests.rs"]
mod tests;
