//! The sequence of the checks, and the way to start it.

use crate::error::Result;
use crate::session::backend::SessionBackend;
use crate::session::spec::SessionSpec;
use crate::settings::Settings;
use crate::testing::kit::{Kit, Made};
use crate::testing::report::{Check, Conformance, Outcome, Rule};
use crate::testing::rules::{self, Verdict};
use std::sync::Arc;
use std::time::Duration;

/// Tries a backend on its real server: create, kill, kill twice, state after death, unknown id, prefix of another id,
/// hostile ids, slow death, natural exit and more. [`BackendCheck`] has settings.
///
/// A backend that breaks a rule is a failure in the [`Conformance`], and no error. So is one that hangs or panics:
/// every call has a bound. What the kit created it ends, whatever happens; a session that it could not end is named
/// by the check `clean-up`.
///
/// # Limits
///
/// Give it a server of its own. A backend that breaks the contract may hit *any* session while it is tried, which is
/// what this is about; the kit's own sessions, always the newest, serve as bystanders. An id that could be the id of
/// a session of somebody else's is not tried.
///
/// What is true of a session is known where the backend names its leader and that is believed (on Linux); elsewhere
/// the backend's word is compared with itself only, and a check that needs more is skipped.
///
/// A session that is born after its creation was given up is ended if that happens before the end of the checks.
///
/// # Errors
///
/// If the process cannot wait for anything (no descriptor or thread is left), or a `TERMLEASH_…` variable is malformed.
///
/// ```
/// use termleash::{session::FakeBackend, testing::check_backend};
///
/// # termleash::block_on(async {
/// let conformance = check_backend(FakeBackend::new()).await?;
/// println!("{conformance}");
/// conformance.assert_ok();
/// # Ok::<(), termleash::Error>(())
/// # })?;
/// # Ok::<(), termleash::Error>(())
/// ```
pub async fn check_backend(backend: impl SessionBackend) -> Result<Conformance> {
    BackendCheck::new(backend).run().await
}

/// [`check_backend`] with settings: which programs the server runs, and how long it may take.
///
/// ```
/// use std::time::Duration;
/// use termleash::session::{FakeBackend, SessionSpec};
/// use termleash::testing::BackendCheck;
///
/// # termleash::block_on(async {
/// let check = BackendCheck::new(FakeBackend::new()).lasting(SessionSpec::new("top")).within(Duration::from_secs(2));
/// check.run().await?.assert_ok();
/// # Ok::<(), termleash::Error>(())
/// # })?;
/// # Ok::<(), termleash::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does nothing until `run`"]
pub struct BackendCheck<B> {
    backend: Arc<B>,
    lasting: SessionSpec,
    exiting: (SessionSpec, i32),
    stubborn: SessionSpec,
    limit: Option<Duration>,
}

impl<B: SessionBackend> BackendCheck<B> {
    /// Runs `sleep 600`, `sh -c 'exit 7'` and a `sh` that ignores HUP and TERM, unless said otherwise.
    pub fn new(backend: B) -> Self {
        Self {
            backend: Arc::new(backend),
            // They have an end of their own, in case that this process gets none in which it could end them.
            lasting: SessionSpec::new("sleep").arg("600"),
            exiting: (SessionSpec::shell("exit 7"), 7),
            stubborn: SessionSpec::shell("trap '' HUP TERM; exec sleep 600"),
            limit: None,
        }
    }

    /// A session that lives until it is killed, or for ten minutes.
    pub fn lasting(mut self, spec: impl Into<SessionSpec>) -> Self {
        self.lasting = spec.into();
        self
    }

    /// A session that exits at once, with this status.
    pub fn exiting(mut self, spec: impl Into<SessionSpec>, status: i32) -> Self {
        self.exiting = (spec.into(), status);
        self
    }

    /// A session whose program ignores HUP and TERM.
    pub fn stubborn(mut self, spec: impl Into<SessionSpec>) -> Self {
        self.stubborn = spec.into();
        self
    }

    /// The bound for each call, and for a death after a kill. 10 s unless `TERMLEASH_WAIT` says otherwise.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs all checks, one after the other.
    ///
    /// # Errors
    ///
    /// As [`check_backend`].
    pub async fn run(self) -> Result<Conformance> {
        let limit = self.limit.map_or_else(|| Ok(Settings::from_env()?.wait), Ok::<_, crate::error::Error>)?;
        let mut kit = Kit::new(Arc::clone(&self.backend), limit)?;
        let mut book = Book::default();
        self.try_all(&mut kit, &mut book).await;
        let left = kit.clean_up().await;
        book.note(rules::CLEAN_UP, if left.is_empty() { Ok(None) } else { Err(Outcome::failed(left.join("\n"))) });
        Ok(book.close())
    }

