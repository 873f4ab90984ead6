//! A socket's file at which a server is to listen: whether somebody does, and whether that is the server.

use crate::error::{Error, Result};
use crate::process::handle::reader;
use crate::process::listening::{sockets, tree_of};
use crate::process::summary::ProcessSummary;
use crate::server::inner::Inner;
use crate::sys::{self, Pidfd, ProcReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) struct Socket<'a> {
    inner: &'a Inner,
    path: PathBuf,
    /// Who was found there that is not the server, and the file's time then. It is not connected to again unless the file is
    /// another, or it turns out to be the server's: what waits has a place in a queue that is its own clients'.
    stranger: Option<(u32, Option<SystemTime>)>,
}

impl<'a> Socket<'a> {
    pub(crate) fn new(inner: &'a Inner, path: &str) -> Self {
        Self { inner, path: inner.places().socket(path), stranger: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Who was there last that is not the server.
    pub(crate) fn stranger(&self) -> Option<u32> {
        self.stranger.map(|(pid, _)| pid)
    }

    /// True if the server accepts connections there.
    pub(crate) fn is_ready(&mut self) -> Result<bool> {
        let time = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        if let Some((pid, then)) = self.stranger
            && then == time
            && !self.is_its_own(pid)?
        {
            return Ok(false);
        }
        let cannot = |cause| {
            let what = format!("try the server's socket `{}`", self.path.display());
            Error::os(what, "its path must have less than 108 bytes", cause)
        };
        let Some(pid) = sys::answers_unix(&self.path).map_err(cannot)? else { return Ok(false) };
        if self.is_at_home() || self.is_its_own(pid)? {
            return Ok(true);
        }
        self.stranger = (pid > 0).then_some((pid, time));
        Ok(false)
    }

    /// Whether nobody else can have been there before: a name in its home may lead out of it.
    fn is_at_home(&self) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        real(&self.path).zip(real(self.inner.home.path())).is_some_and(|(path, home)| path.starts_with(home))
    }

    fn is_its_own(&self, pid: u32) -> Result<bool> {
        let mut pids = tree_of(self.inner.handle.pid());
        // The look for its mark is at all processes, which takes long where many come and go.
        if pids.contains(&pid) {
            return Ok(true);
        }
        pids.extend(self.inner.marked());
        if pids.contains(&pid) {
            return Ok(true);
        }
        // Who has begun to listen may have ended since, and left the socket to a child.
        let is_there = pid > 0 && Pidfd::open(pid).is_ok_and(|process| !process.has_exited().unwrap_or(true));
        Ok(!is_there && is_held(&mut reader()?, &self.path, &pids))
    }
}

/// Whether all sockets that listen by this name are open in these processes (proc_pid_net(5), `unix`).
fn is_held(reader: &mut ProcReader, path: &Path, pids: &[u32]) -> bool {
    let Ok(table) = reader.read_list(sys::own_pid(), "net/unix") else { return false };
    let named = listeners(&String::from_utf8_lossy(&table), &path.to_string_lossy());
    let open: Vec<u64> = pids.iter().flat_map(|pid| sockets(reader, *pid)).collect();
    !named.is_empty() && named.iter().all(|inode| open.contains(inode))
}

fn listeners(table: &str, path: &str) -> Vec<u64> {
    /// `__SO_ACCEPTCON` of linux/net.h.
    const LISTENS: u32 = 1 << 16;
    named(table, path).filter(|(flags, _)| flags & LISTENS != 0).map(|(_, inode)| inode).collect()
}

/// Flags and inodes of the sockets with this name.
fn named<'a>(table: &'a str, name: &'a str) -> impl Iterator<Item = (u32, u64)> + 'a {
    let entry = move |line: &str| {
        let mut fields = line.strip_suffix(name)?.strip_suffix(' ')?.split_ascii_whitespace();
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        let inode = fields.nth(2)?.parse().ok()?;
        fields.next().is_none().then_some((flags, inode))
    };
    table.lines().skip(1).filter_map(entry)
}

/// Who has a name in the abstract namespace, for a person; `None` if nobody does, or it cannot be looked up.
pub(crate) fn holder_of(name: &str) -> Option<String> {
    let mut reader = reader().ok()?;
    let table = reader.read_list(sys::own_pid(), "net/unix").ok()?;
    // The kernel shows its leading NUL like that.
    let shown = format!("@{name}");
    let inodes: Vec<u64> = named(&String::from_utf8_lossy(&table), &shown).map(|(_, inode)| inode).collect();
    if inodes.is_empty() {
        return None;
    }
    let pids = reader.pids().ok()?;
    let holder = pids.into_iter().find(|pid| sockets(&mut reader, *pid).iter().any(|open| inodes.contains(open)));
    let summary = holder.and_then(|pid| ProcessSummary::of(&mut reader, pid).ok());
    Some(summary.map_or_else(|| "a process that this user may not look at".into(), |summary| summary.to_string()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_listens_by_a_name_is_in_the_kernels_table() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 18911 /run/a b\n\
                     0000000000000000: 00000003 00000000 00000000 0001 03 18912 /run/a b\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 18913 b\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 18914\n";
        assert_eq!(listeners(table, "/run/a b"), [18911]);
        assert_eq!(listeners(table, "b"), [18913]);
        assert!(listeners(table, "/run/a").is_empty());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let held = |pids: &[u32]| is_held(&mut reader().unwrap(), &path, pids);
        assert!(!held(&[sys::own_pid()]));
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(held(&[sys::own_pid()]) && !held(&[]));
    }

    #[test]
    fn who_has_a_name_is_told() {
        let name = format!("termleash-test-holder-{}", sys::own_pid());
        assert_eq!(holder_of(&name), None);
        let _held = sys::take_name(name.as_bytes()).unwrap().unwrap();
        let holder = holder_of(&name).unwrap();
        assert!(holder.contains(&format!("pid {}", sys::own_pid())), "{holder}");
        assert_eq!(holder_of(&name[1..]), None);
    }
}
