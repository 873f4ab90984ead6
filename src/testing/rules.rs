//! The rules of the contract, and how each is tried.

use crate::backoff::Backoff;
use crate::process::exit::ExitStatus;
use crate::process::handle::{ProcessHandle, reader};
use crate::process::scan::marked_by;
use crate::session::backend::{SessionBackend, SessionState};
use crate::session::id::SessionId;
use crate::session::spec::SessionSpec;
use crate::testing::kit::{Kit, Made, Proof, Step};
use crate::testing::report::{Outcome, Rule};
use std::time::{Duration, Instant};
use uuid::Uuid;

const fn rule(name: &'static str, meaning: &'static str) -> Rule {
    Rule { name, meaning }
}

pub(crate) const CREATE: Rule = rule("create", "It creates sessions and answers with their ids.");
pub(crate) const STATE: Rule = rule("state of a live session", "A session that was just created is said to run.");
pub(crate) const LEADER: Rule = rule("leader", "The process that it names as a session's leader is the session's.");
pub(crate) const COOKIE: Rule = rule("cookie", "A session's processes carry the cookie of its specification.");
pub(crate) const LIST: Rule = rule("list", "The list has every living session.");
pub(crate) const KILL: Rule = rule("kill", "A kill of a living session is answered, and not with an error.");
pub(crate) const DEATH: Rule = rule("death", "A killed session ends, and no other one does.");
pub(crate) const STATE_AFTER: Rule = rule(
    "state after death",
    "A session that has ended is not said to run, and one that lives is not said to have ended.",
);
pub(crate) const KILL_TWICE: Rule = rule("kill twice", "A second kill of a session is answered and ends no other one.");
pub(crate) const IDS: Rule = rule("distinct ids", "No two sessions get the same id, not even one after the other.");
pub(crate) const DISCARD: Rule =
    rule("discard_record", "Dropping the record of a session leaves other sessions and their records alone.");
pub(crate) const UNKNOWN: Rule =
    rule("unknown id", "An id that no session has is said to be unknown, and a kill of it ends nothing.");
pub(crate) const PREFIX: Rule =
    rule("prefix of another id", "A kill of an id ends no session whose id begins with it, or that it begins with.");
pub(crate) const HOSTILE: Rule =
    rule("hostile ids", "A kill of an id that looks like a pattern, a target or a command ends nothing.");
pub(crate) const NATURAL: Rule = rule("natural exit", "A session whose program exits is soon not said to run.");
pub(crate) const SLOW: Rule =
    rule("slow death", "A session that ignores HUP and TERM is ended, or not said to have exited.");
pub(crate) const CLEAN_UP: Rule = rule("clean-up", "All sessions that were made for these checks could be ended.");

pub(crate) const ALL: [Rule; 17] = [
    CREATE,
    STATE,
    LEADER,
    COOKIE,
    LIST,
    KILL,
    DEATH,
    STATE_AFTER,
    KILL_TWICE,
    IDS,
    DISCARD,
    UNKNOWN,
    PREFIX,
    HOSTILE,
    NATURAL,
    SLOW,
    CLEAN_UP,
];

/// How long a process may live after its server has called it dead: death takes a scheduler's turn or two.
const DYING: Duration = Duration::from_millis(250);
/// How long what a kill started in the background may take to show.
const AFTERMATH: Duration = Duration::from_millis(200);
/// How long servers take from a polite kill to one that is not.
const ESCALATION: Duration = Duration::from_secs(4);
/// How long after a creation its program may take to start, and so to show its environment.
const COOKIE_SHOWS: Duration = Duration::from_millis(300);
/// How long a program may take to begin to ignore signals.
const BEGINNING: Duration = Duration::from_secs(2);

/// A remark on a check that passed, or what it came to instead.
pub(crate) type Verdict = Step<Option<String>>;

fn fail<T>(why: impl Into<String>) -> Step<T> {
    Err(Outcome::failed(why))
}

fn skip<T>(why: impl Into<String>) -> Step<T> {
    Err(Outcome::skipped(why))
}

fn words(state: SessionState) -> &'static str {
    match state {
        SessionState::Running(_) => "said to run",
        SessionState::Exited(_) => "said to have exited",
        SessionState::Unknown => "unknown to it",
    }
}

