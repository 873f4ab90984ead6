//! Faults that concern every answer.

use super::options::Fault;
use super::sessions::Sessions;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Frame;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::sleep;

/// Stands around every route.
pub(crate) async fn around(State(sessions): State<Arc<Sessions>>, request: Request, next: Next) -> Response {
    let is_health = request.uri().path() == "/health";
    if !is_health {
        sessions.count_request();
    }
    let answer = next.run(request).await;
    if sessions.has_fault(Fault::Slow) {
        sleep(Duration::from_millis(300)).await;
    }
    if sessions.has_fault(Fault::Cut) && !is_health { cut(answer).await } else { answer }
}

/// The answer announces as many bytes as it should have, or one, and breaks off before the last half.
async fn cut(answer: Response) -> Response {
    let (mut head, body) = answer.into_parts();
    // Our own answers are short and in memory.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    head.headers.insert(CONTENT_LENGTH, bytes.len().max(1).into());
    // An answer that has no body would be complete with its head.
    if head.status == axum::http::StatusCode::NO_CONTENT {
        head.status = axum::http::StatusCode::OK;
    }
    let half = bytes.slice(..bytes.len() / 2);
    Response::from_parts(head, Body::new(Half { half: Some(half), is_sent: false }))
}

/// A body that breaks off.
struct Half {
    half: Option<Bytes>,
    is_sent: bool,
}

impl HttpBody for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        // One turn without anything, in which what there is leaves for the client.
        if !self.is_sent {
            self.is_sent = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }
}
