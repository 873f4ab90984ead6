//! What a preflight found, as data and as a checklist for a person.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a preflight looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckItem {
    /// Whether somebody listens on a port.
    Port,
    /// Whether another instance of the program runs.
    Program,
    /// Whether somebody works in the state directory.
    StateDirectory,
    /// Whether sessions of dead runs live on the server.
    StaleSessions,
    /// How many more pseudo-terminals the machine can have.
    Ptys,
    /// What dead runs have left.
    Leftovers,
    /// How many more descriptors this process, and the machine, can have.
    Descriptors,
    /// How much more memory there is.
    Memory,
}

impl fmt::Display for CheckItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "port",
            Self::Program => "program",
            Self::StateDirectory => "state directory",
            Self::StaleSessions => "stale sessions",
            Self::Ptys => "pseudo-terminals",
            Self::Leftovers => "leftovers of earlier runs",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
        })
    }
}

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckOutcome {
    /// It is as it must be.
    Passed,
    /// It is not.
    Failed,
    /// The machine does not say.
    CouldNotLook,
}

/// One line of a [`Checklist`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// What was looked at.
    pub what: CheckItem,
    /// Which one: the port, the program, the directory; empty where there is only one.
    pub subject: String,
    /// What came of it.
    pub outcome: CheckOutcome,
    /// What was found; processes are named with their id, command, user, age and directory.
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub to_do: String,
    /// True if the run stops unless this has passed.
    pub is_required: bool,
}

/// What an item has found, before it is known whether it is required.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) outcome: CheckOutcome,
    pub(crate) found: String,
    pub(crate) to_do: String,
}

impl Finding {
    pub(crate) fn passed(found: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Passed, found: found.into(), to_do: String::new() }
    }

    pub(crate) fn failed(found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Failed, found: found.into(), to_do: to_do.into() }
    }

    pub(crate) fn could_not_look(cause: impl fmt::Display) -> Self {
        let to_do = "look by hand, or do not require it on such a machine";
        Self { outcome: CheckOutcome::CouldNotLook, found: cause.to_string(), to_do: to_do.into() }
    }

    /// Something better to do about it.
    pub(crate) fn advise(mut self, to_do: impl Into<String>) -> Self {
        self.to_do = to_do.into();
        self
    }

    pub(crate) fn of(self, what: CheckItem, subject: impl Into<String>) -> Check {
        let Self { outcome, found, to_do } = self;
        Check { what, subject: subject.into(), outcome, found, to_do, is_required: false }
    }
}

/// What a [`Preflight`](crate::server::Preflight) found. It is shown as a checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a checklist that nobody looks at stops nothing: `assert_ok` or `into_result`"]
pub struct Checklist {
    pub(crate) items: Vec<Check>,
}

impl Check {
    /// True if the run must not begin: it is required, and has not passed.
    pub fn stops(&self) -> bool {
        self.is_required && self.outcome != CheckOutcome::Passed
    }
}

impl Checklist {
    /// Everything that was looked at.
    pub fn items(&self) -> &[Check] {
        &self.items
    }

    /// What has not passed, required or not.
    pub fn open(&self) -> impl Iterator<Item = &Check> {
        self.items.iter().filter(|check| check.outcome != CheckOutcome::Passed)
    }

    /// True if everything that is required has passed.
    pub fn is_ok(&self) -> bool {
        !self.items.iter().any(Check::stops)
    }

    /// The checklist, or an error with its text.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_ready`] if a required item failed, or could not be looked at.
    pub fn into_result(self) -> Result<Self> {
        if self.is_ok() { Ok(self) } else { Err(Error::not_ready(self.to_string())) }
    }

    /// # Panics
    ///
    /// With the text of the checklist, if a required item failed, or could not be looked at.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert!(self.is_ok(), "{self}");
    }
}

/// One line for each item, with what to do below those that have not passed.
impl fmt::Display for Checklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stopping = self.items.iter().filter(|check| check.stops()).count();
        let open = self.open().count();
        match (stopping, open) {
            (0, 0) => write!(f, "preflight: all {} items passed", self.items.len())?,
            (0, open) => {
                write!(f, "preflight: {open} of {} items did not pass, and none is required", self.items.len())?
            }
            (some, _) => write!(
                f,
                "preflight: the run was not begun, since {some} of {} items did not pass and must; nothing was ended",
                self.items.len()
            )?,
        }
        self.items.iter().try_for_each(|check| write!(f, "\n  {check}"))
    }
}

/// `✗ failed (required): port 4020: in use by …`, and what to do.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.outcome {
            CheckOutcome::Passed => "✓ passed",
            CheckOutcome::Failed => "✗ failed",
            CheckOutcome::CouldNotLook => "? could not look",
        })?;
        if self.stops() {
            f.write_str(" (required)")?;
        }
        write!(f, ": {}", self.what)?;
        if !self.subject.is_empty() {
            write!(f, " {}", self.subject)?;
        }
        write!(f, ": {}", self.found)?;
        if self.outcome != CheckOutcome::Passed && !self.to_do.is_empty() {
            write!(f, "\n      to do: {}", self.to_do)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn list(is_required: bool) -> Checklist {
        let failed = Finding::failed("in use by pid 7 `node server.js`", "end it if it is yours, or take another port");
        let mut items = vec![
            failed.of(CheckItem::Port, "4020"),
            Finding::passed("no other instance").of(CheckItem::Program, "`node`"),
            Finding::could_not_look("/proc is not mounted").of(CheckItem::Memory, ""),
        ];
        items.iter_mut().for_each(|check| check.is_required = is_required);
        Checklist { items }
    }

    #[test]
    fn a_required_item_that_failed_or_could_not_be_looked_at_stops_the_run() {
        let error = list(true).into_result().unwrap_err();
        assert!(error.is_not_ready());
        assert_snapshot!(error, @r"
        preflight: the run was not begun, since 2 of 3 items did not pass and must; nothing was ended
          ✗ failed (required): port 4020: in use by pid 7 `node server.js`
              to do: end it if it is yours, or take another port
          ✓ passed: program `node`: no other instance
          ? could not look (required): memory: /proc is not mounted
              to do: look by hand, or do not require it on such a machine
        ");
        let mut only_blind = list(true);
        only_blind.items.remove(0);
        assert!(!only_blind.is_ok());
    }

    #[test]
    fn what_is_not_required_is_told_and_passes() {
        let found = list(false).into_result().unwrap();
        found.assert_ok();
        assert_snapshot!(found, @r"
        preflight: 2 of 3 items did not pass, and none is required
          ✗ failed: port 4020: in use by pid 7 `node server.js`
              to do: end it if it is yours, or take another port
          ✓ passed: program `node`: no other instance
          ? could not look: memory: /proc is not mounted
              to do: look by hand, or do not require it on such a machine
        ");
        let json = serde_json::to_string(&found).unwrap();
        assert!(json.contains("\"could-not-look\"") && json.contains("\"port\""), "{json}");
        assert_eq!(serde_json::from_str::<Checklist>(&json).unwrap(), found);
    }

    #[test]
    #[should_panic(expected = "preflight: the run was not begun")]
    fn an_assertion_panics_with_the_checklist() {
        list(true).assert_ok();
    }
}
