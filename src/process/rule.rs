//! Who may get a signal: the one rule, as one function of plain data.
//!
//! A process gets a signal only if it is *pinned* (held, and still who we take it for), *marked* (by something that
//! only our session's processes have) and *in time* (started while the session could start processes). Everything
//! else is a suspect: named, never signalled. [`Permit`] can be made here only, and nothing can be signalled without.
//!
//! ```text
//!  evidence ──► ours? ──► pinned? ──► marked? ──► in time? ──► Permit
//!                 └──────────┴───────────┴───────────┴───────► Refusal: a suspect, or nobody of interest
//! ```

use crate::process::cgroup::CgroupMark;
use crate::process::cookie::Cookie;
use crate::process::identity::{ProcessIdentity, Ticks};
use crate::process::variable::SessionVariable;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What our book says of one session: what marks its processes, and when they may have started.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// `None` for a session that was made by other means and handed to us.
    pub(crate) cookie: Option<Cookie>,
    /// The variable by which the server itself tells the session its id, if that id is never given again.
    pub(crate) variable: Option<SessionVariable>,
    /// The proven leader, if one was.
    pub(crate) leader: Option<ProcessIdentity>,
    /// When the leader's end was noticed.
    pub(crate) leader_ended: Option<Ticks>,
    /// When its creation was asked for; for a session handed to us, its leader's start.
    pub(crate) since: Ticks,
    /// The owner's death plus the create deadline; `None` while the owner lives.
    pub(crate) until: Option<Ticks>,
    /// The control group that holds nothing but what this mark stands for, if one does.
    pub(crate) cgroup: Option<CgroupMark>,
}

impl Mark {
    /// Of a session of which no more is known: by its cookie, if it has one, from this moment on.
    pub(crate) fn of(cookie: Option<Cookie>, since: Ticks) -> Self {
        Self { cookie, variable: None, leader: None, leader_ended: None, since, until: None, cgroup: None }
    }
}

impl Mark {
    /// True if there is something to look for in environments.
    pub(crate) fn is_carried(&self) -> bool {
        self.cookie.is_some() || self.variable.is_some()
    }
}

/// What was read of one process.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    /// Read again after it was held.
    pub(crate) identity: ProcessIdentity,
    /// Who it must be, where that was recorded before.
    pub(crate) expected: Option<ProcessIdentity>,
    /// Whether a pidfd holds it.
    pub(crate) is_held: bool,
    /// Real and effective user.
    pub(crate) users: [u32; 2],
    /// The kernel session that it is in.
    pub(crate) session: u32,
    pub(crate) cookies: Vec<Cookie>,
    /// Whether the mark's variable is in its environment.
    pub(crate) has_variable: bool,
    /// The kernel path of its control group; read only where the mark has one.
    pub(crate) cgroup: Option<String>,
    /// Whether its parent is the keeper of this very test.
    pub(crate) is_keepers_child: bool,
    /// When each of its children started; needed only for one that a cookie alone marks.
    pub(crate) children_started: Vec<Ticks>,
}

impl Evidence {
    /// Of a held process of which nothing was read but its user and its kernel session.
    pub(crate) fn by_session(identity: ProcessIdentity, user: u32, session: u32) -> Self {
        Self {
            identity,
            expected: None,
            is_held: true,
            users: [user; 2],
            session,
            cookies: Vec::new(),
            has_variable: false,
            cgroup: None,
            is_keepers_child: false,
            children_started: Vec::new(),
        }
    }
}

/// Who we are, to whom nothing may happen.
#[derive(Debug, Clone)]
pub(crate) struct Ourselves {
    pub(crate) identity: ProcessIdentity,
    pub(crate) user: u32,
    /// Our parent, its parent and so on.
    pub(crate) ancestors: Vec<u32>,
    /// The kernel sessions of ourselves and of our ancestors: the developer's own terminals.
    pub(crate) sessions: Vec<u32>,
}

/// The right to signal one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permit {
    identity: ProcessIdentity,
}

impl Permit {
    pub(crate) fn identity(&self) -> ProcessIdentity {
        self.identity
    }
}

