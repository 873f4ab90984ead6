//! What a server's command-line client looks like: its arguments, and how to read its answers.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// The command-line client of a terminal server, as [`CommandBackend`](crate::session::CommandBackend) uses it: a plain value,
/// that can be written down as JSON as well.
///
/// Arguments are templates. Inside of one argument `{id}` stands for the session's id, `{server}` for the process id of its
/// server, `{cookie}` for the session's mark as `NAME=value`, `{directory}`, `{name}`, `{cols}` and `{rows}` for what the
/// specification says. An argument that is `{command}` becomes several: the program and its arguments as they are, never
/// shell text. One that is `{environment}` becomes, for each variable to set (the cookie is one), the
/// [`environment_flag`](Self::environment_flag) and `NAME=value`; one that is `{named}` becomes the arguments of
/// [`when_named`](Self::when_named), if the session has a name.
///
/// A program with a `=` in its path, which `env` in a template would take for a variable, is started by `/bin/sh`, which becomes
/// it. If a creation has neither `{cookie}` nor `{environment}`, or variables are to be removed, the command is wrapped by `env`.
///
/// Answers are lines of fields with white space between them; fields are counted from 0.
///
/// ```
/// use termleash::session::{CommandApi, CommandBackend};
///
/// let api = CommandApi::new("my-server-cli")
///     .create(["new", "--dir", "{directory}", "--env", "{cookie}", "--", "{command}"])
///     .kill(["kill", "{id}"])
///     .list(["list"])
///     .fields(0, Some(1), None);
/// let backend = CommandBackend::new(api.clone());
/// # drop(backend);
/// assert_eq!(serde_json::from_str::<CommandApi>(&serde_json::to_string(&api)?)?, api);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "it describes a client, and does nothing until a backend is made of it"]
pub struct CommandApi {
    pub(crate) program: String,
    pub(crate) first: Vec<String>,
    pub(crate) create: Vec<String>,
    pub(crate) kill: Vec<String>,
    pub(crate) state: Option<Vec<String>>,
    pub(crate) list: Vec<String>,
    pub(crate) discard: Option<Vec<String>>,
    pub(crate) named: Vec<String>,
    pub(crate) environment_flag: Option<String>,
    pub(crate) id_at: usize,
    pub(crate) leader_at: Option<usize>,
    pub(crate) server_at: Option<usize>,
    pub(crate) id_prefix: Option<String>,
    pub(crate) id_variable: Option<String>,
    pub(crate) gone_texts: Vec<String>,
    pub(crate) refused_text: Option<String>,
    pub(crate) removed_variables: Vec<String>,
    pub(crate) escapes_semicolons: bool,
    pub(crate) escapes_formats: bool,
    pub(crate) session_variable: Option<String>,
}

/// What the tmux commands below print when the server's process is another than the one that made the session.
const NOT_THIS_SERVER: &str = "termleash: not this server";
/// What a line about a session has: its id, its first process, the server's.
const TMUX_FIELDS: &str = "#{session_id} #{pane_pid} #{pid}";

fn owned<A: Into<String>>(words: impl IntoIterator<Item = A>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}

