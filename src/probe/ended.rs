//! The end of the process that is looked at: how it came, as far as somebody says so.

use crate::probe::item::{Item, Kind};
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use crate::process::stat::exit_code;
use crate::process::summary::ProcessSummary;
use crate::sys::{ProcDir, ProcReader};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// [`ExitStatus::Unknown`] where it is reaped, and was not our child.
    pub(crate) how: ExitStatus,
}

impl Ended {
    /// Of one that has ended: from its own handle for a child of ours, and from what the kernel keeps until it is reaped for others.
    pub(crate) fn of(handle: &ProcessHandle, directory: &ProcDir) -> Self {
        let of_zombie = || exit_code(directory.read_short("stat", &mut [0; 1024]).ok()?);
        let how = handle.exit_status().or_else(of_zombie).unwrap_or(ExitStatus::Unknown);
        Self { how }
    }

    /// As a finding.
    pub(crate) fn item(self, process: &ProcessSummary) -> Item {
        let mut item = Item::new(Kind::Ended, process.command.clone(), Some(process.identity.pid));
        item.state = Some(self.to_string());
        if let Ok(mut reader) = ProcReader::new()
            && let Ok(now) = ProcessSummary::of(&mut reader, process.identity.pid)
            && now.identity != process.identity
        {
            item.notes.push(format!("its number is another process's by now: {now}"));
        }
        item
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.how {
            ExitStatus::Unknown => f.write_str("how it ended only its parent was told"),
            how => write!(f, "it ended with {how}"),
        }
    }
}
