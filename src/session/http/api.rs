//! What a server's HTTP interface looks like: routes and JSON fields.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A method and a path; `{id}` in it stands for the session's id, encoded for a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Route {
    fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into() }
    }
}

/// The routes and fields of a terminal server, as [`HttpBackend`](crate::session::HttpBackend) uses them: a plain value, that
/// can be written down as JSON as well.
///
/// A request about one session must have `{id}` in its path: one that has not is refused, since it could be about all of them.
///
/// Fields are named by JSON pointers (RFC 6901): `/session/id` is the member `id` of the member `session`. In a request
/// what stands between is made; in an answer what is not there is an error, or "not known" where that is said.
///
/// ```
/// use termleash::session::{HttpApi, HttpBackend};
///
/// let api = HttpApi::new()
///     .create("POST", "/sessions")
///     .program_fields("/program", "/args")
///     .environment_field("/env")
///     .id_field("/session/id")
///     .state("GET", "/sessions/{id}")
///     .status_field("/status", ["running"], ["exited"])
///     .leader_field("/pid")
///     .kill("DELETE", "/sessions/{id}");
/// let backend = HttpBackend::new("http://127.0.0.1:4020", api.clone());
/// # drop(backend);
/// assert_eq!(serde_json::from_str::<HttpApi>(&serde_json::to_string(&api)?)?, api);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "it describes a server, and does nothing until a backend is made of it"]
pub struct HttpApi {
    pub(crate) create: Option<Route>,
    pub(crate) command_field: Option<String>,
    pub(crate) program_field: Option<String>,
    pub(crate) arguments_field: Option<String>,
    pub(crate) directory_field: Option<String>,
    pub(crate) name_field: Option<String>,
    pub(crate) cols_field: Option<String>,
    pub(crate) rows_field: Option<String>,
    pub(crate) environment_field: Option<String>,
    pub(crate) constants: BTreeMap<String, Value>,
    pub(crate) id_field: Option<String>,
    pub(crate) ids_are_uuids: bool,
    pub(crate) state: Option<Route>,
    pub(crate) state_id_field: Option<String>,
    pub(crate) status_field: Option<String>,
    pub(crate) running: Vec<String>,
    pub(crate) exited: Vec<String>,
    pub(crate) exit_code_field: Option<String>,
    pub(crate) leader_field: Option<String>,
    pub(crate) kill: Option<Route>,
    pub(crate) discard: Option<Route>,
    pub(crate) list: Option<Route>,
    pub(crate) list_field: String,
    pub(crate) listed_id_field: String,
    pub(crate) health: Option<Route>,
    pub(crate) server_field: Option<String>,
    pub(crate) session_variable: Option<String>,
}

impl HttpApi {
    /// Nothing is said yet; [`create`](Self::create), [`id_field`](Self::id_field), [`state`](Self::state),
    /// [`kill`](Self::kill) and one of the two ways to say a command are needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The interface of VibeTunnel 1.0.0-beta.15.
    ///
    /// Its sessions get no variables, so that the cookie stands in the command: `env NAME=value program …`. Without that a
    /// plain `bash` would become `bash -l -i` there: ask for an interactive shell by `SessionSpec::new("bash").arg("-i")`. A
    /// missing program is no error of the creation (the session has exited with 127), and a directory that does not exist
    /// silently becomes the server's own.
    pub fn vibetunnel() -> Self {
        Self::new()
            .create("POST", "/api/sessions")
            .command_field("/command")
            .directory_field("/workingDir")
            .name_field("/name")
            .size_fields("/cols", "/rows")
            .constant("/titleMode", "none")
            .id_field("/sessionId")
            .ids_are_uuids()
            .state("GET", "/api/sessions/{id}")
            .state_id_field("/id")
            .status_field("/status", ["starting", "running"], ["exited"])
            .exit_code_field("/exitCode")
            .leader_field("/pid")
            .kill("DELETE", "/api/sessions/{id}")
            // The same request: of a session that has exited it takes the record.
            .discard("DELETE", "/api/sessions/{id}")
            .list("GET", "/api/sessions", "", "/id")
            .health("GET", "/api/health", "/pid")
            .session_variable("VIBETUNNEL_SESSION_ID")
    }

    /// The request that creates a session; its body is JSON made of the fields below.
    pub fn create(mut self, method: &str, path: &str) -> Self {
        self.create = Some(Route::new(method, path));
        self
    }

    /// Where the program and its arguments stand, as one array.
    pub fn command_field(mut self, pointer: &str) -> Self {
        self.command_field = Some(pointer.into());
        self
    }

