//! Backends that break one rule where only one look of the kit can see it, and odd ones that keep the contract.

use super::*;

/// What no [`Fault`] does: a backend that breaks one rule where only one look can see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Odd {
    No,
    NamesOtherLeader,
    NamesOtherServer,
    KillsAnotherToo,
    KillsAnotherInSilence,
    KillsForUnheardOf,
    KillsForIdsOfItsForm,
    KillsWhatTheIdBeginsWith,
    KillsLate,
    KnowsUnheardOf,
    KnowsByPrefix,
    RunsOnceDiscarded,
    DiscardEndsAnother,
    SecondDiscardEndsAnother,
    SaysOtherStatus,
}

/// It cannot list.
struct OddBackend {
    fake: FakeBackend,
    odd: Odd,
    said_to_run: parking_lot::Mutex<Vec<SessionId>>,
    discarded: parking_lot::Mutex<Vec<SessionId>>,
}

impl OddBackend {
    fn new(fake: &FakeBackend, odd: Odd) -> Self {
        Self {
            fake: fake.clone(),
            odd,
            said_to_run: parking_lot::Mutex::default(),
            discarded: parking_lot::Mutex::default(),
        }
    }

    fn end_newest_but(&self, id: &SessionId) -> Option<SessionId> {
        let newest = self.fake.sessions().into_iter().rev().find(|other| other != id)?;
        self.fake.exit(&newest, 0);
        Some(newest)
    }
}

impl SessionBackend for OddBackend {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        self.fake.create(spec).await
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        let living = self.fake.sessions();
        let (is_unheard_of, text) = (id.as_str().starts_with("unknown-"), id.as_str());
        let is_of_its_form = text.strip_prefix("fake-").is_some_and(|number| number.parse::<u64>().is_ok());
        let begins_with = living.iter().find(|other| text.starts_with(other.as_str()) && id != *other);
        match self.odd {
            Odd::KillsAnotherToo if living.contains(id) => drop(self.end_newest_but(id)),
            Odd::KillsAnotherInSilence if is_unheard_of => self.said_to_run.lock().extend(self.end_newest_but(id)),
            Odd::KillsForUnheardOf if is_unheard_of => drop(self.end_newest_but(id)),
            Odd::KillsForIdsOfItsForm if is_of_its_form && !living.contains(id) => drop(self.end_newest_but(id)),
            Odd::KillsWhatTheIdBeginsWith => begins_with.into_iter().for_each(|other| self.fake.exit(other, 0)),
            // The last one that is tried. A queue that its server works off in a while.
            Odd::KillsLate if text == "0" => {
                let (fake, newest) = (self.fake.clone(), living.last().cloned());
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    newest.into_iter().for_each(|newest| fake.exit(&newest, 0));
                });
            }
            _ => {}
        }
        self.fake.kill(id).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        let state = self.fake.state(id).await?;
        let newest = || self.fake.sessions().into_iter().rev().find(|other| other.as_str().starts_with(id.as_str()));
        Ok(match (self.odd, state) {
            _ if self.said_to_run.lock().contains(id) => SessionState::running(),
            (Odd::NamesOtherLeader, SessionState::Running(_)) => Running::new().with_leader(std::process::id()).into(),
            (Odd::NamesOtherServer, SessionState::Running(_)) => Running::new().with_server(1).into(),
            (Odd::KnowsUnheardOf, SessionState::Unknown) if id.as_str().starts_with("unknown-") => {
                SessionState::Exited(None)
            }
            (Odd::KnowsByPrefix, SessionState::Unknown) => match newest() {
                Some(known) => self.fake.state(&known).await?,
                None => SessionState::Unknown,
            },
            (Odd::RunsOnceDiscarded, _) if self.discarded.lock().contains(id) => SessionState::running(),
            (Odd::SaysOtherStatus, SessionState::Exited(Some(ExitStatus::Exited(status)))) => {
                SessionState::Exited(Some(ExitStatus::Exited(status + 1)))
            }
            (_, state) => state,
        })
    }

    async fn discard_record(&self, id: &SessionId) -> Result<(), BoxError> {
        let is_second = self.discarded.lock().contains(id);
        match self.odd {
            Odd::DiscardEndsAnother if !is_second => drop(self.end_newest_but(id)),
            Odd::SecondDiscardEndsAnother if is_second => drop(self.end_newest_but(id)),
            _ => {}
        }
        self.discarded.lock().push(id.clone());
        self.fake.discard_record(id).await
    }
}

