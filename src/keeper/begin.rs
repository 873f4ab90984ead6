//! How a keeper begins: what it holds on to, and the body that it starts.

use crate::ledger::containment::Containment;
use crate::ledger::directory::Directory;
use crate::ledger::file::RunFile;
use crate::ledger::message::{BODY, BodyStart, KEEPER, LedgerAt, Start, Welcome, tell};
use crate::ledger::recipe::Recipe;
use crate::ledger::record::{BODY_RECORD, Record};
use crate::process::cgroup::Leaf;
use crate::process::cookie::{self, Cookie};
use crate::process::handle::ProcessHandle;
use crate::process::identity::ProcessIdentity;
use crate::sys::{self, AsFd as _, Channel, Launch, OwnedFd};
use std::ffi::CString;
use std::io;

/// What a keeper holds.
pub(crate) struct Begun {
    pub(crate) identity: ProcessIdentity,
    pub(crate) ledger: Ledger,
    pub(crate) leaf: Option<Leaf>,
    pub(crate) body: ProcessHandle,
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
}

impl Ledger {
    /// Opens and locks it: a lock of the test process's own would be held on by a child that it forks without exec.
    pub(crate) fn hold(at: &LedgerAt) -> Result<Self, String> {
        let (directory, name) = match at {
            LedgerAt::File { directory, name } => (directory, name),
            LedgerAt::Nowhere { why } => return Err(why.clone()),
        };
        let directory = Directory::open(directory).map_err(|cause| cause.to_string())?;
        let file = directory.open_run(name).map_err(|cause| cause.to_string())?;
        let file = file.ok_or("somebody has removed it")?;
        match file.try_lock() {
            Ok(true) => Ok(Self { open: Some(Held { directory, name: name.clone(), file }) }),
            Ok(false) => Err("somebody else holds its lock".into()),
            Err(cause) => Err(format!("it could not be locked: {cause}")),
        }
    }

    /// What cannot be written is not written: the file holds what it holds.
    pub(crate) fn append(&self, record: &Record) {
        if let Some(held) = &self.open {
            let _ = held.file.append(record);
        }
    }

    /// Says that somebody watches.
    pub(crate) fn mark_as_watched(&self) {
        if let Some(held) = &self.open {
            let _ = held.file.touch();
        }
    }

    /// Removes it, and the directory with the last one.
    pub(crate) fn remove(&mut self) {
        if let Some(Held { directory, name, file: _locked }) = self.open.take() {
            // Whoever comes next finds everybody dead, and nothing to do but this.
            let _ = directory.remove(&name).and_then(|()| directory.remove_if_empty());
        }
    }
}

/// Becomes a keeper and starts the body.
///
/// # Errors
///
/// Why there is no body, in words.
pub(crate) fn begin(start: &Start, body: &BodyStart) -> Result<Begun, String> {
    let why = |what: &str| {
        let what = what.to_owned();
        move |cause: io::Error| format!("{what}: {cause}")
    };
    let passed = [body.output, body.errors, body.around, body.uncaptured];
    let [_output, _errors, around, _uncaptured] = passed.map(sys::adopt);
    let around = around.map_err(why("it got no descriptor for its output"))?;
    sys::adopt_orphans().map_err(why("orphans cannot be adopted"))?;
    let ends = sys::ends_of_children().map_err(why("the ends of children cannot be waited for"))?;
    let identity = crate::ledger::client::own_identity().map_err(|cause| cause.to_string())?;

    let held = Ledger::hold(&start.ledger);
    let leaf = Leaf::create(&start.run.simple().to_string());
    let containment = Containment::Isolated {
        ledger: held.as_ref().map(|_| ()).map_err(Clone::clone),
        cgroup: leaf.as_ref().map(|_| ()).map_err(Clone::clone),
    };
    let (ledger, leaf) = (held.unwrap_or_default(), leaf.ok());
    ledger.append(&Record::Keeper { identity });
    if let Some(leaf) = &leaf {
        ledger.append(&Record::Cgroup { group: leaf.mark().clone() });
    }
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
    });
    let (ours, theirs) = Channel::pair().map_err(why("no channel to it"))?;
    let welcome = Welcome {
        run: start.run,
        ledger: start.ledger.clone(),
        keeper: identity,
        runner: start.runner,
        containment: containment.clone(),
        output: body.output,
        errors: body.errors,
        around: body.around,
        uncaptured: body.uncaptured,
        grace: start.grace,
        keeps: start.keeps,
    };
    tell(&ours, &welcome).map_err(why("no message to it"))?;
    let pid = launch(body, cookie, &theirs, &around, leaf.as_ref()).map_err(why("the program did not start again"))?;
    drop(theirs);
    let body = ProcessHandle::open(pid).map_err(|cause| cause.to_string())?;
    ledger.append(&Record::Identified { id: BODY_RECORD, leader: Some(body.identity()), since: None, session: None });
    Ok(Begun { identity, ledger, leaf, body, channel: ours, containment, ends })
}

fn launch(
    body: &BodyStart,
    cookie: Cookie,
    channel: &Channel,
    around: &OwnedFd,
    leaf: Option<&Leaf>,
) -> io::Result<u32> {
    let mut environment = sys::start_environment(&[KEEPER, BODY])?;
    environment.push(sys::variable(&cookie.name(), cookie.value()));
    environment.push(sys::variable(BODY, channel.number().to_string()));
    let mut arguments = vec![CString::new(body.program.clone())?];
    for argument in &body.arguments {
        arguments.push(CString::new(argument.as_str())?);
    }
    let passed = [body.output, body.errors, body.around, body.uncaptured, channel.number()];
    let launch = Launch { arguments: &arguments, environment: &environment, passed: &passed };
    let input = std::io::stdin();
    let standard = [input.as_fd(), around.as_fd(), around.as_fd()];
    sys::fork_exec(&launch, standard, leaf.map(|leaf| leaf.dir().as_fd()))
}
