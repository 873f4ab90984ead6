//! What the watcher tells.

use crate::event::Sample;
use crate::ledger::breach::Breach;

/// What was seen.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A session was ended.
    Breach(Box<Breach>),
    /// The test is over its limit of memory.
    Over(Excess),
    /// It is far beyond that, and to be ended.
    Far,
    /// What all sessions use together.
    Sample(Sample),
    /// These limits are not kept, and why.
    NotKept(String),
}

/// A test that is over its limit, and is to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excess {
    /// With what lives and how big it is.
    pub(crate) why: String,
    /// Its own process has most of it.
    pub(crate) is_its_own: bool,
    pub(crate) limit: String,
    pub(crate) was: String,
}
