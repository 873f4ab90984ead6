//! What the threads of a process do that is late: data.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thread, as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadState {
    /// At most 15 bytes, chosen by the program.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// `sleeping`, `running` and the like.
    pub state: String,
    /// The function of the kernel that it sleeps in, its wait channel, where that is no secret.
    pub waits_in: Option<String>,
    /// The system call that it is in, with the descriptor where the first argument is one.
    pub call: Option<String>,
    /// Its stack in the kernel, innermost first, where it may be read.
    pub stack: Vec<String>,
}

/// All threads of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStates {
    pub(crate) threads: Vec<ThreadState>,
    /// Why no stacks are known, if none are.
    pub(crate) no_stacks: Option<String>,
}

impl ThreadStates {
    /// In the order of their numbers.
    pub fn threads(&self) -> &[ThreadState] {
        &self.threads
    }

    /// Why no stacks are known, if none are.
    pub fn no_stacks(&self) -> Option<&str> {
        self.no_stacks.as_deref()
    }
}

impl fmt::Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread `{}` (tid {}): ", self.name, self.id)?;
        self.fmt_doing(f)
    }
}

impl ThreadState {
    fn fmt_doing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state)?;
        self.waits_in.iter().try_for_each(|place| write!(f, " in {place}"))?;
        self.call.iter().try_for_each(|call| write!(f, ", in the system call {call}"))?;
        // The innermost is what it waits in, as a rule.
        if self.stack.len() > 1 { write!(f, "; stack: {}", self.stack.join(" < ")) } else { Ok(()) }
    }

    /// The same without its name and number.
    pub(crate) fn doing(&self) -> impl fmt::Display {
        struct Doing<'a>(&'a ThreadState);
        impl fmt::Display for Doing<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt_doing(f)
            }
        }
        Doing(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_with_what_is_known_of_it() {
        let bare = ThreadState {
            name: "main".into(),
            id: 7,
            state: "running".into(),
            waits_in: None,
            call: None,
            stack: Vec::new(),
        };
        assert_eq!(bare.to_string(), "thread `main` (tid 7): running");
        let full = ThreadState {
            state: "sleeping".into(),
            waits_in: Some("pipe_read".into()),
            call: Some("`read` of descriptor 3".into()),
            stack: vec!["pipe_read".into(), "vfs_read".into()],
            ..bare
        };
        let doing = "sleeping in pipe_read, in the system call `read` of descriptor 3; stack: pipe_read < vfs_read";
        assert_eq!(full.doing().to_string(), doing);
    }
}
