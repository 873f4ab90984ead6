//! What the conformance kit found: data, and a table for a person.

use std::fmt;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend keeps this rule.
    Passed,
    /// It breaks it.
    Failed {
        /// What was done, and what came of it.
        why: String,
    },
    /// It could not be tried, or does not apply to this backend.
    Skipped {
        /// What was missing.
        why: String,
    },
}

impl Outcome {
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into() }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped { why: why.into() }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "FAILED",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Failures first, since they are what the table is read for.
    fn rank(&self) -> u8 {
        match self {
            Self::Failed { .. } => 0,
            Self::Skipped { .. } => 1,
            Self::Passed => 2,
        }
    }
}

/// A rule that backends keep: its name, and one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
}

/// One rule of the contract, and what came of trying it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub(crate) rule: Rule,
    pub(crate) outcome: Outcome,
    pub(crate) remark: Option<String>,
}

impl Check {
    /// Its name, such as `kill twice`. Names stay the same between releases.
    pub fn name(&self) -> &'static str {
        self.rule.name
    }

    /// What the rule demands, in one sentence.
    pub fn meaning(&self) -> &'static str {
        self.rule.meaning
    }

    /// What came of it.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Something worth knowing of a check that passed.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// True if the backend breaks the rule.
    pub fn is_failure(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }
}

/// What [`check_backend`](crate::testing::check_backend) found, rule by rule. Shown as a table, failures first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it may hold failures: call `assert_ok`, or look at `failures`"]
pub struct Conformance {
    pub(crate) checks: Vec<Check>,
}

impl Conformance {
    /// True if no check failed. Some may have been skipped.
    pub fn is_ok(&self) -> bool {
        self.failures().next().is_none()
    }

    /// All of them, in a fixed order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Those that the backend failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_failure())
    }

    /// Does nothing if no check failed.
    ///
    /// # Panics
    ///
    /// With the whole table if one did.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert!(self.is_ok(), "the backend breaks the contract of `termleash::SessionBackend`:\n{self}");
    }
}

impl fmt::Display for Conformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |word| self.checks.iter().filter(|check| check.outcome.word() == word).count();
        let (passed, failed, skipped) = (count("passed"), count("FAILED"), count("skipped"));
        writeln!(f, "{} checks: {passed} passed, {failed} failed, {skipped} skipped", self.checks.len())?;
        let width = self.checks.iter().map(|check| check.name().len()).max().unwrap_or(0);
        let mut checks: Vec<_> = self.checks.iter().collect();
        checks.sort_by_key(|check| check.outcome.rank());
        let is_skipped_as =
            |one: &Check, other: &Check| matches!(one.outcome, Outcome::Skipped { .. }) && one.outcome == other.outcome;
        for alike in checks.chunk_by(|one, next| is_skipped_as(one, next)) {
            let check = alike[0];
            if alike.len() > 1 {
                let Outcome::Skipped { why } = &check.outcome else { continue };
                let names: Vec<&str> = alike.iter().map(|check| check.name()).collect();
                writeln!(f, "skipped  {} checks, since {why}: {}", names.len(), names.join(", "))?;
                continue;
            }
            writeln!(f, "{:<7}  {:width$}  {}", check.outcome.word(), check.name(), check.meaning())?;
            let more = match &check.outcome {
                Outcome::Failed { why } | Outcome::Skipped { why } => Some(why),
                Outcome::Passed => check.remark.as_ref(),
            };
            for line in more.iter().flat_map(|more| more.lines()) {
                writeln!(f, "{:<7}  {:width$}  > {line}", "", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_begins_with_what_failed() {
        let check = |name, outcome, remark: Option<&str>| Check {
            rule: Rule { name, meaning: "It does." },
            outcome,
            remark: remark.map(Into::into),
        };
        let conformance = Conformance {
            checks: vec![
                check("create", Outcome::Passed, None),
                check("list", Outcome::skipped("it cannot list"), None),
                check("leader", Outcome::skipped("an earlier check has failed"), None),
                check("cookie", Outcome::skipped("an earlier check has failed"), None),
                check("kill twice", Outcome::failed("the second kill ended `b`\nand `c`"), None),
                check("slow death", Outcome::Passed, Some("it was ended")),
            ],
        };
        insta::assert_snapshot!(conformance, @r"
        6 checks: 2 passed, 1 failed, 3 skipped
        FAILED   kill twice  It does.
                             > the second kill ended `b`
                             > and `c`
        skipped  list        It does.
                             > it cannot list
        skipped  2 checks, since an earlier check has failed: leader, cookie
        passed   create      It does.
        passed   slow death  It does.
                             > it was ended
        ");
        assert!(!conformance.is_ok() && conformance.failures().count() == 1);
    }
}
