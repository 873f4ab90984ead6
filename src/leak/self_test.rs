//! A check that tries itself: does it find one leak of each kind on this machine?

use crate::error::{Error, Result};
use crate::leak::check::LeakCheck;
use crate::leak::hunt::LeakHunt;
use crate::leak::report::LeakReport;
use crate::leak::verdict::Verdict;
use crate::probe::item::{Item, Kind};
use crate::probe::origins::{self, Origin};
use crate::runtime::is_inside;
use crate::settings::Level;
use crate::sys::{self, Specimen};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::panic::Location;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// What was planted, and whether it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "`assert_found` fails if something was missed"]
pub struct SelfTest {
    /// One for each kind: its name, and whether it was found.
    pub planted: Vec<(String, bool)>,
}

impl SelfTest {
    /// # Panics
    ///
    /// If something was planted and not found.
    #[track_caller]
    pub fn assert_found(&self) {
        assert!(self.planted.iter().all(|(_, is_found)| *is_found), "{self}");
    }
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed: Vec<&str> =
            self.planted.iter().filter(|(_, is_found)| !is_found).map(|(kind, _)| kind.as_str()).collect();
        let found = self.planted.len() - missed.len();
        write!(f, "{found} of {} planted leaks were found", self.planted.len())?;
        if missed.is_empty() { Ok(()) } else { write!(f, "; missed on this machine: {}", missed.join(", ")) }
    }
}

/// A child that is ended and reaped when it is dropped.
struct Planted(Child);

impl Drop for Planted {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a child may take to end, or a thread to take its name.
const SOON: Duration = Duration::from_secs(10);

impl LeakCheck {
    /// Plants one leak of each kind, looks, and takes them away again: a test that fails where checks see less than they
    /// should, such as in a sandbox that hides parts of /proc.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// termleash::LeakCheck::self_test()?.assert_found();
    /// # Ok::<(), termleash::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If something cannot be planted, on platforms without probes, and inside of a tokio runtime, whose thread it would block.
    pub fn self_test() -> Result<SelfTest> {
        if is_inside() {
            return Err(Error::invalid("`LeakCheck::self_test` blocks: call it outside of the runtime"));
        }
        let failed = |cause| {
            Error::os(
                "plant a leak for the check to find",
                "raise `ulimit -n`; it needs `sleep` and `true` in the PATH",
                cause,
            )
        };
        let check = Self::new().level(Level::Fail).exclusive().settle_within(Duration::ZERO);

        let specimens = sys::specimens().map_err(failed)?;
        let quiet = |program: &str| {
            let mut command = Command::new(program);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let alive = Planted(quiet("sleep").arg("1000").spawn().map_err(failed)?);
        let zombie = Planted(quiet("true").spawn().map_err(failed)?);
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name(PLANTED_THREAD.into());
        let thread = thread.spawn(move || stopped.recv().unwrap_or_default()).map_err(failed)?;
        let held = Arc::new(());
        check.must_drop(&held);
        let session = origins::register(planted_session());
        until_dead(zombie.0.id());

        let report = check.find_blocking()?;
        let mut planted = seen_in(&report, &specimens, alive.0.id(), zombie.0.id());
        drop((specimens, alive, zombie, held, session, stop));
        // Its panic would have been told by the panic hook.
        let _ = thread.join();
        planted.push(("memory".into(), finds_memory()?));
        Ok(SelfTest { planted })
    }
}

/// Which of the plants a report has: each by its number where it has one, since others may be there.
fn seen_in(report: &LeakReport, specimens: &[Specimen], alive: u32, zombie: u32) -> Vec<(String, bool)> {
    let items: Vec<_> = report.findings.iter().flat_map(|finding| &finding.items).collect();
    let has = |kind: Kind, is_it: &dyn Fn(&Item) -> bool| {
        (kind.to_string(), items.iter().any(|item| item.kind == kind && is_it(item)))
    };
    let of_specimen = |specimen: &Specimen| {
        let number = u32::try_from(specimen.number).ok();
        let is_it = |item: &&Item| item.number == number && item.kind.to_string().starts_with(specimen.kind);
        (specimen.kind.to_owned(), items.iter().copied().any(|item| is_it(&item)))
    };
    let mut planted: Vec<(String, bool)> = specimens.iter().map(of_specimen).collect();
    planted.push(has(Kind::Process, &|item| item.number == Some(alive)));
    planted.push(has(Kind::Zombie, &|item| item.number == Some(zombie)));
    planted.push(has(Kind::Thread, &|item| item.name == PLANTED_THREAD));
    planted.push(has(Kind::Reference, &|_| true));
    planted.push(has(Kind::Session, &|item| item.name == PLANTED));
    planted
}

/// The name of the thread that is planted.
const PLANTED_THREAD: &str = "termleash-plant";

/// The command of the session that is planted: nobody runs that.
const PLANTED: &str = "(planted by termleash's self-test)";

#[track_caller]
fn planted_session() -> Origin {
    Origin {
        id: "planted".into(),
        command: PLANTED.into(),
        made_at: Location::caller(),
        since: Instant::now(),
        leader: None,
        terminal: None,
        stack: None,
        scope: None,
    }
}

/// Waits until a child of ours has ended, and reaps nothing.
fn until_dead(pid: u32) {
    let start = Instant::now();
    let handle = crate::process::handle::ProcessHandle::open(pid);
    while handle.as_ref().is_ok_and(|handle| handle.is_alive()) && start.elapsed() < SOON {
        std::thread::yield_now();
    }
}

/// 64 KiB a round, kept until the end.
fn finds_memory() -> Result<bool> {
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(64);
    let hunt = LeakHunt::new().warmup(1).rounds(18..=18).exclusive().level(Level::Fail);
    let report = crate::runtime::park_on(hunt.run(async |_| {
        kept.push(vec![1; 64 << 10]);
        Ok(())
    }))?;
    Ok(report.verdict >= Verdict::Leaked)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::probe::attribution::{Attribution, Reason};

    #[test]
    fn what_a_report_does_not_have_is_missed_and_fails() {
        let report = LeakReport::of_nothing(None, Level::Fail, Attribution::Exact(Reason::Said));
        let specimens = sys::specimens().unwrap();
        let planted = seen_in(&report, &specimens, 1, 2);
        assert_eq!(planted.len(), specimens.len() + 5);
        assert!(planted.iter().all(|(_, is_found)| !is_found), "{planted:?}");
        let result = SelfTest { planted };
        assert!(std::panic::catch_unwind(|| result.assert_found()).is_err());
    }
}
