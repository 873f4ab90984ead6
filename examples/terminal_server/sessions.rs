//! All sessions of a server: the list that its clients see, and those that it hides when it fails them.

use super::closed;
use super::leaks::Planted;
use super::options::{Fault, Options};
use super::session::{NewSession, Session};
use parking_lot::Mutex;
use rustix::process::Signal;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) struct Sessions {
    /// Changes whenever the server starts anew.
    instance: Mutex<Uuid>,
    pub(crate) leaks: Arc<Planted>,
    options: Options,
    port: u16,
    closing: watch::Receiver<bool>,
    requests: AtomicUsize,
    has_restarted: AtomicBool,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    listed: Vec<Listed>,
    /// Sessions that run though the list says otherwise, or nothing.
    hidden: Vec<Arc<Session>>,
    /// Kills under way: they go on when the client that asked has gone.
    kills: JoinSet<()>,
    /// The id of the session that ended last.
    last_ended: Option<Uuid>,
    is_closed: bool,
}

#[derive(Clone)]
pub(crate) struct Listed {
    pub(crate) session: Arc<Session>,
    /// The id that clients know it by.
    pub(crate) id: Uuid,
    /// Called exited, whatever is true.
    pub(crate) is_lie: bool,
}

impl Listed {
    /// What clients are told: none while it runs.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        if self.is_lie { Some(128 + Signal::HUP.as_raw()) } else { self.session.exit_code() }
    }
}

impl Sessions {
    pub(crate) fn new(options: Options, port: u16, closing: watch::Receiver<bool>) -> Self {
        let leaks = Arc::new(Planted::new(options.leak, Handle::current()));
        Self {
            instance: Mutex::new(Uuid::new_v4()),
            leaks,
            options,
            port,
            closing,
            requests: AtomicUsize::new(0),
            has_restarted: AtomicBool::new(false),
            all: Mutex::default(),
        }
    }

    pub(crate) fn instance(&self) -> Uuid {
        *self.instance.lock()
    }

    /// One more request has come.
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.leaks.reap();
    }

    /// The server is to fail in this way, now.
    pub(crate) fn has_fault(&self, fault: Fault) -> bool {
        self.options.fault == Some(fault) && self.requests.load(Ordering::Relaxed) > self.options.fault_after
    }

    pub(crate) async fn until_closed(&self) {
        closed(&mut self.closing.clone()).await;
    }

    pub(crate) fn list(&self) -> Vec<Listed> {
        self.all.lock().listed.clone()
    }

    pub(crate) fn find(&self, id: Uuid) -> Option<Listed> {
        self.all.lock().listed.iter().find(|listed| listed.id == id).cloned()
    }

    /// # Errors
    ///
    /// Why there is no such session now.
    pub(crate) fn create(&self, new: NewSession) -> Result<Listed, String> {
        let mut all = self.all.lock();
        if all.is_closed {
            return Err("the server is about to end".into());
        }
        let reused = all.last_ended.filter(|_| self.has_fault(Fault::ReuseId));
        let id = reused.unwrap_or_else(Uuid::new_v4);
        let session = Session::start(new, id, self.options.max_output, &self.leaks)?;
        all.listed.retain(|listed| listed.id != id);
        all.last_ended.take_if(|_| reused.is_some());
        let listed = Listed { session, id, is_lie: false };
        all.listed.push(listed.clone());
        Ok(listed)
    }

    /// Takes the record of an ended session away.
    pub(crate) fn remove(&self, id: Uuid) {
        if self.leaks.drops_records() {
            self.all.lock().listed.retain(|listed| listed.id != id);
        }
    }

    /// Ends a session, whether or not the caller waits for it.
    ///
    /// # Errors
    ///
    /// It lives.
    pub(crate) async fn kill(self: &Arc<Self>, listed: Listed) -> Result<(), String> {
        let (told, answer) = oneshot::channel();
        let this = self.clone();
        {
            let mut all = self.all.lock();
            while all.kills.try_join_next().is_some() {}
            all.kills.spawn(async move {
                let killed = listed.session.kill().await;
                if killed.is_ok() {
                    this.all.lock().last_ended = Some(listed.id);
                }
                // The client may have gone.
                let _ = told.send(killed);
            });
        }
        answer.await.unwrap_or_else(|_| Err("the server is about to end".into()))
    }

    /// Tells clients that a session has ended, or nothing of it any more, while it lives.
    pub(crate) fn hide(&self, id: Uuid, is_lie: bool) {
        let mut all = self.all.lock();
        let All { listed, hidden, .. } = &mut *all;
        for listed in listed.iter_mut().filter(|listed| listed.id == id) {
            hidden.push(listed.session.clone());
            listed.is_lie = true;
        }
        listed.retain(|listed| is_lie || listed.id != id);
    }

    /// Hangs up on all sessions, and begins with an empty list: once.
    pub(crate) async fn restart(&self) -> bool {
        if !self.has_fault(Fault::Restart) || self.has_restarted.swap(true, Ordering::Relaxed) {
            return false;
        }
        let listed = self.list();
        for listed in &listed {
            listed.session.signal(&[Signal::HUP, Signal::CONT]);
        }
        for listed in &listed {
            // So that those which heed it are reaped by whom they are children of; the others live on.
            listed.session.has_ended_within(Duration::from_millis(200)).await;
        }
        if let [program, arguments @ ..] = &self.options.restart[..] {
            let error = become_another(Command::new(program).args(arguments).env(RESTARTED, self.port.to_string()));
            eprintln!("cannot start {} anew: {error}", program.display());
            std::process::exit(1);
        }
        let mut all = self.all.lock();
        let listed = std::mem::take(&mut all.listed);
        all.hidden.extend(listed.into_iter().map(|listed| listed.session));
        *self.instance.lock() = Uuid::new_v4();
        true
    }

    /// Ends all sessions, and takes no more.
    ///
    /// # Errors
    ///
    /// Names those that live.
    pub(crate) async fn end_all(&self) -> Result<(), String> {
        let (sessions, mut kills) = self.close();
        for session in sessions {
            kills.spawn(async move { drop(session.kill().await) });
        }
        kills.join_all().await;
        let (sessions, _) = self.close();
        let alive = sessions.iter().filter(|session| session.exit_code().is_none());
        let alive: Vec<_> = alive.map(|session| session.pid.to_string()).collect();
        if alive.is_empty() { Ok(()) } else { Err(format!("processes that SIGKILL did not end: {}", alive.join(", "))) }
    }

    /// Kills all sessions, and waits for none.
    pub(crate) fn kill_now(&self) {
        for session in self.close().0 {
            session.signal(&[Signal::KILL]);
        }
    }

    fn close(&self) -> (Vec<Arc<Session>>, JoinSet<()>) {
        let mut all = self.all.lock();
        all.is_closed = true;
        let listed = all.listed.iter().map(|listed| listed.session.clone());
        let sessions = listed.chain(all.hidden.iter().cloned()).collect();
        (sessions, std::mem::take(&mut all.kills))
    }
}

/// Tells a process that it is a server which starts anew, and its port.
pub(crate) const RESTARTED: &str = "TERMINAL_SERVER_RESTARTED";

/// This process runs another program from now on; comes back only with an error.
fn become_another(command: &mut Command) -> std::io::Error {
    std::os::unix::process::CommandExt::exec(command)
}