/// Why a process gets no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// It is this process, or one that this process descends from.
    OurOwnAncestor,
    /// No descriptor holds it, so its id could mean another one by now.
    NotHeld,
    /// It is not the process that was recorded: the id has a new owner.
    Replaced,
    /// It belongs to another boot or PID namespace.
    OtherMachine,
    /// It belongs to another user; not even root signals it.
    OtherUser,
    /// Nothing ties it to the session: neither cookie, nor the leader's kernel session, nor a control group.
    NotMarked,
    /// It started before the session was asked for.
    TooEarly,
    /// It started after its owner's end and the time that a late creation gets.
    TooLate,
    /// Only the kernel session or the server's own variable ties it to the leader, and it started after the leader's end.
    AfterLeader,
    /// A cookie alone ties it to the session, and it has children from outside of the session's time: a daemon that
    /// serves others by now.
    ServesOthers,
    /// It holds the session's terminal open, and nothing else ties it to the session.
    HoldsTerminal,
    /// It holds the other side of the session's terminal, the master, which keeps the terminal alive, and nothing else ties it to
    /// the session.
    HoldsMaster,
    /// It belongs to our own user, started in the session's time and shows its environment to nobody, as an ssh-agent.
    Unreadable,
    /// It descends from a process of the session and carries no mark, as after `env -i` and `setsid`.
    UnmarkedDescendant,
    /// It started during a run whose keeper was killed, carries no mark, and its parent is dead: the run may have lost it, or
    /// anybody else.
    LostParent,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OurOwnAncestor => "it is this process or one that started it",
            Self::NotHeld => "it could not be held or read, so who it is cannot be proven",
            Self::Replaced => "its id has a new owner",
            Self::OtherMachine => "it belongs to another boot or PID namespace",
            Self::OtherUser => "it belongs to another user",
            Self::NotMarked => "nothing ties it to the session",
            Self::TooEarly => "it started before the session was asked for",
            Self::TooLate => "it started after the session's time",
            Self::AfterLeader => "it started after the leader's end, and does not carry the session's cookie",
            Self::ServesOthers => "it serves others by now: it has children from outside of the session's time",
            Self::HoldsTerminal => "it holds the session's terminal open, which proves nothing: anybody may open one",
            Self::HoldsMaster => {
                "it holds the master of the session's terminal, as everything does that a server starts whose masters lack \
                 close-on-exec: it need not be the session's"
            }
            Self::Unreadable => "it started in the session's time and shows nobody whether it carries the cookie",
            Self::UnmarkedDescendant => {
                "it descends from the session but has neither its cookie nor its kernel session"
            }
            Self::LostParent => {
                "it started during the run, which may have lost it when its keeper was killed: it carries no mark"
            }
        })
    }
}

/// The rule. Each clause has a test with a process that fails just that clause.
pub(crate) fn may_signal(evidence: &Evidence, mark: &Mark, ourselves: &Ourselves) -> Result<Permit, Refusal> {
    let process = evidence.identity;
    if process.pid == ourselves.identity.pid || ourselves.ancestors.contains(&process.pid) || process.pid == 1 {
        return Err(Refusal::OurOwnAncestor);
    }
    // Pinned.
    if !evidence.is_held {
        return Err(Refusal::NotHeld);
    }
    let expected = evidence.expected.or(mark.leader.filter(|leader| leader.pid == process.pid));
    if expected.is_some_and(|expected| expected.started != process.started) {
        return Err(Refusal::Replaced);
    }
    let home = [Some(ourselves.identity), expected];
    if home.iter().flatten().any(|at| (at.boot, at.pid_namespace) != (process.boot, process.pid_namespace)) {
        return Err(Refusal::OtherMachine);
    }
    if evidence.users.iter().any(|user| *user != ourselves.user) {
        return Err(Refusal::OtherUser);
    }
    // The keeper's children are this test's whatever they say, and whenever they started.
    if evidence.is_keepers_child {
        return Ok(Permit { identity: process });
    }
    // Marked.
    // The server's own variable is inherited as a cookie is, and proves as much.
    let by_variable = mark.variable.is_some() && evidence.has_variable;
    let by_own_cookie = mark.cookie.is_some_and(|cookie| evidence.cookies.contains(&cookie));
    let by_cookie = by_variable || by_own_cookie;
    let by_session = mark.leader.is_some_and(|leader| {
        // A server that does not call setsid leaves its sessions in the developer's own kernel session.
        evidence.session == leader.pid && !ourselves.sessions.contains(&leader.pid)
    });
    let by_cgroup = match (&mark.cgroup, &evidence.cgroup) {
        (Some(ours), Some(of_process)) => ours.holds(of_process),
        _ => false,
    };
    if !(by_cookie || by_session || by_cgroup) {
        return Err(Refusal::NotMarked);
    }
    // In time.
    let is_in_time = |started: Ticks| started >= mark.since && mark.until.is_none_or(|until| started <= until);
    if process.started < mark.since {
        return Err(Refusal::TooEarly);
    }
    if !is_in_time(process.started) {
        return Err(Refusal::TooLate);
    }
    // A session's id is free for others once its last member is gone, and a server may give its own id of it to the next,
    // whatever it looks like.
    let only_by_number = !by_own_cookie && !by_cgroup;
    if only_by_number && mark.leader_ended.is_some_and(|end| process.started > end) {
        return Err(Refusal::AfterLeader);
    }
    // A tmux, ssh-agent or adb that a session started hands its cookie to whatever it starts for anybody later.
    // It stays in the control group that it was born in, too.
    if !by_session && !evidence.children_started.iter().all(|started| is_in_time(*started)) {
        return Err(Refusal::ServesOthers);
    }
    Ok(Permit { identity: process })
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