pub(crate) async fn live_state<B: SessionBackend>(kit: &mut Kit<B>, made: &Made) -> Verdict {
    let id = &made.id;
    let running = match kit.state(id).await?.map_err(Outcome::failed)? {
        SessionState::Running(running) => running,
        state => {
            kit.lost(id);
            return fail(format!("`{id}` was just created, and is {}", words(state)));
        }
    };
    if let (Some(said), Some(leader)) = (running.leader, made.leader())
        && said != leader.pid()
    {
        return fail(format!("`{id}` was created with the leader {}, and is said to have {said}", leader.pid()));
    }
    match (running.server, made.server) {
        (Some(now), Some(then)) if now != then => {
            fail(format!("`{id}` was created by the server {then}, and is said to be of {now}"))
        }
        _ => Ok(None),
    }
}

pub(crate) fn leader(made: &Made) -> Verdict {
    match &made.proof {
        Proof::Leader(_) => Ok(None),
        Proof::Refused(why) => fail(why.clone()),
        Proof::Word(why) => skip(format!("{why}: the end of its sessions can be proven by its word only")),
    }
}

pub(crate) async fn cookie<B: SessionBackend>(kit: &Kit<B>, made: &Made) -> Verdict {
    let deadline = Instant::now() + COOKIE_SHOWS.min(kit.limit);
    for pause in Backoff::new() {
        match marked_by(&[made.cookie]) {
            Ok(found) if made.leader().is_none() && !found.is_empty() => break,
            Ok(found) if found.iter().any(|one| made.leader().is_some_and(|own| own.identity() == one.identity)) => {
                break;
            }
            Err(cause) => return skip(cause.to_string()),
            Ok(_) if Instant::now() >= deadline => {
                return skip(
                    "the server does not pass the environment on: \
                     what a session leaves behind outside of its kernel session cannot be told from a stranger's",
                );
            }
            Ok(_) => kit.pause(pause).await,
        }
    }
    Ok(None)
}

pub(crate) async fn list<B: SessionBackend>(kit: &mut Kit<B>) -> Verdict {
    let list = match kit.list().await? {
        Ok(Some(list)) => list,
        Ok(None) => return skip("the backend cannot list"),
        Err(error) => return fail(error),
    };
    match kit.bystanders.iter().find(|made| !list.contains(&made.id)) {
        Some(missing) => fail(format!("`{}` lives and is not among the {} listed", missing.id, list.len())),
        None => Ok(None),
    }
}

pub(crate) async fn kill<B: SessionBackend>(kit: &mut Kit<B>, made: &Made) -> Verdict {
    kit.kill(&made.id).await?.map_err(Outcome::failed)?;
    Ok(None)
}

pub(crate) async fn death<B: SessionBackend>(kit: &mut Kit<B>, made: &Made) -> Verdict {
    let (id, limit) = (&made.id, kit.limit);
    if !kit.has_ended(made, limit).await? {
        let limit = humantime::format_duration(limit);
        return match made.leader() {
            Some(leader) => fail(format!("{limit} after the kill of `{id}`, its process {} is alive", leader.pid())),
            None => fail(format!("{limit} after the kill of `{id}`, it is still said to run")),
        };
    }
    kit.unharmed(&format!("the kill of `{id}`")).await?;
    Ok(made.leader().is_none().then(|| "by the backend's word only, since no leader is known".to_owned()))
}

pub(crate) async fn state_after<B: SessionBackend>(kit: &mut Kit<B>, made: &Made) -> Verdict {
    let (id, limit) = (&made.id, kit.limit);
    if let Some(leader) = made.leader().filter(|leader| leader.is_alive()) {
        let state = kit.state(id).await?.map_err(Outcome::failed)?;
        return match state {
            SessionState::Running(_) => skip("it has not ended"),
            _ => fail(format!("`{id}` is {}, and its process {} is alive", words(state), leader.pid())),
        };
    }
    match kit.state_at_end(id, limit).await? {
        Some(_) => Ok(None),
        None => fail(format!("`{id}` is still said to run, {} after its end", humantime::format_duration(limit))),
    }
}

pub(crate) async fn kill_twice<B: SessionBackend>(kit: &mut Kit<B>, made: &Made) -> Verdict {
    for which in ["second", "third"] {
        // An error is as good as success: there was nothing to end.
        let _ = kit.kill(&made.id).await?;
        kit.unharmed(&format!("the {which} kill of `{}`", made.id)).await?;
    }
    Ok(None)
}

