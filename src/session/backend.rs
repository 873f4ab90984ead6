//! What a terminal server must be able to do for its tests.

use crate::error::{BoxError, Error};
use crate::ledger::recipe::Recipe;
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use crate::process::identity::ProcessIdentity;
use crate::session::future::BoxFuture;
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use crate::session::terminal::Terminal;
use std::fmt;

/// A terminal server, or whatever else creates sessions: implemented for the server under test.
///
/// All of it is async, since the server often runs in the test's own single-threaded runtime; write the methods as
/// `async fn`. Whatever takes too long is given up by the helper's own deadlines.
///
/// A backend must end the session with the given id *and no other*: encode the id for where it goes, and refuse what
/// the server would read as a pattern or a prefix. [`testing::check_backend`](crate::testing::check_backend) tries it.
///
/// `examples/own_backend.rs` is one for tmux: its three methods take 30 lines.
pub trait SessionBackend: Send + Sync + 'static {
    /// Creates a session. The specification's environment contains the session's cookie: pass it on if there is any
    /// way to, as it proves which processes are the session's.
    ///
    /// An id must not be that of an earlier session, whether it lives or not: a late kill of that one would end this.
    /// A server that counts anew after a restart says so by [`Created::with_server`].
    ///
    /// # Errors
    ///
    /// Then the creation has failed for the test, and what carries the cookie all the same is ended.
    fn create(&self, spec: &SessionSpec) -> impl Future<Output = Result<Created, BoxError>> + Send;

    /// Ends a session, or begins to. For an unknown id, and for a session that has ended already, it answers at once,
    /// with an error or not, and never ends another session.
    ///
    /// # Errors
    ///
    /// Then the outcome has a note of it, and the session's processes are ended all the same.
    fn kill(&self, id: &SessionId) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// What the server says of a session.
    ///
    /// # Errors
    ///
    /// Then nothing is proven, and the kill has failed.
    fn state(&self, id: &SessionId) -> impl Future<Output = Result<SessionState, BoxError>> + Send;

    /// Has the server drop the record of a session that has ended, where it keeps one. The default does nothing.
    ///
    /// # Errors
    ///
    /// Then the outcome has a note of it.
    fn discard_record(&self, id: &SessionId) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = id;
        async { Ok(()) }
    }

    /// The ids of all sessions, everybody's: used to verify, never to choose what to kill. The default is an error that
    /// [`is_unsupported`](Error::is_unsupported).
    fn list(&self) -> impl Future<Output = Result<Vec<SessionId>, BoxError>> + Send {
        async { Err(Error::unsupported("this backend cannot list sessions").into()) }
    }

    /// The name of a variable in which the server itself tells each session its id, if it has one. It marks the session's
    /// processes as the cookie does, provided that the id is never given again: a random or time-made UUID. The default has
    /// none.
    fn session_variable(&self) -> Option<String> {
        None
    }

    /// How a session is ended should the test process be dead, and this code with it. It is written down with each session,
    /// so it holds no secret. The default has none: then the session's processes are ended as far as they carry a mark.
    fn kill_recipe(&self) -> KillRecipe {
        KillRecipe::none(std::any::type_name::<Self>())
    }
}

/// A server's answer to a creation.
#[must_use = "a created session must be given back to whoever asked for it"]
pub struct Created {
    pub(crate) id: SessionId,
    pub(crate) leader: Leader,
    pub(crate) server: Option<NamedServer>,
    pub(crate) terminal: Option<Terminal>,
}

impl fmt::Debug for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Created").field("id", &self.id).field("leader_pid", &self.leader_pid()).finish_non_exhaustive()
    }
}

/// What is known of a new session's first process.
pub(crate) enum Leader {
    Unknown,
    /// The server's word, to be checked.
    Claimed(u32),
    /// Our own child.
    Owned(ProcessHandle),
}

/// The server's own process by its word, and who had that id at that moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedServer {
    pub(crate) pid: u32,
    /// `None` for one that could not be held.
    pub(crate) identity: Option<ProcessIdentity>,
}

impl NamedServer {
    /// Held at once: a moment later the server may be dead, and then nothing would say that another one is not it.
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid, identity: ProcessHandle::open(pid).ok().map(|handle| handle.identity()) }
    }
}

impl Created {
    /// A session of which nothing is known but its id: its end can be proven by the server's word only.
    pub fn new(id: SessionId) -> Self {
        Self { id, leader: Leader::Unknown, server: None, terminal: None }
    }

    /// The process that leads it, by the server's word. It is believed if it started after the request and carries
    /// the session's cookie, or descends from the server. Do not name one of another user or in another PID namespace:
    /// it cannot be held from here.
    pub fn with_leader(mut self, pid: u32) -> Self {
        self.leader = Leader::Claimed(pid);
        self
    }

