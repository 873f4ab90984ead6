//! Does somebody work in the state directory? Two servers with one state see and end each other's sessions, whatever ports
//! they have.

use crate::probe::locks::{Place, held};
use crate::process::handle::read_stat;
use crate::server::preflight::checklist::Finding;
use crate::server::preflight::parse::{number, sockets_below};
use crate::server::preflight::pass::{Pass, age, described};
use crate::sys::{self, ProcReader};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How many names are looked at: a state directory is small, and one that is not is looked at in part.
const MOST_ENTRIES: usize = 4096;
/// A file that is to hold a process id is no longer than this.
const LONGEST_PID_FILE: u64 = 64;
/// What a process started at, and when its file was written, are rounded.
const ROUNDING: Duration = Duration::from_secs(2);

/// What is in the directory, looked at before the processes.
pub(crate) struct Looked {
    pub(crate) path: PathBuf,
    files: BTreeSet<Place>,
    pid_files: Vec<(PathBuf, u32, SystemTime)>,
    /// Inode, whether it listens, and path.
    pub(crate) sockets: Vec<(u64, bool, String)>,
    is_whole: bool,
}

/// `None` if there is no such directory.
pub(crate) fn look(reader: &mut ProcReader, directory: &Path) -> Result<Option<Looked>, String> {
    let why = |cause: std::io::Error| format!("`{}` cannot be looked at: {cause}", directory.display());
    let path = match fs::canonicalize(directory) {
        Ok(path) => path,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(why(cause)),
    };
    let mut looked = Looked {
        path: path.clone(),
        files: BTreeSet::new(),
        pid_files: Vec::new(),
        sockets: Vec::new(),
        is_whole: true,
    };
    looked.walk(&path, MOST_ENTRIES).map_err(why)?;
    looked.sockets = sockets_in(reader, &path);
    Ok(Some(looked))
}

/// None where the kernel has none, or the path is no text.
fn sockets_in(reader: &mut ProcReader, directory: &Path) -> Vec<(u64, bool, String)> {
    let (Ok(table), Some(path)) = (reader.read_list(sys::own_pid(), "net/unix"), directory.to_str()) else {
        return Vec::new();
    };
    let table = String::from_utf8_lossy(&table);
    let found = sockets_below(&table, path).into_iter();
    found.map(|(inode, listens, path)| (inode, listens, path.to_owned())).collect()
}