impl CommandApi {
    /// A client by its path, or its name on the test's `PATH`. [`create`](Self::create), [`kill`](Self::kill) and
    /// [`list`](Self::list) are needed.
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// tmux 3.3 or later, on the server of this socket, by session ids only.
    ///
    /// No command here starts a server: without one a creation is an error. A kill compares the server's process id in tmux
    /// itself, in one step with the kill, since a server that was started anew counts from `$0` again.
    pub fn tmux(socket: impl AsRef<Path>) -> Self {
        let socket = socket.as_ref().to_string_lossy().into_owned();
        let create =
            ["new-session", "-d", "-P", "-F", TMUX_FIELDS, "{environment}", "-c", "{directory}", "-x", "{cols}"];
        let rest = ["-y", "{rows}", "{named}", "--", "env", "--", "{command}"];
        let is_this = "#{==:#{pid},{server}}";
        // The id is `$` and digits by then, and tmux reads it between these quotes as it is.
        let (kill, refuse) = ("kill-session -t '{id}'", format!("display-message -p '{NOT_THIS_SERVER}'"));
        let mut api = Self::new("tmux")
            .first(["-N", "-S", &socket])
            .create([create.as_slice(), &rest].concat())
            .kill(["if-shell", "-F", "-t", "{id}", is_this, kill, &refuse])
            .list(["list-sessions", "-F", TMUX_FIELDS])
            .fields(0, Some(1), Some(2))
            .ids_are_digits_after("$")
            .environment_flag("-e")
            .when_named(["-s", "{name}"])
            .gone_texts(["no server running on ", "(No such file or directory)", "can't find session: "])
            .refused_text(NOT_THIS_SERVER)
            .without_variable("TMUX");
        // tmux takes a word that ends in `;` for the end of a command. A single word it would give to a shell: hence `env`.
        api.escapes_semicolons = true;
        // What stands in `#(…)` in a name or a directory it would run.
        api.escapes_formats = true;
        api
    }

    /// Arguments before those of each command.
    pub fn first<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.first = owned(arguments);
        self
    }

    /// Creates a session; the last line that it prints has the fields of the new one.
    pub fn create<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.create = owned(arguments);
        self
    }

    /// Ends a session. Without `{id}` and [`id_variable`](Self::id_variable) it is refused, since it could end others.
    pub fn kill<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.kill = owned(arguments);
        self
    }

    /// Prints the line of one session, or nothing; without this it is looked for in the [`list`](Self::list). Only a line whose
    /// id is exactly the one that was asked for counts.
    pub fn state<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.state = Some(owned(arguments));
        self
    }

    /// Prints a line for each session that there is.
    pub fn list<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.list = owned(arguments);
        self
    }

    /// Drops the record of a session that has ended. It must be about one session: it is refused as a [`kill`](Self::kill) is.
    pub fn discard<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.discard = Some(owned(arguments));
        self
    }

    /// What `{named}` stands for where the session has a name.
    pub fn when_named<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.named = owned(arguments);
        self
    }

    /// What stands before each `NAME=value` of `{environment}`.
    pub fn environment_flag(mut self, flag: &str) -> Self {
        self.environment_flag = Some(flag.into());
        self
    }

    /// Which field of a line is the id, which the process id of the session's leader, and which the server's. Leave the latter two
    /// out for a server in another PID namespace, whose numbers mean somebody else here.
    pub fn fields(mut self, id: usize, leader: Option<usize>, server: Option<usize>) -> Self {
        (self.id_at, self.leader_at, self.server_at) = (id, leader, server);
        self
    }

    /// Every id is this and decimal digits: what is not is refused, since the client would read it as something else.
    pub fn ids_are_digits_after(mut self, prefix: &str) -> Self {
        self.id_prefix = Some(prefix.into());
        self
    }

    /// The client gets the session's id in this variable, too.
    pub fn id_variable(mut self, name: &str) -> Self {
        self.id_variable = Some(name.into());
        self
    }

    /// What the client prints as its error, in any part, where the session or its whole server is not there any more. Any
    /// other failure is an error.
    pub fn gone_texts<A: Into<String>>(mut self, texts: impl IntoIterator<Item = A>) -> Self {
        self.gone_texts = owned(texts);
        self
    }

    /// What the client prints where it has found that the session is another than was meant: an error, whatever its status.
    pub fn refused_text(mut self, text: &str) -> Self {
        self.refused_text = Some(text.into());
        self
    }

    /// A variable of the test's that the client must not see.
    pub fn without_variable(mut self, name: &str) -> Self {
        self.removed_variables.push(name.into());
        self
    }

    /// The variable in which the server itself tells each session its id. It counts as the session's mark if the id is a random
    /// or time-made UUID, so that no other session ever has it.
    pub fn session_variable(mut self, name: &str) -> Self {
        self.session_variable = Some(name.into());
        self
    }
}
