//! Whom a probe looks at: this process, or another.

use crate::probe::children::Children;
use crate::probe::descriptors::{Depth, Descriptors};
use crate::probe::ended::Ended;
use crate::probe::memory::{Memory, private_bytes};
use crate::probe::network;
use crate::probe::other::Other;
use crate::probe::threads::Threads;
use crate::probe::waiting;
use crate::process::summary::ProcessSummary;
use crate::sys::{self, ProcReader, SocketNames};
use std::io;
use std::sync::Arc;

/// Whom a probe looks at.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Own,
    Other(Arc<Other>),
}

impl Target {
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own)
    }

    /// Which process, where it is not this one.
    pub(crate) fn process(&self) -> Option<&ProcessSummary> {
        match self {
            Self::Own => None,
            Self::Other(other) => Some(other.summary()),
        }
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        match self {
            Self::Own => None,
            Self::Other(other) => other.ended(),
        }
    }

    pub(crate) fn descriptors(
        &self,
        own: fn(Depth) -> io::Result<Descriptors>,
        depth: Depth,
    ) -> io::Result<Descriptors> {
        match self {
            Self::Own => own(depth),
            Self::Other(other) => other.descriptors(depth),
        }
    }

    pub(crate) fn threads(&self) -> io::Result<Threads> {
        match self {
            Self::Own => Threads::capture(),
            Self::Other(other) => other.threads(),
        }
    }

    /// Our own children, or another's whole tree.
    pub(crate) fn children(&self) -> io::Result<Children> {
        match self {
            Self::Own => Children::capture(),
            Self::Other(other) => other.tree(),
        }
    }

    /// What is left of the tree of another that has ended.
    pub(crate) fn left_behind(&self) -> io::Result<Children> {
        match self {
            Self::Own => Children::capture(),
            Self::Other(other) => other.left_behind(),
        }
    }

    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        match self {
            Self::Own => sys::resident_bytes(),
            Self::Other(other) => other.resident_bytes(),
        }
    }

    pub(crate) fn memory_since(&self, before: u64) -> io::Result<Memory> {
        match self {
            Self::Own => Memory::since(before),
            Self::Other(other) => other.memory_since(before),
        }
    }

    pub(crate) fn private_bytes(&self) -> io::Result<u64> {
        match self {
            Self::Own => private_bytes(),
            Self::Other(other) => other.private_bytes(),
        }
    }

    /// Where a descriptor leads.
    pub(crate) fn link(&self, reader: &mut ProcReader, number: i32) -> io::Result<Vec<u8>> {
        match self {
            Self::Own => reader.own_target(number),
            Self::Other(other) => other.directory().target(number),
        }
    }

    pub(crate) fn fdinfo(&self, reader: &mut ProcReader, number: u32) -> Option<String> {
        match self {
            Self::Own => {
                let content = reader.read_own(&format!("fdinfo/{number}")).ok()?;
                Some(String::from_utf8_lossy(content).into_owned())
            }
            Self::Other(other) => other.fdinfo(i32::try_from(number).ok()?),
        }
    }

    /// Whom a socket talks to: asked of the socket where it is ours, and else found in the tables of the other's namespace.
    pub(crate) fn socket(&self, number: i32, inode: u64) -> Option<SocketNames> {
        match self {
            Self::Own => sys::describe_socket(number),
            Self::Other(other) => network::TABLES.iter().find_map(|(table, kind)| {
                let mut buffer = Vec::new();
                let content = other.directory().read(&format!("net/{table}"), &mut buffer).ok()?;
                network::find(kind, &String::from_utf8_lossy(content), inode)
            }),
        }
    }

    /// What one of its threads waits for.
    pub(crate) fn thread_state(&self, reader: &mut ProcReader, id: u32) -> Option<String> {
        match self {
            Self::Own => waiting::of_thread(reader, id),
            Self::Other(other) => waiting::of_thread_of(reader, other.handle().pid(), id),
        }
    }
}
