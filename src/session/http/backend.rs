//! The backend of a server that speaks HTTP and JSON.

use crate::error::{BoxError, Error, Unanswered};
use crate::http::address::Address;
use crate::process::exit::ExitStatus;
use crate::process::variable::is_never_given_again;
use crate::session::backend::{Created, KillRecipe, NamedServer, Running, SessionBackend, SessionState};
use crate::session::http::api::{HttpApi, Route};
use crate::session::http::auth::Auth;
use crate::session::http::named::answers_at;
use crate::session::http::talk::{Answer, Question, with_id};
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use crate::session::wrapped;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Sessions on a terminal server that speaks HTTP and JSON, as an [`HttpApi`] describes it; needs the feature `http`.
///
/// ```no_run
/// use termleash::{SessionTestHelper, session::HttpBackend};
///
/// # async fn test() -> termleash::Result<()> {
/// let server = HttpBackend::vibetunnel("http://127.0.0.1:4020").auth_header("Authorization: Bearer {secret}");
/// let helper = SessionTestHelper::new(server.secret_from("SERVER_TOKEN"));
/// let session = helper.create_tracked_session("htop").await?;
/// session.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// Requests are sent by threads of their own, which end with the answer, so that the server may live in the test's own
/// single-threaded runtime. No proxy is used, no redirect followed, and no connection kept.
///
/// # Limits
///
/// Plain HTTP only, to an address or `localhost`. A session has no terminal here: the guard's `run`, `write` and the like are
/// errors. What is wrong with the URL or the description is an error of the first request.
pub struct HttpBackend {
    base: String,
    api: HttpApi,
    auth: Auth,
    timeout: Duration,
    /// The sessions that this backend has created or was asked for.
    known: Mutex<HashSet<SessionId>>,
}

impl HttpBackend {
    /// A server by its URL, such as `http://127.0.0.1:4020`, and its description. Paths are appended to the URL.
    pub fn new(base_url: impl Into<String>, api: HttpApi) -> Self {
        let base = base_url.into().trim_end_matches('/').to_owned();
        Self { base, api, auth: Auth::default(), timeout: Duration::from_secs(10), known: Mutex::default() }
    }

    /// VibeTunnel; see [`HttpApi::vibetunnel`].
    pub fn vibetunnel(base_url: impl Into<String>) -> Self {
        Self::new(base_url, HttpApi::vibetunnel())
    }

    /// A header for each request, `Name: value`; `{secret}` in it stands for what [`secret_from`](Self::secret_from) names.
    #[must_use = "it takes and gives the backend"]
    pub fn auth_header(mut self, header: impl Into<String>) -> Self {
        self.auth.header = Some(header.into());
        self
    }

    /// The environment variable that holds the secret. It is read for each request and stands nowhere else: in no ledger, no
    /// error, no report.
    #[must_use = "it takes and gives the backend"]
    pub fn secret_from(mut self, variable: impl Into<String>) -> Self {
        self.auth.variable = Some(variable.into());
        self
    }

