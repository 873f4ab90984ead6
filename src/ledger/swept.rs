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
    pub(crate) took: Duration,
}

impl Swept {
    pub(crate) fn add(&mut self, other: Self) {
        self.ended.extend(other.ended);
        self.survivors.extend(other.survivors);
        self.suspects.extend(other.suspects);
        self.undone.extend(other.undone);
        self.took += other.took;
    }
}
