//! What the server answers.

use super::faults;
use super::options::Fault;
use super::ring::Part;
use super::session::NewSession;
use super::sessions::{Listed, Sessions};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::future::pending;
use std::sync::Arc;
use uuid::Uuid;

type Answer<T> = Result<T, Refusal>;
type Known = State<Arc<Sessions>>;

pub(crate) fn router(sessions: Arc<Sessions>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/sessions", get(list).post(create))
        .route("/sessions/{id}", get(show).delete(delete))
        .route("/sessions/{id}/input", post(input))
        .route("/sessions/{id}/output", get(output))
        .route("/sessions/{id}/size", post(size))
        .fallback(async || Refusal(StatusCode::NOT_FOUND, "there is no such path".into()))
        .layer(middleware::from_fn_with_state(sessions.clone(), faults::around))
        .with_state(sessions)
}

/// A status and the reason for it.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

/// A body whose mistakes are answered like all others.
struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let Json(asked) = Json::from_request(request, state).await?;
        Ok(Self(asked))
    }
}

/// What is wrong with the request.
fn bad(reason: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason)
}

fn find(sessions: &Sessions, id: &str) -> Answer<Listed> {
    let found = id.parse::<Uuid>().ok().and_then(|id| sessions.find(id));
    found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no session {id:?}")))
}

async fn health(State(sessions): Known) -> Json<Value> {
    let list = sessions.list();
    let running = list.iter().filter(|listed| listed.exit_code().is_none()).count();
    let (pid, instance) = (std::process::id(), sessions.instance());
    Json(json!({ "status": "ok", "pid": pid, "instance": instance, "sessions": running, "records": list.len() }))
}

fn described(listed: &Listed) -> Value {
    let session = &listed.session;
    let status = if listed.exit_code().is_none() { "running" } else { "exited" };
    json!({
        "id": listed.id,
        "name": session.name,
        "command": session.command,
        "status": status,
        "exit_code": listed.exit_code(),
        "pid": session.pid.as_raw_nonzero(),
    })
}

async fn list(State(sessions): Known) -> Json<Vec<Value>> {
    Json(sessions.list().iter().map(described).collect())
}

async fn show(State(sessions): Known, Path(id): Path<String>) -> Answer<Json<Value>> {
    Ok(Json(described(&find(&sessions, &id)?)))
}

async fn create(State(sessions): Known, Asked(new): Asked<NewSession>) -> Answer<(StatusCode, Json<Value>)> {
    if sessions.has_fault(Fault::Refuse) {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "no session can be had at this time".into()));
    }
    let listed = sessions.create(new).map_err(bad)?;
    let id = if sessions.has_fault(Fault::WrongId) { Uuid::new_v4() } else { listed.id };
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "pid": listed.session.pid.as_raw_nonzero() }))))
}

async fn delete(State(sessions): Known, Path(id): Path<String>) -> Answer<StatusCode> {
    let listed = find(&sessions, &id)?;
    if listed.exit_code().is_some() {
        sessions.remove(listed.id);
        return Ok(StatusCode::NO_CONTENT);
    }
    if sessions.has_fault(Fault::Hang) {
        sessions.until_closed().await;
        return pending().await;
    }
    if sessions.has_fault(Fault::Lie) || sessions.has_fault(Fault::Forget) {
        sessions.hide(listed.id, sessions.has_fault(Fault::Lie));
        return Ok(StatusCode::NO_CONTENT);
    }
    if sessions.restart().await {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "the server has started anew".into()));
    }
    let killed = sessions.kill(listed).await;
    killed.map(|()| StatusCode::NO_CONTENT).map_err(|cause| Refusal(StatusCode::INTERNAL_SERVER_ERROR, cause))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    text: String,
}

async fn input(State(sessions): Known, Path(id): Path<String>, Asked(input): Asked<Input>) -> Answer<StatusCode> {
    let listed = find(&sessions, &id)?;
    done(listed.session.write(&input.text).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    cols: u16,
    rows: u16,
}

async fn size(State(sessions): Known, Path(id): Path<String>, Asked(size): Asked<Size>) -> Answer<StatusCode> {
    let listed = find(&sessions, &id)?;
    done(listed.session.resize(size.cols, size.rows))
}

/// What came of something that only a running session can do.
fn done(result: Result<bool, String>) -> Answer<StatusCode> {
    match result {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Refusal(StatusCode::CONFLICT, "the session has ended".into())),
        Err(cause) => Err(bad(cause)),
    }
}

async fn output(State(sessions): Known, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer<Json<Part>> {
    let listed = find(&sessions, &id)?;
    let from = match query.as_deref() {
        None | Some("") => 0,
        Some(query) => {
            let number = query.strip_prefix("from=").and_then(|number| number.parse().ok());
            number.ok_or_else(|| bad(format!("the query {query:?}: give `from=` and a number of bytes")))?
        }
    };
    Ok(Json(listed.session.output(from)))
}
