//! Who keeps the terminals of sessions that have ended.
//!
//! A terminal lives for as long as anybody holds its master. A server whose masters lack close-on-exec hands those of all older
//! sessions to each younger one, whoever that belongs to: it is named, and nothing is done to it.

use crate::backoff::Backoff;
use crate::error::Result;
use crate::process::handle::{ProcessHandle, read_stat, reader};
use crate::process::pump::Pump;
use crate::process::rule::Refusal;
use crate::process::scan::{self, Side};
use crate::process::summary::ProcessSummary;
use crate::sys::{self, Controlling};
use std::time::{Duration, Instant};

/// How long a server may take to close its end of a session that it has heard to be dead.
const SERVER_CLOSES: Duration = Duration::from_millis(20);

/// A session's terminal, seen while its leader lived.
#[derive(Debug)]
pub(crate) struct Seen {
    terminal: Controlling,
    /// Who started the leader: the server, as a rule, whose master it is.
    parent: u32,
}

/// The terminal of a leader that lives; `None` if it has none, or which one is not sure. Whoever leads no kernel session has that
/// of somebody else, as what a server without setsid(2) starts has its user's.
pub(crate) fn seen(leader: &ProcessHandle) -> Option<Seen> {
    let terminal = Controlling::of(leader.pid())?;
    let stat = read_stat(&mut reader().ok()?, leader.pid()).ok()?;
    // Else all of this may be of another process.
    (leader.is_alive() && stat.session == leader.pid()).then_some(Seen { terminal, parent: stat.parent })
}

/// A terminal that we have opened ourselves, by its name: nobody need be asked for it.
pub(crate) fn own(device: &[u8]) -> Option<Seen> {
    Some(Seen { terminal: Controlling::at(device)?, parent: sys::own_pid() })
}

/// Who holds which of these terminals, apart from ourselves and from who has started their sessions.
///
/// # Errors
///
/// If /proc cannot be looked through.
pub(crate) async fn holders(all: &[(usize, Seen)]) -> Result<Vec<(usize, ProcessSummary, Refusal)>> {
    let is_left = || all.iter().any(|(_, seen)| seen.terminal.is_there());
    let give_up = Instant::now() + SERVER_CLOSES;
    for pause in Backoff::new() {
        if !is_left() {
            return Ok(Vec::new());
        }
        if Instant::now() >= give_up {
            break;
        }
        Pump::get()?.sleep(pause).await;
    }
    let left: Vec<&(usize, Seen)> = all.iter().filter(|(_, seen)| seen.terminal.is_there()).collect();
    let paths: Vec<Vec<u8>> = left.iter().map(|(_, seen)| seen.terminal.path().to_vec()).collect();
    let mut found = Vec::new();
    for (index, side, process) in scan::holders_of(&paths)? {
        let (of, seen) = left[index];
        // Its number may have come to the next one in the meantime.
        if process.identity.pid() != seen.parent && seen.terminal.is_there() {
            let why = if side == Side::Master { Refusal::HoldsMaster } else { Refusal::HoldsTerminal };
            found.push((*of, process, why));
        }
    }
    Ok(found)
}

#[cfg(all(test, target_os = "linux", feature = "tokio"))]
mod tests {
    use super::*;
    use crate::runtime::block_on;
    use crate::session::pty::PtyBackend;
    use crate::tracker::helper::SessionTestHelper;

    /// As of a server that calls no setsid(2), whose sessions have the terminal that a person sits at.
    #[test]
    fn a_terminal_belongs_to_the_leader_of_its_kernel_session_and_to_nobody_else_in_it() {
        block_on(async {
            let helper = SessionTestHelper::new(PtyBackend::new());
            let session = helper.create_tracked_session("sh").await.unwrap();
            let other = session.run("sleep 1000 & echo $!").await.unwrap().stdout().parse().unwrap();
            let other = ProcessHandle::open(other).unwrap();
            let found = seen(session.leader().unwrap()).unwrap();
            assert!(found.terminal.is_there() && found.parent == sys::own_pid());
            assert_eq!(Controlling::of(other.pid()).as_ref(), Some(&found.terminal));
            assert!(seen(&other).is_none());
            session.close().await.unwrap();
            assert!(!found.terminal.is_there());
        });
    }
}