pub(crate) fn distinct_ids<B: SessionBackend>(kit: &Kit<B>) -> Verdict {
    kit.reused.clone().map_or(Ok(None), fail)
}

/// Of two sessions that have ended, the record of one is dropped.
pub(crate) async fn discard<B: SessionBackend>(kit: &mut Kit<B>, made: &Made, other: &Made) -> Verdict {
    let (id, limit) = (&made.id, kit.limit);
    let before = kit.state_at_end(&other.id, limit).await?;
    kit.discard(id).await?.map_err(Outcome::failed)?;
    kit.unharmed(&format!("dropping the record of `{id}`")).await?;
    let after = kit.state(&other.id).await?.ok();
    if matches!((before, after), (Some(SessionState::Exited(_)), Some(SessionState::Unknown))) {
        return fail(format!("dropping the record of `{id}` dropped that of `{}` as well", other.id));
    }
    if let Ok(SessionState::Running(_)) = kit.state(id).await? {
        return fail(format!("`{id}` is said to run again after its record was dropped"));
    }
    // A record that is not there any more may be an error, and nothing worse.
    let _ = kit.discard(id).await?;
    kit.unharmed(&format!("dropping the record of `{id}` twice")).await?;
    Ok(None)
}

pub(crate) async fn unknown<B: SessionBackend>(kit: &mut Kit<B>) -> Verdict {
    let unheard_of = format!("unknown-{}", Uuid::new_v4().simple());
    let Ok(id) = SessionId::new(unheard_of) else { return skip("no such id could be made") };
    if let Ok(state @ (SessionState::Running(_) | SessionState::Exited(_))) = kit.state(&id).await? {
        return fail(format!("`{id}`, which no session has, is {}", words(state)));
    }
    let _ = kit.kill(&id).await?;
    kit.unharmed(&format!("the kill of `{id}`, which no session has,")).await?;
    // One of the form that this server gives, too: the other may have been refused for its form alone.
    let Some(known) = kit.bystanders.last().map(|made| made.id.as_str().to_owned()) else { return Ok(None) };
    let stem = known.trim_end_matches(|last: char| last.is_ascii_digit());
    if stem.len() < known.len() {
        try_to_kill(kit, &format!("{stem}87654321")).await?;
    }
    Ok(None)
}

pub(crate) async fn prefix<B: SessionBackend>(kit: &mut Kit<B>) -> Verdict {
    let Some(known) = kit.bystanders.last().map(|made| made.id.as_str().to_owned()) else {
        return skip("no session lives that it could be tried on");
    };
    let mut shorter = 0;
    for (at, _) in known.char_indices().rev().filter(|(at, _)| *at > 0) {
        shorter += usize::from(try_to_kill(kit, &known[..at]).await?);
        if shorter == 3 {
            break;
        }
    }
    let mut longer = 0;
    for more in ["0", "-2", "x"] {
        longer += usize::from(try_to_kill(kit, &format!("{known}{more}")).await?);
    }
    match (shorter, longer) {
        (0, 0) => {
            skip(format!("every id that `{known}` begins with, or that begins with it, is or may be a session's"))
        }
        (0, _) => Ok(Some(format!("no beginning of `{known}` is an id that could be tried, so only longer ones were"))),
        _ => Ok(None),
    }
}

pub(crate) async fn hostile<B: SessionBackend>(kit: &mut Kit<B>) -> Verdict {
    let Some(known) = kit.bystanders.last().map(|made| made.id.as_str().to_owned()) else {
        return skip("no session lives that it could be tried on");
    };
    // Those that could only mean a session of the kit's come first: a server on which one works is spared the rest.
    let last = known.char_indices().next_back().map_or(0, |(at, _)| at);
    let stem = &known[..last];
    let mut ids = vec![
        format!("{stem}?"),
        format!("{stem}*"),
        format!("{stem}[!x]"),
        format!("{known}*"),
        format!("={known}"),
        format!("{known}:"),
        format!("{known}:0"),
        format!("{known}.0"),
        format!("{known},"),
        format!("{known};"),
        format!("{known}?x=y"),
        format!("{known}#x"),
        format!("{known}&x"),
        format!("^{known}$"),
        format!("\"{known}\""),
    ];
    let plain = ["?", "*", "[a-z]*", "=x", "$(x)", ";x", "x:y", "@1", "{last}", "!", "^", "+", "~", ":", "all", "0"];
    ids.extend(plain.map(str::to_owned));
    for id in &ids {
        try_to_kill(kit, id).await?;
    }
    kit.pause(AFTERMATH.min(kit.limit)).await;
    kit.unharmed(&format!("a kill of one of {}", ids.join(" "))).await?;
    Ok(None)
}

