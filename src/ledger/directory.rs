//! The place of all runs' files: a directory that belongs to this user and that nobody else can look into.
//!
//! What stands in a file decides who gets a signal, so nobody else may write one: the directory is checked once it is
//! held by descriptor, and from then on everything goes by the descriptor. The last run removes it.

use crate::error::{Error, Result};
use crate::ledger::file::RunFile;
use crate::ledger::message::LedgerAt;
use crate::settings::Settings;
use crate::sys;
use parking_lot::Mutex;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

const ENDING: &str = ".ledger";
/// How often it is made again if others remove it meanwhile. Each time is another run that ended just then; ten in a row
/// were seen where four began and ended runs without a pause. A try takes some microseconds.
const TRIES: usize = 1000;
const ADVICE: &str = "set TERMLEASH_LEDGER to the absolute path of a directory that this user can make and write to";

/// The directory of this user's runs.
pub(crate) struct Directory {
    path: PathBuf,
    /// Another one once somebody has removed the first.
    held: Mutex<Arc<File>>,
}

impl Directory {
    /// The one that is used unless somebody says otherwise; it is made if need be.
    pub(crate) fn find(settings: &Settings) -> Result<Self> {
        Self::open(&Self::place(settings))
    }

    /// Where that one is, or would be.
    pub(crate) fn place(settings: &Settings) -> PathBuf {
        choose(settings.ledger.as_deref(), std::env::var_os("XDG_RUNTIME_DIR"), &std::env::temp_dir())
    }

    /// # Errors
    ///
    /// If it is not, or cannot become, a directory of this user alone. It is not made so: who opened it may have put
    /// something into it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = without_slash(path);
        let held = Mutex::new(Arc::new(hold(&path)?));
        Ok(Self { path, held })
    }

    /// As [`open`](Self::open), but makes nothing: `None` if there is none, so no run either.
    pub(crate) fn open_existing(path: &Path) -> Result<Option<Self>> {
        let path = without_slash(path);
        Ok(check(&path)?.map(|held| Self { path, held: Mutex::new(Arc::new(held)) }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name of a run's file.
    pub(crate) fn name_of(run: Uuid) -> String {
        format!("{}{ENDING}", run.simple())
    }

    pub(crate) fn create_run(&self, run: Uuid) -> Result<RunFile> {
        let name = Self::name_of(run);
        let what = || format!("create the ledger `{}`", self.path.join(&name).display());
        for _ in 0..TRIES {
            match sys::create_in(&self.held(), &name) {
                Ok(file) => return Ok(RunFile::new(file)),
                // The last run of another process has ended.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    *self.held.lock() = Arc::new(hold(&self.path)?);
                }
                Err(cause) => return Err(Error::os(what(), ADVICE, cause)),
            }
        }
        Err(Error::os(what(), ADVICE, io::ErrorKind::NotFound))
    }

    /// A file that [`list`](Self::list) named; `None` if it has been removed since.
    ///
    /// # Errors
    ///
    /// [`Error::is_refused`] if it is anything but a file of this user's own with one name: it could lead elsewhere.
    pub(crate) fn open_run(&self, name: &str) -> Result<Option<RunFile>> {
        let path = self.path.join(checked(name)?);
        let refused = |what: &str| {
            Err(Error::refused(format!(
                "the ledger `{}` is {what}, so it was not read: nothing of ours makes such a thing; remove it",
                path.display()
            )))
        };
        let fail = |cause| Error::os(format!("open the ledger `{}`", path.display()), ADVICE, cause);
        let file = match sys::open_in(&self.held(), name) {
            Ok(file) => file,
            Err(cause) => match cause.kind() {
                io::ErrorKind::NotFound => return Ok(None),
                io::ErrorKind::InvalidInput => return refused("no regular file"),
                _ => return Err(fail(cause)),
            },
        };
        let facts = sys::file_facts(&file).map_err(fail)?;
        match facts.links {
            _ if !facts.is_regular => refused("no regular file"),
            _ if facts.owner != sys::own_uid() => refused(&format!("a file of user {}", facts.owner)),
            0 => Ok(None),
            1 => Ok(Some(RunFile::new(file))),
            links => refused(&format!("a file with {links} names (hard links)")),
        }
    }

    /// The names of the runs' files. What else is there is nobody's business here.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let what = || format!("list the ledgers in `{}`", self.path.display());
        let mut names = sys::names_in(&self.held()).map_err(|cause| Error::os(what(), ADVICE, cause))?;
        names.retain(|name| checked(name).is_ok());
        // Runs sort by time.
        names.sort_unstable();
        Ok(names)
    }

    /// When the runs began that are listed, by their names: those that have not ended, and those that nobody has swept yet.
    pub(crate) fn begins(&self) -> Result<Vec<SystemTime>> {
        let begin = |name: String| {
            let run = Uuid::parse_str(name.strip_suffix(ENDING)?).ok()?;
            let (seconds, nanoseconds) = run.get_timestamp()?.to_unix();
            Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds))
        };
        Ok(self.list()?.into_iter().filter_map(begin).collect())
    }

    /// Takes the lock on the directory itself, unless somebody has it: for what must not be done by two at once.
    pub(crate) fn try_lock(&self) -> io::Result<Option<DirectoryLock>> {
        let held = self.held();
        match held.try_lock() {
            Ok(()) => Ok(Some(DirectoryLock(held))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    /// Also if it is gone already.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match sys::remove_in(&self.held(), checked(name)?) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                let path = self.path.join(name);
                Err(Error::os(format!("remove the ledger `{}`", path.display()), "remove it by hand", cause))
            }
            _ => Ok(()),
        }
    }

    /// The last one out removes the directory. One that may not be removed stays, empty: where its parent is not ours to
    /// write to.
    pub(crate) fn remove_if_empty(&self) -> Result<()> {
        let fail = |cause| Error::os(format!("remove `{}`", self.path.display()), "remove it by hand", cause);
        let facts = |file: &File| sys::file_facts(file).map(|facts| (facts.device, facts.inode));
        // What has taken its place meanwhile is for others to remove, as is what cannot be looked at.
        let Ok(found) = sys::open_directory(&self.path) else { return Ok(()) };
        if facts(&found).map_err(fail)? != facts(&self.held()).map_err(fail)? {
            return Ok(());
        }
        use io::ErrorKind::{
            AlreadyExists, DirectoryNotEmpty, NotFound, PermissionDenied, ReadOnlyFilesystem, ResourceBusy,
        };
        match std::fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(cause) => match cause.kind() {
                // POSIX lets a system say the first of these for the second.
                AlreadyExists | DirectoryNotEmpty | NotFound => Ok(()),
                PermissionDenied | ReadOnlyFilesystem | ResourceBusy => Ok(()),
                _ => Err(fail(cause)),
            },
        }
    }

    fn held(&self) -> Arc<File> {
        self.held.lock().clone()
    }
}

