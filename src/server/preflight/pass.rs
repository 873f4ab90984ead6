//! One pass over all processes, for everything that any item wants to know of them.
//!
//! Each process costs the links of its descriptors, and two more calls at most; what a person is told of one is read for
//! those that are found only.

use crate::process::handle::read_stat;
use crate::process::listening::socket_inode;
use crate::process::summary::printable;
use crate::process::tree;
use crate::server::preflight::programs::Wanted as Program;
use crate::sys::{self, ProcReader};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::time::Duration;

/// What is looked for.
#[derive(Default)]
pub(crate) struct Wanted {
    /// Inodes.
    pub(crate) sockets: HashSet<u64>,
    /// A directory, without a slash at its end.
    pub(crate) below: Option<Vec<u8>>,
    pub(crate) program: Option<Program>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// Who has which of the sockets open.
    pub(crate) sockets: Vec<(u64, u32)>,
    /// Who has what open below the directory, or works there: one path for each, with how many more.
    pub(crate) below: BTreeMap<u32, (Vec<u8>, usize)>,
    pub(crate) programs: Vec<u32>,
    /// How many processes did not show their descriptors.
    pub(crate) hidden: usize,
    /// This process and those that it descends from.
    pub(crate) ours: Vec<u32>,
}

impl Wanted {
    fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.below.is_none() && self.program.is_none()
    }
}

/// Looks at every process.
pub(crate) fn run(reader: &mut ProcReader, wanted: &Wanted) -> io::Result<Pass> {
    let own = sys::own_pid();
    let mut pass = Pass { ours: vec![own], ..Pass::default() };
    pass.ours.extend(tree::ancestors(reader, own));
    if wanted.is_empty() {
        return Ok(pass);
    }
    let wants_descriptors = !wanted.sockets.is_empty() || wanted.below.is_some();
    for pid in reader.pids()? {
        if wants_descriptors {
            look_at_descriptors(reader, pid, wanted, &mut pass);
        }
        if let Some(below) = &wanted.below
            && let Ok(directory) = reader.target(pid, "cwd")
            && is_below(&directory, below)
        {
            pass.below.entry(pid).and_modify(|(_, more)| *more += 1).or_insert((directory, 0));
        }
        if let Some(program) = &wanted.program
            && !pass.ours.contains(&pid)
            && program.is_run_by(reader, pid)
        {
            pass.programs.push(pid);
        }
    }
    Ok(pass)
}

fn look_at_descriptors(reader: &mut ProcReader, pid: u32, wanted: &Wanted, pass: &mut Pass) {
    let (sockets, below) = (&mut pass.sockets, &mut pass.below);
    let looked = reader.each_target(pid, |_, target| {
        if let Some(inode) = socket_inode(target) {
            if wanted.sockets.contains(&inode) {
                sockets.push((inode, pid));
            }
        } else if wanted.below.as_ref().is_some_and(|directory| is_below(target, directory)) {
            below.entry(pid).and_modify(|(_, more)| *more += 1).or_insert_with(|| (target.to_vec(), 0));
        }
    });
    // One that has ended meanwhile has nothing open.
    if looked.is_err_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied) {
        pass.hidden += 1;
    }
}

/// The directory itself, or anything in it.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// A process for a person: its id, command, user, age and directory, as far as they can be read.
pub(crate) fn described(reader: &mut ProcReader, pid: u32) -> String {
    let Ok(stat) = read_stat(reader, pid) else { return format!("pid {pid}, which has ended since") };
    let command = match reader.read(pid, "cmdline") {
        Ok(line) if !line.is_empty() => printable(line),
        _ => format!("[{}]", printable(stat.name.as_bytes())),
    };
    let mut text = format!("pid {pid} `{command}`");
    if let Ok(user) = reader.owner(pid)
        && user != sys::own_uid()
    {
        text += &format!(" of user {user}");
    }
    text += &format!(", for {}", humantime::format_duration(age(stat.started)));
    if let Ok(directory) = reader.target(pid, "cwd") {
        text += &format!(", in `{}`", printable(&directory));
    }
    text
}

/// In whole seconds.
pub(crate) fn age(started: u64) -> Duration {
    let second = sys::ticks_in(Duration::from_secs(1)).max(1);
    Duration::from_secs(sys::now_ticks().saturating_sub(started) / second)
}

/// Several, the first few by name.
pub(crate) fn described_all(reader: &mut ProcReader, pids: &[u32]) -> String {
    const MOST: usize = 5;
    let mut text = pids.iter().take(MOST).map(|pid| described(reader, *pid)).collect::<Vec<_>>().join("; ");
    if pids.len() > MOST {
        text += &format!("; and {} more", pids.len() - MOST);
    }
    text
}

/// The pids for a shell's `kill`.
pub(crate) fn words(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_pass_looks_for_what_is_wanted_and_knows_whom_we_descend_from() {
        use std::os::fd::AsRawFd as _;
        use std::os::unix::net::UnixStream;
        let (one, other) = UnixStream::pair().unwrap();
        let mut reader = ProcReader::new().unwrap();
        let inode = |stream: &UnixStream| {
            let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
            socket_inode(link.to_str().unwrap().as_bytes()).unwrap()
        };
        let (wanted, unwanted) = (inode(&one), inode(&other));
        let pass = run(&mut reader, &Wanted { sockets: [wanted].into(), ..Wanted::default() }).unwrap();
        assert!(pass.sockets.contains(&(wanted, sys::own_pid())), "{:?}", pass.sockets);
        assert!(pass.sockets.iter().all(|(inode, _)| *inode != unwanted), "{:?}", pass.sockets);
        assert!(pass.ours.contains(&std::os::unix::process::parent_id()), "{:?}", pass.ours);
    }

    #[test]
    fn a_longer_name_is_not_below() {
        assert!(is_below(b"/tmp/a", b"/tmp/a") && is_below(b"/tmp/a/b (deleted)", b"/tmp/a"));
        assert!(!is_below(b"/tmp/ab", b"/tmp/a") && !is_below(b"/tmp", b"/tmp/a"));
    }
}
