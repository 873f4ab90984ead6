//! Runs of which everybody has died: found by their ledgers, and swept by whoever comes next.

use crate::error::Result;
use crate::keeper::begin::Ledger;
use crate::keeper::descendants::GRACE;
use crate::keeper::sweep::{group_of, sweep as sweep_marks};
use crate::keeper::{group, lost};
use crate::ledger::directory::Directory;
use crate::ledger::file::RunFile;
use crate::ledger::listing::read;
use crate::ledger::message::LedgerAt;
use crate::ledger::record::{BODY_RECORD, Record};
use crate::ledger::replay::Replayed;
use crate::ledger::swept::Swept;
use crate::process::cgroup::Leaf;
use crate::process::identity::{OurSelf, ProcessIdentity};
use crate::process::policy::Suspect;
use crate::process::summary::ProcessSummary;
use crate::process::tree::own_identity;
use crate::settings::Settings;
use crate::sys;
use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

/// What a sweep of dead runs has done; [`sweep`](crate::sweep) gives it. It is shown in lines, for a log.
///
/// ```no_run
/// # #[cfg(target_os = "linux")] {
/// let report = termleash::sweep()?;
/// for run in report.runs() {
///     println!("{}: {} ended in {:?}", run.name(), run.ended().len(), run.took());
/// }
/// for why in report.left_alone() {
///     println!("{why}");
/// }
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    runs: Vec<SweptRun>,
    /// Ledgers that were left alone, and why.
    left: Vec<String>,
}

/// One dead run, and what was left of it; see [`SweepReport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptRun {
    name: String,
    swept: Swept,
}

impl SweepReport {
    /// The dead runs that were found, each with what was done.
    pub fn runs(&self) -> &[SweptRun] {
        &self.runs
    }

    /// The ledgers that were left alone, in sentences: of runs that live, or may, and what could not be read.
    pub fn left_alone(&self) -> &[String] {
        &self.left
    }
}

impl SweptRun {
    /// What the test was called; empty for a test process as a whole.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The processes that were ended.
    pub fn ended(&self) -> &[ProcessSummary] {
        &self.swept.ended
    }

    /// What is proven to be the run's and is still alive.
    pub fn survivors(&self) -> &[ProcessSummary] {
        &self.swept.survivors
    }

    /// What may be the run's and is not proven to be: never signalled.
    pub fn suspects(&self) -> &[Suspect] {
        &self.swept.suspects
    }

    /// What could not be done, in sentences.
    pub fn undone(&self) -> &[String] {
        &self.swept.undone
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.swept.took
    }
}

impl fmt::Display for SweepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runs.is_empty() {
            f.write_str("no dead run was found")?;
        }
        for (index, run) in self.runs.iter().enumerate() {
            let name = if run.name.is_empty() { "a test process" } else { &run.name };
            write!(
                f,
                "{}swept what `{name}` had left: {} ended",
                if index > 0 { "\n" } else { "" },
                run.ended().len()
            )?;
            lines(f, "ended", run.ended())?;
            lines(f, "still alive", run.survivors())?;
            lines(f, "suspect, not signalled", run.suspects())?;
            lines(f, "not done", run.undone())?;
        }
        lines(f, "left alone", &self.left)
    }
}

fn lines(f: &mut fmt::Formatter<'_>, what: &str, items: &[impl fmt::Display]) -> fmt::Result {
    items.iter().try_for_each(|item| write!(f, "\n  {what}: {item}"))
}

/// Ends what earlier runs of this user have left whose test process, keeper and body are all proven dead, and, since it was
/// asked for, the runs that `TERMLEASH_KEEP` has kept. The next run's start does the same for the dead.
///
/// A ledger of another machine, another boot, another container or a run that lives is left alone, and named in the report.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let report = termleash::sweep()?;
/// assert!(report.runs().iter().all(|run| run.survivors().is_empty()));
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
///
/// # Errors
///
/// If the directory of the ledgers cannot be used, if one of our variables cannot be read, and on systems other than Linux.
///
/// # Limits
///
/// What carries no mark (its environment cleared, in a kernel session of its own) is found only where a control group held it.
/// A sweep takes a grace of 0.1 s for each dead run that has left something, and up to the run's `TERMLEASH_CREATE_TIMEOUT` after its
/// death where a creation was under way.
pub fn sweep() -> Result<SweepReport> {
    let settings = Settings::from_env()?;
    OurSelf::get()?;
    let Some(directory) = Directory::open_existing(&Directory::place(&settings))? else {
        return Ok(SweepReport::default());
    };
    let report = sweep_directory(&directory, None, true)?;
    directory.remove_if_empty()?;
    Ok(report)
}