/// Each with the check that finds it, and what this says: another check may see the damage later.
#[test]
fn each_look_of_a_check_is_needed() {
    checked_blocking(|| {
        let cases = [
            (Odd::KillsAnotherToo, "death", "hit another session"),
            (Odd::KillsForUnheardOf, "unknown id", "the kill of `unknown-"),
            (Odd::KillsForIdsOfItsForm, "unknown id", "87654321`, which no session has, hit another session"),
            (Odd::KnowsUnheardOf, "unknown id", "is said to have exited"),
            (Odd::KillsWhatTheIdBeginsWith, "prefix of another id", "hit another session"),
            (Odd::KillsLate, "hostile ids", "hit another session"),
            (Odd::RunsOnceDiscarded, "discard_record", "is said to run again"),
            (Odd::DiscardEndsAnother, "discard_record", "` hit another session"),
            (Odd::SecondDiscardEndsAnother, "discard_record", "` twice hit another session"),
            (Odd::SaysOtherStatus, "natural exit", "exited with status 7"),
        ];
        each(cases, |(odd, expected, says)| {
            let conformance = check(OddBackend::new(&FakeBackend::new(), odd));
            assert!(
                names(conformance.failures()).contains(&expected),
                "{odd:?} should fail `{expected}`:\n{conformance}"
            );
            assert!(why(&conformance, expected).contains(says), "{odd:?}: {says}\n{conformance}");
        });
        #[cfg(target_os = "linux")]
        each(
            [
                (Odd::NamesOtherLeader, "state of a live session", "was created with the leader"),
                (Odd::NamesOtherServer, "state of a live session", "was created by the server"),
                (Odd::KillsAnotherInSilence, "unknown id", "is dead"),
                (Odd::KnowsByPrefix, "prefix of another id", "is taken for"),
            ],
            |(odd, expected, says)| {
                let conformance = check(OddBackend::new(&FakeBackend::new().with_processes(), odd));
                assert!(
                    names(conformance.failures()).contains(&expected),
                    "{odd:?} should fail `{expected}`:\n{conformance}"
                );
                assert!(why(&conformance, expected).contains(says), "{odd:?}: {says}\n{conformance}");
            },
        );
    });
}

/// Ids that it would try are a stranger's: where there is no list, the state says so.
#[test]
fn a_stranger_on_a_server_that_cannot_list_is_left_alone() {
    checked_blocking(|| {
        let fake = FakeBackend::new();
        let strangers = ["fake-", "fake-2x", "fake-20", "all", "*", "fake"].map(|id| fake.spawn_bystander(id).unwrap());
        check(OddBackend::new(&fake, Odd::No)).assert_ok();
        assert_eq!(fake.sessions(), strangers);
    });
}

/// Each id begins with all older ones, as those of a server that counts in strokes: none of its own is tried.
#[cfg(target_os = "linux")]
#[test]
fn a_server_whose_ids_are_prefixes_of_each_other_passes() {
    checked_blocking(|| {
        #[derive(Default)]
        struct Strokes(FakeBackend, parking_lot::Mutex<Vec<SessionId>>);

        impl Strokes {
            fn inner(&self, id: &SessionId) -> Result<SessionId, BoxError> {
                let all_strokes = id.as_str().bytes().all(|byte| byte == b'i');
                let inner = self.1.lock().get(id.as_str().len() - 1).cloned().filter(|_| all_strokes);
                inner.ok_or_else(|| "no such session".into())
            }
        }

        impl SessionBackend for Strokes {
            async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
                let created = self.0.create(spec).await?;
                let mut ids = self.1.lock();
                ids.push(created.id().clone());
                let leader = created.leader_pid().ok_or("no leader")?;
                Ok(Created::new(SessionId::new("i".repeat(ids.len()))?)
                    .with_leader(leader)
                    .with_server(std::process::id()))
            }

            async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
                self.0.kill(&self.inner(id)?).await
            }

            async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
                match self.inner(id) {
                    Ok(inner) => self.0.state(&inner).await,
                    Err(_) => Ok(SessionState::Unknown),
                }
            }
        }

        check(Strokes(FakeBackend::new().with_processes(), parking_lot::Mutex::default())).assert_ok();
    });
}
