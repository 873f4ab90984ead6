//! Where the tests of a run meet at a server that they share, and what they and its steward tell each other.
//!
//! ```text
//!  user ──Join──► steward ──Ready │ Refused │ Failed──► user … ──Release │ its process ends──► steward
//!                    ├──Log: to whoever asks──►
//!                    └──Died: to each user──►
//! ```

use crate::error::{Error, Result};
use crate::ledger::client;
use crate::process::handle::{read_stat, reader};
use crate::process::identity::ProcessIdentity;
use crate::process::tree::own_identity;
use crate::session::terminal::Output;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Longer ones leave no room in the name of a socket.
const LONGEST_KEY: usize = 32;
/// How much of a log is told: a socket has room for three times that.
const MOST_LOG: usize = 64 << 10;

/// From a user.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromUser {
    /// It wants this server. It is held by its identity from here on.
    Join { spec: serde_json::Value, shown: String, made_at: String, user: ProcessIdentity },
    /// It wants to see what the server has printed.
    AskLog,
    /// It does not need it any more.
    Release,
}

/// From the steward.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum FromSteward {
    Ready(Reached),
    /// Another specification under the same key.
    Refused {
        text: String,
    },
    /// It could not be started.
    Failed {
        text: String,
    },
    /// It has ended by itself.
    Died {
        text: String,
    },
    /// The end of what it has printed, and how many bytes came before that.
    Log {
        text: String,
        dropped: u64,
    },
}

impl FromSteward {
    /// No more than a socket takes at once: a user that was stopped before it reads must not stop the steward.
    pub(crate) fn log(output: &Output) -> Self {
        let all = output.bytes();
        let mut most = MOST_LOG;
        loop {
            let from = all.len().saturating_sub(most);
            let text = String::from_utf8_lossy(&all[from..]).into_owned();
            // What is no letter takes up to six bytes in a message.
            if most <= MOST_LOG / 8 || serde_json::to_string(&text).is_ok_and(|json| json.len() <= MOST_LOG) {
                return Self::Log { text, dropped: output.dropped_bytes() + from as u64 };
            }
            most /= 2;
        }
    }
}

/// Where a shared server is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reached {
    pub(crate) port: Option<u16>,
    pub(crate) url: Option<String>,
    pub(crate) server: ProcessIdentity,
    #[serde(with = "crate::ledger::path")]
    pub(crate) home: PathBuf,
    #[serde(with = "crate::ledger::path")]
    pub(crate) runtime: PathBuf,
}

/// A run, as far as its tests share servers.
pub(crate) struct Run {
    id: String,
    /// Whose end is the run's end.
    pub(crate) owner: ProcessIdentity,
}

impl Run {
    /// The run of nextest, whose process is the test process's parent; else that of the test process.
    pub(crate) fn of_this_process() -> Result<Self> {
        let runner = match client::body() {
            Some(welcome) => welcome.runner,
            None => own_identity()?,
        };
        if let Some(id) = std::env::var("NEXTEST_RUN_ID").ok().filter(|id| is_plain(id))
            && let Some(owner) = parent_of(runner)
        {
            return Ok(Self { id, owner });
        }
        Ok(Self { id: format!("{}-{}", runner.pid(), runner.started_ticks()), owner: runner })
    }

    /// The name of the socket where the steward of this key listens.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_input`] for a key that is none.
    pub(crate) fn meeting_place(&self, key: &str) -> Result<String> {
        if key.is_empty() || key.len() > LONGEST_KEY || !is_plain(key) {
            return Err(Error::invalid(format!(
                "{key:?} cannot be the key of a shared server: write at most {LONGEST_KEY} letters, digits, `-`, `_` and `.`"
            )));
        }
        Ok(format!("termleash/{}/{}/{key}", sys::own_uid(), self.id))
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= 40 && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
}

/// Process 1 is nobody's run.
fn parent_of(process: ProcessIdentity) -> Option<ProcessIdentity> {
    let mut reader = reader().ok()?;
    let parent = read_stat(&mut reader, process.pid()).ok()?.parent;
    let started = read_stat(&mut reader, parent).ok()?.started;
    (parent > 1).then_some(ProcessIdentity { pid: parent, started, ..process })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::handle::ProcessHandle;
    use crate::process::tree;

    #[test]
    fn the_newest_part_of_a_log_is_told_that_a_socket_has_room_for() {
        let told = |text: &str| match FromSteward::log(&Output::of_text(text.into(), 5)) {
            FromSteward::Log { text, dropped } => (text, dropped),
            other => panic!("{other:?}"),
        };
        assert_eq!(told("a line\n"), ("a line\n".into(), 5));
        let (text, dropped) = told(&("x".repeat(MOST_LOG) + "the end"));
        assert!(text.ends_with("the end") && dropped > 5 && text.len() as u64 + dropped == MOST_LOG as u64 + 12);
        // Each of these takes six bytes.
        let (text, _) = told(&"\u{1b}".repeat(MOST_LOG));
        assert!(!text.is_empty() && serde_json::to_string(&text).unwrap().len() <= MOST_LOG + 2);
    }

    #[test]
    fn a_key_and_the_id_of_a_run_are_short_words() {
        let run = Run { id: "r".into(), owner: own_identity().unwrap() };
        assert!(run.meeting_place(&"k".repeat(LONGEST_KEY)).unwrap().ends_with("/r/kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"));
        assert!(run.meeting_place(&"k".repeat(LONGEST_KEY + 1)).is_err());
        assert!(is_plain("9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d"));
        assert!(!is_plain(&"r".repeat(41)) && !is_plain("a/b") && !is_plain("a b"));
    }

    #[test]
    fn who_has_started_a_test_process_is_known_by_its_start_and_is_not_process_one() {
        let own = own_identity().unwrap();
        let parent = std::os::unix::process::parent_id();
        if parent > 1 {
            let parent = ProcessHandle::open(parent).unwrap().identity();
            assert_eq!(parent_of(own), Some(parent));
        }
        let above = tree::ancestors(&mut reader().unwrap(), own.pid());
        if let [.., child, 1] = above[..] {
            let child = ProcessHandle::open(child).unwrap().identity();
            assert_eq!(parent_of(child), None);
        }
    }
}