    /// The server's own process, looked up by this call: give it as soon as the server has answered. A server that was started
    /// anew is noticed by it, and its ids are not trusted.
    ///
    /// # Limits
    ///
    /// It must be a number in this process's PID namespace. A server in a container knows itself by another, which may be that of
    /// somebody else here, who would be taken for the server: leave it out then. [`HttpBackend`](crate::session::HttpBackend) finds
    /// that out, by who listens at its URL.
    pub fn with_server(self, pid: u32) -> Self {
        self.with_named_server(NamedServer::of(pid))
    }

    pub(crate) fn with_named_server(mut self, server: NamedServer) -> Self {
        self.server = Some(server);
        self
    }

    /// The session's terminal. Without one the guard's `run`, `write` and the like are errors.
    pub fn with_terminal(mut self, terminal: Terminal) -> Self {
        self.terminal = Some(terminal);
        self
    }

    pub(crate) fn with_owned_leader(mut self, leader: ProcessHandle) -> Self {
        self.leader = Leader::Owned(leader);
        self
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The process id of its leader, if anything is known of it.
    pub fn leader_pid(&self) -> Option<u32> {
        match &self.leader {
            Leader::Unknown => None,
            Leader::Claimed(pid) => Some(*pid),
            Leader::Owned(handle) => Some(handle.pid()),
        }
    }
}

/// What a server says of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It runs, or is starting or ending.
    Running(Running),
    /// It has ended, and the server still has a record of it.
    Exited(Option<ExitStatus>),
    /// The server has no such session.
    Unknown,
}

/// What a server says of a session that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Running {
    pub(crate) leader: Option<u32>,
    pub(crate) server: Option<u32>,
}

impl Running {
    /// Nothing more is known of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process that leads it. An id whose leader is not the recorded one names another session by now.
    pub fn with_leader(mut self, pid: u32) -> Self {
        self.leader = Some(pid);
        self
    }

    /// The server's own process; with the limits of [`Created::with_server`].
    pub fn with_server(mut self, pid: u32) -> Self {
        self.server = Some(pid);
        self
    }
}

impl From<Running> for SessionState {
    fn from(running: Running) -> Self {
        Self::Running(running)
    }
}

impl SessionState {
    /// It runs, and nothing more is known of it.
    pub fn running() -> Self {
        Self::Running(Running::default())
    }

    /// True while it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }
}

/// How a session is ended by somebody who has not got the backend's code: a keeper, or a later run, should the test process
/// be dead.
///
/// ```
/// use termleash::session::KillRecipe;
///
/// let recipe = KillRecipe::none("my::Backend");
/// assert!(recipe.to_string().starts_with("its backend `my::Backend` alone"));
///
/// let recipe = KillRecipe::http("DELETE", "http://127.0.0.1:4020/sessions/{id}")
///     .auth_header("Authorization: Bearer {secret}")
///     .secret_from("SERVER_TOKEN");
/// assert!(recipe.to_string().contains("with the secret that the variable SERVER_TOKEN holds"));
///
/// let recipe = KillRecipe::command("my-server-cli", ["kill", "--session", "{id}"]);
/// assert_eq!(recipe.to_string(), "a command, `my-server-cli kill --session {id}`");
/// ```
///
/// # Limits
///
/// A recipe is written into a file, so that no secret may stand in it. One without `{id}` is not followed: it could be about
/// other sessions, or all. It is followed after the session's processes were ended
/// by their marks, for sessions whose creation was answered, and only if the server is proven to be the one that made the
/// session (see [`Created::with_server`]) or the id is a UUID that is never given again. All recipes of a run together get
/// some seconds. One by HTTP needs the feature `http` in the keeper, which is the test's own program; nothing is sent unless the
/// kernel says that the other end of the connection is open in the server's process, or in one that it has started in its own
/// kernel session. So a server behind a proxy, one whose descriptors this user may not see, and a worker named as the server of
/// connections that its parent accepts, are not asked, and that is reported. If no server is known, a secret is sent to a process
/// of this user or of root only. What a program of [`command`](Self::command) asks is that program's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillRecipe {
    pub(crate) recipe: Recipe,
}

impl KillRecipe {
    /// There is none: the sessions' processes are ended as far as they carry a mark, and the report says that the server was
    /// not asked.
    pub fn none(backend: impl Into<String>) -> Self {
        Self { recipe: Recipe::Unknown { backend: backend.into() } }
    }

