//! Control groups (cgroups(7), version 2): a group of our own that holds whatever a run starts, and from which nothing
//! escapes by `setsid`, a double fork or a cleared environment.
//!
//! Nothing here writes `cgroup.kill`: signals go to pinned processes one by one, by the rule, and anybody who may write
//! `cgroup.procs` can put a process of another user into the group.
//!
//! # Limits
//!
//! A group of our own takes a mounted cgroup v2 in which this user may make groups: root outside of containers has that, and
//! what runs in a systemd user session. Elsewhere [`Leaf::create`] answers why not. A process that may write to the group
//! above ours can leave ours.

use crate::sys::CgroupDir;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};

/// What the name of every group of ours begins with. Others may begin so, too: by a name nothing becomes ours.
const PREFIX: &str = "termleash-";

/// How often the members are read again because none was seen in a group that has some: one may have moved from a group that was
/// not read yet to one that had been.
const MOST_READS: u32 = 1_000;

/// Where a group of ours is, as plain data for a mark and for the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CgroupMark {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// What `/proc/PID/cgroup` shows of its members: a path from the root of our cgroup namespace.
    pub(crate) kernel_path: String,
}

impl CgroupMark {
    /// Whether a process in the group with this kernel path is in ours or in one below, such as a test may make. Never true for a
    /// mark that is no group of ours by its form: the root would hold everybody.
    pub(crate) fn holds(&self, kernel_path: &str) -> bool {
        let rest = kernel_path.strip_prefix(&self.kernel_path);
        // The whole name must match, and not a part of a longer one.
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_below && is_ours_by_form(&self.kernel_path)
    }
}

/// Absolute, no way up, and the last name begins as ours do.
fn is_ours_by_form(kernel_path: &str) -> bool {
    let Some(names) = kernel_path.strip_prefix('/') else { return false };
    let is_plain = names.split('/').all(|name| !name.is_empty() && name != ".." && name != ".");
    let name = names.rsplit('/').next().and_then(|name| name.strip_prefix(PREFIX));
    is_plain && name.is_some_and(|name| !name.is_empty())
}

/// A group of our own, directly below the one that its maker was in.
///
/// Dropping it leaves the group: that outlives its maker where a keeper must clean up.
#[derive(Debug)]
pub(crate) struct Leaf {
    mark: CgroupMark,
    dir: CgroupDir,
}