    async fn try_all(&self, kit: &mut Kit<B>, book: &mut Book) {
        let filled = kit.fill_bystanders(&self.lasting).await;
        if !book.note(rules::CREATE, filled.map(|()| None)) {
            return;
        }
        // Of two living sessions with one id nothing can be said.
        if kit.reused.is_some() {
            book.note(rules::IDS, rules::distinct_ids(kit));
            return;
        }
        let made = kit.bystanders.clone();
        let mut state = Ok(None);
        for made in &made {
            let next = rules::live_state(kit, made).await;
            state = state.and(next);
        }
        // Nothing that follows means anything if the state of a session cannot be relied on.
        if !book.note(rules::STATE, state) {
            return;
        }
        let first = &made[0];
        book.note(rules::LEADER, rules::leader(first));
        book.note(rules::COOKIE, rules::cookie(kit, first).await);
        book.note(rules::LIST, rules::list(kit).await);
        if let Err(outcome) = self.try_kills(kit, book).await {
            book.skip_rest(outcome);
        }
    }

    async fn try_kills(&self, kit: &mut Kit<B>, book: &mut Book) -> std::result::Result<(), Outcome> {
        let killed = self.kill_one(kit, book).await?;
        kit.fill_bystanders(&self.lasting).await?;
        // An id may be given again only after the first session that had it is gone.
        let other = kit.create(&self.lasting).await?;
        book.note(rules::IDS, rules::distinct_ids(kit));
        if let Some(killed) = killed {
            let is_dead = match kit.kill(&other.id).await {
                Ok(Ok(())) => kit.has_ended(&other, kit.limit).await,
                Ok(Err(error)) => Err(Outcome::skipped(error)),
                Err(outcome) => Err(outcome),
            };
            let verdict = match is_dead {
                Ok(true) => rules::discard(kit, &killed, &other).await,
                Ok(false) => Err(Outcome::skipped("a session could not be ended")),
                Err(outcome) => Err(outcome),
            };
            book.note(rules::DISCARD, verdict);
        }
        kit.fill_bystanders(&self.lasting).await?;
        book.note(rules::UNKNOWN, rules::unknown(kit).await);
        kit.fill_bystanders(&self.lasting).await?;
        book.note(rules::PREFIX, rules::prefix(kit).await);
        kit.fill_bystanders(&self.lasting).await?;
        book.note(rules::HOSTILE, rules::hostile(kit).await);
        let (exiting, status) = &self.exiting;
        book.note(rules::NATURAL, rules::natural_exit(kit, exiting, *status).await);
        book.note(rules::SLOW, rules::slow_death(kit, &self.stubborn).await);
        Ok(())
    }

    /// Kills one session, twice; answers with it if it is dead.
    async fn kill_one(&self, kit: &mut Kit<B>, book: &mut Book) -> std::result::Result<Option<Made>, Outcome> {
        let victim = kit.create(&self.lasting).await?;
        let is_killed = book.note(rules::KILL, rules::kill(kit, &victim).await);
        if !is_killed {
            return Ok(None);
        }
        let is_dead = book.note(rules::DEATH, rules::death(kit, &victim).await);
        book.note(rules::STATE_AFTER, rules::state_after(kit, &victim).await);
        kit.fill_bystanders(&self.lasting).await?;
        if is_dead {
            book.note(rules::KILL_TWICE, rules::kill_twice(kit, &victim).await);
        }
        Ok(is_dead.then_some(victim))
    }
}

/// What came of each rule so far.
#[derive(Default)]
struct Book {
    checks: Vec<Check>,
    /// Why the rules without an entry were not tried.
    rest: Option<String>,
}

impl Book {
    /// True if the check passed.
    fn note(&mut self, rule: Rule, verdict: Verdict) -> bool {
        let (outcome, remark) = match verdict {
            Ok(remark) => (Outcome::Passed, remark),
            Err(outcome) => (outcome, None),
        };
        let has_passed = outcome == Outcome::Passed;
        self.checks.push(Check { rule, outcome, remark });
        has_passed
    }

    fn skip_rest(&mut self, because: Outcome) {
        if let Outcome::Failed { why } | Outcome::Skipped { why } = because {
            self.rest = Some(why);
        }
    }

    /// Every rule has one entry, in the order of the rules.
    fn close(mut self) -> Conformance {
        let rest = self.rest.unwrap_or_else(|| "an earlier check has failed".to_owned());
        let checks = rules::ALL.map(|rule| {
            let noted = self.checks.iter().position(|check| check.rule == rule);
            noted.map(|at| self.checks.swap_remove(at)).unwrap_or_else(|| Check {
                rule,
                outcome: Outcome::skipped(rest.clone()),
                remark: None,
            })
        });
        Conformance { checks: checks.into() }
    }
}
