//! What the keeper has told of limits in a call.

use crate::ledger::breach::Breach;

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
        if let Some(why) = &self.not_kept {
            text += "limits were not kept: ";
            text += why;
            text.push('\n');
        }
        text
    }
}