/// The lock on a directory of ledgers, until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock(Arc<File>);

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // By name: closing it would not do while a child that was forked meanwhile has a copy of the descriptor.
        let _ = self.0.unlock();
    }
}

impl LedgerAt {
    /// Opens it: its directory, its name in that, and the file.
    ///
    /// # Errors
    ///
    /// [`Error::is_refused`] with the reason why there is none, also if it has been removed since; and those of
    /// [`Directory::open_existing`] and [`Directory::open_run`].
    pub(crate) fn open(&self) -> Result<(Directory, &str, RunFile)> {
        let (directory, name) = match self {
            Self::File { directory, name } => (directory, name),
            Self::Nowhere { why } => return Err(Error::refused(why.clone())),
        };
        let is_gone = || Error::refused("somebody has removed the ledger of this run");
        let directory = Directory::open_existing(directory)?.ok_or_else(is_gone)?;
        let file = directory.open_run(name)?.ok_or_else(is_gone)?;
        Ok((directory, name, file))
    }
}

/// The setting, else below the user's own run-time directory, else below the one for temporary files.
fn choose(setting: Option<&Path>, runtime: Option<OsString>, temporary: &Path) -> PathBuf {
    if let Some(path) = setting {
        return path.to_owned();
    }
    let runtime = runtime.map(PathBuf::from).filter(|path| path.is_absolute() && is_for_us_to_write(path));
    match runtime {
        Some(path) => path.join("termleash"),
        None => {
            let path = temporary.join(format!("termleash-{}", sys::own_uid()));
            // The working directory may change.
            std::path::absolute(&path).unwrap_or(path)
        }
    }
}

/// `sudo` may hand on the variable of another user, and a container one whose directory it does not have.
fn is_for_us_to_write(path: &Path) -> bool {
    let facts = sys::open_directory(&without_slash(path)).and_then(|found| sys::file_facts(&found));
    facts.is_ok_and(|facts| facts.owner == sys::own_uid() && facts.permissions & 0o022 == 0)
}

/// `link/` and `link/.` would be followed although links are not.
fn without_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Opens it, or makes it and opens it.
fn hold(path: &Path) -> Result<File> {
    let what = || format!("create the directory of ledgers `{}`", path.display());
    for _ in 0..TRIES {
        if let Some(held) = check(path)? {
            return Ok(held);
        }
        match sys::create_directory(path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::os(what(), ADVICE, cause));
            }
            _ => {}
        }
    }
    Err(Error::os(what(), ADVICE, io::ErrorKind::NotFound))
}

/// Opens it if it is there and is what it must be.
fn check(path: &Path) -> Result<Option<File>> {
    let shown = path.display();
    let fail = |cause| Error::os(format!("open the directory of ledgers `{shown}`"), ADVICE, cause);
    let refused = |what: String| Err(Error::refused(format!("the directory of ledgers `{shown}` {what}")));
    let directory = match sys::open_directory(path) {
        Ok(directory) => directory,
        Err(cause) => match cause.kind() {
            io::ErrorKind::NotFound => return Ok(None),
            io::ErrorKind::NotADirectory => {
                return refused(format!(
                    "is no directory, or a symbolic link to one, which could lead anywhere; remove it, or {ADVICE}"
                ));
            }
            io::ErrorKind::Unsupported => {
                return Err(Error::unsupported("a ledger is kept on Linux only, so far"));
            }
            _ => return Err(fail(cause)),
        },
    };
    let facts = sys::file_facts(&directory).map_err(fail)?;
    if !facts.is_directory {
        return refused(format!("is no directory; remove it, or {ADVICE}"));
    }
    if facts.owner != sys::own_uid() {
        return refused(format!("belongs to user {}, who could write what is not true into it; {ADVICE}", facts.owner));
    }
    if facts.permissions & 0o077 != 0 {
        return refused(format!(
            "can be used by others (mode {:o}), who could write what is not true into it; look at what is in it, then \
             `chmod 700` it, or {ADVICE}",
            facts.permissions
        ));
    }
    Ok(Some(directory))
}

/// A name of a run's file: never a path.
fn checked(name: &str) -> Result<&str> {
    if name.ends_with(ENDING) && !name.contains(['/', '\\', '\0']) {
        return Ok(name);
    }
    Err(Error::invalid(format!("{name:?} is no name of a ledger: write a file's name that ends in `{ENDING}`")))
}

#[cfg(all(test, target_os = "linux"))]
#[path = "directory_tests.rs"]
mod tests;
