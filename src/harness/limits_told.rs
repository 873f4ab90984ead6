//! What is told of limits: by the keeper of a call, and where there is none.

use crate::event::warn;
use crate::ledger::breach::Breach;
use crate::limits::Limits;

#[derive(Debug, Default)]
pub(crate) struct LimitsTold {
    /// The sessions that were ended for one.
    pub(crate) breaches: Vec<Breach>,
    /// The test as a whole was over its limit of memory; with what lived then.
    pub(crate) over: Option<String>,
    /// Why limits were not kept.
    pub(crate) not_kept: Option<String>,
}

impl LimitsTold {
    /// A test in which a limit was gone over has not passed.
    pub(crate) fn is_breached(&self) -> bool {
        !self.breaches.is_empty() || self.over.is_some()
    }

    /// As lines, without what stands in this text already.
    pub(crate) fn describe(&self, told: &str) -> String {
        let mut text: String = self.breaches.iter().map(ToString::to_string).collect();
        if let Some(over) = self.over.as_ref().filter(|over| !told.contains(over.as_str())) {
            text += over;
            text.push('\n');
        }
        text
    }

    /// What is no failure of the test's.
    pub(crate) fn not_kept(&self) -> Option<String> {
        self.not_kept.as_ref().map(|why| format!("limits were not kept: {why}"))
    }
}

/// What nobody keeps for a test that runs in the test process: a warning, and a line for its report.
pub(crate) fn without_a_keeper(test: &str, limits: &Limits, why_here: &str) -> Option<String> {
    let text = limits.need_a_keeper().then(|| {
        format!(
            "limits on memory, processes, descriptors and wall time are not kept: the keeper of a test's own process keeps them, and this \
             one runs in the test process ({why_here})"
        )
    })?;
    warn(format!("test `{test}`: {text}"));
    Some(text)
}