    /// How long one request may take, 10 s if not said; the helper's own deadlines hold as well.
    /// A creation without an answer is an error once its session cannot be born any more, by `TERMLEASH_CREATE_TIMEOUT`.
    #[must_use = "it takes and gives the backend"]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn question(&self, route: Option<&Route>, what: &str, id: Option<&SessionId>) -> Result<Question, BoxError> {
        let route = route.ok_or_else(|| Error::invalid(format!("the HttpApi has no request to {what}")))?;
        let path = match id {
            Some(_) if !route.path.contains("{id}") => {
                let text = format!(
                    "the HttpApi's request to {what}, `{} {}`, names no session, so that it could be about all of them: write \
                     `{{id}}` into its path",
                    route.method.escape_debug(),
                    route.path.escape_debug()
                );
                return Err(Error::invalid(text).into());
            }
            Some(id) => with_id(&route.path, self.accepted(id)?),
            None => route.path.clone(),
        };
        let url = format!("{}{path}", self.base);
        self.check(&url)?;
        Ok(Question { method: route.method.clone(), url, body: None, auth: self.auth.clone(), timeout: self.timeout })
    }

    /// What is refused may hold a secret, so that it goes nowhere.
    fn check(&self, url: &str) -> Result<(), Error> {
        if self.base.contains('?') {
            return Err(Error::invalid("the server's URL has a part after `?`: paths are appended to it"));
        }
        Address::parse(url).map(drop).map_err(Error::invalid)
    }

    /// The id, if the server takes it for one.
    fn accepted<'a>(&self, id: &'a SessionId) -> Result<&'a SessionId, Error> {
        if self.api.ids_are_uuids && !is_never_given_again(id.as_str()) {
            return Err(Error::invalid(format!(
                "`{id}` is no id of this server's, which are UUIDs: give the id that the creation was answered with"
            )));
        }
        Ok(id)
    }

    fn body(&self, spec: &SessionSpec) -> Result<Value, BoxError> {
        let api = &self.api;
        let mut body = Value::Object(Map::new());
        for (pointer, value) in &api.constants {
            put(&mut body, pointer, value.clone())?;
        }
        let sets_variables = api.environment_field.is_some() && !wrapped::removes_any(spec);
        let command = if sets_variables { wrapped::plain(spec) } else { wrapped::with_environment(spec)? };
        let command = command.iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
        match (&api.command_field, &api.program_field, &api.arguments_field) {
            (Some(field), _, _) => put(&mut body, field, command.into())?,
            (None, Some(program), Some(arguments)) => {
                put(&mut body, program, command[0].into())?;
                put(&mut body, arguments, command[1..].into())?;
            }
            _ => return Err(Error::invalid("the HttpApi has no field for the command").into()),
        }
        if let (Some(field), true) = (&api.environment_field, sets_variables) {
            let mut variables = Map::new();
            for (name, value) in spec.environment() {
                variables.insert(text(name)?.into(), text(value.unwrap_or_default())?.into());
            }
            put(&mut body, field, variables.into())?;
        }
        if let Some(field) = &api.directory_field {
            let directory = spec.directory().map_or_else(std::env::current_dir, |it| Ok(PathBuf::from(it)))?;
            put(&mut body, field, text(std::path::absolute(directory)?.as_os_str())?.into())?;
        }
        if let (Some(field), Some(name)) = (&api.name_field, spec.session_name()) {
            put(&mut body, field, name.into())?;
        }
        let size = spec.window_size();
        for (field, cells) in [(&api.cols_field, size.cols), (&api.rows_field, size.rows)] {
            if let Some(field) = field {
                put(&mut body, field, cells.into())?;
            }
        }
        Ok(body)
    }

    /// The server's own process, if it says that, and it is the one that answers: else its number is another namespace's, or a
    /// proxy answers for it.
    async fn server(&self) -> Result<Option<NamedServer>, BoxError> {
        let (Some(route), Some(field)) = (&self.api.health, &self.api.server_field) else { return Ok(None) };
        let question = self.question(Some(route), "ask for its health", None)?;
        let answer = question.ask().await?;
        let body = question.json(answer)?;
        // Held before that look, which then is at the process that is held.
        let named = pid(question.field(&body, field)?).map(NamedServer::of);
        let places = Address::parse(&self.base).map_err(Error::invalid)?.places;
        Ok(named.filter(|named| answers_at(&places, named.pid)))
    }

    /// What the server says of a session, without the server's own process.
    async fn look(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        let question = self.question(self.api.state.as_ref(), "ask for a session", Some(id))?;
        let answer = question.ask().await?;
        if answer == Answer::Missing {
            self.known.lock().remove(id);
            return Ok(SessionState::Unknown);
        }
        let body = question.json(answer)?;
        if let Some(field) = &self.api.state_id_field {
            let said = question.field(&body, field)?;
            if id_in(said)? != id.as_str() {
                return Err(format!("{question} was answered with another session, {said}").into());
            }
        }
        if let Some(field) = &self.api.status_field {
            let status = word(question.field(&body, field)?);
            if self.api.exited.contains(&status) {
                let code = self.api.exit_code_field.as_ref().and_then(|field| body.pointer(field)?.as_i64());
                let exit = code.and_then(|code| i32::try_from(code).ok()).map(ExitStatus::Exited);
                return Ok(SessionState::Exited(exit));
            }
            if !self.api.running.contains(&status) {
                let known = [self.api.running.join(", "), self.api.exited.join(", ")].join(", ");
                return Err(format!("{question}: its status is {status:.40?}, which is none of {known}").into());
            }
        }
        let leader = self.api.leader_field.as_ref().and_then(|field| pid(body.pointer(field)?));
        let running = Running::new();
        Ok(leader.map_or(running, |pid| running.with_leader(pid)).into())
    }
}