/// All but one, which is the caller's own.
fn sweep_directory(directory: &Directory, except: Option<&str>, asked: bool) -> Result<SweepReport> {
    let here = own_identity()?;
    let mut report = SweepReport::default();
    for name in directory.list()? {
        if except == Some(name.as_str()) {
            continue;
        }
        match sweep_one(directory, &name, here, asked) {
            Ok(Some(run)) => report.runs.push(run),
            Ok(None) => {}
            Err(why) => report.left.push(format!("{}: {why}", directory.path().join(&name).display())),
        }
    }
    Ok(report)
}

/// What earlier runs have left, ended on a thread of its own, since a keeper has its own run to watch meanwhile. Its report
/// has no reader: [`sweep`] is for those who want one.
pub(crate) fn sweep_others(ledger: &Ledger) -> Option<JoinHandle<()>> {
    let held = ledger.open.as_ref()?;
    // Mostly there is nobody else, and no thread.
    if held.directory.list().is_ok_and(|names| names.iter().all(|name| *name == held.name)) {
        return None;
    }
    let (path, own) = (held.directory.path().to_owned(), held.name.clone());
    let sweep = move || {
        if let Ok(Some(directory)) = Directory::open_existing(&path) {
            let _ = sweep_directory(&directory, Some(&own), false);
            // Our own run may have ended before, which left the directory to us.
            let _ = directory.remove_if_empty();
        }
    };
    std::thread::Builder::new().name("termleash-sweep".into()).spawn(sweep).ok()
}

/// Before the process ends: it takes a grace for each dead run, and mostly there is none.
pub(crate) fn wait_for(others: Option<JoinHandle<()>>) {
    // What has gone wrong there is the next run's to do.
    let _ = others.map(JoinHandle::join);
}

/// `None` if it has gone meanwhile; an error says why it was left alone.
fn sweep_one(
    directory: &Directory,
    name: &str,
    here: ProcessIdentity,
    asked: bool,
) -> Result<Option<SweptRun>, String> {
    let Some(file) = directory.open_run(name).map_err(|cause| cause.to_string())? else { return Ok(None) };
    if file.is_empty().unwrap_or(false) {
        return remove_empty(directory, name, &file);
    }
    let replayed = read(&file)?;
    if Directory::name_of(replayed.run) != name {
        return Err("its name is not that of the run in it".into());
    }
    if replayed.is_kept && asked && !replayed.is_dead(here) {
        file.append(&Record::Sweep).map_err(|cause| format!("it is kept, and could not be told to end: {cause}"))?;
        return Err("it was kept, and its keeper was told to end it now".into());
    }
    if !replayed.is_dead(here) {
        return Err("its test process, keeper or body lives, or belongs to another boot or container".into());
    }
    // From here to the end, so that two sweeps of one run do not meet.
    let Some(_locked) = Locked::take(&file)? else {
        return Err("somebody holds its lock: its keeper, or another sweep".into());
    };
    if !file.is_still_linked().unwrap_or(false) {
        return Ok(None);
    }
    // Without its time nobody is in time.
    let died = file.last_alive().unwrap_or(0);
    // Whoever had it before may have written more meanwhile.
    let replayed = read(&file)?;
    let (swept, is_over) = sweep_now(&replayed, died);
    if is_over {
        directory.remove(name).map_err(|cause| cause.to_string())?;
    }
    Ok(Some(SweptRun { name: replayed.name, swept }))
}

/// The lock of a run's file, until it is dropped.
struct Locked<'a>(&'a RunFile);

impl<'a> Locked<'a> {
    /// `None` if somebody else has it.
    fn take(file: &'a RunFile) -> Result<Option<Self>, String> {
        let is_locked = file.try_lock().map_err(|cause| format!("it could not be locked: {cause}"))?;
        Ok(is_locked.then_some(Self(file)))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // By name: closing it would not do while a child that the caller's process has forked meanwhile has a copy of the
        // descriptor, and nobody could sweep this run again.
        let _ = self.0.unlock();
    }
}

