//! The real servers behind one face: how each is started, and what a person does with it by its own means, without termleash.

use crate::trials::dying::processes::{carriers, state_of};
use crate::trials::screen::Screen;
use crate::trials::tmux::Tmux;
use crate::trials::vibetunnel::VibeTunnel;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use termleash::process::KillPolicy;
use termleash::server::Server;
use termleash::session::{BoxError, SessionId};
use termleash::testing::Scope;
use termleash::{SessionSpec, SessionTestHelper};

const INSTALL: &str = "install it by tests/real_servers/install.sh";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tmux,
    VibeTunnel,
    Screen,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tmux => "tmux",
            Self::VibeTunnel => "vibetunnel",
            Self::Screen => "screen",
        })
    }
}

impl Kind {
    /// False if this build cannot talk to it.
    pub(crate) fn is_built(self) -> bool {
        self != Self::VibeTunnel || cfg!(feature = "http")
    }

    /// Why it cannot be tested here.
    pub(crate) fn is_missing(self) -> Option<String> {
        let runs = |program: &str, argument: &str| {
            let mut command = Command::new(program);
            command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        };
        let missing = |what: &str| Some(format!("{what} is missing: {INSTALL}"));
        match self {
            Self::Tmux if !runs("tmux", "-V") => missing("tmux"),
            Self::Screen if !runs("screen", "--version") => missing("GNU screen"),
            Self::VibeTunnel if !self.is_built() => {
                Some("it needs the feature `http`: cargo test --features http".into())
            }
            Self::VibeTunnel if !runs("node", "--version") => missing("Node.js"),
            Self::VibeTunnel if !VibeTunnel::program().exists() => missing("VibeTunnel"),
            _ => None,
        }
    }
}

/// A server that runs, and how to talk to it. What needs no server of its own has none.
pub(crate) enum Real {
    Tmux(Tmux),
    VibeTunnel(VibeTunnel),
    Screen(Screen),
}

impl Real {
    pub(crate) async fn start(kind: Kind, t: &Scope) -> Result<Self, BoxError> {
        Ok(match kind {
            Kind::Tmux => Self::Tmux(Tmux::start(t).await?),
            Kind::VibeTunnel => Self::VibeTunnel(VibeTunnel::start(t).await?),
            Kind::Screen => Self::Screen(Screen::start()?),
        })
    }

