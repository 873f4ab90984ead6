//! Step 2, diff: what is there now and was not there before, each with what a person reads of it.

use crate::leak::difference::{Difference, Identity};
use crate::leak::ignore::{Ignore, Ignored};
use crate::leak::snapshot::{Asked, NotLookedAt, Snapshot, look};
use crate::probe::describe;
use crate::probe::item::{Item, Kind, Resource};
use crate::probe::origins::{self, Origin, OriginId, ScopeId};
use crate::sys::ProcReader;
use std::sync::Arc;

/// What is there after and was not before.
#[derive(Debug, Clone, Default)]
pub struct Diff {
    pub(crate) found: Vec<Difference>,
    pub(crate) not_looked_at: Vec<NotLookedAt>,
    pub(crate) ignored: Vec<Ignored>,
}

impl Diff {
    /// What is in `after` and not in `before`. Names are read from the system as it is now, so `after` should be fresh.
    ///
    /// Descriptors and processes that belong to a new session stand with it, and not by themselves.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        Self::of_scope(before, after, None)
    }

    /// The same for one test's scope: the sessions of other scopes in this process are theirs.
    pub(crate) fn of_scope(before: &Snapshot, after: &Snapshot, scope: Option<ScopeId>) -> Self {
        let mut diff = Self::default();
        let mut reader = match ProcReader::new() {
            Ok(reader) => reader,
            // Without /proc, or without a descriptor for it, there is nothing to compare but our own books.
            Err(cause) => {
                diff.not_looked_at.extend(look::<()>(Resource::Descriptors, Err(cause)).err());
                diff.sessions(&origins::since(before.last_origin), scope, after.target.is_own());
                return diff;
            }
        };
        if !diff.ends(before, after) {
            return diff;
        }
        let target = &after.target;
        if let Some((before, after)) = diff.both(&before.descriptors, &after.descriptors) {
            for descriptor in after.new_since(before) {
                let mut item = describe::descriptor(target, &mut reader, descriptor);
                item.replaces = before.at(descriptor.number).map(|old| describe::closed_descriptor(&old.stat));
                diff.push(Identity::Descriptor(descriptor.clone()), item);
            }
        }
        if let Some((before, after)) = diff.both(&before.threads, &after.threads) {
            for thread in after.new_since(before) {
                let item = describe::thread(target, &mut reader, thread);
                diff.push(Identity::Thread(thread.clone()), item);
            }
        }
        if let Some((before, after)) = diff.both(&before.children, &after.children) {
            for child in after.new_since(before) {
                let item = match target.process() {
                    None => describe::child(&mut reader, child),
                    Some(process) => describe::descendant(&mut reader, child, process.identity.pid),
                };
                diff.push(Identity::Child(child.clone()), item);
            }
        }
        diff.both(&before.resident, &after.resident);
        diff.sessions(&origins::since(before.last_origin), scope, target.is_own());
        diff
    }

    /// Notes the end of the other process; false if it had ended before already, so that nothing can be compared.
    fn ends(&mut self, before: &Snapshot, after: &Snapshot) -> bool {
        let (Some(process), Some(ended)) = (after.target.process(), after.ended) else { return true };
        if before.ended.is_some() {
            let cause = std::io::Error::other(format!("{process} had ended before: {ended}"));
            self.not_looked_at.extend(look::<()>(Resource::Processes, Err(cause)).err());
            return false;
        }
        self.extend_booked([ended.item(process)]);
        true
    }

    /// True if no further look can tell anything else.
    pub(crate) fn is_final(&self) -> bool {
        self.found.iter().any(|found| found.item.kind == Kind::Ended)
    }

    fn push(&mut self, identity: Identity, item: Item) {
        self.found.push(Difference { identity, item, is_booked: false });
    }

    /// Both looks, or a note that one of them could not be taken.
    fn both<'a, T>(&mut self, before: &'a Asked<T>, after: &'a Asked<T>) -> Option<(&'a T, &'a T)> {
        match (before.as_ref()?, after.as_ref()?) {
            (Ok(before), Ok(after)) => Some((before, after)),
            (Err(why), _) | (_, Err(why)) => {
                self.not_looked_at.push(why.clone());
                None
            }
        }
    }

    /// Adds the new sessions, each with what belongs to it; of another scope's sessions nothing is shown. In another process only
    /// those of which something was found there.
    fn sessions(&mut self, new: &[(OriginId, Arc<Origin>)], scope: Option<ScopeId>, is_own: bool) {
        let mut sessions = Vec::new();
        for (id, origin) in new {
            let is_anothers = scope.is_some() && origin.scope.is_some() && origin.scope != scope;
            let (own, rest): (Vec<_>, _) =
                std::mem::take(&mut self.found).into_iter().partition(|found| belongs(found, origin));
            self.found = rest;
            if !is_anothers && (is_own || !own.is_empty()) {
                sessions.push(session(*id, origin, &own, scope.is_some() && origin.scope == scope));
            }
        }
        self.found.splice(0..0, sessions);
    }

    /// Step 3: takes out what the rules say, each rule in its turn, and notes how much each has taken.
    #[must_use]
    pub fn ignoring(mut self, rules: &[Ignore]) -> Self {
        for rule in rules {
            let before = self.found.len();
            rule.apply(&mut self.found);
            self.ignored.push(Ignored { rule: rule.to_string(), matched: before - self.found.len() });
        }
        self
    }

    /// True if there is no difference, and everything could be looked at that this system has a probe for.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.not_looked_at.iter().all(|why| why.is_unsupported)
    }

    /// True if something differs that our own books know of.
    pub(crate) fn has_booked(&self) -> bool {
        self.found.iter().any(|found| found.is_booked)
    }

    /// What our own books know of.
    pub(crate) fn only_booked(&self) -> Self {
        Self { found: self.found.iter().filter(|found| found.is_booked).cloned().collect(), ..Self::default() }
    }

    /// The differences.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.found.iter().map(|found| &found.item)
    }

    /// Adds what is known from elsewhere to be left, but for what the rules take out.
    pub(crate) fn extend_booked_by_rules(&mut self, items: Vec<Item>, rules: &[Ignore]) {
        let mut known = Self::default();
        known.extend_booked(items);
        let known = known.ignoring(rules);
        for (all, more) in self.ignored.iter_mut().zip(known.ignored) {
            all.matched += more.matched;
        }
        self.found.extend(known.found);
    }

    /// Adds what our own books know to be there still.
    pub(crate) fn extend_booked(&mut self, items: impl IntoIterator<Item = Item>) {
        let found = items.into_iter().map(|item| Difference { identity: Identity::Booked, item, is_booked: true });
        self.found.extend(found);
    }
}

