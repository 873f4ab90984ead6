//! Which child processes this process has, dead ones that nobody has reaped among them.
//!
//! A child that has lost its parent is somebody else's: what a child leaves behind when it ends is not seen here.

use crate::ledger::keepers::is_keeper;
use crate::process::handle::read_stat;
use crate::process::identity::Ticks;
use crate::process::tree;
use crate::sys::{self, ProcReader};
use std::io;

/// How often the list is read again because it is empty although there is a child: others start and end them meanwhile.
const MOST_READS: usize = 100;

/// One child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) started: Ticks,
    /// It has ended, and its status waits to be asked for.
    pub(crate) is_zombie: bool,
}

/// All children at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Children {
    all: Vec<Child>,
}

impl Children {
    pub(crate) fn capture() -> io::Result<Self> {
        // One call, where there are none.
        if !sys::has_children()? {
            return Ok(Self { all: Vec::new() });
        }
        let mut reader = ProcReader::new()?;
        for _ in 0..MOST_READS {
            let (mut all, mut is_any_ours) = (Vec::new(), false);
            for pid in tree::children(&mut reader, sys::own_pid())? {
                match read_stat(&mut reader, pid) {
                    // No test has started it, nor may one wait for it.
                    Ok(_) if is_keeper(pid) => is_any_ours = true,
                    Ok(stat) if stat.is_reaped() => {}
                    Ok(stat) => all.push(Child { pid, started: stat.started, is_zombie: stat.is_dead() }),
                    Err(cause) if tree::is_gone(&cause) => {}
                    Err(cause) => return Err(cause),
                }
            }
            // They may all have been waited for meanwhile.
            if !all.is_empty() || is_any_ours || !sys::has_children()? {
                return Ok(Self { all });
            }
        }
        // Something is mounted over it: an empty list would be taken for a clean process for ever.
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/self/task/*/children shows none of the children that there are",
        ))
    }

    /// What there is of another process's.
    pub(crate) fn of_other(all: Vec<Child>) -> Self {
        Self { all }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.all.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn contains(&self, child: &Child) -> bool {
        self.all.contains(child)
    }

    /// Those that were not there before, and those that have become zombies since.
    pub(crate) fn new_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Child> {
        self.all.iter().filter(|child| !before.contains(child))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_new_then_a_zombie_then_gone() {
        let before = Children::capture().unwrap();
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let look = |pid| {
            let now = Children::capture().unwrap();
            now.new_since(&before).find(|found| found.pid == pid).map(|found| found.is_zombie)
        };
        assert_eq!(look(child.id()), Some(false));
        child.kill().unwrap();
        while look(child.id()) != Some(true) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(look(child.id()), None);
    }
}
