//! What a test holds of a server.

use crate::error::{Error, Result};
use crate::leak::{LeakCheck, LeakHunt};
use crate::ledger::home::Part;
use crate::process::death::Death;
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use crate::process::pump::Pump;
use crate::runtime::block_on;
use crate::server::background::end_in_background;
use crate::server::closing::close;
use crate::server::inner::{Inner, Phase};
use crate::server::outcome::ServerEnd;
use crate::server::port;
use crate::server::ready::until_dead;
use crate::server::spec::ServerSpec;
use crate::session::terminal::Output;
use std::ffi::OsString;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A server that runs for a test: a cheap handle, to clone into tasks. It does not end the server: its
/// [`ServerGuard`] or its [scope](crate::testing::Scope::server) does.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
    runtime_dir: Arc<PathBuf>,
    home: Arc<PathBuf>,
}

impl Server {
    /// Its port on the loopback.
    ///
    /// # Panics
    ///
    /// If it was started [without one](ServerSpec::without_port).
    #[track_caller]
    pub fn port(&self) -> u16 {
        port::expected(self.inner.port, || self.inner.name())
    }

    /// `http://127.0.0.1:PORT`, or `http://[::1]:PORT` if it was seen to listen there and not at the other, when it was ready.
    ///
    /// # Panics
    ///
    /// As [`port`](Self::port).
    #[track_caller]
    pub fn url(&self) -> String {
        let port = self.port();
        self.inner.url().unwrap_or_else(|| port::url(port))
    }

    /// What `HOME` is for it.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What `XDG_RUNTIME_DIR` is for it, for its sockets.
    pub fn runtime_dir(&self) -> &Path {
        &self.runtime_dir
    }

    /// The id of its first process, which leads a kernel session.
    pub fn pid(&self) -> u32 {
        self.inner.handle.pid()
    }

    /// Its first process, held.
    pub fn process(&self) -> &ProcessHandle {
        &self.inner.handle
    }

    /// False once its first process has ended.
    pub fn is_alive(&self) -> bool {
        self.inner.handle.is_alive()
    }

    /// What it has printed so far, on standard output and standard error.
    pub fn log(&self) -> Output {
        self.inner.log.catch_up();
        self.inner.log.output()
    }

    /// Waits until this text is in its log, from its start on; at most 10 s (`TERMLEASH_WAIT`).
    ///
    /// # Errors
    ///
    /// [`Error::is_timeout`], and [`Error::is_server_ended`] if it ends before; both with the end of its log.
    pub async fn wait_for_log(&self, text: &str) -> Result<()> {
        let inner = &self.inner;
        match Pump::get()?.within(inner.wait, until_dead(inner, inner.log.wait_for(text))).await {
            Some(Some(())) => Ok(()),
            Some(None) => {
                let (name, how) = (inner.name(), inner.how_it_ended());
                Err(Error::server_ended(format!("{name} ended before it printed {text:?}: {how}{}", inner.shown_log())))
            }
            None => {
                let (name, log, threads) = (inner.name(), inner.shown_log(), inner.shown_threads());
                let what = format!("waiting for {text:?} in the log of {name}{log}{threads}");
                Err(Error::timeout(what, inner.wait))
            }
        }
    }

    /// Waits until it ends by itself, as a test that asks it to does; at most 10 s (`TERMLEASH_WAIT`). That it has ended is no
    /// error of [`close`](Self::close) then.
    ///
    /// # Errors
    ///
    /// [`Error::is_timeout`], with the end of its log.
    pub async fn wait_for_exit(&self) -> Result<ExitStatus> {
        let inner = &self.inner;
        inner.life.update(|life| life.may_be_dead = true);
        match Pump::get()?.within(inner.wait, inner.handle.wait_gone()).await {
            Some(gone) => gone.map(|()| inner.handle.exit_status().unwrap_or(ExitStatus::Unknown)),
            None => {
                inner.life.update(|life| life.may_be_dead = false);
                let (name, log, threads) = (inner.name(), inner.shown_log(), inner.shown_threads());
                let what = format!("waiting for the end of {name}{log}{threads}");
                Err(Error::timeout(what, inner.wait))
            }
        }
    }

    /// The same, and says of what it has died: who killed it, for want of what it aborted, with what says so.
    ///
    /// # Errors
    ///
    /// As [`wait_for_exit`](Self::wait_for_exit).
    pub async fn wait_for_death(&self) -> Result<Death> {
        self.wait_for_exit().await.map(|status| self.inner.death(status))
    }

