//! What a clean-up has done.

use crate::process::policy::Suspect;
use crate::process::summary::ProcessSummary;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a clean-up has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Swept {
    /// Those that were signalled and are gone.
    pub(crate) ended: Vec<ProcessSummary>,
    pub(crate) survivors: Vec<ProcessSummary>,
    pub(crate) suspects: Vec<Suspect>,
    /// What could not be done, in sentences.
    pub(crate) undone: Vec<String>,
    /// All processes could not be looked at, so that somebody may be left who was not seen, and homes were not removed.
    #[serde(default)]
    pub(crate) is_unproven: bool,
    pub(crate) took: Duration,
}

impl Swept {
    /// Nothing is left that the ledger leads to: without that the next run needs it.
    pub(crate) fn is_over(&self) -> bool {
        self.survivors.is_empty() && !self.is_unproven
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.ended.extend(other.ended);
        self.survivors.extend(other.survivors);
        // Who is a suspect by its parent may be one by its marks, too.
        let named =
            |suspect: &Suspect| self.suspects.iter().any(|known| known.process.identity == suspect.process.identity);
        let new: Vec<Suspect> = other.suspects.into_iter().filter(|suspect| !named(suspect)).collect();
        self.suspects.extend(new);
        self.undone.extend(other.undone);
        self.is_unproven |= other.is_unproven;
        self.took += other.took;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::rule::Refusal;

    #[test]
    fn a_suspect_of_two_looks_is_named_once() {
        let suspect = |pid| Suspect {
            process: ProcessSummary::unreadable(pid, &std::io::Error::other("a test")),
            why: Refusal::OtherUser,
        };
        let of = |pids: &[u32]| Swept { suspects: pids.iter().copied().map(suspect).collect(), ..Swept::default() };
        let mut swept = of(&[7]);
        swept.add(of(&[7, 8]));
        assert_eq!(swept, of(&[7, 8]));
    }

    #[test]
    fn what_was_not_proven_is_not_over_whatever_came_later() {
        let mut swept = Swept::default();
        assert!(swept.is_over());
        swept.add(Swept { is_unproven: true, ..Swept::default() });
        swept.add(Swept::default());
        assert!(!swept.is_over());
        let left = ProcessSummary::unreadable(1, &std::io::Error::other("it lives"));
        assert!(!Swept { survivors: vec![left], ..Swept::default() }.is_over());
    }
}
