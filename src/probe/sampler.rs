//! What a tree of processes uses at one moment, for whoever asks often: each process is held by its open directory, so that what
//! was known of it need not be read again.

use crate::error::{Error, Result};
use crate::probe::living::Tree;
use crate::process::handle::{ProcessHandle, reader};
use crate::process::usage::Usage;
use crate::sys::ProcReader;
use std::fmt;

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
        f.debug_struct("TreeSampler").field("root", &self.tree.root()).finish_non_exhaustive()
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::backoff::soon;
    use crate::process::identity::ProcessIdentity;
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
