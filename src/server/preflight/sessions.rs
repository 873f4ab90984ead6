//! Do sessions of dead runs live on the server?

use crate::error::BoxError;
use crate::ledger::listing::Listed;
use crate::process::cookie::Cookie;
use crate::server::preflight::checklist::Finding;
use crate::session::backend::{SessionBackend, SessionState};
use crate::session::id::SessionId;
use crate::sys::ProcReader;

/// A session as a server lists it, for a [`Preflight`](crate::server::Preflight).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    pub(crate) id: SessionId,
    pub(crate) leader: Option<u32>,
}

impl SessionRecord {
    /// One of which nothing more is known: it is counted.
    pub fn new(id: SessionId) -> Self {
        Self { id, leader: None }
    }

    /// The process that leads it, by the server's word: its environment says whose it is.
    #[must_use = "it takes and gives the record"]
    pub fn with_leader(mut self, pid: u32) -> Self {
        self.leader = Some(pid);
        self
    }
}

/// One list, and one question for each session.
pub(crate) async fn of(backend: &impl SessionBackend) -> Result<Vec<SessionRecord>, BoxError> {
    let mut records = Vec::new();
    for id in backend.list().await? {
        match backend.state(&id).await? {
            SessionState::Running(running) => records.push(SessionRecord { id, leader: running.leader }),
            SessionState::Exited(_) | SessionState::Unknown => {}
        }
    }
    Ok(records)
}

pub(crate) fn judge(
    reader: &mut ProcReader,
    records: &Result<Vec<SessionRecord>, String>,
    runs: &Result<Vec<Listed>, String>,
) -> Finding {
    let records = match records {
        Ok(records) => records,
        Err(cause) => {
            let cause = format!("the server's sessions could not be listed: {cause}");
            return Finding::could_not_look(cause)
                .advise("have its backend implement `list`, and see that the server runs");
        }
    };
    let runs = match runs {
        Ok(runs) => runs,
        Err(cause) => return Finding::could_not_look(cause),
    };
    let mut stale = Vec::new();
    for record in records {
        let Some(pid) = record.leader else { continue };
        let Ok(environ) = reader.read(pid, "environ") else { continue };
        // A session of a nested suite has the cookies of both.
        let dead = Cookie::find_all(environ).find_map(|cookie| dead_run(runs, &cookie));
        if let Some(name) = dead {
            stale.push(format!("`{}` (pid {pid}) of `{name}`", record.id));
        }
    }
    let others = records.len() - stale.len();
    if stale.is_empty() {
        return Finding::passed(format!("none, and {others} sessions of others or of runs that live"));
    }
    let found = format!("{} of dead runs: {}; and {others} others", stale.len(), stale.join(", "));
    Finding::failed(
        found,
        "call `termleash::sweep()`, which ends what is proven to be theirs; the start of the next run does so, too",
    )
}

fn dead_run(runs: &[Listed], cookie: &Cookie) -> Option<String> {
    runs.iter().filter(|listed| listed.is_dead).find_map(|listed| {
        let run = listed.run.as_ref().ok()?;
        (run.run.simple().to_string() == cookie.value()).then(|| run.shown_name().to_owned())
    })
}
