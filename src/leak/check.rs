//! The check that a test uses: the four steps, with a baseline that rolls forward.

use crate::error::{Error, Result};
use crate::leak::diff::Diff;
use crate::leak::ignore::Ignore;
use crate::leak::references::MustDrop;
use crate::leak::report::LeakReport;
use crate::leak::settle::{Settled, settle};
use crate::leak::snapshot::{EVERYTHING, Snapshot};
use crate::ledger::client::containment;
use crate::probe::attribution::{Attribution, Reason};
use crate::probe::item::{Item, Resource};
use crate::probe::origins::{KeepStacks, ScopeId};
use crate::probe::other::Other;
use crate::probe::prime::prime;
use crate::probe::ptys;
use crate::probe::target::Target;
use crate::process::cookie::Cookie;
use crate::process::handle::ProcessHandle;
use crate::runtime::{is_inside, park_on};
use crate::settings::{Level, Settings};
use parking_lot::Mutex;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Where other tests may run in the process, what differs is suspicious at most, so waiting for it would only slow the
/// suite down: every test would wait for its neighbours.
const SHARED_SETTLE: Duration = Duration::from_millis(100);

/// Finds what is there at its end and was not there at its beginning: descriptors, threads, child processes, and sessions
/// that are still tracked.
///
/// The baseline is taken when it is made, by listing what is open. [`find`](Self::find) waits until nothing differs, for at most 2 s (5 s where `CI` is set;
/// `TERMLEASH_SETTLE`), and answers with a report; [`assert_no_leaks!`](crate::assert_no_leaks) panics with it. A clean check costs one
/// look: an fstat(2) for each descriptor of the baseline, a listing of the threads, one call for children; and a listing of the descriptors
/// where other threads may open and close some meanwhile.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use termleash::{LeakCheck, assert_no_leaks};
/// use termleash::leak::{Kind, Verdict};
///
/// let check = LeakCheck::new().exclusive();          // nothing else runs in this process
/// let file = std::fs::File::open("/dev/null")?;
///
/// let report = check.settle_within(std::time::Duration::ZERO).find_blocking()?;
/// assert_eq!(report.verdict, Verdict::Leaked);
/// assert_eq!(report.findings[0].item().kind, Kind::Device);
/// assert_eq!(report.findings[0].item().name, "/dev/null");
///
/// let check = LeakCheck::new().exclusive();
/// drop(std::fs::File::open("/dev/null")?);
/// assert_no_leaks!(check);                           // or `assert_no_leaks!(check.find().await)` in async code
/// # drop(file);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Limits
///
/// - Where other tests may run in the process (libtest's threads), what differs may be theirs: it is *suspicious*, reported,
///   does not fail, and is waited for 100 ms only. It is exact in the process of a [`termleash::test`](crate::test)'s own, under
///   cargo-nextest, with `--test-threads=1`, on a program's first thread, and where [`exclusive`](Self::exclusive) says so.
/// - A descriptor is known by number, device and inode. Two epolls or eventfds have one inode, so one that was closed and
///   replaced by its like at its own number is not seen; at level [`Paranoid`](Level::Paranoid) it is where the kernel tells the two
///   apart (an eventfd's id, a timerfd's clock, a signalfd's mask), which it does not for an epoll.
/// - Without the feature `tokio`, the first tokio runtime of a process leaves two sockets that look like a leak: make one
///   before the check.
/// - What children leave behind when they end is not seen: it is nobody's child any more.
/// - Inside of a tokio runtime that was there before, its idle blocking threads stay for 10 s; use
///   [`termleash::test`](crate::test), whose runtime ends before the look, or [`Ignore::named`].
/// - Memory is reported and never judged here; see [`LeakHunt`](crate::leak::LeakHunt).
#[derive(Debug)]
#[must_use = "a check that is not asked finds nothing: `assert_no_leaks!(check)`, or `check.find().await`"]
pub struct LeakCheck {
    target: Target,
    name: Option<String>,
    level: Option<Level>,
    settle_within: Option<Duration>,
    rules: Vec<Ignore>,
    attribution: Attribution,
    scope: Option<ScopeId>,
    references: Arc<MustDrop>,
    resources: Vec<Resource>,
    before: Mutex<Arc<Snapshot>>,
    settings: Result<Settings, String>,
    /// At level paranoid.
    stacks: Option<KeepStacks>,
}

impl LeakCheck {
    /// Takes the baseline: what is there now.
    #[expect(clippy::new_without_default, reason = "it looks at the process")]
    pub fn new() -> Self {
        prime();
        Self::on(Target::Own, Attribution::find())
    }

