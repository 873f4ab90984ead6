//! The backend of a server that is talked to by a program.

use crate::error::{BoxError, Error};
use crate::invocation::Invocation;
use crate::ledger::recipe::Recipe;
use crate::session::backend::{Created, KillRecipe, Running, SessionBackend, SessionState};
use crate::session::command_line::api::CommandApi;
use crate::session::command_line::follow::{Reading, Said, accepted, variables};
use crate::session::command_line::template::{Values, escape_format, escape_semicolon, has};
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use crate::session::wrapped;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sessions on a terminal server that is talked to by a command-line client, as a [`CommandApi`] describes it.
///
/// ```no_run
/// use termleash::{SessionTestHelper, session::CommandBackend};
///
/// # async fn test() -> termleash::Result<()> {
/// let helper = SessionTestHelper::new(CommandBackend::tmux("/tmp/my-test/socket"));
/// let session = helper.create_tracked_session("htop").await?;
/// session.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// The client is a child of the test's for as long as it runs: without input, without any descriptor of the test's, killed and
/// reaped when it takes too long. It is waited for on a thread of its own.
///
/// # Limits
///
/// Needs Linux. A session has no terminal here: the guard's `run`, `write` and the like are errors.
#[derive(Debug)]
pub struct CommandBackend {
    api: CommandApi,
    timeout: Duration,
    /// The server that made each session, as far as it was told.
    servers: Mutex<HashMap<SessionId, u32>>,
}

/// What a line says of a session.
struct Row {
    id: SessionId,
    leader: Option<u32>,
    server: Option<u32>,
}

impl CommandBackend {
    /// A server by the description of its client.
    pub fn new(api: CommandApi) -> Self {
        Self { api, timeout: Duration::from_secs(10), servers: Mutex::default() }
    }

    /// tmux, on the server of this socket; see [`CommandApi::tmux`].
    pub fn tmux(socket: impl AsRef<Path>) -> Self {
        Self::new(CommandApi::tmux(socket))
    }

    /// How long one call of the client may take, 10 s if not said; the helper's own deadlines hold as well.
    /// A creation without an answer is an error once its session cannot be born any more, by `TERMLEASH_CREATE_TIMEOUT`.
    #[must_use = "it takes and gives the backend"]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn call(&self, template: &[String], values: &Values) -> Result<Said, BoxError> {
        let api = &self.api;
        if template.is_empty() {
            return Err(Error::invalid("the CommandApi has no arguments for this").into());
        }
        let mut arguments = values.fill(&[api.first.as_slice(), template].concat())?;
        if api.escapes_semicolons {
            arguments = arguments.into_iter().map(escape_semicolon).collect();
        }
        let variables = variables(&api.removed_variables, api.id_variable.as_deref(), values.text("id"));
        let invocation = Invocation { program: (&api.program).into(), arguments, variables, timeout: self.timeout };
        let ran = invocation.clone().run_aside().await;
        let reading = Reading { gone_texts: &api.gone_texts, refused_text: api.refused_text.as_deref() };
        reading.read(&invocation, ran)
    }

    /// The arguments of what is done to one session.
    ///
    /// # Errors
    ///
    /// If the client is not told which: it would do it to all, or to the newest one.
    fn about_one<'a>(&self, template: &'a [String], what: &str) -> Result<&'a [String], Error> {
        let is_told = self.api.id_variable.is_some() || has(&self.api.first, "id") || has(template, "id");
        if is_told || template.is_empty() {
            return Ok(template);
        }
        Err(Error::invalid(format!(
            "the CommandApi's arguments to {what} name no session, so that they could be about all of them: write `{{id}}` \
             in one, or `.id_variable(…)`"
        )))
    }

    fn of(&self, id: &SessionId) -> Result<Values, Error> {
        accepted(id, self.api.id_prefix.as_deref())?;
        let mut texts = vec![("id", id.as_str().into())];
        texts.extend(self.servers.lock().get(id).map(|pid| ("server", pid.to_string().into())));
        Ok(Values { texts, splices: Vec::new() })
    }

    /// Other people's lines need not have the form of ours.
    fn id_in<'a>(&self, line: &'a str) -> Option<&'a str> {
        line.split_whitespace().nth(self.api.id_at)
    }

    fn row(&self, line: &str) -> Result<Row, BoxError> {
        let id = self
            .id_in(line)
            .ok_or_else(|| format!("`{}` answered {line:.200?} instead of a line with an id", self.api.program))?;
        let id = SessionId::new(id)?;
        accepted(&id, self.api.id_prefix.as_deref())?;
        let pid = |at: Option<usize>| line.split_whitespace().nth(at?)?.parse().ok().filter(|pid| *pid > 0);
        Ok(Row { id, leader: pid(self.api.leader_at), server: pid(self.api.server_at) })
    }

    fn values_for(&self, spec: &SessionSpec) -> Result<Values, BoxError> {
        let template = &self.api.create;
        let is_said = has(template, "environment") || (has(template, "cookie") && spec.environment().count() <= 1);
        let is_wrapped = !is_said || wrapped::removes_any(spec);
        let command = if is_wrapped { wrapped::with_environment(spec)? } else { wrapped::behind_env(spec)? };
        let flag = self.api.environment_flag.as_ref().map(OsString::from);
        let mut environment = Vec::new();
        for (name, value) in spec.environment() {
            if let Some(value) = value {
                environment.extend(flag.clone());
                environment.push([name, value].join(OsStr::new("=")));
            }
        }
        let directory = spec.directory().map_or_else(std::env::current_dir, |it| Ok(PathBuf::from(it)))?;
        let size = spec.window_size();
        let mut values = Values::default();
        let as_text = |text: OsString| if self.api.escapes_formats { escape_format(text) } else { Ok(text) };
        values.texts.push(("directory", as_text(std::path::absolute(directory)?.into())?));
        values.texts.push(("cols", size.cols.to_string().into()));
        values.texts.push(("rows", size.rows.to_string().into()));
        values.texts.extend(spec.cookie().map(|cookie| ("cookie", cookie.to_string().into())));
        if let Some(name) = spec.session_name() {
            values.texts.push(("name", as_text(name.into())?));
        }
        let named = if spec.session_name().is_some() { values.fill(&self.api.named)? } else { Vec::new() };
        values.splices = vec![("command", command), ("environment", environment), ("named", named)];
        Ok(values)
    }
}