    /// A look at what the server has from here on: descriptors, terminals, threads, processes, zombies, those of its whole tree
    /// included, also what has hidden from it in a kernel session of its own. Whoever knows its port is taken to belong to the
    /// test, so that what is left is a leak and no suspicion.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # termleash::block_on(async {
    /// use termleash::{assert_no_leaks, server::ServerGuard};
    ///
    /// let server = ServerGuard::command("sh").args(["-c", "echo ready; exec sleep 1000"]).without_port();
    /// let server = server.ready_line("ready").start().await?;
    /// let check = server.leak_check()?;
    /// // Sessions are made and ended here.
    /// assert_no_leaks!(check.find().await);
    /// server.close().await?;
    /// # Ok::<(), termleash::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`LeakCheck::of`]: it has ended, or cannot be looked at.
    #[track_caller]
    pub fn leak_check(&self) -> Result<LeakCheck> {
        Ok(LeakCheck::of(&self.inner.handle)?.marked(self.inner.cookie)?.exclusive())
    }

    /// The same over many rounds, with its memory and with what it costs while nothing runs; see [`LeakHunt::on`].
    pub fn leak_hunt(&self) -> LeakHunt {
        LeakHunt::on(&self.inner.handle).marked(self.inner.cookie).exclusive()
    }

    /// Ends it, as [`ServerGuard::close`]; for one that a scope keeps. Called again it answers the same.
    ///
    /// # Errors
    ///
    /// As [`ServerGuard::close`].
    pub async fn close(&self) -> Result<ServerEnd> {
        close(&self.inner).await
    }

    /// True once its end was an error, which shows its log.
    pub(crate) fn has_told_its_log(&self) -> bool {
        self.inner.life.peek(|life| matches!(life.phase, Phase::Closed(Err(_))))
    }

    /// Its name and where it is reached, for a test that takes too long.
    pub(crate) fn line(&self) -> String {
        let port = self.inner.port.map(|port| format!(", at port {port}")).unwrap_or_default();
        format!("{}{port}", self.inner.name())
    }

    /// The end of its log with its name, for a test that fails.
    pub(crate) fn last_words(&self) -> String {
        format!("{}{}", self.inner.name(), self.inner.shown_log())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { command, port, .. } = &*self.inner;
        f.debug_struct("Server")
            .field("command", command)
            .field("pid", &self.pid())
            .field("port", port)
            .finish_non_exhaustive()
    }
}

/// A server that ends with its guard; it dereferences to the [`Server`].
///
/// See the [module](crate::server) for what a server is given and how it ends.
///
/// # How it ends
///
/// - [`close`](Self::close) ends it with everything that it has started, and tells.
/// - Dropping it begins the same on a thread, and does not wait. What goes wrong then is a
///   [warning](crate::event::Event::Warning), and fails a [test](crate::test()) that runs in a process of its own.
/// - Should the test process die, its keeper ends it, or the next run.
#[must_use = "a guard that is dropped ends its server at once: bind it to a name"]
pub struct ServerGuard {
    server: Server,
    is_armed: bool,
}

impl ServerGuard {
    /// A server by the path of its program, or by its name to be looked up in `PATH`; see [`ServerSpec`] for what else can be
    /// said, and [`ServerSpec::start`].
    pub fn command(program: impl Into<OsString>) -> ServerSpec {
        ServerSpec::new(program.into())
    }

    pub(crate) fn new(inner: Inner) -> Self {
        let (home, runtime_dir) = (Arc::new(inner.part(Part::Home)), Arc::new(inner.part(Part::Runtime)));
        Self { server: Server { inner: Arc::new(inner), runtime_dir, home }, is_armed: true }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.server.inner
    }

    /// Ends the server: TERM to its first process, which has half of the grace to end by itself what it has started; then TERM
    /// to what is left of its tree; at the end of the grace KILL. Then waits, at most a second, until nobody has its port, files
    /// in its home or its terminals open; removes its home, and gives its port back.
    ///
    /// # Errors
    ///
    /// - [`Error::is_survived`] if something of it is still there: named, with its home and port kept; what the test leaves
    ///   its keeper ends.
    /// - [`Error::is_server_ended`] if it had ended before, with its status and the end of its log; all the rest was done.
    pub async fn close(mut self) -> Result<ServerEnd> {
        let end = self.server.close().await;
        // Given up halfway, the rest happens in the background.
        self.is_armed = false;
        end
    }

    /// The same for a test that is not async.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    ///
    /// # Panics
    ///
    /// As [`block_on`].
    #[track_caller]
    pub fn close_blocking(self) -> Result<ServerEnd> {
        block_on(self.close())
    }

    /// The handle alone: somebody else sees to the end.
    pub(crate) fn let_go(mut self) -> Server {
        self.is_armed = false;
        self.server.clone()
    }
}

impl Deref for ServerGuard {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for ServerGuard {
    fn drop(&mut self) {
        if self.is_armed {
            end_in_background(Arc::clone(&self.server.inner));
        }
    }
}

impl fmt::Debug for ServerGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerGuard").field(&self.server).finish()
    }
}
