//! What a run's records say together: whose run it is, and which sessions are open.

use crate::ledger::home::Home;
use crate::ledger::recipe::Recipe;
use crate::ledger::record::{FORMAT, Parsed, Record, RecordId};
use crate::process::cgroup::CgroupMark;
use crate::process::cookie::Cookie;
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::rule::Mark;
use crate::process::variable::SessionVariable;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// No sweep waits longer for a session that was being created at the run's death, whatever its ledger says: the keeper of
/// another run may wait with it.
const LONGEST_CREATION: Duration = Duration::from_secs(600);

/// A run, as its file tells it.
#[derive(Debug, Clone)]
pub(crate) struct Replayed {
    pub(crate) run: Uuid,
    pub(crate) owner: ProcessIdentity,
    /// All that the run has had, in the order of their start.
    pub(crate) keepers: Vec<ProcessIdentity>,
    pub(crate) user: u32,
    pub(crate) name: String,
    pub(crate) create_within: Duration,
    pub(crate) cgroup: Option<CgroupMark>,
    pub(crate) is_kept: bool,
    pub(crate) is_sweep_asked: bool,
    pub(crate) open: BTreeMap<RecordId, Open>,
    /// How many lines could not be read: where there are any, a session may be missing.
    pub(crate) damaged: usize,
}

/// A session that was announced and not forgotten.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) cookie: Option<Cookie>,
    pub(crate) leader: Option<ProcessIdentity>,
    pub(crate) since: Ticks,
    pub(crate) label: String,
    pub(crate) made_at: String,
    pub(crate) recipe: Recipe,
    /// Of a server: its directory.
    pub(crate) home: Option<Home>,
    /// The server's id of it. It comes from a file: nobody has checked it since.
    pub(crate) session: Option<String>,
    /// The server that has made it.
    pub(crate) server: Option<ProcessIdentity>,
    /// The variable in which it tells the session its id.
    pub(crate) variable: Option<String>,
    /// Whether its creation was answered: one that was not may still be under way.
    pub(crate) is_identified: bool,
}

/// Why a file says nothing about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// No record that says whose it is stands at its beginning.
    NoRun { damaged: usize },
    /// It was written by a later release.
    Later { format: u32 },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRun { damaged } => {
                write!(f, "it does not begin with the record that says whose run it is ({damaged} lines are damaged)")
            }
            Self::Later { format } => {
                write!(f, "it has format {format} of a later release; this one knows formats up to {FORMAT}")
            }
        }
    }
}

impl std::error::Error for Unreadable {}