    /// The same of another process, the server under test, with its whole tree: descriptors and pseudo-terminals, threads, its
    /// children and theirs, zombies that it does not wait for, and memory. That it has ended meanwhile is a finding, and not an empty
    /// one: how it ended stands with it where anybody was told.
    ///
    /// What differs is its sessions' only if nobody else uses it meanwhile: say so with [`exclusive`](Self::exclusive), and it is a leak;
    /// else it is suspicious.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use std::process::{Command, Stdio};
    /// use termleash::leak::{Kind, Verdict};
    /// use termleash::{LeakCheck, process::ProcessHandle};
    ///
    /// let mut server = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    /// let check = LeakCheck::of(&ProcessHandle::open(server.id())?)?.exclusive();
    /// assert_eq!(check.find_blocking()?.verdict, Verdict::Clean);
    ///
    /// drop(server.stdin.take());                         // it ends by itself
    /// server.wait()?;
    /// let report = check.find_blocking()?;
    /// assert_eq!((report.verdict, report.findings[0].item().kind), (Verdict::Leaked, Kind::Ended));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it has ended, or /proc does not show it. What of a living process cannot be read, such as the descriptors of another user's,
    /// is the verdict [`CouldNotCheck`](crate::leak::Verdict::CouldNotCheck).
    ///
    /// # Limits
    ///
    /// - What has left its tree by a double fork is found if it carries the [mark](Self::marked), or is in a kernel session that the process or
    ///   one of its tree led when it was looked at.
    /// - Of the tree's processes only their being there is looked at, and not what they have open.
    pub fn of(process: &ProcessHandle) -> Result<Self> {
        prime();
        Ok(Self::on(Target::Other(Arc::new(Other::open(process)?)), Attribution::Shared))
    }

