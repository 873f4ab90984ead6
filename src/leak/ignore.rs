//! Step 3, ignore: what is known, and not to be counted.

use crate::leak::difference::{Difference, Identity};
use crate::leak::snapshot::{Snapshot, seen};
use crate::probe::item::Kind;
use crate::settings::Level;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a check must not count, by as narrow a rule as there is. A rule that matched nothing is named in the report, so
/// that it can be taken out again.
///
/// There is no rule by number, which another descriptor will have the next time, and none by kind alone, which would
/// hide every leak of that kind.
#[derive(Debug, Clone)]
pub struct Ignore {
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Current(Box<Snapshot>),
    Path(String),
    Named(Kind, String),
    AtMost(usize, Kind, String),
}

impl Ignore {
    /// What there is at this moment: for what was opened between the check's start and now, and is to stay, such as a
    /// server that all tests of the run share.
    pub fn current() -> Self {
        Self { rule: Rule::Current(Box::new(Snapshot::capture(Level::Paranoid))) }
    }

    /// Files, directories, devices and pipes at this path; with a `*` at its end, below it.
    pub fn path(path: impl Into<String>) -> Self {
        Self { rule: Rule::Path(path.into()) }
    }

    /// Items of one kind with this name, as the report shows it; with a `*` at its end, whose name begins so. The empty
    /// name is that of items without one, such as an eventfd.
    pub fn named(kind: Kind, name: impl Into<String>) -> Self {
        Self { rule: Rule::Named(kind, name.into()) }
    }

    /// The first `count` items of one kind with such a name, and no more of them: for a pool that grows to a size.
    pub fn at_most(count: usize, kind: Kind, name: impl Into<String>) -> Self {
        Self { rule: Rule::AtMost(count, kind, name.into()) }
    }

    /// Takes out what the rule matches.
    pub(crate) fn apply(&self, found: &mut Vec<Difference>) {
        match &self.rule {
            Rule::Current(snapshot) => found.retain(|found| !is_in(found, snapshot)),
            Rule::Path(path) => found.retain(|found| !(has_path(found.item.kind) && matches(path, &found.item.name))),
            Rule::Named(kind, name) => {
                found.retain(|found| !(found.item.kind == *kind && matches(name, &found.item.name)));
            }
            Rule::AtMost(count, kind, name) => {
                let mut left = *count;
                found.retain(|found| {
                    let is_taken = left > 0 && found.item.kind == *kind && matches(name, &found.item.name);
                    left -= usize::from(is_taken);
                    !is_taken
                });
            }
        }
    }
}

fn has_path(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::Directory | Kind::Device | Kind::Pipe | Kind::Memfd)
}

/// Whether the very same thing was there already.
fn is_in(found: &Difference, snapshot: &Snapshot) -> bool {
    match &found.identity {
        Identity::Descriptor(descriptor) => seen(&snapshot.descriptors).is_some_and(|then| then.contains(descriptor)),
        Identity::Thread(thread) => seen(&snapshot.threads).is_some_and(|then| then.contains(thread)),
        Identity::Child(child) => seen(&snapshot.children).is_some_and(|then| then.contains(child)),
        // It is alive now, so one that was registered by then was there.
        Identity::Session(id) => *id <= snapshot.last_origin,
        Identity::Booked => false,
    }
}

/// Equal, or beginning so if the pattern ends with `*`.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

impl fmt::Display for Ignore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Current(_) => f.write_str("what there was when the rule was made"),
            Rule::Path(path) => write!(f, "path `{path}`"),
            Rule::Named(kind, name) => write!(f, "{kind} `{name}`"),
            Rule::AtMost(count, kind, name) => write!(f, "at most {count} {} `{name}`", kind.words().1),
        }
    }
}

/// How much a rule has taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ignored {
    /// The rule, in words.
    pub rule: String,
    /// How many items; 0 for a rule that could be taken out.
    pub matched: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leak::diff::Diff;
    use crate::probe::item::Item;

    fn found(kind: Kind, name: &str) -> Difference {
        Difference { identity: Identity::Booked, item: Item::new(kind, name, None), is_booked: false }
    }

    fn left(rules: &[Ignore]) -> (Vec<String>, Vec<usize>) {
        let found = [
            found(Kind::File, "/tmp/pool/1"),
            found(Kind::File, "/tmp/pool"),
            found(Kind::Thread, "pool-1"),
            found(Kind::Thread, "pool-2"),
            found(Kind::Thread, "worker"),
            found(Kind::Eventfd, ""),
        ];
        let diff = Diff { found: found.to_vec(), ..Diff::default() }.ignoring(rules);
        let left = diff.items().map(|item| format!("{} {}", item.kind, item.name).trim_end().to_owned()).collect();
        (left, diff.ignored.iter().map(|ignored| ignored.matched).collect())
    }

    #[test]
    fn a_path_is_exact_or_a_beginning_and_means_no_thread_of_that_name() {
        assert_eq!(left(&[Ignore::path("/tmp/pool")]).1, [1]);
        assert_eq!(left(&[Ignore::path("/tmp/pool*")]).1, [2]);
        assert_eq!(left(&[Ignore::path("pool-1")]).1, [0]);
    }

    #[test]
    fn a_name_goes_with_its_kind() {
        assert_eq!(left(&[Ignore::named(Kind::Thread, "pool-*")]).1, [2]);
        assert_eq!(left(&[Ignore::named(Kind::Eventfd, "")]).1, [1]);
        assert_eq!(left(&[Ignore::named(Kind::Thread, "")]).1, [0]);
        assert_eq!(left(&[Ignore::named(Kind::File, "pool-*")]).1, [0]);
    }

    #[test]
    fn a_count_takes_so_many_and_no_more() {
        let (left, matched) = left(&[Ignore::at_most(1, Kind::Thread, "pool-*"), Ignore::path("/nowhere")]);
        assert_eq!(matched, [1, 0]);
        assert!(left.contains(&"thread pool-2".to_owned()) && !left.contains(&"thread pool-1".to_owned()), "{left:?}");
    }
}
