//! This process's own run: what it writes down, and the keeper that reads it should this process die.
//!
//! ```text
//!  a body:            its keeper has made the file ──► opened at the first session
//!  any test process:  first session ──► file made ──► keeper started beside us (not waited for)
//! ```

use crate::error::{Error, Result};
use crate::event::warn;
use crate::ledger::containment::Containment;
use crate::ledger::directory::Directory;
use crate::ledger::file::RunFile;
use crate::ledger::keepers::{self, StartedKeeper};
use crate::ledger::message::{LedgerAt, Start, Welcome};
use crate::ledger::record::{Record, parse};
use crate::process::cookie;
use crate::process::identity::ProcessIdentity;
use crate::process::tree::own_identity;
use crate::settings::Settings;
use crate::sys::{self, FileStat};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::time::Duration;
use uuid::Uuid;

const LONGEST_APPEND: Duration = Duration::from_secs(1);

/// What a body was told by its keeper.
static BODY: OnceCell<Welcome> = OnceCell::new();

/// Says that this process is a body.
pub(crate) fn become_body(welcome: Welcome) {
    cookie::join_run(welcome.run);
    let _ = BODY.set(welcome);
}

/// What this process was told by its keeper, if it is a body.
pub(crate) fn body() -> Option<&'static Welcome> {
    BODY.get()
}

enum State {
    /// No session yet.
    Unopened,
    Open(Run),
    /// There is none, and why; that was said.
    Nowhere(String),
}

struct Run {
    file: RunFile,
    /// The process that opened it: a child forked without exec must not write into it.
    owner: ProcessIdentity,
    /// For a process that is no body.
    keeper: Option<StartedKeeper>,
    at: LedgerAt,
    /// Why the last session is not written down; that was said.
    failed: Option<String>,
}

static STATE: Mutex<State> = Mutex::new(State::Unopened);
/// The file's descriptor, opened in the middle of a test.
static DESCRIPTOR: Mutex<Option<(i32, FileStat)>> = Mutex::new(None);

/// The number of the ledger's descriptor, which is no test's: none if something else is open there by now.
pub(crate) fn descriptor() -> Option<i32> {
    let (number, stat) = (*DESCRIPTOR.lock())?;
    (sys::stat_descriptor(number).ok()? == Some(stat)).then_some(number)
}

/// Writes one record, into a file that is made for the first. A ledger that fails is said once, and the test runs on; the
/// next session tries again.
pub(crate) fn write(record: &Record) {
    let mut state = STATE.lock();
    let is_new = matches!(record, Record::Announced { .. });
    if is_new && matches!(&*state, State::Open(run) if run.owner.pid == sys::own_pid() && run.is_lost()) {
        let what = "the ledger of this process was removed, and its keeper has died: what the sessions so far leave is \
                    not ended should this process be killed";
        warn(what);
        *state = State::Unopened;
    }
    if is_new && !matches!(*state, State::Open(_)) {
        *state = match open() {
            Ok(run) => State::Open(run),
            Err(cause) => fail(&state, cause.to_string()),
        };
    }
    let State::Open(run) = &mut *state else { return };
    if run.owner.pid != sys::own_pid() {
        return;
    }
    if is_new {
        run.keep_kept();
    }
    match run.file.append(record) {
        Ok(()) if is_new => run.failed = None,
        Ok(()) => {}
        // The file is kept: its keeper holds it, and there may be room for the next session.
        Err(cause) => {
            let why = format!("the ledger cannot be written: {cause}");
            if run.failed.is_none() {
                say(&why);
            }
            run.failed = Some(why);
        }
    }
}

/// Says it once.
fn fail(before: &State, why: String) -> State {
    if !matches!(before, State::Nowhere(_)) {
        say(&why);
    }
    State::Nowhere(why)
}

fn say(why: &str) {
    warn(format!("this session is not written down, so that nobody ends it should this process be killed: {why}"));
}

impl State {
    /// Why sessions are not written down.
    fn failure(&self) -> Option<&String> {
        match self {
            Self::Unopened => None,
            Self::Open(run) => run.failed.as_ref(),
            Self::Nowhere(why) => Some(why),
        }
    }
}

/// No thread of this process begins another session from here on, or ends one: it waits in vain until the process ends.
/// For one that looks for all that there is, and finds no end of it otherwise.
pub(crate) fn close_for_ever() {
    // Nobody holds it for longer than an append takes; if somebody does, the rest goes on without.
    std::mem::forget(STATE.try_lock_for(LONGEST_APPEND));
}