impl Leaf {
    /// Makes `termleash-NAME` below the group that this process is in. It is told before it is made, so that it is in the books
    /// when its maker is killed the next moment.
    ///
    /// # Errors
    ///
    /// Why there is none, in words for a report; then nothing is left behind.
    pub(crate) fn create(name: &str, tell: impl Fn(&CgroupMark)) -> Result<Self, String> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(format!("`{name}` is no name for a control group"));
        }
        let own = own_kernel_path()?;
        let mut why = None;
        // The last mount hides those before it, if any, so what it lacks says most.
        for mount in mounts()?.iter().rev() {
            let made = match mount.find(&own) {
                Ok(above) => Self::create_below(&above, &own, name, &tell),
                Err(cause) => Err(cause),
            };
            match made {
                Ok(leaf) => return Ok(leaf),
                Err(cause) => _ = why.get_or_insert(cause),
            }
        }
        Err(why.unwrap_or_else(|| "no cgroup v2 file system is mounted".to_owned()))
    }

    fn create_below(above: &Path, own: &str, name: &str, tell: impl Fn(&CgroupMark)) -> Result<Self, String> {
        let why = |path: &Path, what: &str, cause: &io::Error| format!("{} {what}: {cause}", path.display());
        // Before anything is made: what is mounted there may be another file system by now.
        CgroupDir::open(above).map_err(|cause| why(above, "cannot be used", &cause))?;
        // Who enters ours must be allowed to leave this one, which is asked of this very file (cgroups(7)).
        may_write(&above.join("cgroup.procs"))?;
        let path = above.join(format!("{PREFIX}{name}"));
        let kernel_path = format!("{}/{PREFIX}{name}", own.trim_end_matches('/'));
        let mark = CgroupMark { path: path.clone(), kernel_path };
        tell(&mark);
        fs::create_dir(&path).map_err(|cause| why(&path, "cannot be made", &cause))?;
        let finish = || {
            let dir = CgroupDir::open(&path).map_err(|cause| why(&path, "cannot be used", &cause))?;
            may_write(&path.join("cgroup.procs"))?;
            fs::metadata(path.join("cgroup.events")).map_err(|cause| why(&path, "has no cgroup.events", &cause))?;
            let kind = fs::read_to_string(path.join("cgroup.type"))
                .map_err(|cause| why(&path, "does not say its type", &cause))?;
            // `domain invalid` below a threaded group: no process may be in it.
            if kind.trim_end() != "domain" {
                return Err(format!("{} is of type `{}`, which takes no processes", path.display(), kind.trim_end()));
            }
            Ok(dir)
        };
        match finish() {
            Ok(dir) => Ok(Self { mark, dir }),
            Err(cause) => {
                // It is new and empty; what has gone wrong says more than a failure to take it back.
                let _ = fs::remove_dir(&path);
                Err(cause)
            }
        }
    }

    /// One that this or another process has made, whose directory was recorded.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it is gone, and so all that was in it; [`io::ErrorKind::InvalidInput`] if it is no group
    /// of ours by its form or lies outside of our cgroup namespace, where what /proc says of members cannot be compared.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let dir = open(path)?;
        let kernel_path = kernel_path_of(&mounts().map_err(io::Error::other)?, path)
            .ok_or_else(|| invalid("it is below no cgroup v2 file system of this cgroup namespace"))?;
        Ok(Self { mark: CgroupMark { path: path.to_owned(), kernel_path }, dir })
    }

    /// Whether it is the one that was made by this name: another run's begins as ours does.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let own = self.mark.path.file_name().and_then(|own| own.to_str());
        own.and_then(|own| own.strip_prefix(PREFIX)) == Some(name)
    }

    /// What marks its members.
    pub(crate) fn mark(&self) -> &CgroupMark {
        &self.mark
    }

    /// For `CLONE_INTO_CGROUP`: who enters after its start leaves behind what it has forked by then.
    pub(crate) fn dir(&self) -> &CgroupDir {
        &self.dir
    }

    /// Whether any process is in it or below it.
    pub(crate) fn is_populated(&self) -> io::Result<bool> {
        is_populated(&self.mark.path)
    }

    /// Takes it away with all groups below it. One that is gone already is success.
    ///
    /// # Errors
    ///
    /// `EBUSY` ([`io::ErrorKind::ResourceBusy`]) while a process is in it. One that is dying may be counted for a moment after
    /// its end can be seen.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // By path: anything else could have been put in its place only after it was gone.
        open(&self.mark.path).map(drop).and_then(|()| remove_below(&self.mark.path)).or_else(|cause| match cause {
            cause if is_gone(&cause) => Ok(()),
            cause => Err(cause),
        })
    }
}

/// The directory of the group that this process is in, in the cgroup v2 file system.
///
/// # Errors
///
/// Why it cannot be had, in words for a report.
pub(crate) fn own_directory() -> Result<PathBuf, String> {
    let own = own_kernel_path()?;
    let mut why = "no cgroup v2 file system is mounted".to_owned();
    for mount in mounts()?.iter().rev() {
        match mount.find_to_look(&own) {
            Ok(found) if found.join("cgroup.controllers").exists() => return Ok(found),
            Ok(found) => why = format!("{} is no directory of cgroup v2", found.display()),
            Err(cause) => why = cause,
        }
    }
    Err(why)
}

