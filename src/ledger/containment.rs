//! What would hold a test's processes if the test died at this moment.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which containment is in force: stands in every report of a failure, and in those of a [`LeakCheck`](crate::LeakCheck) and a
/// [`LeakHunt`](crate::leak::LeakHunt).
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use termleash::LeakCheck;
/// use termleash::testing::Containment;
///
/// // In a plain test that makes no session:
/// let report = LeakCheck::new().exclusive().find_blocking()?;
/// let Some(Containment::InProcess { ledger, .. }) = report.containment else { panic!("{report:?}") };
/// assert_eq!(ledger.unwrap_err(), "it had no session yet");
/// # }
/// # Ok::<(), termleash::Error>(())
/// ```
///
/// # Limits
///
/// It says what is held, and not that everything is: without a control group, what has a cleared environment and a kernel session
/// of its own is lost to whoever sweeps after a keeper's death.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Containment {
    /// The test runs in a process of its own, below a keeper.
    #[non_exhaustive]
    Isolated {
        /// Whether sessions are written down on disk; else why not.
        ledger: Result<(), String>,
        /// Whether a control group holds body and sessions; else why not.
        cgroup: Result<(), String>,
    },
    /// The test runs in the test process.
    #[non_exhaustive]
    InProcess {
        /// Why it does.
        why: String,
        /// Whether a keeper beside the process has a ledger of its sessions; else why not.
        ledger: Result<(), String>,
    },
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolated { ledger, cgroup } => {
                f.write_str("a process of its own below a keeper")?;
                or_why(f, ", sessions in a ledger", "no ledger", ledger)?;
                or_why(f, ", a control group around all", "no control group", cgroup)
            }
            Self::InProcess { why, ledger } => {
                write!(f, "in the test process ({why})")?;
                or_why(f, ", a keeper beside it with a ledger of its sessions", "no keeper", ledger)
            }
        }
    }
}

fn or_why(f: &mut fmt::Formatter<'_>, has: &str, has_not: &str, state: &Result<(), String>) -> fmt::Result {
    match state {
        Ok(()) => f.write_str(has),
        Err(why) => write!(f, "; {has_not} ({why})"),
    }
}
