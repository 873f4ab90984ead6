//! What came of a check.

use crate::settings::Level;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What came of a check, or of one thing that it found. Later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is there that was not there before.
    Clean,
    /// The same, after a while: something took its time to end.
    SettledLate,
    /// It came once and never again in many rounds: something that is initialised at its first use. Passes.
    OneTimeInit,
    /// It is there, and may be another test's: other tests may run in this process. Passes.
    Suspicious,
    /// So many rounds do not tell. Passes.
    Inconclusive,
    /// It is there after the time to settle, and this test's.
    Leaked,
    /// What was there before was closed, and something else has taken its number: it was not closed by its owner, or the
    /// test closed what was not its own. Of a look at [sentinels](crate::tracker::Interference): somebody has ended one.
    Interfered,
    /// It could not be looked at, so that nothing is known. Fails: "nothing found" would be a lie.
    CouldNotCheck,
}

impl Verdict {
    /// True if a check at level [`Fail`](crate::leak::Level::Fail) fails with it.
    pub fn is_failure(self) -> bool {
        self >= Self::Leaked
    }
}

/// What a check does with a verdict.
impl Level {
    /// True if a check at this level fails with that verdict.
    pub fn fails(self, verdict: Verdict) -> bool {
        matches!(self, Self::Fail | Self::Paranoid) && verdict.is_failure()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::SettledLate => "clean after a while",
            Self::OneTimeInit => "initialised once",
            Self::Suspicious => "suspicious",
            Self::Inconclusive => "inconclusive",
            Self::Leaked => "leaked",
            Self::Interfered => "closed and replaced",
            Self::CouldNotCheck => "could not check",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_to_be_wrong_or_not_known_fails_and_the_rest_passes() {
        use Verdict::*;
        for passes in [Clean, SettledLate, OneTimeInit, Suspicious, Inconclusive] {
            assert!(!passes.is_failure(), "{passes}");
        }
        for fails in [Leaked, Interfered, CouldNotCheck] {
            assert!(fails.is_failure(), "{fails}");
        }
    }
}
