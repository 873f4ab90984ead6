//! The life of a session as its helper sees it.

use std::fmt;

/// Where in its life a session is.
///
/// ```text
///            created                kill begins              proven
/// Announced ─────────► Live ──────────────────► Closing ─────────────► Gone
///     │                                          ▲   │
///     │ create failed, or its answer was lost    │   │ not proven
///     └──────────────────────────────────────────┤   ▼
///                              kill begins again └─ Survived
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    /// In the ledger, and perhaps nowhere else: its creation was or will be asked for.
    Announced,
    /// Created, or handed over alive.
    Live,
    /// A kill is under way.
    Closing,
    /// Its end is proven. Nothing leads out of here.
    Gone,
    /// A kill ended without proof.
    Survived,
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LifeEvent {
    Created,
    KillBegins,
    Proven,
    NotProven,
}

impl Life {
    /// The one transition function; `None` for what cannot happen.
    pub(crate) fn after(self, event: LifeEvent) -> Option<Self> {
        Some(match (self, event) {
            (Self::Announced, LifeEvent::Created) => Self::Live,
            (Self::Announced | Self::Live | Self::Closing | Self::Survived, LifeEvent::KillBegins) => Self::Closing,
            (Self::Closing, LifeEvent::Proven) => Self::Gone,
            (Self::Closing, LifeEvent::NotProven) => Self::Survived,
            _ => return None,
        })
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Announced => "announced",
            Self::Live => "live",
            Self::Closing => "closing",
            Self::Gone => "gone",
            Self::Survived => "survived",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_gone_only_by_proof_and_for_good() {
        let events = [LifeEvent::Created, LifeEvent::KillBegins, LifeEvent::Proven, LifeEvent::NotProven];
        let lives = [Life::Announced, Life::Live, Life::Closing, Life::Gone, Life::Survived];
        for (life, event) in lives.iter().flat_map(|life| events.map(|event| (*life, event))) {
            let next = life.after(event);
            assert_eq!(next == Some(Life::Gone), life == Life::Closing && event == LifeEvent::Proven);
            assert!(life != Life::Gone || next.is_none());
        }
    }

    #[test]
    fn a_kill_can_begin_again_after_a_failure_and_after_it_was_abandoned() {
        for life in [Life::Survived, Life::Closing, Life::Announced] {
            assert_eq!(life.after(LifeEvent::KillBegins), Some(Life::Closing));
        }
    }
}
