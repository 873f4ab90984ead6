//! Starting a keeper: this very program again, caught before its `main`.

use crate::error::{Error, Result};
use crate::ledger::message::{BODY, KEEPER, STEWARD, Start, StewardStart, tell};
use crate::sys::{self, Channel, Launch, Pidfd};
use parking_lot::Mutex;
use std::ffi::CString;

/// The keepers that this process has started and not reaped: no child of a test's.
static KEEPERS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// True for the process id of a keeper of ours.
pub(crate) fn is_keeper(pid: u32) -> bool {
    KEEPERS.lock().contains(&pid)
}

/// A child of this process.
pub(crate) struct StartedKeeper {
    pid: u32,
}

/// Starts one, which gets these descriptors beside its channel, and answers with our end of that. Nothing is waited for but
/// the exec. Without a first message it waits for its [`Start`], which is made up while it gets ready.
pub(crate) fn start(
    name: &str,
    keeps: bool,
    passed: &[i32],
    first: Option<&Start>,
) -> Result<(StartedKeeper, Channel)> {
    spawn(name, keeps, passed, first).map_err(|cause| {
        Error::os(
            "start the keeper that cleans up should this process die",
            "raise `ulimit -n` or `ulimit -u`; without one run with TERMLEASH_ISOLATE=never",
            cause,
        )
    })
}

fn spawn(name: &str, keeps: bool, passed: &[i32], first: Option<&Start>) -> std::io::Result<(StartedKeeper, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    if let Some(start) = first {
        tell(&ours, start)?;
    }
    // nextest calls a test leaky whose standard error is open after its end, and a kept run's is for hours.
    let is_mute = keeps || std::env::var_os("NEXTEST").is_some();
    let keeper = again(KEEPER, &format!("termleash-keeper {name}"), &theirs, passed, is_mute)?;
    Ok((keeper, ours))
}

/// Starts this program again to be something else, which it knows by this variable. It is no child of a test's.
fn again(
    variable: &str,
    name: &str,
    theirs: &Channel,
    passed: &[i32],
    is_mute: bool,
) -> std::io::Result<StartedKeeper> {
    let mut environment = sys::start_environment(&[KEEPER, BODY, STEWARD])?;
    environment.push(sys::variable(variable, theirs.number().to_string()));
    let name = CString::new(name).unwrap_or_default();
    let passed: Vec<i32> = passed.iter().copied().chain([theirs.number()]).collect();
    let launch = Launch { arguments: &[name], environment: &environment, passed: &passed };
    let directory = sys::start_directory().and_then(|path| sys::c_string(path.clone()).ok());
    // Before the lock is given back: a leak check must never see it as anybody's child.
    let mut keepers = KEEPERS.lock();
    let pid = sys::spawn_leader(&launch, directory.as_deref(), is_mute)?;
    keepers.push(pid);
    Ok(StartedKeeper { pid })
}

/// The stewards that this process has started.
static STEWARDS: Mutex<Vec<StartedKeeper>> = Mutex::new(Vec::new());

/// Starts the steward of a shared server. It outlives this process, if others use the server, and holds nothing of it.
pub(crate) fn start_steward(start: &StewardStart) -> Result<()> {
    let mut stewards = STEWARDS.lock();
    stewards.retain(|steward| !steward.has_ended());
    let started = Channel::pair().and_then(|(ours, theirs)| {
        tell(&ours, start)?;
        again(STEWARD, &format!("termleash-steward {}", start.key), &theirs, &[], true)
    });
    let steward = started.map_err(|cause| {
        Error::os("start the process that holds a shared server", "raise `ulimit -n` or `ulimit -u`", cause)
    })?;
    stewards.push(steward);
    Ok(())
}

impl StartedKeeper {
    /// Holds it, to wait for its end. It is our child, and so its id means no other.
    pub(crate) fn hold(&self) -> std::io::Result<Pidfd> {
        Pidfd::open(self.pid)
    }

    /// True once it has exited; it is reaped then.
    pub(crate) fn has_ended(&self) -> bool {
        // An error also says that it is gone: somebody else has reaped it.
        if let Ok(None) = sys::reap_child(self.pid) {
            return false;
        }
        KEEPERS.lock().retain(|pid| *pid != self.pid);
        true
    }
}
