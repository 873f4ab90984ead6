//! What a look at the sentinels has found, for a program and for a person.

use crate::leak::Verdict;
use crate::process::exit::ExitStatus;
use crate::session::id::SessionId;
use crate::tracker::journal::{Operation, shown};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How many ids of others a text shows.
const MOST_SHOWN: usize = 10;

/// Whether somebody has ended sessions that were not theirs, while a helper watched; see
/// [`watch_for_interference`](crate::SessionTestHelper::watch_for_interference).
///
/// Only the helper's own sentinels are judged. Sessions of others that vanished or appeared are listed: whoever they
/// belong to may end them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interference {
    pub(crate) sentinels: Vec<Sentinel>,
    pub(crate) others: Others,
    /// What was to be planted and was not, in sentences: the check could not look there.
    pub(crate) blind: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) lasted: Duration,
}

/// Which sentinel it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Planted when the watch began: older than the test's sessions.
    Older,
    /// Planted after the test's first session: whoever ends the newest, or "all but the first", ends it.
    Younger,
    /// Its name begins with that of a session of the test's: a server that takes a name for a prefix ends it in its stead.
    Prefix {
        /// The session's name.
        of: String,
    },
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older => f.write_str("older than the test's sessions"),
            Self::Younger => f.write_str("younger than the test's first session"),
            Self::Prefix { of } => write!(f, "with a name that begins with `{of}`"),
        }
    }
}

/// One sentinel; times are since the watch began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sentinel {
    /// Which one.
    pub role: Role,
    /// The server's id of it.
    pub id: SessionId,
    /// Its leader's process id, if that is proven.
    pub leader: Option<u32>,
    /// When it was planted.
    pub planted: Duration,
    /// When it was last known to be there.
    pub last_seen: Duration,
    /// What has become of it.
    pub fate: Fate,
}

/// What has become of a sentinel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fate {
    /// It is there.
    There,
    /// It is gone, and its server is not: somebody ended it.
    Vanished {
        /// By what that is known, as a sentence's part.
        how: String,
        /// How its leader ended, if anybody was told.
        exit: Option<ExitStatus>,
        /// When its end was noticed by itself, and not only by the look; since the watch began.
        noticed: Option<Duration>,
        /// What the helper did then: its own operations that were under way between the last moment at which it was
        /// there and the first at which it was gone.
        meanwhile: Vec<Operation>,
    },
    /// The server itself has ended, or is another process by now, which is no interference: every session ended with it.
    ServerEnded(String),
    /// Nobody could say.
    Unknown(String),
}

/// The sessions of others on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Others {
    /// From the backend's list when the watch began and at its first look.
    Listed {
        /// There both times.
        stayed: Vec<SessionId>,
        /// There at the look only.
        appeared: Vec<SessionId>,
        /// There at the beginning only.
        vanished: Vec<SessionId>,
    },
    /// The backend does not list, or failed to; why.
    NotListed(String),
}

impl Interference {
    /// [`Interfered`](Verdict::Interfered) if a sentinel was ended by somebody; else
    /// [`CouldNotCheck`](Verdict::CouldNotCheck) if the fate of one is not known, it was not planted, or the server has
    /// ended; else [`Clean`](Verdict::Clean).
    pub fn verdict(&self) -> Verdict {
        let fate = |sentinel: &Sentinel| match sentinel.fate {
            Fate::There => Verdict::Clean,
            Fate::Vanished { .. } => Verdict::Interfered,
            Fate::ServerEnded(_) | Fate::Unknown(_) => Verdict::CouldNotCheck,
        };
        let mut verdicts: Vec<Verdict> = self.sentinels.iter().map(fate).collect();
        if verdicts.contains(&Verdict::Interfered) {
            // What is known counts more than what is not.
            return Verdict::Interfered;
        }
        verdicts.extend((!self.blind.is_empty()).then_some(Verdict::CouldNotCheck));
        verdicts.into_iter().max().unwrap_or(Verdict::CouldNotCheck)
    }

    /// True if every sentinel is there.
    pub fn is_clean(&self) -> bool {
        self.verdict() == Verdict::Clean
    }

    /// The sentinels, in the order in which they were planted.
    pub fn sentinels(&self) -> &[Sentinel] {
        &self.sentinels
    }

    /// Those that somebody has ended.
    pub fn vanished(&self) -> impl Iterator<Item = &Sentinel> {
        self.sentinels.iter().filter(|sentinel| matches!(sentinel.fate, Fate::Vanished { .. }))
    }