/// The groups in a directory that have the form of ours, with what stands behind `termleash-` in their names.
pub(crate) fn groups_of_ours(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let groups = groups_below(directory)?.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.to_owned();
        Some((name, path))
    });
    Ok(groups.collect())
}

/// The living processes in a group of ours and in all groups below it. Those of other PID namespaces have no number here and
/// are left out: they are not ours. No zombies.
///
/// # Errors
///
/// As [`Leaf::open`], and if processes are in it and none could be seen.
pub(crate) fn members(path: &Path) -> io::Result<Vec<u32>> {
    open(path)?;
    for _ in 0..MOST_READS {
        let mut found = Vec::new();
        members_below(path, &mut found)?;
        if found.is_empty() && is_populated(path)? {
            std::thread::yield_now();
            continue;
        }
        found.retain(|pid| *pid != 0);
        found.sort_unstable();
        found.dedup();
        return Ok(found);
    }
    Err(io::Error::other(format!("{} holds processes that it does not show", path.display())))
}

fn members_below(path: &Path, found: &mut Vec<u32>) -> io::Result<()> {
    match fs::read_to_string(path.join("cgroup.procs")) {
        Ok(list) => found.extend(list.lines().filter_map(|line| line.parse::<u32>().ok())),
        // Of a threaded group, whose processes the group above it shows.
        Err(cause) if cause.kind() == io::ErrorKind::Unsupported => {}
        Err(cause) => return Err(cause),
    }
    for below in groups_below(path)? {
        match members_below(&below, found) {
            Err(cause) if is_gone(&cause) => {}
            looked => looked?,
        }
    }
    Ok(())
}

fn remove_below(path: &Path) -> io::Result<()> {
    for below in groups_below(path)? {
        match remove_below(&below) {
            Err(cause) if is_gone(&cause) => {}
            removed => removed?,
        }
    }
    fs::remove_dir(path)
}

fn groups_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            groups.push(entry.path());
        }
    }
    Ok(groups)
}

/// `cgroup.events` says it of the whole tree.
pub(crate) fn is_populated(path: &Path) -> io::Result<bool> {
    let events = fs::read_to_string(path.join("cgroup.events"))?;
    let value = events.lines().find_map(|line| line.strip_prefix("populated "));
    value.map(|value| value != "0").ok_or_else(|| io::Error::other("its cgroup.events does not say `populated`"))
}

fn open(path: &Path) -> io::Result<CgroupDir> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PREFIX));
    let is_plain = path.components().all(|part| !matches!(part, Component::ParentDir | Component::CurDir));
    if !path.is_absolute() || !is_plain || name.is_none_or(str::is_empty) {
        return Err(invalid("it is no control group of ours by its name"));
    }
    CgroupDir::open(path)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// `ENOENT`, or `ENODEV` for a file of a group that was taken away while it was open.
pub(crate) fn is_gone(cause: &io::Error) -> bool {
    const NO_DEVICE: i32 = 19;
    cause.kind() == io::ErrorKind::NotFound || cause.raw_os_error() == Some(NO_DEVICE)
}

/// Asked by opening the file, which changes nothing.
fn may_write(path: &Path) -> Result<(), String> {
    let opened = OpenOptions::new().write(true).open(path);
    opened.map(drop).map_err(|cause| format!("{} may not be written: {cause}", path.display()))
}

/// One line of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) about a cgroup v2 file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Which group is at its top, from the root of our cgroup namespace.
    root: String,
    point: PathBuf,
    is_read_only: bool,
}

impl Mount {
    /// The directory in which a group is to be found, also where nothing can be made.
    pub(crate) fn find_to_look(&self, kernel_path: &str) -> Result<PathBuf, String> {
        (Self { is_read_only: false, ..self.clone() }).find(kernel_path)
    }