/// Kills an id that no session has, and fails if that hits one. False if it could not be tried: it is no id, or could
/// be the id of a session of somebody else's, who must not suffer from this.
async fn try_to_kill<B: SessionBackend>(kit: &mut Kit<B>, id: &str) -> Step<bool> {
    let Ok(id) = SessionId::new(id) else { return Ok(false) };
    if kit.made_by_us(&id) {
        return Ok(false);
    }
    let list = kit.list().await.ok().and_then(std::result::Result::ok).flatten();
    if list.as_ref().is_some_and(|list| list.contains(&id)) {
        return Ok(false);
    }
    if let Ok(state @ (SessionState::Running(_) | SessionState::Exited(_))) = kit.state(&id).await? {
        let leader = if let SessionState::Running(running) = state { running.leader } else { None };
        let is_ours =
            kit.bystanders.iter().find(|made| leader.is_some() && made.leader().map(ProcessHandle::pid) == leader);
        return match (is_ours, list) {
            (Some(made), _) => fail(format!("`{id}` is taken for `{}`: it is {}", made.id, words(state))),
            (None, Some(_)) => fail(format!("`{id}` is {}, and is not listed", words(state))),
            (None, None) => Ok(false),
        };
    }
    let _ = kit.kill(&id).await?;
    kit.unharmed(&format!("the kill of `{id}`, which no session has,")).await?;
    Ok(true)
}

pub(crate) async fn natural_exit<B: SessionBackend>(kit: &mut Kit<B>, spec: &SessionSpec, status: i32) -> Verdict {
    let (made, limit) = (kit.create(spec).await?, kit.limit);
    match kit.state_at_end(&made.id, limit).await? {
        None => {
            let (id, limit) = (&made.id, humantime::format_duration(limit));
            fail(format!("`{id}`, whose program exits at once, is still said to run after {limit}"))
        }
        Some(SessionState::Exited(Some(said))) if said != ExitStatus::Unknown && said != ExitStatus::Exited(status) => {
            fail(format!("`{}` exited with status {status}, and is said to have ended with {said}", made.id))
        }
        Some(_) => Ok(None),
    }
}

pub(crate) async fn slow_death<B: SessionBackend>(kit: &mut Kit<B>, spec: &SessionSpec) -> Verdict {
    let made = kit.create(spec).await?;
    let Some(leader) = made.leader() else { return skip("no leader is known, so its death cannot be seen") };
    let deadline = Instant::now() + BEGINNING.min(kit.limit);
    for pause in Backoff::new().take_while(|_| !ignores_signals(leader)) {
        if Instant::now() >= deadline {
            return skip("the program of its session does not ignore HUP and TERM: does it run what it is given?");
        }
        kit.pause(pause).await;
    }
    let (id, pid) = (&made.id, leader.pid());
    // That it could not is an honest answer.
    let _ = kit.kill(id).await?;
    let deadline = Instant::now() + ESCALATION.min(kit.limit);
    for pause in Backoff::new().take_while(|_| Instant::now() < deadline) {
        let state = kit.state(id).await?.map_err(Outcome::failed)?;
        if !state.is_running() && !kit.has_ended(&made, DYING).await? {
            return match state {
                SessionState::Exited(_) => {
                    fail(format!("`{id}` is said to have exited, and its process {pid} is alive"))
                }
                _ => Ok(Some("the server forgets it while it lives; a helper ends it by its leader".to_owned())),
            };
        }
        if !leader.is_alive() {
            return Ok(Some("the backend ended it".to_owned()));
        }
        kit.pause(pause).await;
    }
    Ok(Some("it lived on, and was said to run; a helper ends it by its leader".to_owned()))
}

/// Whether a process ignores HUP and TERM: bits 0 and 14 of `SigIgn` in its `status` (proc_pid_status(5)).
fn ignores_signals(process: &ProcessHandle) -> bool {
    let status = reader().ok().and_then(|mut reader| {
        let status = reader.read(process.pid(), "status").ok()?;
        Some(String::from_utf8_lossy(status).into_owned())
    });
    let status = status.unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    mask & HUP_AND_TERM == HUP_AND_TERM
}

const HUP_AND_TERM: u64 = 1 | 1 << 14;