    /// One that another process has started, by what [`address`](Self::address) says of it.
    pub(crate) fn at(address: &str) -> Self {
        let (kind, at) = address.split_once('|').expect("a kind and a place");
        match kind {
            "tmux" => Self::Tmux(Tmux::at(at)),
            "vibetunnel" => Self::VibeTunnel(VibeTunnel::at(at)),
            _ => Self::Screen(Screen::at(at)),
        }
    }

    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tmux(it) => format!("tmux|{}", it.socket().display()),
            Self::VibeTunnel(it) => format!("vibetunnel|{}", it.url()),
            Self::Screen(it) => format!("screen|{}", it.directory().display()),
        }
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        match self {
            Self::Tmux(it) => it.server(),
            Self::VibeTunnel(it) => it.server(),
            Self::Screen(_) => None,
        }
    }

    /// A helper on it, which belongs to the test; its grace is short, since much ignores what comes before its end.
    pub(crate) fn helper(&self, t: &Scope) -> SessionTestHelper {
        let helper = match self {
            Self::Tmux(it) => t.helper_on(it.backend()),
            Self::VibeTunnel(it) => t.helper_on(it.backend()),
            Self::Screen(it) => t.helper_on(it.backend()),
        };
        helper.with_policy(policy())
    }

    /// A helper on it that nobody but its holder ends.
    pub(crate) fn lone_helper(&self) -> SessionTestHelper {
        let helper = match self {
            Self::Tmux(it) => SessionTestHelper::new(it.backend()),
            Self::VibeTunnel(it) => SessionTestHelper::new(it.backend()),
            Self::Screen(it) => SessionTestHelper::new(it.backend()),
        };
        helper.with_policy(policy())
    }

    /// Makes a session as a person would; answers with its id.
    pub(crate) fn make(&self, name: &str, command: &[&str]) -> SessionId {
        let id = match self {
            Self::Tmux(it) => it.make(name, command),
            Self::VibeTunnel(it) => it.make(name, command),
            Self::Screen(it) => it.make(name, command),
        };
        SessionId::new(id).expect("an id")
    }

    /// A stranger that sleeps for as long as the test may take.
    pub(crate) fn sleeper(&self, name: &str) -> Stranger {
        let id = self.make(name, &["sleep", "2000"]);
        let pid = until("a leader", || self.leader(&id));
        Stranger { id, pid, started: started(pid).expect("it runs") }
    }

    /// Whether the server says that it runs.
    pub(crate) fn runs(&self, id: &SessionId) -> bool {
        self.leader(id).is_some()
    }

    /// Its first process, by the server's word, while the server calls it running.
    pub(crate) fn leader(&self, id: &SessionId) -> Option<u32> {
        match self {
            Self::Tmux(it) => it.leader(id.as_str()),
            Self::VibeTunnel(it) => it.leader(id.as_str()),
            Self::Screen(it) => it.leader(id.as_str()),
        }
    }

    /// Whether it is the same as before, by the server's word and by the kernel's.
    #[track_caller]
    pub(crate) fn has(&self, stranger: &Stranger) {
        assert_eq!(self.leader(&stranger.id), Some(stranger.pid), "a stranger's session {} is gone", stranger.id);
        assert_eq!(started(stranger.pid), Some(stranger.started), "a stranger's process {} is gone", stranger.pid);
        assert!(!b"TtZX".contains(&state_of(stranger.pid).unwrap_or(b'X')), "a stranger was touched");
    }

    pub(crate) fn type_line(&self, id: &SessionId, line: &str) {
        match self {
            Self::Tmux(it) => it.type_line(id.as_str(), line),
            Self::VibeTunnel(it) => it.type_line(id.as_str(), line),
            Self::Screen(it) => it.type_line(id.as_str(), line),
        }
    }

    pub(crate) fn text(&self, id: &SessionId) -> String {
        match self {
            Self::Tmux(it) => it.text(id.as_str()),
            Self::VibeTunnel(it) => it.text(id.as_str()),
            Self::Screen(it) => it.text(id.as_str()),
        }
    }

    /// Ends one by the server's own means.
    pub(crate) fn end(&self, id: &SessionId) {
        match self {
            Self::Tmux(it) => it.end(id.as_str()),
            Self::VibeTunnel(it) => it.end(id.as_str()),
            Self::Screen(it) => it.end(id.as_str()),
        }
    }
}

fn policy() -> KillPolicy {
    KillPolicy::default().grace(Duration::from_millis(200))
}

/// A session of somebody else's.
pub(crate) struct Stranger {
    pub(crate) id: SessionId,
    pub(crate) pid: u32,
    started: u64,
}

/// When a process was started, in ticks since the machine was.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// A number of seconds that no other test sleeps for: by it processes are found whose environment is cleared.
pub(crate) fn new_mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("1500.8{:07}{:05}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until there is something; longer than anything takes on a busy machine.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until exactly so many processes carry the mark.
#[track_caller]
pub(crate) fn until_carried(mark: &str, count: usize) {
    until(&format!("{count} carriers of {mark}"), || (carriers(mark).len() == count).then_some(()));
}

/// Waits until so many sleep, whoever is around them.
#[track_caller]
pub(crate) fn until_sleeping(mark: &str, count: usize) {
    let sleeping = || carriers(mark).iter().filter(|carrier| carrier.command.starts_with("sleep ")).count();
    until(&format!("{count} that sleep for {mark}"), || (sleeping() == count).then_some(()));
}

/// Nobody carries it, now.
#[track_caller]
pub(crate) fn none_carries(mark: &str) {
    let left = carriers(mark);
    assert!(left.is_empty(), "{left:#?}");
}

/// A program that ignores HUP and TERM, and has said so in a file.
pub(crate) fn stubborn(mark: &str, ready: &Path) -> SessionSpec {
    SessionSpec::shell(format!("trap '' HUP TERM; : >\"$READY\"; sleep {mark} & sleep {mark}; sleep {mark}"))
        .env("READY", ready)
}

/// What a command has printed.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it can be run");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where the servers of npm are.
pub(crate) fn installed() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("TERMLEASH_REAL_SERVERS") {
        Some(path) => path.into(),
        None => {
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("real-servers")
        }
    }
}
