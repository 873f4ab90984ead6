//! What to look at before a run, and the look.

use crate::process::handle::reader;
use crate::process::identity::OurSelf;
use crate::server::preflight::checklist::{Check, CheckItem, Checklist, Finding};
use crate::server::preflight::pass::{Pass, Wanted, run};
use crate::server::preflight::programs::Wanted as Program;
use crate::server::preflight::sessions::SessionRecord;
use crate::server::preflight::{headroom, instances, leftovers, port, sessions, state};
use crate::session::backend::SessionBackend;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What must be so before tests run against a server: the port is free, nobody else works on the same state, the machine has
/// room. Everything is read, in one pass over the processes and some milliseconds; nothing is ended, locked or written.
///
/// Pseudo-terminals, leftovers of earlier runs, descriptors and memory are always looked at; the rest if it is named. What is
/// [required](Self::require) stops the run unless it passed; the rest is told.
///
/// ```
/// use termleash::server::{CheckItem, Preflight};
///
/// # #[cfg(target_os = "linux")] {
/// let free = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = free.local_addr()?.port();
/// let preflight = Preflight::new().port(port).require(CheckItem::Port);
///
/// let error = preflight.check().into_result().unwrap_err();       // this very process listens there
/// assert!(error.is_not_ready() && error.to_string().contains(&std::process::id().to_string()));
/// drop(free);
/// preflight.check().assert_ok();
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Limits
///
/// A look is of one moment: a port that is free now may be taken by the time the server wants it. Processes of other users do not
/// show what they have open, but to root. Linux only; elsewhere every item could not be looked at.
#[derive(Debug, Clone)]
#[must_use = "a preflight looks at nothing until `check`"]
pub struct Preflight {
    ports: Vec<u16>,
    program: Option<String>,
    state_directory: Option<PathBuf>,
    sessions: Option<Result<Vec<SessionRecord>, String>>,
    required: BTreeSet<CheckItem>,
    free_ptys: u64,
    free_descriptors: u64,
    free_memory: u64,
}

impl Default for Preflight {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            program: None,
            state_directory: None,
            sessions: None,
            required: BTreeSet::new(),
            free_ptys: 64,
            free_descriptors: 256,
            free_memory: 256 << 20,
        }
    }
}

