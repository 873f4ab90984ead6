//! What a tree of processes uses at one moment, for whoever asks often: each process is held by its open directory, so that what
//! was known of it need not be read again.

use crate::error::{Error, Result};
use crate::process::dead::{Held, held};
use crate::process::handle::{ProcessHandle, reader};
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::stat::Stat;
use crate::process::tree::{children, is_gone};
use crate::sys::{self, ProcDir, ProcReader};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::time::Duration;

/// What the processes of a tree use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes that are resident and belong to no file. What a process shares with its forked child is counted for both.
    pub memory: u64,
    /// Those that live.
    pub processes: usize,
    /// Descriptors that they have open; of another user's processes none are seen.
    pub descriptors: u64,
    /// The time that those which live have run.
    pub processor: Duration,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = bytesize::ByteSize::b(self.memory);
        let (processes, descriptors) = (self.processes, self.descriptors);
        let plural = if processes == 1 { "" } else { "es" };
        write!(f, "{memory} in {processes} process{plural}, {descriptors} descriptors, {:?} run", self.processor)
    }
}

/// Asks a process and what descends from it, again and again, what they use.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use termleash::process::ProcessHandle;
/// use termleash::testing::TreeSampler;
///
/// let mut sampler = TreeSampler::of(&ProcessHandle::open(std::process::id())?)?;
/// assert!(sampler.sample()?.processes >= 1);
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
///
/// # Limits
///
/// What has lost its parent belongs to the tree as long as it is in the kernel session that the process leads, or has been seen
/// before.
pub struct TreeSampler {
    reader: ProcReader,
    tree: Tree,
}

impl fmt::Debug for TreeSampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeSampler").field("root", &self.tree.root).finish_non_exhaustive()
    }
}

impl TreeSampler {
    /// # Errors
    ///
    /// If it has ended, or /proc does not show it.
    pub fn of(process: &ProcessHandle) -> Result<Self> {
        let tree = Tree::of(process.identity()).map_err(|cause| {
            Error::os(format!("look at {}", process.identity()), "look at it while it lives", cause)
        })?;
        Ok(Self { reader: reader()?, tree })
    }

    /// # Errors
    ///
    /// If /proc cannot be read. What has ended uses nothing.
    pub fn sample(&mut self) -> Result<Usage> {
        let hint = "let this user read /proc, or raise `ulimit -n`";
        let Self { reader, tree } = self;
        let sampled = tree.find_lost(reader).and_then(|()| tree.sample(reader));
        sampled.map_err(|cause| Error::os("sample a tree of processes", hint, cause))
    }
}

/// A tree by its root, which need not live any more.
struct Tree {
    root: u32,
    /// Since when the root leads a kernel session, if it does.
    leads: Option<Ticks>,
    /// Those that have been seen and not ended.
    members: Vec<Member>,
}

struct Member {
    pid: u32,
    directory: ProcDir,
}

impl Tree {
    /// # Errors
    ///
    /// If this very process does not live, or /proc does not show it.
    fn of(root: ProcessIdentity) -> io::Result<Self> {
        let Held::It(handle) = held(root) else { return Err(io::Error::other("it has ended")) };
        let (directory, stat) = look(root.pid)?;
        // Only if it lives now is the directory this process's.
        if !handle.is_alive() || stat.started != root.started {
            return Err(io::Error::other("it has ended"));
        }
        let leads = (stat.session == root.pid).then_some(stat.started);
        let members = vec![Member { pid: root.pid, directory }];
        Ok(Self { root: root.pid, leads, members })
    }

    /// What it uses now.
    ///
    /// # Errors
    ///
    /// If /proc cannot be read; not for what ends meanwhile.
    fn sample(&mut self, reader: &mut ProcReader) -> io::Result<Usage> {
        self.walk(reader)?;
        let mut usage = Usage::default();
        let mut failed = None;
        self.members.retain(|member| match member.sample(&mut usage) {
            Ok(()) => true,
            Err(cause) if is_gone(&cause) => false,
            Err(cause) => {
                failed = Some(cause);
                true
            }
        });
        failed.map_or(Ok(usage), Err)
    }

    /// Adds what is in the root's kernel session and not known: one getsid(2) for each process that there is.
    fn find_lost(&mut self, reader: &mut ProcReader) -> io::Result<()> {
        let Some(since) = self.leads else { return Ok(()) };
        let all = reader.pids()?;
        self.take_in_lost(since, all.into_iter().filter(|pid| sys::session_of(*pid) == Some(self.root)).collect())
    }

    fn take_in_lost(&mut self, since: Ticks, pids: Vec<u32>) -> io::Result<()> {
        for pid in pids {
            self.add(pid, |stat, root| stat.session == root && stat.started >= since)?;
        }
        Ok(())
    }

