//! What `assert_no_leaks!` takes.

use crate::error::Result;
use crate::leak::check::LeakCheck;
use crate::leak::report::LeakReport;

/// A check, or what it has found: what [`assert_no_leaks!`](crate::assert_no_leaks) takes.
pub trait IntoReport {
    /// The report; a check is asked for it, and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`LeakCheck::find_blocking`].
    fn into_report(self) -> Result<LeakReport>;
}

impl IntoReport for LeakCheck {
    fn into_report(self) -> Result<LeakReport> {
        self.find_blocking()
    }
}

impl IntoReport for &LeakCheck {
    fn into_report(self) -> Result<LeakReport> {
        self.find_blocking()
    }
}

impl IntoReport for LeakReport {
    fn into_report(self) -> Result<LeakReport> {
        Ok(self)
    }
}

impl IntoReport for Result<LeakReport> {
    fn into_report(self) -> Self {
        self
    }
}