impl Preflight {
    /// Looks at the machine, and requires nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A port that nobody must listen on, on any address; call it again for another one.
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// The program of which no other instance must run: its path, its name in `PATH`, or an interpreter with its script, such as
    /// `node server.js`. Known by the file that is executed, and by the script's; this process and those that it descends from are
    /// none.
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// The directory in which nobody else must work: with a file of it open or locked, a socket in it, it as working directory, or a
    /// process id in a file `*.pid` of it that lives.
    pub fn state_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_directory = Some(directory.into());
        self
    }

    /// The sessions that a server has, of which none must be of a dead run: as data, where the server is asked by other means.
    pub fn stale_sessions(mut self, sessions: impl IntoIterator<Item = SessionRecord>) -> Self {
        self.sessions = Some(Ok(sessions.into_iter().collect()));
        self
    }

    /// The same, asked of a backend: one list, and one question for each session. A failure is told by the check.
    pub async fn stale_sessions_on(mut self, backend: &impl SessionBackend) -> Self {
        self.sessions = Some(sessions::of(backend).await.map_err(|cause| cause.to_string()));
        self
    }

    /// How many more pseudo-terminals there must be; 64 unless said.
    pub fn free_ptys(mut self, count: u64) -> Self {
        self.free_ptys = count;
        self
    }

    /// How many more descriptors this process and the machine must be able to have; 256 unless said.
    pub fn free_descriptors(mut self, count: u64) -> Self {
        self.free_descriptors = count;
        self
    }

    /// How much memory must be available, in bytes, on the machine and in this process's control groups; 256 MiB unless said.
    pub fn free_memory(mut self, bytes: u64) -> Self {
        self.free_memory = bytes;
        self
    }

    /// Has the run stop unless this passed. One that could not be looked at has not passed.
    pub fn require(mut self, item: CheckItem) -> Self {
        self.required.insert(item);
        self
    }

    /// Requires everything that is looked at.
    pub fn require_all(mut self) -> Self {
        use CheckItem::{Descriptors, Leftovers, Memory, Port, Program, Ptys, StaleSessions, StateDirectory};
        let named = [
            (Port, !self.ports.is_empty()),
            (Program, self.program.is_some()),
            (StateDirectory, self.state_directory.is_some()),
            (StaleSessions, self.sessions.is_some()),
        ];
        self.required.extend([Ptys, Leftovers, Descriptors, Memory]);
        self.required.extend(named.into_iter().filter(|(_, is_named)| *is_named).map(|(item, _)| item));
        self
    }

    /// Looks. It blocks for some milliseconds, and reads only.
    pub fn check(&self) -> Checklist {
        let looked = leftovers::look();
        let mut items = self.processes(&looked);
        items.push(headroom::ptys(self.free_ptys).of(CheckItem::Ptys, ""));
        items.push(leftovers::judge(&looked).of(CheckItem::Leftovers, ""));
        items.push(headroom::descriptors(self.free_descriptors).of(CheckItem::Descriptors, ""));
        items.push(headroom::memory(self.free_memory).of(CheckItem::Memory, ""));
        for required in &self.required {
            if !items.iter().any(|check| check.what == *required) {
                let cause = "it is required, and which one was not said";
                items.push(Finding::could_not_look(cause).of(*required, ""));
            }
        }
        items.iter_mut().for_each(|check| check.is_required = self.required.contains(&check.what));
        items.sort_by_key(|check| check.what);
        Checklist { items }
    }

    /// What is found among the processes, by one pass for all.
    fn processes(&self, looked: &leftovers::Looked) -> Vec<Check> {
        let mut items = Vec::new();
        let mut reader = match OurSelf::get().and_then(|_| reader()) {
            Ok(reader) => reader,
            Err(cause) => {
                let blind = || Finding::could_not_look(&cause);
                items.extend(self.ports.iter().map(|port| blind().of(CheckItem::Port, port.to_string())));
                items.extend(self.program.iter().map(|program| blind().of(CheckItem::Program, format!("`{program}`"))));
                let directory = self.state_directory.iter();
                items.extend(
                    directory.map(|path| blind().of(CheckItem::StateDirectory, format!("`{}`", path.display()))),
                );
                items.extend(self.sessions.iter().map(|_| blind().of(CheckItem::StaleSessions, "")));
                return items;
            }
        };
        let listeners = if self.ports.is_empty() { Ok(Vec::new()) } else { port::find(&mut reader) };
        let program = self.program.as_ref().map(|program| (program, Program::find(program)));
        let directory = self.state_directory.as_ref().map(|path| (path, state::look(&mut reader, path)));
        let state = directory.as_ref().and_then(|(_, looked)| looked.as_ref().ok()?.as_ref());
        let mut wanted =
            Wanted { program: program.as_ref().and_then(|(_, found)| found.clone().ok()), ..Wanted::default() };
        let at_ports = listeners.iter().flatten().filter(|one| self.ports.contains(&one.port));
        wanted.sockets.extend(at_ports.map(|one| one.owner.inode));
        if let Some(state) = state {
            wanted.sockets.extend(state.sockets.iter().map(|(inode, ..)| *inode));
            wanted.below = Some(state.path.as_os_str().as_encoded_bytes().to_vec());
        }
        let passed = run(&mut reader, &wanted);
        let failed = passed.as_ref().err().map(|cause| format!("the processes could not be listed: {cause}"));
        let pass: &Pass = passed.as_ref().unwrap_or(&EMPTY);
        let or_blind = |finding: Finding| failed.as_ref().map_or(finding, Finding::could_not_look);
        for port in &self.ports {
            items.push(
                or_blind(port::judge(&mut reader, *port, &listeners, pass)).of(CheckItem::Port, port.to_string()),
            );
        }
        if let Some((name, found)) = &program {
            items
                .push(or_blind(instances::judge(&mut reader, found, pass)).of(CheckItem::Program, format!("`{name}`")));
        }
        if let Some((path, looked)) = &directory {
            let subject = format!("`{}`", path.display());
            items.push(or_blind(state::judge(&mut reader, looked, pass)).of(CheckItem::StateDirectory, subject));
        }
        if let Some(records) = &self.sessions {
            items.push(sessions::judge(&mut reader, records, &looked.runs).of(CheckItem::StaleSessions, ""));
        }
        items
    }
}

static EMPTY: Pass = Pass {
    sockets: Vec::new(),
    below: std::collections::BTreeMap::new(),
    programs: Vec::new(),
    hidden: 0,
    ours: Vec::new(),
};
