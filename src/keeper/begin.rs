//! How a keeper begins: what it holds on to, and the body that it starts.

use crate::backoff::{Backoff, pause};
use crate::keeper::{descendants, group};
use crate::ledger::containment::Containment;
use crate::ledger::directory::Directory;
use crate::ledger::file::RunFile;
use crate::ledger::message::{BODY, BodyStart, KEEPER, LedgerAt, STEWARD, Start, Welcome, tell};
use crate::ledger::recipe::Recipe;
use crate::ledger::record::{BODY_RECORD, Record};
use crate::process::cgroup::Leaf;
use crate::process::cookie::{self, Cookie};
use crate::process::handle::{read_stat, reader};
use crate::process::identity::ProcessIdentity;
use crate::process::tree::own_identity;
use crate::sys::{self, AsFd as _, Channel, Launch, OwnedFd};
use std::ffi::CString;
use std::io;
use std::time::{Duration, Instant};

/// How often a keeper marks its ledger as watched.
pub(crate) const MARK_EVERY: Duration = Duration::from_secs(1);

/// A sweep that has seen the file empty takes its lock for an instant, to see whether its maker lives.
const LOCKED_BY_A_LOOK: Duration = Duration::from_secs(1);

/// What a keeper holds.
pub(crate) struct Begun {
    pub(crate) identity: ProcessIdentity,
    pub(crate) ledger: Ledger,
    pub(crate) leaf: Option<Leaf>,
    /// Our child: its number is its own until we have reaped it.
    pub(crate) body: ProcessIdentity,
    pub(crate) channel: Channel,
    pub(crate) containment: Containment,
    /// Readable when a child has ended.
    pub(crate) ends: OwnedFd,
}

/// The run's ledger, held locked; empty where there is none.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) open: Option<Held>,
}

pub(crate) struct Held {
    pub(crate) directory: Directory,
    pub(crate) name: String,
    pub(crate) file: RunFile,
    /// When it was last marked as watched, or opened.
    marked: Instant,
}

impl Ledger {
    /// Opens and locks it: a lock of the test process's own would be held on by a child that it forks without exec.
    pub(crate) fn hold(at: &LedgerAt) -> Result<Self, String> {
        let (directory, name, file) = at.open().map_err(|cause| cause.to_string())?;
        lock(&file)?;
        Ok(Self { open: Some(Held { directory, name: name.to_owned(), file, marked: Instant::now() }) })
    }

    /// What cannot be written is not written: the file holds what it holds.
    pub(crate) fn append(&self, record: &Record) {
        if let Some(held) = &self.open {
            let _ = held.file.append(record);
        }
    }

    /// Says that somebody watches, if that was not said a moment ago.
    pub(crate) fn mark_as_watched(&mut self) {
        if let Some(held) = self.open.as_mut().filter(|held| held.marked.elapsed() >= MARK_EVERY) {
            held.marked = Instant::now();
            let _ = held.file.touch();
        }
    }

    /// Removes it, and the directory with the last one.
    pub(crate) fn remove(&mut self) {
        if let Some(Held { directory, name, file: _locked, .. }) = self.open.take() {
            // Whoever comes next finds everybody dead, and nothing to do but this.
            let _ = directory.remove(&name).and_then(|()| directory.remove_if_empty());
        }
    }
}

fn lock(file: &RunFile) -> Result<(), String> {
    let start = Instant::now();
    let mut pauses = Backoff::new();
    loop {
        match (file.try_lock(), pauses.next()) {
            (Ok(true), _) => return Ok(()),
            (Ok(false), Some(time)) if start.elapsed() < LOCKED_BY_A_LOOK => pause(time),
            (Ok(false), _) => return Err("somebody else holds its lock".into()),
            (Err(cause), _) => return Err(format!("it could not be locked: {cause}")),
        }
    }
}

/// Becomes a keeper and starts the body.
///
/// # Errors
///
/// Why there is no body, in words.
pub(crate) fn begin(start: &Start, body: &BodyStart) -> Result<Begun, String> {
    let [_output, _errors, around, _uncaptured, _timeline] = body.outputs.all().map(sys::adopt);
    let around = around.map_err(why("it got no descriptor for its output"))?;
    sys::adopt_orphans().map_err(why("orphans cannot be adopted"))?;
    let ends = sys::ends_of_children().map_err(why("the ends of children cannot be waited for"))?;
    let identity = own_identity().map_err(|cause| cause.to_string())?;

    let held = Ledger::hold(&start.ledger);
    let record = |record: &Record| held.iter().for_each(|ledger| ledger.append(record));
    record(&Record::Keeper { identity });
    let leaf = Leaf::create(&start.run.simple().to_string(), |group| record(&Record::Cgroup { group: group.clone() }));
    let containment = Containment::Isolated {
        ledger: held.as_ref().map(|_| ()).map_err(Clone::clone),
        cgroup: leaf.as_ref().map(|_| ()).map_err(Clone::clone),
    };
    let (ledger, leaf) = (held.unwrap_or_default(), leaf.ok());
    let around_it = Around { identity, ledger: &ledger, leaf: leaf.as_ref(), output: &around };
    match start_body(start, body, &around_it, &containment) {
        Ok((body, channel)) => Ok(Begun { identity, ledger, leaf, body, channel, containment, ends }),
        Err(why) => {
            // It may have begun all the same, and the ledger goes next.
            descendants::end_all(Duration::ZERO, None);
            let _ = leaf.as_ref().map(group::remove);
            Err(why)
        }
    }
}