    /// Who else had sessions.
    pub fn others(&self) -> &Others {
        &self.others
    }

    /// Sentinels that were to be planted and were not, and why.
    pub fn not_planted(&self) -> &[String] {
        &self.blind
    }

    /// What is worth knowing beside, in sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// From the beginning of the watch to this look.
    pub fn lasted(&self) -> Duration {
        self.lasted
    }
}

impl fmt::Display for Interference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.sentinels.len();
        match self.verdict() {
            Verdict::Interfered => {
                let gone = self.vanished().count();
                write!(
                    f,
                    "interfered: somebody has ended {gone} of {all} sentinels, which nobody but this test may end"
                )?;
            }
            Verdict::Clean => write!(f, "no interference: {all} sentinels are there after {}", shown(self.lasted))?,
            _ => f.write_str("could not check for interference")?,
        }
        for sentinel in &self.sentinels {
            write!(f, "\n  {sentinel}")?;
        }
        for why in &self.blind {
            write!(f, "\n  {why}")?;
        }
        write!(f, "\n  {}", self.others)?;
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        for advice in self.advice() {
            write!(f, "\n  to do: {advice}")?;
        }
        Ok(())
    }
}

impl Interference {
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if self.sentinels.iter().any(|sentinel| matches!(sentinel.fate, Fate::ServerEnded(_))) {
            advice.push(
                "find out why the server ended, in its log; sessions that end with it are no sign of anybody".into(),
            );
        }
        for sentinel in self.vanished() {
            match &sentinel.role {
                Role::Prefix { of } => advice.push(format!(
                    "end `{of}` by its id, or by its exact name (`=` before it in tmux): what was meant for it may have \
                     ended every session whose name begins so"
                )),
                _ => advice.push(
                    "look for a clean-up that lists sessions and ends them, by \"all\", by name or by age, in the suites and \
                     people who use this server; until it is gone, give this test a server of its own"
                        .into(),
                ),
            }
        }
        advice.dedup();
        advice
    }
}

impl fmt::Display for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, {}: ", self.id, self.role)?;
        match &self.fate {
            Fate::There => f.write_str("there"),
            Fate::ServerEnded(why) => write!(f, "gone with its server: {why}"),
            Fate::Unknown(why) => write!(f, "not known: {why}"),
            Fate::Vanished { how, exit, noticed, meanwhile } => {
                write!(f, "GONE, {how}")?;
                if let Some(exit) = exit {
                    write!(f, ", {exit}")?;
                }
                write!(f, "; last seen {} after the watch began", shown(self.last_seen))?;
                if let Some(noticed) = noticed {
                    write!(f, ", its end was noticed at {}", shown(*noticed))?;
                }
                match meanwhile.as_slice() {
                    [] => f.write_str("\n    meanwhile this helper did nothing"),
                    some => some.iter().try_for_each(|one| write!(f, "\n    meanwhile this helper: {one}")),
                }
            }
        }
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed(why) => write!(f, "sessions of others were not listed: {why}"),
            Self::Listed { stayed, appeared, vanished } => {
                f.write_str("sessions of others, not judged: ")?;
                if stayed.is_empty() && appeared.is_empty() && vanished.is_empty() {
                    return f.write_str("none");
                }
                let parts = [("there", stayed), ("vanished", vanished), ("appeared", appeared)];
                let parts = parts.iter().filter(|(_, ids)| !ids.is_empty());
                let parts: Vec<String> = parts.map(|(what, ids)| format!("{what}: {}", some(ids))).collect();
                f.write_str(&parts.join("; "))
            }
        }
    }
}

