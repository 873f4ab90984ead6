//! What a check found, as data.

use crate::leak::diff::Diff;
use crate::leak::difference::Difference;
use crate::leak::ignore::Ignored;
use crate::leak::settle::Settled;
use crate::leak::snapshot::NotLookedAt;
use crate::leak::verdict::Verdict;
use crate::ledger::Containment;
use crate::probe::attribution::Attribution;
use crate::probe::item::{Item, Resource};
use crate::probe::memory::Memory;
use crate::process::summary::ProcessSummary;
use crate::settings::Level;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeakReport {
    /// What was checked: a test's name, or what [`named`](crate::LeakCheck::named) was told.
    pub name: Option<String>,
    /// Which process was looked at; `None` for the one that the check runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSummary>,
    /// The worst of all.
    pub verdict: Verdict,
    /// What the check does with it.
    pub level: Level,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub not_looked_at: Vec<NotLookedAt>,
    /// What each rule took out.
    pub ignored: Vec<Ignored>,
    /// How long it was waited, and how often looked.
    pub settled: Settled,
    /// How long the baseline was ago at the end: nothing that was found is older.
    pub lasted: Duration,
    /// How sure it is whose leaks these are.
    pub attribution: Attribution,
    /// How it has grown; `None` if that could not be measured, or nobody asked.
    pub memory: Option<Memory>,
    /// What would hold the test's processes if it died at this moment; `None` within a test's own report, which says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
}

/// One thing that was found, or several that are the same leak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is thought of it.
    pub verdict: Verdict,
    /// The things: one, or several of the same kind, name and origin.
    pub items: Vec<Item>,
}

impl Finding {
    /// The first of them, which stands for all.
    pub fn item(&self) -> &Item {
        &self.items[0]
    }
}

impl LeakReport {
    /// True if nothing was found, and nothing had to be left unseen.
    pub fn is_clean(&self) -> bool {
        matches!(self.verdict, Verdict::Clean | Verdict::SettledLate)
    }

    /// True if the check fails with it, at its level.
    pub fn is_failure(&self) -> bool {
        self.level.fails(self.verdict)
    }

    /// The report of a look that was not taken.
    pub(crate) fn of_nothing(name: Option<String>, level: Level, attribution: Attribution) -> Self {
        Self {
            name,
            process: None,
            verdict: Verdict::Clean,
            level,
            findings: Vec::new(),
            not_looked_at: Vec::new(),
            ignored: Vec::new(),
            settled: Settled::default(),
            lasted: Duration::ZERO,
            attribution,
            memory: None,
            containment: None,
        }
    }

    /// Judges what stayed. A pure function of its arguments.
    pub(crate) fn judge(mut self, diff: Diff, settled: Settled, required: &[Resource]) -> Self {
        let found = diff.found.into_iter().map(|found| (verdict(&found, self.attribution), found.item));
        self.findings = grouped(found);
        self.not_looked_at = diff.not_looked_at;
        self.ignored = diff.ignored;
        for why in &mut self.not_looked_at {
            why.is_required = required.contains(&why.resource);
        }
        let is_blind = self.not_looked_at.iter().any(|why| !why.is_unsupported || why.is_required);
        let blind = is_blind.then_some(Verdict::CouldNotCheck);
        let clean = if settled.looks > 1 { Verdict::SettledLate } else { Verdict::Clean };
        self.settled = settled;
        self.verdict = self.findings.iter().map(|finding| finding.verdict).chain(blind).max().unwrap_or(clean);
        self
    }
}

fn verdict(found: &Difference, attribution: Attribution) -> Verdict {
    if !(found.is_booked || attribution.is_exact()) {
        return Verdict::Suspicious;
    }
    if found.item.replaces.is_some() { Verdict::Interfered } else { Verdict::Leaked }
}