impl SessionBackend for CommandBackend {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let values = self.values_for(spec)?;
        let Said::Text(text) = self.call(&self.api.create, &values).await? else {
            return Err(format!("`{}` found no server to create a session on: start one", self.api.program).into());
        };
        let row = self.row(text.trim().lines().next_back().unwrap_or_default())?;
        if let Some(server) = row.server {
            self.servers.lock().insert(row.id.clone(), server);
        }
        let created = row.leader.into_iter().fold(Created::new(row.id), Created::with_leader);
        Ok(row.server.into_iter().fold(created, Created::with_server))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        let values = self.of(id)?;
        if values.text("server").is_none() && has(&self.api.kill, "server") {
            return Err(
                format!("session `{id}` was neither made nor seen here, so that its server is not known").into()
            );
        }
        self.call(self.about_one(&self.api.kill, "end a session")?, &values).await.map(drop)
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        let values = self.of(id)?;
        let template = self.api.state.as_ref().unwrap_or(&self.api.list);
        let Said::Text(text) = self.call(template, &values).await? else { return Ok(SessionState::Unknown) };
        let Some(line) = text.lines().find(|line| self.id_in(line) == Some(id.as_str())) else {
            return Ok(SessionState::Unknown);
        };
        let row = self.row(line)?;
        if let Some(server) = row.server {
            // Whoever made it first: a later one of this id is another's.
            self.servers.lock().entry(row.id).or_insert(server);
        }
        let running = row.leader.into_iter().fold(Running::new(), Running::with_leader);
        Ok(row.server.into_iter().fold(running, Running::with_server).into())
    }

    async fn discard_record(&self, id: &SessionId) -> Result<(), BoxError> {
        let values = self.of(id)?;
        self.servers.lock().remove(id);
        match &self.api.discard {
            Some(template) => {
                let template = self.about_one(template, "discard a record")?;
                self.call(template, &values).await.map(drop)
            }
            None => Ok(()),
        }
    }

    async fn list(&self) -> Result<Vec<SessionId>, BoxError> {
        let Said::Text(text) = self.call(&self.api.list, &Values::default()).await? else { return Ok(Vec::new()) };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| self.row(line).map(|row| row.id)).collect()
    }

    fn session_variable(&self) -> Option<String> {
        self.api.session_variable.clone()
    }

    fn kill_recipe(&self) -> KillRecipe {
        let api = &self.api;
        KillRecipe {
            recipe: Recipe::Command {
                program: api.program.clone(),
                arguments: [api.first.as_slice(), &api.kill].concat(),
                secret_variable: None,
                id_prefix: api.id_prefix.clone(),
                gone_texts: api.gone_texts.clone(),
                refused_text: api.refused_text.clone(),
                id_variable: api.id_variable.clone(),
                removed_variables: api.removed_variables.clone(),
            },
        }
    }
}

#[cfg(all(test, target_os = "linux", feature = "tokio"))]
#[path = "backend_tests.rs"]
mod tests;
