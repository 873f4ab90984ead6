//! Is a port free, and who has it if not?

use crate::process::listening;
use crate::server::preflight::checklist::Finding;
use crate::server::preflight::pass::{Pass, described_all, words};
use crate::sys::{Listening, ProcReader};

/// Who listens, on any port of this machine or container.
pub(crate) fn find(reader: &mut ProcReader) -> Result<Vec<Listening>, String> {
    listening::all(reader).map_err(|cause| cause.to_string())
}

const NOBODY: &str = "nobody listens";

pub(crate) fn judge(
    reader: &mut ProcReader,
    port: u16,
    found: &Result<Vec<Listening>, String>,
    pass: &Pass,
) -> Finding {
    let found: Vec<Listening> = match found {
        Ok(found) => found.iter().filter(|one| one.port == port).copied().collect(),
        Err(cause) => return Finding::could_not_look(cause),
    };
    let Some(first) = found.first() else { return Finding::passed(NOBODY) };
    let is_it = |inode: u64| found.iter().any(|listener| listener.owner.inode == inode);
    let mut pids: Vec<u32> = pass.sockets.iter().filter(|(inode, _)| is_it(*inode)).map(|(_, pid)| *pid).collect();
    pids.sort_unstable();
    pids.dedup();
    if pids.is_empty() {
        // Closed meanwhile: a child that was just forked has it until its exec.
        if find(reader).is_ok_and(|again| !again.iter().any(|listener| is_it(listener.owner.inode))) {
            return Finding::passed(NOBODY);
        }
        let who = if pass.hidden > 0 {
            format!("a process of user {} that this user may not look at", first.owner.user)
        } else {
            format!("a process of user {} that is not seen from here, as in another container", first.owner.user)
        };
        let to_do =
            format!("ask that user (`ss -ltnp 'sport = :{port}'` as root names it), or give the tests another port");
        return Finding::failed(format!("in use on {} by {who}", first.address), to_do);
    }
    let mut text = format!("in use on {} by {}", first.address, described_all(reader, &pids));
    if pids.iter().any(|pid| pass.ours.contains(pid)) {
        text += "; this is the test process itself, or one that it descends from";
        return Finding::failed(text, "close it before the server is started, or give the tests another port");
    }
    let to_do = format!("end it if it is yours (`kill {}`), or give the tests another port", words(&pids));
    Finding::failed(text, to_do)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::server::preflight::checklist::CheckOutcome;
    use std::net::{Ipv4Addr, TcpListener};

    fn judged(port: u16, found: Result<Vec<Listening>, String>, pass: &Pass) -> Finding {
        judge(&mut ProcReader::new().unwrap(), port, &found, pass)
    }

    #[test]
    fn a_port_of_which_nothing_can_be_read_could_not_be_looked_at() {
        let found = judged(1, Err("/proc/net/tcp cannot be read".into()), &Pass::default());
        assert_eq!(found.outcome, CheckOutcome::CouldNotLook);
    }

    /// Nobody is seen to have it: another user's, or another container's.
    #[test]
    fn a_port_whose_owner_is_not_seen_is_in_use_until_it_is_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = || find(&mut ProcReader::new().unwrap());
        for (hidden, who) in [(0, "is not seen from here"), (3, "may not look at")] {
            let told = judged(port, found(), &Pass { hidden, ..Pass::default() });
            assert!(told.outcome == CheckOutcome::Failed && told.found.contains(who), "{told:?}");
        }
        let before = found();
        drop(listener);
        // A child that another test has just forked has a copy until its exec.
        let start = std::time::Instant::now();
        while judged(port, before.clone(), &Pass::default()).outcome != CheckOutcome::Passed {
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "it is closed");
            std::thread::yield_now();
        }
    }
}