fn some(ids: &[SessionId]) -> String {
    let mut text = ids.iter().take(MOST_SHOWN).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    if ids.len() > MOST_SHOWN {
        text += &format!(" and {} more", ids.len() - MOST_SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn id(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    fn sentinel(role: Role, text: &str, fate: Fate) -> Sentinel {
        let at = Duration::from_millis;
        Sentinel { role, id: id(text), leader: Some(41), planted: at(3), last_seen: at(3), fate }
    }

    fn vanished() -> Fate {
        let create = Operation {
            what: "create `bash`".into(),
            began: Duration::from_millis(900),
            ended: Some(Duration::from_micros(1_200_400)),
        };
        Fate::Vanished {
            how: "its leader, pid 41, has ended".into(),
            exit: Some(ExitStatus::Signaled { signal: 9, core_dumped: false }),
            noticed: Some(Duration::from_millis(1100)),
            meanwhile: vec![create],
        }
    }

    fn report(sentinels: Vec<Sentinel>) -> Interference {
        let others = Others::Listed { stayed: vec![id("a")], appeared: vec![id("b")], vanished: vec![id("c")] };
        let lasted = Duration::from_secs(2);
        Interference { sentinels, others, blind: Vec::new(), notes: vec!["it is a note".into()], lasted }
    }

    #[test]
    fn the_text_says_which_when_how_between_what_who_else_and_what_to_do() {
        let prefix = Role::Prefix { of: "build".into() };
        let found = report(vec![
            sentinel(Role::Older, "s-1", vanished()),
            sentinel(Role::Younger, "s-3", Fate::There),
            sentinel(
                prefix,
                "s-4",
                Fate::Vanished {
                    how: "the server does not know it any more".into(),
                    exit: None,
                    noticed: None,
                    meanwhile: Vec::new(),
                },
            ),
        ]);
        assert_eq!(found.verdict(), Verdict::Interfered);
        assert_snapshot!(found, @r#"
        interfered: somebody has ended 2 of 3 sentinels, which nobody but this test may end
          `s-1`, older than the test's sessions: GONE, its leader, pid 41, has ended, signal 9 (SIGKILL); last seen 3ms after the watch began, its end was noticed at 1s 100ms
            meanwhile this helper: create `bash` (900ms to 1s 200ms)
          `s-3`, younger than the test's first session: there
          `s-4`, with a name that begins with `build`: GONE, the server does not know it any more; last seen 3ms after the watch began
            meanwhile this helper did nothing
          sessions of others, not judged: there: `a`; vanished: `c`; appeared: `b`
          note: it is a note
          to do: look for a clean-up that lists sessions and ends them, by "all", by name or by age, in the suites and people who use this server; until it is gone, give this test a server of its own
          to do: end `build` by its id, or by its exact name (`=` before it in tmux): what was meant for it may have ended every session whose name begins so
        "#);
    }

    #[test]
    fn a_server_that_ended_is_told_apart() {
        let ended = Fate::ServerEnded("pid 7 has ended".into());
        let found = report(vec![sentinel(Role::Older, "s-1", ended)]);
        assert_eq!(found.verdict(), Verdict::CouldNotCheck);
        assert_snapshot!(found, @r"
        could not check for interference
          `s-1`, older than the test's sessions: gone with its server: pid 7 has ended
          sessions of others, not judged: there: `a`; vanished: `c`; appeared: `b`
          note: it is a note
          to do: find out why the server ended, in its log; sessions that end with it are no sign of anybody
        ");
    }

    #[test]
    fn what_is_not_known_is_never_clean() {
        let there = || vec![sentinel(Role::Older, "s-1", Fate::There)];
        assert!(report(there()).is_clean());
        assert_eq!(report(Vec::new()).verdict(), Verdict::CouldNotCheck);
        let blind = Interference { blind: vec!["the younger one was not planted".into()], ..report(there()) };
        assert_eq!(blind.verdict(), Verdict::CouldNotCheck);
        let unknown = report(vec![sentinel(Role::Older, "s-1", Fate::Unknown("no route".into()))]);
        assert_eq!(unknown.verdict(), Verdict::CouldNotCheck);
        let both = Interference { blind: vec!["x".into()], ..report(vec![sentinel(Role::Older, "s", vanished())]) };
        assert_eq!(both.verdict(), Verdict::Interfered);
    }

    #[test]
    fn many_others_are_counted_and_the_report_survives_json() {
        let ids: Vec<SessionId> = (0..12).map(|number| id(&format!("o-{number}"))).collect();
        let others = Others::Listed { stayed: ids, appeared: Vec::new(), vanished: Vec::new() };
        assert!(others.to_string().ends_with("`o-9` and 2 more"), "{others}");
        let Others::Listed { mut stayed, .. } = others.clone() else { unreachable!() };
        let ten = stayed.split_off(2);
        let some = Others::Listed { stayed: Vec::new(), appeared: Vec::new(), vanished: ten };
        assert!(
            some.to_string()
                .ends_with("vanished: `o-2`, `o-3`, `o-4`, `o-5`, `o-6`, `o-7`, `o-8`, `o-9`, `o-10`, `o-11`")
        );
        let none = Others::Listed { stayed: Vec::new(), appeared: Vec::new(), vanished: Vec::new() };
        assert!(none.to_string().ends_with(": none"), "{none}");
        let found = Interference { others, ..report(vec![sentinel(Role::Younger, "s-1", vanished())]) };
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Interference>(&json).unwrap(), found);
    }
}