/// One whose maker was killed before its first record: there was nobody beside it yet.
fn remove_empty(directory: &Directory, name: &str, file: &RunFile) -> Result<Option<SweptRun>, String> {
    let locked = Locked::take(file)?;
    if locked.is_none() || !file.is_empty().unwrap_or(false) {
        return Err("its test process is beginning".into());
    }
    // Held until it is gone: its maker, if it lives after all, sees that and makes another one.
    directory.remove(name).map(|()| None).map_err(|cause| cause.to_string())
}

/// The run's control group, once it is empty; false while a stranger or a suspect lives in it.
pub(crate) fn remove_group(leaf: &Leaf, swept: &mut Swept) -> bool {
    let removed = group::remove(leaf);
    if let Err(cause) = &removed {
        swept.undone.push(format!("the control group {} could not be removed: {cause}", leaf.mark().path.display()));
    }
    removed.is_ok()
}

/// What it means that records could not be read.
pub(crate) fn damaged(records: usize) -> String {
    format!("{records} records of the ledger could not be read: what they named was not looked for")
}

/// The run of this very test, whose keeper has died: swept by the test process.
pub(crate) fn sweep_own(at: &LedgerAt) -> Swept {
    let undone = |why| vec![format!("what it left was not looked for: {why}")];
    try_sweep_own(at).unwrap_or_else(|why| Swept { undone: undone(why), ..Swept::default() })
}

fn try_sweep_own(at: &LedgerAt) -> Result<Swept, String> {
    let text = |cause: crate::error::Error| cause.to_string();
    let (directory, name, file) = at.open().map_err(text)?;
    let replayed = read(&file)?;
    let died = sys::now_ticks();
    // Asked for before it is removed: it held everything, and one that was announced and never made held nothing.
    let was_held = group_of(&replayed).is_some();
    let (mut swept, is_over) = sweep_now(&replayed, died);
    if !was_held && let Some(body) = replayed.open.get(&BODY_RECORD) {
        swept.suspects.extend(lost::suspects(body.since, died));
    }
    if is_over {
        directory.remove(name).and_then(|()| directory.remove_if_empty()).map_err(text)?;
    }
    Ok(swept)
}

/// Everything of a run whose processes are dead: its sessions, and its control group. With whether its ledger can go: it leads
/// to what is left.
fn sweep_now(replayed: &Replayed, died: u64) -> (Swept, bool) {
    let mut swept = sweep_marks(replayed, died, GRACE);
    if replayed.damaged > 0 {
        swept.undone.push(damaged(replayed.damaged));
    }
    let is_empty = group_of(replayed).is_none_or(|leaf| remove_group(&leaf, &mut swept));
    let is_over = is_empty && swept.is_over();
    (swept, is_over)
}

/// The body that a ledger names.
pub(crate) fn body_in(file: &RunFile) -> Option<ProcessIdentity> {
    read(file).ok()?.open.get(&BODY_RECORD)?.leader
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_that_a_child_was_forked_with_holds_no_lock_after_a_sweep() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ledger");
        let file = std::fs::File::options().read(true).append(true).create(true).open(&path).unwrap();
        // As a child that is forked in the middle of a sweep has one.
        let _of_child = file.try_clone().unwrap();
        let swept = RunFile::new(file);
        let other = || RunFile::new(std::fs::File::open(&path).unwrap());
        let locked = Locked::take(&swept).unwrap().expect("it is free");
        assert!(Locked::take(&other()).unwrap().is_none());
        drop(locked);
        assert!(Locked::take(&other()).unwrap().is_some());
    }

    #[test]
    fn a_ledger_that_its_maker_has_begun_since_it_was_seen_empty_stays() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(&place.path().join("l")).unwrap();
        let run = uuid::Uuid::now_v7();
        let maker = directory.create_run(run).unwrap();
        let name = Directory::name_of(run);
        let seen = directory.open_run(&name).unwrap().unwrap();
        maker.append(&Record::Kept).unwrap();
        let why = remove_empty(&directory, &name, &seen).unwrap_err();
        assert!(why.contains("is beginning"), "{why}");
        assert!(directory.list().unwrap().contains(&name));
        // And the look has left its lock to the keeper that comes next.
        assert!(Locked::take(&directory.open_run(&name).unwrap().unwrap()).unwrap().is_some());
    }
}