/// What a body is started with.
struct Around<'a> {
    identity: ProcessIdentity,
    ledger: &'a Ledger,
    leaf: Option<&'a Leaf>,
    output: &'a OwnedFd,
}

fn start_body(
    start: &Start,
    body: &BodyStart,
    around: &Around<'_>,
    containment: &Containment,
) -> Result<(ProcessIdentity, Channel), String> {
    let Around { identity, ledger, leaf, output } = *around;
    cookie::join_run(start.run);
    let cookie = Cookie::new();
    // Before it is started, so that whoever sweeps after us knows it.
    ledger.append(&Record::Announced {
        id: BODY_RECORD,
        cookie: Some(cookie),
        since: sys::now_ticks(),
        label: format!("the test `{}` itself", start.name),
        made_at: "its keeper".into(),
        recipe: Recipe::Own,
        home: None,
    });
    let (ours, theirs) = Channel::pair().map_err(why("no channel to it"))?;
    let welcome = Welcome {
        run: start.run,
        ledger: start.ledger.clone(),
        keeper: identity,
        runner: start.runner,
        containment: containment.clone(),
        outputs: body.outputs,
        grace: start.grace,
        keeps: start.keeps,
    };
    tell(&ours, &welcome).map_err(why("no message to it"))?;
    let pid = launch(body, cookie, &theirs, output, leaf).map_err(why("the program did not start again"))?;
    drop(theirs);
    // Also of one that has ended by now, which is told as any other end is.
    let stat = reader().map_err(|cause| cause.to_string()).and_then(|mut reader| {
        read_stat(&mut reader, pid).map_err(|cause| format!("its start could not be read: {cause}"))
    })?;
    let body = ProcessIdentity { pid, started: stat.started, ..identity };
    ledger.append(&Record::Identified {
        id: BODY_RECORD,
        leader: Some(body),
        since: None,
        session: None,
        server: None,
        variable: None,
    });
    Ok((body, ours))
}

/// An error with what it means.
fn why(what: &str) -> impl FnOnce(io::Error) -> String {
    let what = what.to_owned();
    move |cause| format!("{what}: {cause}")
}

fn launch(
    body: &BodyStart,
    cookie: Cookie,
    channel: &Channel,
    around: &OwnedFd,
    leaf: Option<&Leaf>,
) -> io::Result<u32> {
    let mut environment = sys::start_environment(&[KEEPER, BODY, STEWARD])?;
    environment.push(sys::variable(&cookie.name(), cookie.value()));
    environment.push(sys::variable(BODY, channel.number().to_string()));
    let mut arguments = vec![CString::new(body.program.clone())?];
    for argument in &body.arguments {
        arguments.push(CString::new(argument.as_str())?);
    }
    let passed: Vec<i32> = body.outputs.all().into_iter().chain([channel.number()]).collect();
    let launch = Launch { arguments: &arguments, environment: &environment, passed: &passed };
    let input = std::io::stdin();
    let standard = [input.as_fd(), around.as_fd(), around.as_fd()];
    sys::spawn_into(&launch, standard, leaf.map(|leaf| leaf.dir().as_fd()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_a_sweep_looks_at_for_an_instant_is_held_after_that_and_one_that_is_held_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ledger");
        let open = || {
            let file = std::fs::File::options().read(true).append(true).create(true).open(&path);
            RunFile::new(file.unwrap())
        };
        let looks = open();
        assert!(looks.try_lock().unwrap());
        let keeper = std::thread::spawn({
            let file = open();
            move || lock(&file).map(|()| file)
        });
        pause(Duration::from_millis(50));
        looks.unlock().unwrap();
        let held = keeper.join().unwrap().expect("it is held");
        assert_eq!(lock(&open()), Err("somebody else holds its lock".into()));
        drop(held);
        assert_eq!(lock(&open()), Ok(()));
    }
}
