//! The runs of this user, looked at by their ledgers: which are dead, which live. Nothing is locked, swept or written.

use crate::error::Result;
use crate::ledger::directory::Directory;
use crate::ledger::file::RunFile;
use crate::ledger::record::{BODY_RECORD, parse};
use crate::ledger::replay::Replayed;
use crate::process::dead::is_proven_dead;
use crate::process::identity::{OurSelf, ProcessIdentity};
use crate::process::tree::own_identity;
use std::path::{Path, PathBuf};

/// One ledger.
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    /// What it says; else why it cannot be read, or that its run is beginning.
    pub(crate) run: Result<Replayed, String>,
    /// True if everybody of the run is proven dead.
    pub(crate) is_dead: bool,
}

/// Every ledger in this directory; none if there is no such directory.
///
/// # Errors
///
/// If the directory cannot be used, and on systems other than Linux.
pub(crate) fn runs(place: &Path) -> Result<Vec<Listed>> {
    let here = own_identity()?;
    let Some(directory) = Directory::open_existing(place)? else { return Ok(Vec::new()) };
    let mut listed = Vec::new();
    for name in directory.list()? {
        let run = match directory.open_run(&name) {
            Ok(Some(file)) if file.is_empty().unwrap_or(false) => Err("its test process is beginning".into()),
            Ok(Some(file)) => read(&file),
            // It has ended meanwhile.
            Ok(None) => continue,
            Err(cause) => Err(cause.to_string()),
        };
        let is_dead = run.as_ref().is_ok_and(|run| run.is_dead(here));
        listed.push(Listed { path: directory.path().join(name), run, is_dead });
    }
    Ok(listed)
}

/// What a run's file says, if it is this user's.
pub(crate) fn read(file: &RunFile) -> Result<Replayed, String> {
    let bytes = file.read_all().map_err(|cause| format!("it could not be read: {cause}"))?;
    let replayed = Replayed::new(parse(&bytes)).map_err(|why| why.to_string())?;
    let ourself = OurSelf::get().map_err(|cause| cause.to_string())?;
    if replayed.user != ourself.uid {
        return Err("it belongs to another user".into());
    }
    Ok(replayed)
}

impl Replayed {
    /// True if everybody of the run is proven dead.
    pub(crate) fn is_dead(&self, here: ProcessIdentity) -> bool {
        let body = self.open.get(&BODY_RECORD).and_then(|body| body.leader);
        let all = [Some(self.owner), body].into_iter().flatten().chain(self.keepers.iter().copied());
        all.into_iter().all(|identity| is_proven_dead(identity, here))
    }
}