    /// Where the program stands, and where the array of its arguments.
    pub fn program_fields(mut self, program: &str, arguments: &str) -> Self {
        self.program_field = Some(program.into());
        self.arguments_field = Some(arguments.into());
        self
    }

    /// Where the working directory stands; it is always sent, the test's own if the specification names none.
    pub fn directory_field(mut self, pointer: &str) -> Self {
        self.directory_field = Some(pointer.into());
        self
    }

    /// Where the name for people stands; sent if the specification has one.
    pub fn name_field(mut self, pointer: &str) -> Self {
        self.name_field = Some(pointer.into());
        self
    }

    /// Where the terminal's size stands, in character cells.
    pub fn size_fields(mut self, cols: &str, rows: &str) -> Self {
        self.cols_field = Some(cols.into());
        self.rows_field = Some(rows.into());
        self
    }

    /// Where an object of the variables to set stands. Without it, and for variables to remove, the command is wrapped by
    /// `env`, which must be on the server's `PATH`; so is the session's cookie.
    pub fn environment_field(mut self, pointer: &str) -> Self {
        self.environment_field = Some(pointer.into());
        self
    }

    /// What is always sent there.
    pub fn constant(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.constants.insert(pointer.into(), value.into());
        self
    }

    /// Where the answer to a creation has the session's id, a text or a whole number below 2⁶⁴; anything else is an error.
    pub fn id_field(mut self, pointer: &str) -> Self {
        self.id_field = Some(pointer.into());
        self
    }

    /// Every id is a UUID: what is none is refused, since the server would not take it for an id.
    pub fn ids_are_uuids(mut self) -> Self {
        self.ids_are_uuids = true;
        self
    }

    /// The request that asks for one session. A status of 404 or 410 means that the server has none of this id.
    pub fn state(mut self, method: &str, path: &str) -> Self {
        self.state = Some(Route::new(method, path));
        self
    }

    /// Where that answer repeats the id: an answer about another session is an error.
    pub fn state_id_field(mut self, pointer: &str) -> Self {
        self.state_id_field = Some(pointer.into());
        self
    }

    /// Where it says whether the session runs, as a text or boolean, and the words for either. Another word is an error.
    /// Without this every session that the server has runs.
    pub fn status_field<const R: usize, const E: usize>(
        mut self,
        pointer: &str,
        running: [&str; R],
        exited: [&str; E],
    ) -> Self {
        self.status_field = Some(pointer.into());
        self.running = running.map(String::from).to_vec();
        self.exited = exited.map(String::from).to_vec();
        self
    }

    /// Where it has the exit status of a session that has exited, if it is known.
    pub fn exit_code_field(mut self, pointer: &str) -> Self {
        self.exit_code_field = Some(pointer.into());
        self
    }

    /// Where the process id of a session's leader stands, in the answer about a session (the answer to its creation is not
    /// asked); not known if it is missing.
    pub fn leader_field(mut self, pointer: &str) -> Self {
        self.leader_field = Some(pointer.into());
        self
    }

    /// The request that ends a session. A status of 404 or 410 means that it was gone already.
    pub fn kill(mut self, method: &str, path: &str) -> Self {
        self.kill = Some(Route::new(method, path));
        self
    }

    /// The request that drops the record of a session that has ended, for a server that keeps one. Sent only when the end of
    /// our own session is proven. It must be about one session: never one that drops everybody's.
    pub fn discard(mut self, method: &str, path: &str) -> Self {
        self.discard = Some(Route::new(method, path));
        self
    }

    /// The request that lists all sessions, where the array stands in its answer (`""` if it is the answer), and where the id
    /// in each element (`""` if it is the element).
    pub fn list(mut self, method: &str, path: &str, array: &str, id: &str) -> Self {
        self.list = Some(Route::new(method, path));
        self.list_field = array.into();
        self.listed_id_field = id.into();
        self
    }

    /// A request about the server, and where its answer has the server's own process id. By that a restarted server is
    /// noticed, and a leader believed that does not show the cookie.
    ///
    /// It is taken for the server's only if that process, one that it has started or its parent listens at the URL: in a container,
    /// or behind a proxy, the number may mean somebody else here. Then the server is not known, and such a leader not believed.
    pub fn health(mut self, method: &str, path: &str, pid: &str) -> Self {
        self.health = Some(Route::new(method, path));
        self.server_field = Some(pid.into());
        self
    }

    /// The variable in which the server itself tells each session its id. It counts as the session's mark if the id is a random
    /// or time-made UUID, so that no other session ever has it.
    pub fn session_variable(mut self, name: &str) -> Self {
        self.session_variable = Some(name.into());
        self
    }
}