    /// The directory in which a group is to be found.
    fn find(&self, kernel_path: &str) -> Result<PathBuf, String> {
        let point = self.point.display();
        if self.is_read_only {
            return Err(format!("{point} is mounted read-only"));
        }
        let is_up = |path: &str| path == "/.." || path.starts_with("/../");
        let rest = kernel_path.strip_prefix(self.root.trim_end_matches('/'));
        match rest
            .filter(|rest| !is_up(&self.root) && !is_up(kernel_path) && (rest.is_empty() || rest.starts_with('/')))
        {
            Some("" | "/") => Ok(self.point.clone()),
            Some(rest) => Ok(self.point.join(rest.trim_start_matches('/'))),
            None => {
                Err(format!("{kernel_path}, our own control group, is not below {}, mounted at {point}", self.root))
            }
        }
    }

    /// The group whose directory this is.
    fn kernel_path(&self, directory: &Path) -> Option<String> {
        let below = directory.strip_prefix(&self.point).ok()?.to_str()?;
        Some(format!("{}/{below}", self.root.trim_end_matches('/')))
    }
}

/// The innermost mount counts, and of several at one place the last, which hides the others.
fn kernel_path_of(mounts: &[Mount], directory: &Path) -> Option<String> {
    let found =
        mounts.iter().filter_map(|mount| Some((mount.point.components().count(), mount.kernel_path(directory)?)));
    found.max_by_key(|(depth, _)| *depth).map(|(_, path)| path).filter(|path| is_ours_by_form(path))
}

/// In the order in which they were mounted. Lines that cannot be read and other file systems are passed over.
fn parse_mounts(mountinfo: &str) -> Vec<Mount> {
    parse_mounts_of(mountinfo, |kind, _| kind == "cgroup2")
}

/// The same of other file systems, chosen by type and options.
pub(crate) fn parse_mounts_of(mountinfo: &str, is_wanted: impl Fn(&str, &str) -> bool) -> Vec<Mount> {
    let parse = |line: &str| {
        // A varying number of fields stands before the separator.
        let (before, after) = line.split_once(" - ")?;
        if !is_wanted(after.split(' ').next()?, after.split(' ').nth(2).unwrap_or_default()) {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        let (root, point, options) = (fields.next()?, fields.next()?, fields.next()?);
        // Of this mount, or of the file system.
        let is_read_only = [Some(options), after.split(' ').nth(2)]
            .iter()
            .flatten()
            .any(|options| options.split(',').any(|option| option == "ro"));
        Some(Mount { root: unescape(root)?, point: unescape(point)?.into(), is_read_only })
    };
    mountinfo.lines().filter_map(parse).collect()
}

/// Blanks, line ends and backslashes stand there as `\` and three octal digits.
fn unescape(field: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after.first_chunk::<3>()) {
            (b'\\', Some(digits)) if digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) => {
                let number = digits.iter().fold(0, |number: u32, digit| number * 8 + u32::from(digit - b'0'));
                bytes.push(u8::try_from(number).ok()?);
                rest = &after[3..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

/// The line of version 2 in `/proc/PID/cgroup`, which has neither number nor names of controllers.
pub(crate) fn parse_kernel_path(cgroup: &[u8]) -> Option<&str> {
    let line = cgroup.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    std::str::from_utf8(line).ok().filter(|path| path.starts_with('/'))
}

// std reads to the end: these files come in pieces, so a short read is not the last.
fn mounts() -> Result<Vec<Mount>, String> {
    const FILE: &str = "/proc/self/mountinfo";
    let content = fs::read(FILE).map_err(|cause| format!("{FILE} cannot be read: {cause}"))?;
    Ok(parse_mounts(&String::from_utf8_lossy(&content)))
}

fn own_kernel_path() -> Result<String, String> {
    const FILE: &str = "/proc/self/cgroup";
    let content = fs::read(FILE).map_err(|cause| format!("{FILE} cannot be read: {cause}"))?;
    let path = parse_kernel_path(&content).ok_or("this kernel has no cgroup v2, or hides ours")?;
    Ok(path.to_owned())
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