impl SessionBackend for HttpBackend {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let mut question = self.question(self.api.create.as_ref(), "create a session", None)?;
        question.body = Some(self.body(spec)?);
        // Before, and held: a server that is started anew meanwhile has not made this session.
        let server = self.server().await.map_err(Unanswered::over)?;
        let answer = question.ask().await?;
        let body = question.json(answer)?;
        let field =
            self.api.id_field.as_deref().ok_or_else(|| Error::invalid("the HttpApi has no field for the id"))?;
        let id = SessionId::new(id_in(question.field(&body, field)?)?)?;
        self.accepted(&id)?;
        self.known.lock().insert(id.clone());
        let mut created = Created::new(id);
        if let Some(server) = server {
            created = created.with_named_server(server);
        }
        // The session is there: what cannot be said of its leader costs it no more than that.
        if self.api.leader_field.is_some()
            && let Ok(SessionState::Running(Running { leader: Some(leader), .. })) = self.look(created.id()).await
        {
            created = created.with_leader(leader);
        }
        Ok(created)
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.question(self.api.kill.as_ref(), "end a session", Some(id))?.ask().await.map(drop)
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        let running = match self.look(id).await? {
            SessionState::Running(running) => running,
            other => return Ok(other),
        };
        // An id that is never given again means the same session on any server that knows it, once it was seen here.
        if !self.known.lock().insert(id.clone()) && is_never_given_again(id.as_str()) {
            return Ok(running.into());
        }
        Ok(self.server().await?.map_or(running, |server| running.with_server(server.pid)).into())
    }

    async fn discard_record(&self, id: &SessionId) -> Result<(), BoxError> {
        let Some(route) = &self.api.discard else { return Ok(()) };
        let answer = self.question(Some(route), "discard a record", Some(id))?.ask().await;
        self.known.lock().remove(id);
        answer.map(drop)
    }

    async fn list(&self) -> Result<Vec<SessionId>, BoxError> {
        let Some(route) = &self.api.list else {
            return Err(Error::unsupported("the HttpApi has no request to list sessions").into());
        };
        let question = self.question(Some(route), "list sessions", None)?;
        let answer = question.ask().await?;
        let body = question.json(answer)?;
        let listed = question.field(&body, &self.api.list_field)?;
        let listed = listed.as_array().ok_or_else(|| format!("{question}: what it lists is no array"))?;
        let id = |item| id_in(question.field(item, &self.api.listed_id_field)?);
        listed.iter().map(|item| Ok(SessionId::new(id(item)?)?)).collect()
    }

    fn session_variable(&self) -> Option<String> {
        self.api.session_variable.clone()
    }

    fn kill_recipe(&self) -> KillRecipe {
        let none = KillRecipe::none(std::any::type_name::<Self>());
        let Some(route) = &self.api.kill else { return none };
        if self.check(&self.base).is_err() || self.auth.check().is_err() {
            return none;
        }
        let recipe = KillRecipe::http(&route.method, format!("{}{}", self.base, route.path));
        let recipe = match &self.auth.header {
            Some(header) => recipe.auth_header(header),
            None => recipe,
        };
        match &self.auth.variable {
            Some(variable) => recipe.secret_from(variable),
            None => recipe,
        }
    }
}

impl fmt::Debug for HttpBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL that is refused for holding a password must not show it here.
        let base = self.check(&self.base).map_or("(not usable)", |()| self.base.as_str());
        f.debug_struct("HttpBackend").field("base", &base).field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// Puts a value where the pointer says, making the objects on the way.
fn put(body: &mut Value, pointer: &str, value: Value) -> Result<(), Error> {
    let bad = || Error::invalid(format!("{pointer:?} is no pointer to a field of the request: write `/field`"));
    let mut at = body;
    for name in pointer.strip_prefix('/').ok_or_else(bad)?.split('/') {
        let name = name.replace("~1", "/").replace("~0", "~");
        at = at.as_object_mut().ok_or_else(bad)?.entry(name).or_insert_with(|| json!({}));
    }
    *at = value;
    Ok(())
}

/// JSON has no other texts.
fn text(text: &OsStr) -> Result<&str, Error> {
    text.to_str().ok_or_else(|| Error::invalid(format!("{text:?} is no UTF-8, so that it cannot be sent as JSON")))
}

/// Texts as they are; numbers and booleans as JSON writes them.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// # Errors
///
/// If it is no text and no whole number: `null` would be everybody's, and of a number that is rounded there are several.
fn id_in(value: &Value) -> Result<String, BoxError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Ok(number.to_string()),
        other => Err(format!(
            "{:.40} stands where a session's id should, which is a text or a whole number",
            other.to_string()
        )
        .into()),
    }
}

fn pid(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)
}

#[cfg(all(test, feature = "http"))]
#[path = "backend_tests.rs"]
mod tests;
