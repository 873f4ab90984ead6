//! Who descends from whom.

use crate::error::{Error, Result};
use crate::process::handle::{read_stat, reader};
use crate::process::identity::{OurSelf, ProcessIdentity};
use crate::process::rule::Ourselves;
use crate::process::stat::Stat;
use crate::sys::{self, ProcReader};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// A chain of parents longer than this is not believed.
const MOST_ANCESTORS: usize = 1_000;
/// How often the list of a process's children is read again because new ones came.
const MOST_READS: usize = 10;

/// All processes of this /proc, from one pass over their `stat`.
pub(crate) struct Tree {
    by_pid: BTreeMap<u32, Stat>,
    children: HashMap<u32, Vec<u32>>,
}

impl Tree {
    /// # Errors
    ///
    /// If /proc cannot be listed. Processes that vanish during the pass are left out.
    pub(crate) fn read(reader: &mut ProcReader) -> io::Result<Self> {
        let mut tree = Self { by_pid: BTreeMap::new(), children: HashMap::new() };
        for pid in reader.pids()? {
            if let Ok(stat) = read_stat(reader, pid) {
                tree.children.entry(stat.parent).or_default().push(pid);
                tree.by_pid.insert(pid, stat);
            }
        }
        Ok(tree)
    }

    pub(crate) fn children(&self, pid: u32) -> &[u32] {
        self.children.get(&pid).map_or(&[], Vec::as_slice)
    }
}

/// The children of a process, zombies included.
///
/// The kernel keeps the list for each *thread*, so all of them are read, and again until nothing new comes: a child
/// that appears while a file is read may be missing from it (proc_pid_tid_children(5)). A kernel without
/// `CONFIG_PROC_CHILDREN` has no such files; then the parent ids of all processes are read.
pub(crate) fn children(reader: &mut ProcReader, pid: u32) -> io::Result<Vec<u32>> {
    match until_nothing_new_comes(|| listed_children(reader, pid)) {
        Err(cause) if is_gone(&cause) && read_stat(reader, pid).is_ok() => {
            Ok(Tree::read(reader)?.children(pid).to_vec())
        }
        listed => listed,
    }
}

fn until_nothing_new_comes(mut list: impl FnMut() -> io::Result<Vec<u32>>) -> io::Result<Vec<u32>> {
    let mut known = Vec::new();
    for _ in 0..MOST_READS {
        let now = list()?;
        // The usual case by far, and certain: an empty list of the only thread.
        if now == known {
            break;
        }
        known = now;
    }
    Ok(known)
}