/// What would hold this process's sessions at this moment; `why_here` for a test that runs in the test process.
pub(crate) fn containment(why_here: &str) -> Containment {
    if let Some(welcome) = body() {
        let mut containment = welcome.containment.clone();
        if let (Containment::Isolated { ledger, .. }, Some(why)) = (&mut containment, STATE.lock().failure()) {
            *ledger = Err(why.clone());
        }
        return containment;
    }
    let state = STATE.lock();
    let ledger = match (&*state, state.failure()) {
        (State::Unopened, _) => Err("it had no session yet".into()),
        (_, Some(why)) => Err(why.clone()),
        (_, None) => Ok(()),
    };
    Containment::InProcess { why: why_here.into(), ledger }
}

fn open() -> Result<Run> {
    let run = open_or_make()?;
    let number = run.file.number();
    *DESCRIPTOR.lock() = sys::stat_descriptor(number).ok().flatten().map(|stat| (number, stat));
    Ok(run)
}

fn open_or_make() -> Result<Run> {
    match body() {
        Some(welcome) => {
            let (_, _, file) = welcome.ledger.open()?;
            Ok(Run { file, owner: own_identity()?, keeper: None, at: welcome.ledger.clone(), failed: None })
        }
        None => {
            let owner = own_identity()?;
            let (file, at) = make(cookie::run_id(), owner, "", &Settings::from_env().unwrap_or_default())?;
            let mut run = Run { file, owner, keeper: None, at, failed: None };
            run.keeper = Some(run.start_keeper()?);
            Ok(run)
        }
    }
}

/// Makes the file of a run, with its first record.
pub(crate) fn make(run: Uuid, owner: ProcessIdentity, name: &str, settings: &Settings) -> Result<(RunFile, LedgerAt)> {
    let directory = Directory::find(settings)?;
    let file = create_locked(&directory, run)?;
    let name_of_file = Directory::name_of(run);
    let at = LedgerAt::File { directory: directory.path().to_owned(), name: name_of_file.clone() };
    let first = Record::Run {
        format: crate::ledger::record::FORMAT,
        run,
        owner,
        user: sys::own_uid(),
        name: name.to_owned(),
        create_within_ms: u64::try_from(settings.create.as_millis()).unwrap_or(u64::MAX),
        since: owner.started,
    };
    let written = file.append(&first);
    let _ = file.unlock();
    if let Err(cause) = written {
        let _ = directory.remove(&name_of_file).and_then(|()| directory.remove_if_empty());
        return Err(Error::os(
            format!("write the ledger `{}`", directory.path().join(&name_of_file).display()),
            "make room on its file system, or name another directory by TERMLEASH_LEDGER",
            cause,
        ));
    }
    Ok((file, at))
}

/// A sweep removes an empty file, whose maker was killed; so it is locked until it is not empty any more.
fn create_locked(directory: &Directory, run: Uuid) -> Result<RunFile> {
    loop {
        let file = directory.create_run(run)?;
        // Where nothing can be locked, nobody sweeps.
        if file.lock().is_err() || file.is_still_linked().unwrap_or(true) {
            return Ok(file);
        }
    }
}

impl Run {
    /// Nobody has it but this process, and nobody could find it. While its keeper lives, that has it open.
    fn is_lost(&self) -> bool {
        let has_keeper = self.keeper.as_ref().is_none_or(|keeper| !keeper.has_ended());
        !has_keeper && !self.file.is_still_linked().unwrap_or(true)
    }

    /// A keeper that has died is replaced: it holds nothing that the file does not.
    fn keep_kept(&mut self) {
        if self.keeper.as_ref().is_some_and(StartedKeeper::has_ended) {
            match self.start_keeper() {
                Ok(keeper) => self.keeper = Some(keeper),
                Err(cause) => {
                    self.keeper = None;
                    warn(format!("the keeper of this process has died, and no other could be started: {cause}"));
                }
            }
        }
    }

    fn start_keeper(&self) -> Result<StartedKeeper> {
        let settings = Settings::from_env().unwrap_or_default();
        let start = Start {
            run: cookie::run_id(),
            name: program_name(),
            ledger: self.at.clone(),
            runner: self.owner,
            grace: settings.grace,
            create_within: settings.create,
            keeps: settings.keeps,
            inherited: Vec::new(),
            body: None,
        };
        // Nothing is waited for: it finds this message, or this process dead.
        keepers::start(&start.name, start.keeps, &[], Some(&start)).map(|(keeper, _)| keeper)
    }
}

fn program_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// For which limit the keeper has ended what this process led, as it has written down.
pub(crate) fn breach_of(leader: ProcessIdentity) -> Option<String> {
    let (_, _, file) = body()?.ledger.open().ok()?;
    parse(&file.read_all().ok()?).records.into_iter().find_map(|record| match record {
        Record::Breached { leader: breached, what } if breached == leader => Some(what),
        _ => None,
    })
}
