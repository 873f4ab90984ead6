//! Who still has what was a server's: its port, files in its home, its terminals. Looked for when its tree is dead; named,
//! and never signalled: whatever could be proven to be the server's has ended by then.

use crate::error::{Error, Result};
use crate::process::handle::reader;
use crate::process::identity::Ticks;
use crate::process::listening::{self, socket_inode};
use crate::process::summary::ProcessSummary;
use crate::server::outcome::Holder;
use crate::sys::{self, ProcReader};
use std::path::{Path, PathBuf};

/// What the tree had before it was ended.
#[derive(Debug, Default)]
pub(crate) struct Had {
    /// The inodes of the sockets that it listened with.
    listening: Vec<u64>,
    /// Paths of terminals, `/dev/pts/N`.
    terminals: Vec<Vec<u8>>,
    /// Before the end: whoever started later has a terminal of the same number, and not the same.
    until: Ticks,
}

/// Looks at what these processes have open. What cannot be read is not known, and looked for by home and port.
pub(crate) fn had_by(pids: &[u32]) -> Had {
    let mut had = Had { until: sys::now_ticks(), ..Had::default() };
    let Ok(mut reader) = reader() else { return had };
    let listening = listening::of(&mut reader, pids).unwrap_or_default();
    had.listening = listening.into_iter().map(|one| one.owner.inode).collect();
    for pid in pids {
        let targets = reader.descriptor_targets(*pid).unwrap_or_default();
        had.terminals.extend(targets.into_iter().filter(|target| target.starts_with(b"/dev/pts/")));
    }
    had
}

/// Who has what, from one pass over all processes whose descriptors this user may see; another user's could not be ours.
///
/// # Errors
///
/// If /proc cannot be listed: then nothing is known.
pub(crate) fn look(had: &Had, home: &Path, port: Option<u16>) -> Result<Vec<Holder>> {
    let mut reader = reader()?;
    let os = |cause| Error::os("look for who holds what was a server's", "", cause);
    let at_port: Vec<u64> = match port {
        None => Vec::new(),
        Some(port) => {
            let all = listening::all(&mut reader).map_err(os)?;
            all.into_iter().filter(|one| one.port == port).map(|one| one.owner.inode).collect()
        }
    };
    let home = &as_shown(home);
    let mut holders = Vec::new();
    for pid in reader.pids().map_err(os)? {
        if pid == sys::own_pid() {
            continue;
        }
        let what = what_is_held(&mut reader, pid, had, (home, port), &at_port);
        if let Some((what, is_inherited)) = what
            && let Ok(process) = ProcessSummary::of(&mut reader, pid)
        {
            let is_older = process.identity.started_ticks() <= had.until;
            if is_older || !what.starts_with("its terminal") {
                holders.push(Holder { process, what, is_inherited });
            }
        }
    }
    Ok(holders)
}

/// As the kernel shows what is open in it: the directory for temporary files may be reached by a link.
fn as_shown(home: &Path) -> PathBuf {
    let real = || Some(std::fs::canonicalize(home.parent()?).ok()?.join(home.file_name()?));
    real().unwrap_or_else(|| home.to_owned())
}

/// In words, and whether it can only have it from the server.
fn what_is_held(
    reader: &mut ProcReader,
    pid: u32,
    had: &Had,
    (home, port): (&Path, Option<u16>),
    at_port: &[u64],
) -> Option<(String, bool)> {
    let is_below = |target: &[u8]| {
        let rest = target.strip_prefix(home.as_os_str().as_encoded_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || rest.starts_with(b" (deleted)"))
    };
    let targets = reader.descriptor_targets(pid).unwrap_or_default();
    for target in &targets {
        if let Some(inode) = socket_inode(target) {
            if had.listening.contains(&inode) {
                return Some(("a socket that it listened with".into(), true));
            }
            if at_port.contains(&inode) {
                return Some((format!("its port {}", port.unwrap_or_default()), false));
            }
        }
    }
    let shown = |target: &[u8]| String::from_utf8_lossy(target).into_owned();
    if let Some(target) = targets.iter().find(|target| is_below(target)) {
        return Some((format!("its file `{}`", shown(target)), false));
    }
    if let Some(target) = targets.iter().find(|target| had.terminals.contains(target)) {
        return Some((format!("its terminal {}", shown(target)), false));
    }
    let directory = reader.target(pid, "cwd").ok().filter(|target| is_below(target))?;
    Some((format!("its directory `{}`, in which it works", shown(&directory)), false))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::process::{Child, Command, Stdio};

    /// Has something, and ends when its input does.
    struct Stranger(Child);

    impl Stranger {
        fn new(command: &mut Command) -> Self {
            use std::io::{BufRead as _, BufReader};
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
            Self(child)
        }

        /// What it is found to have.
        fn has(&self, had: &Had, home: &Path) -> Option<String> {
            let holders = look(had, home, None).unwrap();
            let of_it = holders.into_iter().find(|holder| holder.process.identity.pid == self.0.id());
            of_it.map(|holder| holder.what)
        }
    }

    impl Drop for Stranger {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            self.0.wait().unwrap();
        }
    }

    fn shell() -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo; read line"]);
        command
    }

    #[test]
    fn who_works_in_a_home_is_found_and_who_works_beside_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (home, beside) = (folder.path().join("tl-1"), folder.path().join("tl-12"));
        for directory in [&home, &beside] {
            fs::create_dir_all(directory.join("state")).unwrap();
        }
        let had = had_by(&[]);
        let inside = Stranger::new(shell().current_dir(home.join("state")));
        let outside = Stranger::new(shell().current_dir(beside.join("state")));
        assert!(inside.has(&had, &home).unwrap().contains("in which it works"));
        assert_eq!(outside.has(&had, &home), None);
    }

    #[test]
    fn who_works_in_a_home_that_is_reached_by_a_link_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir_all(real.join("tl-1/state")).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let home = link.join("tl-1");
        let had = had_by(&[]);
        let file = Stranger::new(shell().stderr(File::create(home.join("state/file")).unwrap()));
        let worker = Stranger::new(shell().current_dir(home.join("state")));
        assert!(file.has(&had, &home).unwrap().contains("its file `"));
        assert!(worker.has(&had, &home).unwrap().contains("in which it works"));
    }

    /// A number of a terminal is given again when it is closed. What looks like one here is a file, as far as its path goes.
    #[test]
    fn a_terminal_is_the_same_only_to_whoever_was_there_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terminal");
        let file = File::create(&path).unwrap();
        let stranger = Stranger::new(shell().stderr(file));
        let terminals = vec![fs::canonicalize(path).unwrap().into_os_string().into_encoded_bytes()];
        let mut had = Had { terminals, until: sys::now_ticks(), ..Had::default() };
        let home = folder.path().join("home");
        assert!(stranger.has(&had, &home).unwrap().contains("its terminal"));
        had.until = ProcessSummary::of(&mut reader().unwrap(), stranger.0.id()).unwrap().identity.started - 1;
        assert_eq!(stranger.has(&had, &home), None);
    }
}
