//! What became of one sentinel, from what was seen of it: a pure function.

use crate::process::exit::ExitStatus;
use crate::session::backend::SessionState;

/// What was seen of one sentinel, its leader first and its server last.
pub(crate) struct Evidence {
    /// Its leader, where one was proven.
    pub(crate) leader: Option<LeaderSeen>,
    /// What the backend says of it; an error's text if it could not.
    pub(crate) said: Result<SessionState, String>,
    /// The pid of the leader that the server named when it was planted.
    pub(crate) claimed_leader: Option<u32>,
    /// The server's process, where the backend names one.
    pub(crate) server: Option<ServerSeen>,
}

pub(crate) struct LeaderSeen {
    pub(crate) pid: u32,
    pub(crate) is_alive: bool,
    pub(crate) exit: Option<ExitStatus>,
}

pub(crate) struct ServerSeen {
    pub(crate) pid: u32,
    pub(crate) is_alive: bool,
}

/// What it comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    There { note: Option<String> },
    Vanished { how: String, exit: Option<ExitStatus> },
    ServerEnded(String),
    Unknown(String),
}

/// A process that is held proves more than a server's word. A session that is gone together with its server was ended by
/// nobody that could be named.
pub(crate) fn judge(evidence: &Evidence) -> Judgement {
    if let Some(server) = evidence.server.as_ref().filter(|server| !server.is_alive) {
        return Judgement::ServerEnded(format!(
            "its process, pid {}, has ended; some, such as tmux, end with their last session, so that somebody may have \
             ended all of them",
            server.pid
        ));
    }
    let exit = match evidence.said {
        Ok(SessionState::Exited(status)) => status,
        _ => None,
    };
    if let Some(leader) = evidence.leader.as_ref().filter(|leader| !leader.is_alive) {
        if let (Err(cause), None) = (&evidence.said, &evidence.server) {
            return Judgement::Unknown(format!(
                "its leader, pid {}, has ended, and perhaps its server with it, which could not be asked: {cause}",
                leader.pid
            ));
        }
        let how = format!("its leader, pid {}, has ended", leader.pid);
        return Judgement::Vanished { how, exit: leader.exit.or(exit).filter(|exit| *exit != ExitStatus::Unknown) };
    }
    let lives = evidence.leader.as_ref().map(|leader| leader.pid);
    let still = lives.map_or_else(String::new, |pid| format!(", although its leader, pid {pid}, lives still"));
    match &evidence.said {
        Ok(SessionState::Running(running)) => {
            if let (Some(then), Some(now)) = (evidence.server.as_ref(), running.server)
                && then.pid != now
            {
                return Judgement::ServerEnded(format!("its process was pid {} and is pid {now}", then.pid));
            }
            match (evidence.claimed_leader, running.leader) {
                (Some(then), Some(now)) if then != now && lives.is_none() => {
                    let how =
                        format!("its id names another session by now: its leader was pid {then} and is pid {now}");
                    Judgement::Vanished { how, exit: None }
                }
                _ => Judgement::There { note: None },
            }
        }
        Ok(SessionState::Exited(_)) => {
            Judgement::Vanished { how: format!("the server says that it has ended{still}"), exit }
        }
        Ok(SessionState::Unknown) => {
            Judgement::Vanished { how: format!("the server does not know it any more{still}"), exit: None }
        }
        Err(cause) => match lives {
            Some(pid) => Judgement::There {
                note: Some(format!("by its leader, pid {pid}, alone, since the backend could not be asked: {cause}")),
            },
            None => Judgement::Unknown(format!("the backend could not be asked: {cause}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::backend::Running;

    const KILLED: ExitStatus = ExitStatus::Signaled { signal: 9, core_dumped: false };

    fn leader(is_alive: bool) -> Option<LeaderSeen> {
        Some(LeaderSeen { pid: 41, is_alive, exit: None })
    }

    fn server(is_alive: bool) -> Option<ServerSeen> {
        Some(ServerSeen { pid: 7, is_alive })
    }

    fn said(state: SessionState) -> Evidence {
        Evidence { leader: leader(true), said: Ok(state), claimed_leader: Some(41), server: server(true) }
    }

    fn running() -> SessionState {
        Running::new().with_leader(41).with_server(7).into()
    }

    #[test]
    fn one_that_runs_is_there_also_where_nothing_is_known_but_the_servers_word() {
        assert_eq!(judge(&said(running())), Judgement::There { note: None });
        let word = Evidence { leader: None, claimed_leader: None, server: None, ..said(SessionState::running()) };
        assert_eq!(judge(&word), Judgement::There { note: None });
    }

    #[test]
    fn a_dead_leader_counts_more_than_the_word_that_it_runs() {
        let dead = Evidence { leader: leader(false), ..said(running()) };
        assert!(matches!(judge(&dead), Judgement::Vanished { exit: None, .. }));
        let told = Evidence { leader: leader(false), ..said(SessionState::Exited(Some(KILLED))) };
        assert!(matches!(judge(&told), Judgement::Vanished { exit: Some(KILLED), .. }));
        let unasked = Evidence { leader: leader(false), said: Err("no route".into()), ..said(running()) };
        assert!(matches!(judge(&unasked), Judgement::Vanished { .. }));
        // How it ended is told by who has seen it, if by anybody.
        let ended = |exit| {
            let leader = Some(LeaderSeen { pid: 41, is_alive: false, exit: Some(exit) });
            let told = SessionState::Exited(Some(ExitStatus::Exited(3)));
            judge(&Evidence { leader, ..said(told) })
        };
        assert!(matches!(ended(KILLED), Judgement::Vanished { exit: Some(KILLED), .. }));
        assert!(matches!(ended(ExitStatus::Unknown), Judgement::Vanished { exit: None, .. }));
    }

    /// The server may have ended, and its sessions with it.
    #[test]
    fn a_dead_leader_on_a_server_of_which_nothing_is_known_accuses_nobody() {
        let unasked = Evidence { leader: leader(false), said: Err("no route".into()), server: None, ..said(running()) };
        let Judgement::Unknown(why) = judge(&unasked) else { panic!("it is not known") };
        assert!(why.contains("perhaps its server with it") && why.contains("no route"), "{why}");
    }

    #[test]
    fn one_that_the_server_does_not_know_is_gone_also_while_its_leader_dies() {
        for state in [SessionState::Unknown, SessionState::Exited(None)] {
            let Judgement::Vanished { how, .. } = judge(&said(state)) else { panic!("{state:?}") };
            assert!(how.contains("pid 41, lives still"), "{how}");
        }
    }

    #[test]
    fn what_ended_with_its_server_was_ended_by_nobody() {
        for state in [Ok(SessionState::Unknown), Err("refused".into())] {
            let evidence = Evidence { leader: leader(false), said: state, server: server(false), ..said(running()) };
            assert!(matches!(judge(&evidence), Judgement::ServerEnded(_)));
        }
        let restarted = Running::new().with_leader(50).with_server(8).into();
        assert!(matches!(judge(&Evidence { leader: None, ..said(restarted) }), Judgement::ServerEnded(_)));
    }

    #[test]
    fn an_id_that_names_another_session_by_now_is_that_of_one_that_is_gone() {
        let other: SessionState = Running::new().with_leader(50).with_server(7).into();
        let evidence = Evidence { leader: None, ..said(other) };
        assert!(matches!(judge(&evidence), Judgement::Vanished { .. }));
        // The server's word against a process that is held, or of the same one.
        assert_eq!(judge(&said(other)), Judgement::There { note: None });
        assert_eq!(judge(&Evidence { leader: None, ..said(running()) }), Judgement::There { note: None });
    }

    #[test]
    fn what_nobody_can_say_is_not_known() {
        let unasked = |leader| judge(&Evidence { leader, said: Err("no route".into()), ..said(running()) });
        assert!(matches!(unasked(None), Judgement::Unknown(_)));
        assert!(matches!(unasked(leader(true)), Judgement::There { note: Some(_) }));
    }
}
