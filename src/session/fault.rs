//! What a fake backend can be told to do wrong, and what it was asked: data.

use crate::session::id::SessionId;
use std::fmt;
use std::time::Duration;

/// A method of [`SessionBackend`](crate::SessionBackend).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `create`.
    Create,
    /// `kill`.
    Kill,
    /// `state`.
    State,
    /// `discard_record`.
    Discard,
    /// `list`.
    List,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Kill => "kill",
            Self::State => "state",
            Self::Discard => "discard_record",
            Self::List => "list",
        })
    }
}

/// One call that a [`FakeBackend`](crate::session::FakeBackend) got.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// What was called.
    pub method: Method,
    /// For which session; `None` for `create` and `list`.
    pub id: Option<SessionId>,
}

impl Call {
    pub(crate) fn new(method: Method, id: Option<&SessionId>) -> Self {
        Self { method, id: id.cloned() }
    }
}

/// One thing that a [`FakeBackend`](crate::session::FakeBackend) does wrong. Several may be in force together.
///
/// "Dies" is the truth, "says" is what the backend answers; a real server's two differ more often than one thinks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Each such call takes this long before it does anything.
    Slow(Method, Duration),
    /// Each such call is an error and does nothing.
    Fails(Method),
    /// As [`Fails`](Self::Fails), for so many calls, counted from when the fault was set.
    FailsFirst(Method, usize),
    /// Such a call never ends, and does nothing.
    Hangs(Method),
    /// A kill of a session that has ended never ends.
    HangsOnDead,
    /// A kill succeeds, and nothing happens; the backend goes on to say that the session runs.
    IgnoresKill,
    /// A kill succeeds, the backend says that the session has exited, and the session lives. With
    /// [`DiesLate`](Self::DiesLate) it dies then.
    SaysKilled,
    /// A kill succeeds, the backend's record vanishes, and the session lives. With [`DiesLate`](Self::DiesLate) it
    /// dies then.
    Forgets,
    /// A killed session dies this long after the kill has succeeded.
    DiesLate(Duration),
    /// A session that has ended is said to run, for ever.
    StaysRunning,
    /// Every session ends by itself this long after its creation, with this status.
    EndsAfter(Duration, i32),
    /// A kill of an id that no living session has ends the first one whose id begins with it.
    KillsByPrefix,
    /// A kill of an id with `*` or `?` ends every session whose id matches.
    KillsByPattern,
    /// A kill of an id that no living session has ends the newest session.
    KillsNewest,
    /// A creation answers with the id of the oldest living session, and the new one has that id as well.
    ReusesLiveId,
    /// A creation answers with the id of a session that has ended, whose record it replaces.
    ReusesDeadId,
    /// A creation answers with an id that no session has.
    AnswersOtherId,
    /// A creation succeeds, and its answer is an error.
    LosesAnswer,
    /// A creation never ends, and its session is born this long after the request, whether or not somebody still
    /// waits for it.
    BornLate(Duration),
    /// A creation names this process as the session's leader.
    NamesLeader(u32),
    /// The session's process does not get the cookie.
    LosesCookie,
    /// Dropping the record of one session that has ended drops those of all that have.
    DiscardsAll,
    /// The list is empty.
    ListsNothing,
}

/// Whether `text` matches a pattern in which `*` stands for any text and `?` for one character.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    if first == '*' {
        return (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]));
    }
    text.chars().next().is_some_and(|char| (first == '?' || first == char) && matches(rest, &text[char.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_has_it() {
        for (pattern, text) in [("*", ""), ("*", "ab"), ("?b", "äb"), ("a*c", "abbc"), ("a*", "a"), ("ab", "ab")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("?", ""), ("a", "ab"), ("a?", "a"), ("*c", "ab"), ("", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