impl Replayed {
    /// Later records win; those that speak of a session that is not open, or announce one twice, are passed over.
    ///
    /// # Errors
    ///
    /// If it cannot be said whose run it is.
    pub(crate) fn new(parsed: Parsed) -> Result<Self, Unreadable> {
        let Parsed { records, damaged } = parsed;
        let mut records = records.into_iter();
        let Some(Record::Run { format, run, owner, user, name, create_within_ms, .. }) = records.next() else {
            return Err(Unreadable::NoRun { damaged });
        };
        if format > FORMAT {
            return Err(Unreadable::Later { format });
        }
        let mut replayed = Self {
            run,
            owner,
            keepers: Vec::new(),
            user,
            name,
            create_within: Duration::from_millis(create_within_ms).min(LONGEST_CREATION),
            cgroup: None,
            is_kept: false,
            is_sweep_asked: false,
            open: BTreeMap::new(),
            damaged,
        };
        records.for_each(|record| replayed.apply(record));
        Ok(replayed)
    }

    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            // A file is of one run: that of its first record.
            Record::Run { .. } => {}
            Record::Keeper { identity } => {
                if !self.keepers.contains(&identity) {
                    self.keepers.push(identity);
                }
            }
            Record::Announced { id, cookie, since, label, made_at, recipe, home } => {
                self.open.entry(id).or_insert(Open {
                    cookie,
                    leader: None,
                    since,
                    label,
                    made_at,
                    recipe,
                    home,
                    session: None,
                    server: None,
                    variable: None,
                    is_identified: false,
                });
            }
            Record::Identified { id, leader, since, session, server, variable } => {
                if let Some(open) = self.open.get_mut(&id) {
                    open.is_identified = true;
                    open.leader = leader.or(open.leader);
                    open.since = since.unwrap_or(open.since);
                    open.session = session.or(open.session.take());
                    open.server = server.or(open.server);
                    open.variable = variable.or(open.variable.take());
                }
            }
            Record::Forgotten { id } => {
                self.open.remove(&id);
            }
            Record::Cgroup { group } => self.cgroup = Some(group),
            Record::Kept => self.is_kept = true,
            // For whoever asks of what the session has died.
            Record::Breached { .. } => {}
            Record::Sweep => self.is_sweep_asked = true,
        }
    }

    /// The same run with this session alone, if it is open, to be ended while the run goes on. The run's control group is left out: it
    /// holds the other sessions, too. And its server is not asked: it sees the end by itself, and may have given the id to another by then.
    pub(crate) fn only(&self, id: RecordId) -> Option<Self> {
        let open = Open { recipe: Recipe::Own, ..self.open.get(&id)?.clone() };
        let open = BTreeMap::from([(id, open)]);
        Some(Self { open, cgroup: None, keepers: self.keepers.clone(), name: self.name.clone(), ..*self })
    }

    /// What the test was called, for a person.
    pub(crate) fn shown_name(&self) -> &str {
        if self.name.is_empty() { "a test process" } else { &self.name }
    }

    /// What marks the processes of one of its sessions; `until` is the end of the time in which they may have started,
    /// the owner's death plus `create_within`.
    pub(crate) fn mark(&self, open: &Open, until: Option<Ticks>) -> Mark {
        let variable =
            open.variable.as_ref().zip(open.session.as_ref()).and_then(|(name, id)| SessionVariable::new(name, id));
        let cgroup = self.cgroup.clone();
        Mark { leader: open.leader, variable, until, cgroup, ..Mark::of(open.cookie, open.since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::parse;
    use crate::ledger::record::tests::{announced, bytes, identity, samples};
    use proptest::prelude::*;

    fn run() -> Record {
        samples().remove(0)
    }

    fn replay(records: Vec<Record>) -> Replayed {
        Replayed::new(Parsed { records, damaged: 0 }).unwrap()
    }

    fn identified(id: RecordId, pid: Option<u32>, session: Option<&str>) -> Record {
        let session = session.map(String::from);
        Record::Identified { id, leader: pid.map(identity), since: None, session, server: None, variable: None }
    }

    #[test]
    fn a_run_is_told_with_its_open_sessions_only() {
        let mut records = samples();
        records.insert(1, Record::Keeper { identity: identity(70) });
        records.push(Record::Forgotten { id: 2 });
        let replayed = Replayed::new(parse(&[bytes(&records), b"torn".to_vec()].concat())).unwrap();
        assert_eq!((replayed.owner, replayed.user, replayed.name.as_str()), (identity(7), 0, "a::test"));
        assert_eq!(replayed.create_within, Duration::from_secs(5));
        assert_eq!(replayed.keepers, [identity(70), identity(8)]);
        assert_eq!(replayed.cgroup.as_ref().unwrap().kernel_path, "/user.slice/termleash-1");
        assert!(replayed.is_kept && replayed.is_sweep_asked);
        assert_eq!(replayed.damaged, 1);
        assert_eq!(replayed.open.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
        let first = &replayed.open[&1];
        assert_eq!((first.leader, first.since, first.session.as_deref()), (Some(identity(9)), u64::MAX, Some("$2")));
        assert!(first.is_identified && !replayed.open[&3].is_identified);
        let mark = replayed.mark(first, Some(99));
        assert_eq!((mark.cookie, mark.leader, mark.leader_ended), (first.cookie, first.leader, None));
        assert_eq!((mark.since, mark.until, mark.cgroup), (u64::MAX, Some(99), replayed.cgroup.clone()));
    }

    #[test]
    fn nobodys_file_and_a_later_one_are_errors_that_say_so() {
        let error = |records, damaged| Replayed::new(Parsed { records, damaged }).unwrap_err().to_string();
        assert!(error(vec![], 0).contains("whose run it is"));
        assert!(error(vec![Record::Kept, run()], 3).contains("3 lines"));
        let mut later = run();
        if let Record::Run { format, .. } = &mut later {
            *format = 2;
        }
        assert!(error(vec![later], 0).contains("format 2 of a later release"));
    }

    #[test]
    fn the_last_identification_wins_and_takes_nothing_back() {
        let mut records = vec![run(), announced(1), identified(1, Some(20), Some("a")), identified(1, Some(21), None)];
        let open = &replay(records.clone()).open[&1];
        assert_eq!((open.leader, open.session.as_deref()), (Some(identity(21)), Some("a")));
        records.push(identified(1, None, Some("b")));
        let open = &replay(records).open[&1];
        assert_eq!((open.leader, open.session.as_deref(), open.since), (Some(identity(21)), Some("b"), 12));
    }

    #[test]
    fn what_speaks_of_no_open_session_is_passed_over() {
        let forgotten = Record::Forgotten { id: 1 };
        let early = vec![run(), forgotten.clone(), identified(1, Some(5), None)];
        assert!(replay(early.clone()).open.is_empty());
        let open = &replay([early, vec![announced(1)]].concat()).open[&1];
        assert_eq!((open.leader, open.is_identified), (None, false));
        assert!(replay(vec![run(), announced(1), forgotten.clone(), forgotten]).open.is_empty());
    }

    #[test]
    fn the_first_of_two_announcements_and_of_two_runs_holds() {
        let (first, second) = (announced(1), announced(1));
        let Record::Announced { cookie, .. } = &first else { unreachable!() };
        let (one, other) = (run(), run());
        let Record::Run { run, .. } = &one else { unreachable!() };
        let replayed = replay(vec![one.clone(), first.clone(), second, other]);
        assert_eq!((replayed.open[&1].cookie, replayed.run), (*cookie, *run));
    }

    proptest! {
        #[test]
        fn any_order_is_told_without_a_panic(order in proptest::collection::vec(0usize..12, 0..40)) {
            let samples = samples();
            let records: Vec<Record> = order.iter().map(|at| samples[*at].clone()).collect();
            let starts_well = matches!(records.first(), Some(Record::Run { .. }));
            prop_assert_eq!(Replayed::new(Parsed { records, damaged: 0 }).is_ok(), starts_well);
        }
    }
}
