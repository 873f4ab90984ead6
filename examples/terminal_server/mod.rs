//! A terminal server that runs in a process of its own, or inside of a test: `Server::start(Options::default()).await`,
//! then requests to `server.url`, then `server.stop().await`, after which nothing of it is left in the process.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | `{"status":"ok","pid","instance","sessions","records"}`: those that run, and all that are listed |
//! | `POST /sessions` `{"command":["bash","-i"],"directory","environment":{},"name","cols","rows"}` | 201 `{"id","pid"}` |
//! | `GET /sessions`, `GET /sessions/{id}` | `{"id","name","command","status":"running" or "exited","exit_code","pid"}` |
//! | `POST /sessions/{id}/input` `{"text"}` | 204 |
//! | `GET /sessions/{id}/output?from=N` | `{"text","from","next","dropped"}` |
//! | `POST /sessions/{id}/size` `{"cols","rows"}` | 204 |
//! | `DELETE /sessions/{id}` | 204: a session that ran is dead now and its record stays; a dead one's record is gone |
//!
//! Anything else is a status of 400 or more with `{"error"}`. A session finds its id in `TERMINAL_SERVER_SESSION`.

#![allow(dead_code, reason = "a test that runs it takes a part of this")]

pub(crate) mod cli;
mod faults;
mod leaks;
pub(crate) mod options;
mod ring;
mod routes;
mod session;
mod sessions;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use options::Options;
use sessions::Sessions;
use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// How long answers that are under way when the server stops may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A running server, in the runtime that started it.
///
/// Dropped without [`stop`](Self::stop) it kills its sessions and ends its tasks, but waits for neither: the tasks end when
/// their runtime next runs.
#[must_use = "a server ends with this value"]
pub(crate) struct Server {
    /// Such as `http://127.0.0.1:40123`.
    pub(crate) url: String,
    sessions: Arc<Sessions>,
    closing: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// # Errors
    ///
    /// The port is in use, or no socket can be had.
    pub(crate) async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let (closing, is_closing) = watch::channel(false);
        let sessions = Arc::new(Sessions::new(options, address.port(), is_closing.clone()));
        let router = routes::router(sessions.clone());
        let accepting = tokio::spawn(accept(listener, router, is_closing));
        Ok(Self { url: format!("http://{address}"), sessions, closing, accepting })
    }

    /// Ends all sessions and everything else of this server: tasks, threads, connections, also what it leaked.
    ///
    /// # Errors
    ///
    /// Names the processes that live on after a SIGKILL.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        self.closing.send_replace(true);
        let ended = self.sessions.end_all().await;
        // It is no more than a loop, which ends now.
        let _ = (&mut self.accepting).await;
        self.sessions.leaks.release().await;
        ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.accepting.abort();
        self.sessions.kill_now();
    }
}

async fn accept(listener: TcpListener, router: Router, mut closing: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = closed(&mut closing) => break,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, router.clone(), closing.clone()))),
            // The client has gone again, or there are no descriptors left: others may end meanwhile.
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    drop(listener);
    let _ = timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, router: Router, mut closing: watch::Receiver<bool>) {
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // What fails is the client's connection, and there is nobody else to tell.
        _ = connection.as_mut() => return,
        () = closed(&mut closing) => (),
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// The server is about to end.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error is the end of the server itself.
    let _ = closing.wait_for(|closing| *closing).await;
}
