//! What makes a process the same process: more than its id.

use crate::error::{Error, Result};
use crate::sys;
use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment in clock ticks since boot, rounded down: the unit of process start times (proc_pid_stat(5), field 22).
/// A tick is 10 ms on every Linux of today.
pub(crate) type Ticks = u64;

/// A process, named so that no other process before, after or elsewhere has the same name.
///
/// The id alone is reused, often within minutes (`pid_max` is 32,768 on many machines). The start time tells two
/// owners of an id apart; the boot id and the PID namespace tell machines, boots and containers apart.
///
/// Two processes that had the same id within one clock tick (10 ms) would be equal: the kernel hands out ids in
/// a circle, so this takes 32,768 process starts in that tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pub(crate) pid: u32,
    pub(crate) started: Ticks,
    pub(crate) boot: BootId,
    pub(crate) pid_namespace: u64,
}

impl ProcessIdentity {
    /// The process id in our own PID namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, in clock ticks since boot, rounded down.
    pub fn started_ticks(&self) -> u64 {
        self.started
    }

    /// The boot that it belongs to.
    pub fn boot_id(&self) -> BootId {
        self.boot
    }

    /// The inode of its PID namespace.
    pub fn pid_namespace(&self) -> u64 {
        self.pid_namespace
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)
    }
}

/// The random id that the kernel gives each boot, `/proc/sys/kernel/random/boot_id`. Containers show their host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub(crate) u128);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// As text: JSON numbers end at 2^53.
impl Serialize for BootId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BootId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What is the same for every process that may get a signal from us: our boot, PID namespace, user and place.
#[derive(Debug, Clone)]
pub(crate) struct OurSelf {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) boot: BootId,
    pub(crate) pid_namespace: u64,
}

impl OurSelf {
    /// # Errors
    ///
    /// If /proc does not say it: not mounted, or a platform without it.
    pub(crate) fn get() -> Result<&'static Self> {
        static OURSELF: OnceCell<OurSelf> = OnceCell::new();
        let ourself = OURSELF.get_or_try_init(|| {
            let pid = sys::own_pid();
            if sys::pid_in_proc()? != pid {
                return Err(std::io::Error::other("it is that of another PID namespace"));
            }
            let pid_namespace = sys::ProcReader::new()?.pid_namespace(pid)?;
            std::io::Result::Ok(Self { pid, uid: sys::own_uid(), boot: BootId(sys::boot_id()?), pid_namespace })
        });
        ourself.map_err(|cause| {
            if cause.kind() == std::io::ErrorKind::Unsupported {
                return Error::unsupported("processes can be pinned and proven dead on Linux only, so far");
            }
            let hint = "mount /proc and let this user read it, or raise `ulimit -n`";
            Error::os("read our own identity from /proc", hint, cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_json() {
        let identity = ProcessIdentity { pid: 7, started: 99, boot: BootId(u128::MAX - 1), pid_namespace: 4026531836 };
        let json = serde_json::to_string(&identity).unwrap();
        assert!(json.contains("\"fffffffffffffffffffffffffffffffe\""), "{json}");
        assert_eq!(serde_json::from_str::<ProcessIdentity>(&json).unwrap(), identity);
    }
}