impl Looked {
    fn walk(&mut self, top: &Path, most: usize) -> std::io::Result<()> {
        let mut open = vec![top.to_owned()];
        let mut seen = 0;
        while let Some(directory) = open.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                // It went meanwhile, or is another's.
                Err(_) if directory != top => {
                    self.is_whole = false;
                    continue;
                }
                Err(cause) => return Err(cause),
            };
            for entry in entries.flatten() {
                seen += 1;
                if seen > most {
                    self.is_whole = false;
                    return Ok(());
                }
                let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_file() {
                    self.file(path);
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf) {
        if let Ok(facts) = sys::facts_of_link(&path) {
            self.files.insert((sys::device_numbers(facts.device), facts.inode));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        if name == "pid" || name.ends_with(".pid") {
            self.pid_files.extend(pid_in(&path).map(|(pid, written)| (path, pid, written)));
        }
    }
}

fn pid_in(path: &Path) -> Option<(u32, SystemTime)> {
    let facts = fs::metadata(path).ok().filter(|facts| facts.len() <= LONGEST_PID_FILE)?;
    let text = fs::read_to_string(path).ok()?;
    let first = text.split_ascii_whitespace().next()?;
    Some((u32::try_from(number(first)?).ok()?, facts.modified().ok()?))
}

pub(crate) fn judge(reader: &mut ProcReader, looked: &Result<Option<Looked>, String>, pass: &Pass) -> Finding {
    let looked = match looked {
        Ok(Some(looked)) => looked,
        Ok(None) => return Finding::passed("it is not there yet"),
        Err(cause) => return Finding::could_not_look(cause),
    };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let locking: BTreeSet<u32> =
        held(&locks).filter(|(_, place)| looked.files.contains(place)).map(|(pid, _)| pid).collect();
    let mut found = Vec::new();
    let mut named: BTreeSet<u32> = pass.ours.iter().copied().collect();
    for (pid, (path, more)) in pass.below.iter().filter(|(pid, _)| !pass.ours.contains(pid)) {
        let mut text = format!("{} has `{}` open", described(reader, *pid), String::from_utf8_lossy(path));
        if *more > 0 {
            text += &format!(" and {more} more");
        }
        text += if locking.contains(pid) { ", with a lock" } else { "" };
        named.insert(*pid);
        found.push(text);
    }
    for pid in locking {
        if named.insert(pid) {
            found.push(format!("{} holds a lock on a file in it", described(reader, pid)));
        }
    }
    for (inode, _, path) in looked.sockets.iter().filter(|(_, listens, _)| *listens) {
        let owners: Vec<u32> = pass.sockets.iter().filter(|(one, _)| one == inode).map(|(_, pid)| *pid).collect();
        // One that was closed meanwhile is nobody's.
        if owners.is_empty() && sockets_in(reader, &looked.path).iter().any(|(one, ..)| one == inode) {
            found.push(format!("somebody who is not seen from here listens on `{path}`"));
        }
        for pid in owners.into_iter().filter(|pid| !pass.ours.contains(pid)) {
            let name = if named.insert(pid) { described(reader, pid) } else { format!("pid {pid}") };
            found.push(format!("{name} listens on `{path}`"));
        }
    }
    for (path, pid, written) in &looked.pid_files {
        if let Some(text) = pid_file(reader, path, *pid, *written).filter(|_| named.insert(*pid)) {
            found.push(text);
        }
    }
    if found.is_empty() {
        return Finding::passed(nobody(looked, pass));
    }
    let to_do = "give the server of the tests a state directory of its own (its HOME, mostly): another port does not keep two \
                 servers apart that share their state";
    Finding::failed(format!("in use: {}", found.join("; ")), to_do)
}

/// Only a maybe: a process id is reused. One that started after its file was written is another process.
fn pid_file(reader: &mut ProcReader, path: &Path, pid: u32, written: SystemTime) -> Option<String> {
    let started = read_stat(reader, pid).ok().filter(|stat| !stat.is_dead())?.started;
    let ago = SystemTime::now().duration_since(written).unwrap_or_default();
    if age(started) + ROUNDING < ago {
        return None;
    }
    Some(format!("maybe {}, which `{}` names", described(reader, pid), path.display()))
}

fn nobody(looked: &Looked, pass: &Pass) -> String {
    let mut text = "nobody has anything open in it".to_owned();
    if pass.hidden > 0 {
        text += &format!(" ({} processes of others do not show what they have open)", pass.hidden);
    }
    text += if looked.is_whole { "" } else { "; not all of it could be looked at" };
    text
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::server::preflight::checklist::CheckOutcome;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::{Child, Command, Stdio};
    use tempfile::TempDir;

    fn looked(folder: &TempDir) -> Looked {
        look(&mut ProcReader::new().unwrap(), folder.path()).unwrap().unwrap()
    }

    /// What is found; empty if nobody works there.
    fn judged(looked: Looked, pass: &Pass) -> String {
        let found = judge(&mut ProcReader::new().unwrap(), &Ok(Some(looked)), pass);
        if found.outcome == CheckOutcome::Failed { found.found } else { String::new() }
    }

    /// Ended and reaped with the test.
    struct Living(Child);

    impl Living {
        fn new() -> Self {
            Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
        }
    }

    impl Drop for Living {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_pid_file_is_a_short_file_of_that_name_anywhere_below() {
        let living = Living::new();
        let pid = living.0.id();
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = elsewhere.path().join("x.pid");
        fs::write(&outside, pid.to_string()).unwrap();
        symlink(&outside, folder.path().join("link.pid")).unwrap();
        fs::write(folder.path().join("long.pid"), format!("{pid}{}", " ".repeat(64))).unwrap();
        fs::write(folder.path().join("zero.pid"), "0").unwrap();
        fs::write(folder.path().join("pid.txt"), pid.to_string()).unwrap();
        assert_eq!(judged(looked(&folder), &Pass::default()), "");
        for name in ["pid", "Server.PID", "sub/deeper/x.pid"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, pid.to_string()).unwrap();
            let found = judged(looked(&folder), &Pass::default());
            assert!(found.contains(&format!("maybe pid {pid} ")) && found.contains(name), "{found}");
            // Who is named for what it does is not named for this as well.
            let below = [(pid, (b"/x".to_vec(), 0))].into();
            let found = judged(looked(&folder), &Pass { below, ..Pass::default() });
            assert!(found.contains(&format!("pid {pid} ")) && !found.contains("maybe"), "{found}");
            assert_eq!(judged(looked(&folder), &Pass { ours: vec![pid], ..Pass::default() }), "");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_process_that_has_ended_is_not_named_by_its_file() {
        let mut living = Living::new();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pid"), living.0.id().to_string()).unwrap();
        drop(living.0.stdin.take());
        // Nobody has waited for it: it has a number still.
        let mut reader = ProcReader::new().unwrap();
        while !read_stat(&mut reader, living.0.id()).unwrap().is_dead() {
            std::thread::yield_now();
        }
        assert_eq!(judged(looked(&folder), &Pass::default()), "");
    }

    #[test]
    fn who_has_how_much_open_is_said_once_for_each() {
        let (living, folder) = (Living::new(), tempfile::tempdir().unwrap());
        let pid = living.0.id();
        let listener = (77, true, "/x/s".to_owned());
        let looked = || Looked { sockets: vec![listener.clone(), (78, false, "/x/t".into())], ..looked(&folder) };
        let sockets = vec![(77, pid), (78, pid)];
        let found = judged(looked(), &Pass { sockets: sockets.clone(), ..Pass::default() });
        assert!(
            found.starts_with(&format!("in use: pid {pid} `cat`")) && found.ends_with(" listens on `/x/s`"),
            "{found}"
        );
        let below = [(pid, (b"/x/file".to_vec(), 2))].into();
        let found = judged(looked(), &Pass { sockets: sockets.clone(), below, ..Pass::default() });
        assert!(found.contains("has `/x/file` open and 2 more; "), "{found}");
        assert!(found.ends_with(&format!("; pid {pid} listens on `/x/s`")), "{found}");
        let below = [(pid, (b"/x/file".to_vec(), 0))].into();
        let found = judged(looked(), &Pass { below, ..Pass::default() });
        assert!(found.ends_with("has `/x/file` open"), "{found}");
        assert_eq!(judged(looked(), &Pass { sockets, ours: vec![pid], ..Pass::default() }), "");
    }

    #[test]
    fn a_listener_of_somebody_who_is_not_seen_is_told_while_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let found = judged(looked(&folder), &Pass::default());
        assert!(found.contains("somebody who is not seen from here listens on `"), "{found}");
        let before = looked(&folder);
        drop(listener);
        // A child of another test has it until its exec.
        while !sockets_in(&mut ProcReader::new().unwrap(), &before.path).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(judged(before, &Pass::default()), "");
    }

    #[test]
    fn who_holds_a_lock_is_told_whether_its_file_is_seen_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("lock")).unwrap();
        file.lock().unwrap();
        let own = sys::own_pid();
        let found = judged(looked(&folder), &Pass::default());
        assert!(found.ends_with(" holds a lock on a file in it") && found.contains(&format!("pid {own} ")), "{found}");
        let below = [(own, (b"/x/lock".to_vec(), 0))].into();
        let found = judged(looked(&folder), &Pass { below, ..Pass::default() });
        assert!(found.ends_with(" has `/x/lock` open, with a lock"), "{found}");
        assert_eq!(judged(looked(&folder), &Pass { ours: vec![own], ..Pass::default() }), "");
    }

    #[test]
    fn what_could_not_be_seen_is_said() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1", "2"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let said = |most, pass: &Pass| {
            let mut looked = Looked { files: BTreeSet::new(), ..looked(&folder) };
            looked.walk(folder.path(), most).unwrap();
            judge(&mut ProcReader::new().unwrap(), &Ok(Some(looked)), pass).found
        };
        assert_eq!(said(2, &Pass::default()), "nobody has anything open in it");
        assert!(said(2, &Pass { hidden: 3, ..Pass::default() }).contains("3 processes of others"));
        assert!(said(1, &Pass::default()).ends_with("not all of it could be looked at"));
        assert!(look(&mut ProcReader::new().unwrap(), &folder.path().join("1")).is_err());
    }
}