/// True for a session's terminal, its leader, and our reference to that.
fn belongs(found: &Difference, origin: &Origin) -> bool {
    let leader = origin.leader.map(|leader| leader.pid);
    match &found.identity {
        Identity::Descriptor(descriptor) if descriptor.stat.terminal.is_some() => {
            descriptor.stat.terminal == origin.terminal
        }
        Identity::Descriptor(_) if found.item.kind == Kind::Pidfd => {
            leader.is_some_and(|pid| found.item.which == Some(format!("of pid {pid}")))
        }
        Identity::Child(child) => leader == Some(child.pid),
        _ => false,
    }
}

fn session(id: OriginId, origin: &Origin, own: &[Difference], is_booked: bool) -> Difference {
    let mut item = Item::new(Kind::Session, origin.command.clone(), origin.leader.map(|leader| leader.pid));
    item.which = Some(format!("`{}`", origin.id));
    item.age = Some(origin.since.elapsed());
    item.made_at = Some(origin.made_at.to_string());
    item.stack = origin.stack.as_ref().map(ToString::to_string);
    let numbers = |kinds: &[Kind]| -> Vec<String> {
        let own = own.iter().filter(|found| kinds.contains(&found.item.kind));
        own.filter_map(|found| found.item.number).map(|number| number.to_string()).collect()
    };
    let descriptors = numbers(&[Kind::PtyMaster, Kind::Pidfd]);
    if !descriptors.is_empty() {
        item.notes.push(format!("it holds descriptors {}", descriptors.join(", ")));
    }
    Difference { identity: Identity::Session(id), item, is_booked }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else each check on a system without a probe would take all its time.
    #[test]
    fn what_no_system_has_a_probe_for_is_not_waited_for_and_what_failed_is() {
        for (is_unsupported, is_empty) in [(true, true), (false, false)] {
            let why =
                NotLookedAt { resource: Resource::Threads, cause: "x".into(), is_unsupported, is_required: false };
            let diff = Diff { not_looked_at: vec![why], ..Diff::default() };
            assert_eq!(diff.is_empty(), is_empty);
        }
    }
}