    /// A request to the server: `{id}` in the URL stands for the session's id, encoded. A status of 2xx, 404 or 410 is success.
    pub fn http(method: impl Into<String>, url: impl Into<String>) -> Self {
        let (method, url) = (method.into(), url.into());
        Self { recipe: Recipe::Http { url, method, auth_header: None, secret_variable: None } }
    }

    /// A program, and its arguments as they are, never a shell's line: `{id}` in one stands for the session's id, and `{server}`
    /// for the process id of its server. Exit status 0 is success.
    pub fn command<A: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            recipe: Recipe::Command {
                program: program.into(),
                arguments: arguments.into_iter().map(Into::into).collect(),
                secret_variable: None,
                id_prefix: None,
                gone_texts: Vec::new(),
                refused_text: None,
                id_variable: None,
                removed_variables: Vec::new(),
            },
        }
    }

    /// Of a request: the header that authorizes it, `Name: value`, with `{secret}` in place of the secret.
    #[must_use = "it takes and gives the recipe"]
    pub fn auth_header(mut self, header: impl Into<String>) -> Self {
        if let Recipe::Http { auth_header, .. } = &mut self.recipe {
            *auth_header = Some(header.into());
        }
        self
    }

    /// The environment variable that holds the secret, read by whoever follows the recipe. A command gets it with the rest of
    /// the environment.
    #[must_use = "it takes and gives the recipe"]
    pub fn secret_from(mut self, variable: impl Into<String>) -> Self {
        if let Recipe::Http { secret_variable, .. } | Recipe::Command { secret_variable, .. } = &mut self.recipe {
            *secret_variable = Some(variable.into());
        }
        self
    }

    /// The test process itself starts the sessions, so that none can be born after its death.
    pub(crate) fn own() -> Self {
        Self { recipe: Recipe::Own }
    }
}

/// In words, for a report: it completes "the session is ended by …".
impl fmt::Display for KillRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recipe.fmt(f)
    }
}

/// The trait with its futures boxed, so that what holds a backend has no type parameter.
pub(crate) trait DynBackend: Send + Sync {
    fn create_boxed<'a>(&'a self, spec: &'a SessionSpec) -> BoxFuture<'a, Result<Created, BoxError>>;
    fn kill_boxed<'a>(&'a self, id: &'a SessionId) -> BoxFuture<'a, Result<(), BoxError>>;
    fn state_boxed<'a>(&'a self, id: &'a SessionId) -> BoxFuture<'a, Result<SessionState, BoxError>>;
    fn discard_boxed<'a>(&'a self, id: &'a SessionId) -> BoxFuture<'a, Result<(), BoxError>>;
    fn list_boxed(&self) -> BoxFuture<'_, Result<Vec<SessionId>, BoxError>>;
    fn recipe(&self) -> Recipe;
    fn variable(&self) -> Option<String>;
}

impl<B: SessionBackend> DynBackend for B {
    fn create_boxed<'a>(&'a self, spec: &'a SessionSpec) -> BoxFuture<'a, Result<Created, BoxError>> {
        Box::pin(self.create(spec))
    }

    fn kill_boxed<'a>(&'a self, id: &'a SessionId) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(self.kill(id))
    }

    fn state_boxed<'a>(&'a self, id: &'a SessionId) -> BoxFuture<'a, Result<SessionState, BoxError>> {
        Box::pin(self.state(id))
    }

    fn discard_boxed<'a>(&'a self, id: &'a SessionId) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(self.discard_record(id))
    }

    fn list_boxed(&self) -> BoxFuture<'_, Result<Vec<SessionId>, BoxError>> {
        Box::pin(self.list())
    }

    fn recipe(&self) -> Recipe {
        self.kill_recipe().recipe
    }

    fn variable(&self) -> Option<String> {
        self.session_variable()
    }
}

/// Several tests may share one backend.
impl<B: SessionBackend> SessionBackend for std::sync::Arc<B> {
    fn create(&self, spec: &SessionSpec) -> impl Future<Output = Result<Created, BoxError>> + Send {
        (**self).create(spec)
    }

    fn kill(&self, id: &SessionId) -> impl Future<Output = Result<(), BoxError>> + Send {
        (**self).kill(id)
    }

    fn state(&self, id: &SessionId) -> impl Future<Output = Result<SessionState, BoxError>> + Send {
        (**self).state(id)
    }

    fn discard_record(&self, id: &SessionId) -> impl Future<Output = Result<(), BoxError>> + Send {
        (**self).discard_record(id)
    }

    fn list(&self) -> impl Future<Output = Result<Vec<SessionId>, BoxError>> + Send {
        (**self).list()
    }

    fn session_variable(&self) -> Option<String> {
        (**self).session_variable()
    }

    fn kill_recipe(&self) -> KillRecipe {
        (**self).kill_recipe()
    }
}