    /// Finds what carries this mark in its environment, too, wherever it stands by now; for a check [of](Self::of) another process that
    /// was started with it. It takes the baseline anew.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn marked(mut self, cookie: Cookie) -> Result<Self> {
        if let Target::Other(other) = &self.target {
            self.target = Target::Other(Arc::new(Other::open(other.handle())?.marked(cookie)));
            *self.before.lock() = Arc::new(Snapshot::listed(&self.target, &self.resources, self.current_level()));
        }
        Ok(self)
    }

    pub(crate) fn on(target: Target, attribution: Attribution) -> Self {
        let settings = Settings::from_env().map_err(|cause| cause.to_string());
        let level = settings.as_ref().map_or(Level::Fail, |settings| settings.leaks);
        Self {
            target: target.clone(),
            name: None,
            level: None,
            settle_within: None,
            rules: Vec::new(),
            attribution,
            scope: None,
            references: Arc::default(),
            resources: EVERYTHING.to_vec(),
            before: Mutex::new(Arc::new(Snapshot::listed(&target, &EVERYTHING, level))),
            settings,
            stacks: (level == Level::Paranoid).then(KeepStacks::new),
        }
    }

    /// What the report calls it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What to do with what is found; default `TERMLEASH_LEAKS`, else [`Level::Fail`]. Level paranoid takes the baseline anew.
    pub fn level(mut self, level: Level) -> Self {
        if level == Level::Paranoid && self.current_level() != Level::Paranoid {
            // The baseline must be as deep as the look.
            *self.before.lock() = Arc::new(Snapshot::listed(&self.target, &self.resources, level));
        }
        self.stacks = (level == Level::Paranoid).then(KeepStacks::new);
        self.level = Some(level);
        self
    }

    /// Does not count what a rule says.
    pub fn ignore(mut self, rule: Ignore) -> Self {
        self.rules.push(rule);
        self
    }

    /// Looks at these resources only. Sessions that are tracked and what must be dropped are always looked at. It takes the baseline
    /// anew.
    pub fn only(mut self, resources: impl IntoIterator<Item = Resource>) -> Self {
        self.resources = resources.into_iter().collect();
        *self.before.lock() = Arc::new(Snapshot::listed(&self.target, &self.resources, self.current_level()));
        self
    }

    /// How long to wait for what is on its way out; at least ten looks are taken.
    pub fn settle_within(mut self, limit: Duration) -> Self {
        self.settle_within = Some(limit);
        self
    }

    /// Says that no other test runs in this process, so that what differs is this one's; of another process that nobody else uses it.
    pub fn exclusive(mut self) -> Self {
        self.attribution = Attribution::Exact(Reason::Said);
        self
    }

    pub(crate) fn of_scope(mut self, scope: ScopeId) -> Self {
        self.scope = Some(scope);
        self
    }

    /// An object that must be dropped by the end: what still holds a reference then is a leak, named by its type, its strong
    /// count and this place.
    #[track_caller]
    pub fn must_drop<T: ?Sized + Send + Sync + 'static>(&self, object: &Arc<T>) {
        self.references.add(object, Location::caller());
    }

    pub(crate) fn references(&self) -> &Arc<MustDrop> {
        &self.references
    }

    fn current_level(&self) -> Level {
        self.level.unwrap_or_else(|| self.settings.as_ref().map_or(Level::Fail, |settings| settings.leaks))
    }

    /// Waits until nothing differs from the baseline or the time to settle is over, and reports. The baseline rolls forward:
    /// what was reported once is not reported again.
    ///
    /// # Errors
    ///
    /// If a `TERMLEASH_…` variable is malformed. What could not be looked at is no error but the verdict
    /// [`CouldNotCheck`](crate::leak::Verdict::CouldNotCheck).
    pub async fn find(&self) -> Result<LeakReport> {
        let mut report = self.find_with(Vec::new(), Settled::default()).await?;
        report.containment = (report.level != Level::Off).then(|| containment("no `termleash::test` around it"));
        Ok(report)
    }

    /// The same, with what is known to be left from elsewhere, and how long that was waited for.
    pub(crate) async fn find_with(&self, known: Vec<Item>, waited: Settled) -> Result<LeakReport> {
        let settings = self.settings.as_ref().map_err(|text| Error::invalid(text.clone()))?;
        let level = self.current_level();
        let mut report = LeakReport::of_nothing(self.name.clone(), level, self.attribution);
        report.process = self.target.process().cloned();
        if level == Level::Off {
            return Ok(report);
        }
        let before = Arc::clone(&self.before.lock());
        let mut after = None;
        let (mut diff, mut settled) = self.settle(|| self.look(&before, level, &mut after)).await;
        if !known.is_empty() {
            settled = Settled::both(waited, settled);
        }
        diff.extend_booked_by_rules(known, &self.rules);
        let mut left: Vec<&mut Item> = diff.found.iter_mut().map(|found| &mut found.item).collect();
        ptys::name_holders(&mut left);
        let mut report = report.judge(diff, settled, &required(settings));
        report.lasted = before.taken.elapsed();
        report.memory = before.resident().and_then(|then| self.target.memory_since(then).ok());
        if let Some(memory) = report.memory.as_mut().filter(|_| report.verdict.is_failure()) {
            memory.private = self.target.private_bytes().ok();
        }
        self.references.forget();
        if let Some(after) = after {
            *self.before.lock() = Arc::new(after.into_baseline(&before));
        }
        Ok(report)
    }

    /// Beside other tests what differs is suspicious at most, and waited for only shortly; but what our own books know of is this
    /// test's, and has all the time that there is.
    async fn settle(&self, mut look: impl FnMut() -> Diff) -> (Diff, Settled) {
        let limit = self.settle_limit();
        if self.attribution.is_exact() || limit <= SHARED_SETTLE {
            return settle(limit, look).await;
        }
        let (diff, settled) = settle(SHARED_SETTLE, &mut look).await;
        if !diff.has_booked() {
            return (diff, settled);
        }
        let mut last = diff;
        let only_booked = || {
            last = look();
            last.only_booked()
        };
        let (_, more) = settle(limit - SHARED_SETTLE, only_booked).await;
        (last, Settled::both(settled, more))
    }

    /// How long to wait; not at all where nobody looks.
    pub(crate) fn settle_limit(&self) -> Duration {
        if self.current_level() == Level::Off {
            return Duration::ZERO;
        }
        let usual = || self.settings.as_ref().map_or(SHARED_SETTLE, |settings| settings.settle);
        self.settle_within.unwrap_or_else(usual)
    }

    /// One look: the baseline is verified, and only if that fails everything is listed; from then on always.
    fn look(&self, before: &Snapshot, level: Level, after: &mut Option<Snapshot>) -> Diff {
        let mut diff = if after.is_none() && before.is_unchanged() {
            Diff::default()
        } else {
            let now = Snapshot::listed(&self.target, &self.resources, level);
            let diff = Diff::of_scope(before, &now, self.scope);
            *after = Some(now);
            diff
        };
        diff.extend_booked(self.references.alive());
        diff.ignoring(&self.rules)
    }

    /// The same for a test that is not async.
    ///
    /// # Errors
    ///
    /// As for [`find`](Self::find), and inside of a tokio runtime, whose thread it would block while what is to settle needs
    /// it.
    pub fn find_blocking(&self) -> Result<LeakReport> {
        if is_inside() {
            return Err(Error::invalid(
                "a leak check was asked inside of a tokio runtime, whose thread it would block: \
                 write `assert_no_leaks!(check.find().await)`, or `check.find().await?`",
            ));
        }
        park_on(self.find())
    }
}

fn required(settings: &Settings) -> Vec<Resource> {
    let named = |name: &String| Resource::PROBED.iter().find(|(known, _)| known == name).map(|(_, resource)| *resource);
    settings.require.iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_that_may_be_required_is_known_by_that_name() {
        let known = Resource::PROBED.map(|(name, _)| name);
        assert_eq!(known, crate::settings::REQUIRABLE);
    }

    #[test]
    fn what_is_required_by_name_is_required() {
        let settings = Settings { require: vec!["fds".into(), "memory".into()], ..Settings::default() };
        assert_eq!(required(&settings), [Resource::Descriptors, Resource::Memory]);
    }
}