/// The same leak many times is one finding; the worst come first, each kind in the order of [`Kind`](crate::leak::Kind).
fn grouped(found: impl Iterator<Item = (Verdict, Item)>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (verdict, item) in found {
        let same = findings.iter_mut().find(|finding| {
            let first = finding.item();
            let is_alike = (first.kind, &first.name, &first.made_at) == (item.kind, &item.name, &item.made_at);
            finding.verdict == verdict && is_alike
        });
        match same {
            Some(finding) => finding.items.push(item),
            None => findings.push(Finding { verdict, items: vec![item] }),
        }
    }
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.verdict), finding.item().kind));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leak::difference::Identity;
    use crate::probe::attribution::Reason;
    use crate::probe::item::Kind;

    fn found(kind: Kind, name: &str, is_booked: bool) -> Difference {
        Difference { identity: Identity::Booked, item: Item::new(kind, name, None), is_booked }
    }

    fn judged(diff: Diff, attribution: Attribution, required: &[Resource], looks: u32) -> LeakReport {
        let settled = Settled { looks, ..Settled::default() };
        LeakReport::of_nothing(None, Level::Fail, attribution).judge(diff, settled, required)
    }

    const EXACT: Attribution = Attribution::Exact(Reason::Said);

    #[test]
    fn a_difference_is_a_leak_where_one_test_runs_and_suspicious_elsewhere() {
        let diff = || Diff { found: vec![found(Kind::File, "/x", false)], ..Diff::default() };
        assert_eq!(judged(diff(), EXACT, &[], 10).verdict, Verdict::Leaked);
        assert_eq!(judged(diff(), Attribution::Shared, &[], 10).verdict, Verdict::Suspicious);
        let registered = Diff { found: vec![found(Kind::Session, "sh", true)], ..Diff::default() };
        assert_eq!(judged(registered, Attribution::Shared, &[], 10).verdict, Verdict::Leaked);
    }

    #[test]
    fn what_was_closed_and_replaced_is_called_so() {
        let mut replaced = found(Kind::File, "/x", false);
        replaced.item.replaces = Some("a socket".into());
        let diff = Diff { found: vec![replaced], ..Diff::default() };
        assert_eq!(judged(diff, EXACT, &[], 10).verdict, Verdict::Interfered);
    }

    #[test]
    fn what_could_not_be_read_fails_and_what_no_system_has_fails_only_where_it_is_required() {
        let blind = |is_unsupported| {
            let why =
                NotLookedAt { resource: Resource::Threads, cause: "x".into(), is_unsupported, is_required: false };
            Diff { not_looked_at: vec![why], ..Diff::default() }
        };
        assert_eq!(judged(blind(false), EXACT, &[], 10).verdict, Verdict::CouldNotCheck);
        assert_eq!(judged(blind(true), EXACT, &[], 1).verdict, Verdict::Clean);
        assert_eq!(judged(blind(true), EXACT, &[Resource::Threads], 1).verdict, Verdict::CouldNotCheck);
        assert_eq!(judged(blind(true), EXACT, &[Resource::Memory], 1).verdict, Verdict::Clean);
    }

    #[test]
    fn clean_at_the_second_look_is_clean_late() {
        assert_eq!(judged(Diff::default(), EXACT, &[], 1).verdict, Verdict::Clean);
        assert_eq!(judged(Diff::default(), EXACT, &[], 2).verdict, Verdict::SettledLate);
    }

    #[test]
    fn the_same_leak_many_times_is_one_finding_and_the_worst_comes_first() {
        let mut found: Vec<Difference> = (0..50).map(|_| found(Kind::File, "/x", false)).collect();
        found.push(Difference {
            identity: Identity::Booked,
            item: Item::new(Kind::Thread, "w", None),
            is_booked: true,
        });
        let report = judged(Diff { found, ..Diff::default() }, Attribution::Shared, &[], 10);
        let shape: Vec<_> = report.findings.iter().map(|finding| (finding.verdict, finding.items.len())).collect();
        assert_eq!(shape, [(Verdict::Leaked, 1), (Verdict::Suspicious, 50)]);
    }

    #[test]
    fn what_was_made_elsewhere_or_is_judged_otherwise_is_another_finding() {
        let made_at = |place: &str, is_registered| {
            let mut one = found(Kind::Session, "sh", is_registered);
            one.item.made_at = Some(place.into());
            one
        };
        let found = vec![made_at("a.rs:1", false), made_at("a.rs:2", false), made_at("a.rs:1", true)];
        let report = judged(Diff { found, ..Diff::default() }, Attribution::Shared, &[], 10);
        let shape: Vec<_> = report.findings.iter().map(|finding| (finding.verdict, finding.items.len())).collect();
        assert_eq!(shape, [(Verdict::Leaked, 1), (Verdict::Suspicious, 1), (Verdict::Suspicious, 1)]);
    }
}