    fn walk(&mut self, reader: &mut ProcReader) -> io::Result<()> {
        let mut next: Vec<u32> = self.members.iter().map(|member| member.pid).collect();
        while let Some(parent) = next.pop() {
            let found = match children(reader, parent) {
                Ok(found) => found,
                Err(cause) if is_gone(&cause) => continue,
                Err(cause) => return Err(cause),
            };
            // A number that was given again while it was listed lists a stranger's.
            if found.is_empty() || !self.holds(parent) {
                continue;
            }
            for pid in found {
                // The number may be another's since the list was read.
                if self.add(pid, |stat, _| stat.parent == parent)? {
                    next.push(pid);
                }
            }
        }
        Ok(())
    }

    /// True if this number is still that of a process of the tree.
    fn holds(&self, pid: u32) -> bool {
        self.members.iter().any(|member| member.pid == pid && member.directory.memory().is_ok())
    }

    /// True for a living one that was not known.
    fn add(&mut self, pid: u32, belongs: impl Fn(&Stat, u32) -> bool) -> io::Result<bool> {
        if pid == sys::own_pid() || self.members.iter().any(|member| member.pid == pid) {
            return Ok(false);
        }
        match look(pid) {
            Ok((directory, stat)) => {
                let is_new = !stat.is_dead() && belongs(&stat, self.root);
                if is_new {
                    self.members.push(Member { pid, directory });
                }
                Ok(is_new)
            }
            Err(cause) if is_gone(&cause) => Ok(false),
            Err(cause) => Err(cause),
        }
    }
}

impl Member {
    fn sample(&self, usage: &mut Usage) -> io::Result<()> {
        let [mapped, resident, shared] = self.directory.memory()?;
        // A zombie has no memory at all, and nothing else.
        if mapped == 0 {
            return Ok(());
        }
        usage.memory += resident.saturating_sub(shared);
        usage.processes += 1;
        usage.descriptors += self.directory.descriptor_count().unwrap_or(0);
        // By its number: what has ended since, and whose number is another's, costs one wrong reading at most.
        usage.processor += Duration::from_nanos(self.directory.processor_time().unwrap_or(0));
        Ok(())
    }
}

/// Whoever has this number now. The directory stays this process's, so what is read by it afterwards is of the same one.
fn look(pid: u32) -> io::Result<(ProcDir, Stat)> {
    let directory = ProcDir::open(pid)?;
    let mut buffer = [0; 1024];
    let stat = Stat::parse(directory.read_short("stat", &mut buffer)?);
    Ok((directory, stat.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its `stat` is malformed"))?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::backoff::soon;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    /// Runs a script that prints a line when it is ready, and lives until its input ends.
    fn shell(command: &mut Command, script: &str) -> Child {
        let script = format!("exec 3<&0\n{script}\necho\nread line <&3");
        let mut child = command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
        child
    }

    fn sampler(child: &Child) -> TreeSampler {
        TreeSampler::of(&ProcessHandle::open(child.id()).unwrap()).unwrap()
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_tree_is_counted_as_it_grows_and_shrinks() {
        let child = shell(&mut Command::new("sh"), "cat <&3 & sh -c 'cat <&3 & cat <&3 & wait' &");
        let mut sampler = sampler(&child);
        soon("the tree", || sampler.sample().unwrap().processes == 5);
        let usage = sampler.sample().unwrap();
        assert!(usage.descriptors >= 5 * 3 && usage.memory > 5 * (16 << 10), "{usage:?}");
        assert!(usage.memory < 100 << 20, "{usage:?}");
        end(child);
        soon("its end", || sampler.sample().unwrap().processes == 0);
    }

    #[test]
    fn what_has_lost_its_parent_is_found_by_the_kernel_session_and_nothing_else_is() {
        let leader = shell(Command::new("setsid").arg("sh"), "(cat <&3 &)");
        let plain = shell(&mut Command::new("sh"), "(cat <&3 &)");
        let (mut of_leader, mut of_plain) = (sampler(&leader), sampler(&plain));
        soon("the lost one", || of_leader.sample().unwrap().processes == 2);
        let alone = of_plain.sample().unwrap().processes;
        end(leader);
        end(plain);
        assert_eq!(alone, 1);
        soon("its end", || of_leader.sample().unwrap().processes == 0);
    }

    #[test]
    fn another_process_by_the_same_number_is_refused_and_its_directory_is_of_this_one_only() {
        let child = shell(&mut Command::new("sh"), "true");
        let identity = ProcessHandle::open(child.id()).unwrap().identity();
        assert!(Tree::of(ProcessIdentity { started: identity.started - 1, ..identity }).is_err());
        end(child);
        assert!(Tree::of(identity).is_err());
    }
}