fn listed_children(reader: &mut ProcReader, pid: u32) -> io::Result<Vec<u32>> {
    let threads = if reader.thread_count(pid)? == 1 { vec![pid] } else { reader.threads(pid)? };
    let mut found = Vec::new();
    for thread in threads {
        match reader.read_list(pid, &format!("task/{thread}/children")) {
            Ok(list) => found.extend(
                list.split(|byte| *byte == b' ').filter_map(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok()),
            ),
            // One of several threads may end meanwhile, and its children move to another.
            Err(cause) if is_gone(&cause) && thread != pid => {}
            Err(cause) => return Err(cause),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The living processes below a process, in no order that means anything; those whose parent ended
/// are children of others by now.
pub(crate) fn descendants(reader: &mut ProcReader, pid: u32) -> Vec<u32> {
    let mut found = vec![];
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        // A process that ends meanwhile has no children any more.
        for child in children(reader, parent).unwrap_or_default() {
            if !found.contains(&child) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

/// The parent of a process, its parent and so on, up to process 1.
pub(crate) fn ancestors(reader: &mut ProcReader, pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut at = pid;
    while found.len() < MOST_ANCESTORS {
        match read_stat(reader, at) {
            Ok(stat) if stat.parent != 0 && !found.contains(&stat.parent) => {
                found.push(stat.parent);
                at = stat.parent;
            }
            _ => break,
        }
    }
    found
}

/// Who we are at this moment: a parent may have ended, and then the chain is another.
pub(crate) fn ourselves(reader: &mut ProcReader) -> Result<Ourselves> {
    let (identity, stat) = own(reader)?;
    let mut ancestors = ancestors(reader, stat.parent);
    ancestors.insert(0, stat.parent);
    let sessions = [identity.pid].iter().chain(&ancestors).filter_map(|pid| sys::session_of(*pid)).collect();
    Ok(Ourselves { identity, user: OurSelf::get()?.uid, ancestors, sessions })
}

/// Which process this is.
pub(crate) fn own_identity() -> Result<ProcessIdentity> {
    own(&mut reader()?).map(|(identity, _)| identity)
}

fn own(reader: &mut ProcReader) -> Result<(ProcessIdentity, Stat)> {
    let ourself = OurSelf::get()?;
    let stat = read_stat(reader, ourself.pid).map_err(|cause| {
        Error::os("read our own process from /proc", "let this user read /proc, or raise `ulimit -n`", cause)
    })?;
    let (pid, started) = (ourself.pid, stat.started);
    Ok((ProcessIdentity { pid, started, boot: ourself.boot, pid_namespace: ourself.pid_namespace }, stat))
}

/// `ENOENT` or `ESRCH`: the process ended, or the file does not exist.
pub(crate) fn is_gone(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(2 | 3))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;

    fn sleeper() -> Child {
        Command::new("sleep").arg("100").spawn().unwrap()
    }

    #[test]
    fn children_of_every_thread_are_found() {
        // From a thread that lives on, since the children of an ended one move to another thread.
        let (send, receive) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let child = sleeper();
            send.send(child.id()).unwrap();
            let _ = ended.recv();
            child
        });
        let other = receive.recv().unwrap();
        let mut own = sleeper();
        let mut reader = reader().unwrap();
        let found = children(&mut reader, std::process::id()).unwrap();
        let tree = Tree::read(&mut reader).unwrap();
        drop(end);
        let mut child = thread.join().unwrap();
        for child in [&mut own, &mut child] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(found.contains(&own.id()) && found.contains(&other), "{found:?}");
        // The way of a kernel without the files.
        let slow = tree.children(std::process::id());
        assert!(slow.contains(&own.id()) && slow.contains(&other), "{slow:?}");
    }

    /// One that appears while a list is read may be missing from it.
    #[test]
    fn a_list_of_children_is_read_until_nothing_new_comes() {
        let read = |lists: &[&[u32]]| {
            let mut reads = 0;
            let list = || {
                reads += 1;
                Ok(lists[(reads - 1).min(lists.len() - 1)].to_vec())
            };
            (until_nothing_new_comes(list).unwrap(), reads)
        };
        assert_eq!(read(&[&[]]), (vec![], 1));
        assert_eq!(read(&[&[7], &[7, 9], &[7, 9]]), (vec![7, 9], 3));
        assert_eq!(read(&[&[7], &[9], &[9]]), (vec![9], 3));
        let mut ever_new = 0..;
        let list = || Ok(ever_new.by_ref().take(1).collect());
        assert_eq!(until_nothing_new_comes(list).unwrap(), [MOST_READS as u32 - 1]);
    }

    #[test]
    fn descendants_are_found_at_every_depth() {
        // What runs in the background gets no standard input, so it is passed on by another number.
        let script = "exec 3<&0; sh -c 'cat <&3 & echo $!; wait' & wait";
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let deepest: u32 = line.trim().parse().unwrap();
        let mut reader = reader().unwrap();
        let (below, above) = (descendants(&mut reader, child.id()), ancestors(&mut reader, deepest));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(below.len() == 2 && below.contains(&deepest), "{below:?}");
        assert_eq!(above[1..3], [child.id(), std::process::id()]);
    }

    #[test]
    fn ancestors_reach_process_one_and_know_our_sessions() {
        let mut reader = reader().unwrap();
        let ourselves = ourselves(&mut reader).unwrap();
        assert_eq!(ourselves.ancestors.last(), Some(&1));
        // In a PID namespace whose session leader is outside there is none.
        assert!(sys::session_of(std::process::id()).is_none_or(|own| ourselves.sessions.contains(&own)));
        let mut child = sleeper();
        let descends = ancestors(&mut reader, child.id()).contains(&std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(descends);
    }
}
