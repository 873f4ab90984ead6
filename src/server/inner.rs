//! A server that was started: what its guard, its scope and whoever ends it have in common.

use crate::ledger::home::{Home, Part};
use crate::ledger::{Ledger, RecordId};
use crate::probe::waiting;
use crate::process::cookie::Cookie;
use crate::process::death::{CorePattern, Death, Facts, KillReason, OomCounters, classify};
use crate::process::exit::ExitStatus;
use crate::process::handle::ProcessHandle;
use crate::process::scan::marked_by;
use crate::server::log::Log;
use crate::server::outcome::ServerEnd;
use crate::server::places::Places;
use crate::server::port::Lease;
use crate::server::spec::ServerSpec;
use crate::watched::Watched;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub(crate) struct Inner {
    pub(crate) spec: ServerSpec,
    /// Where in a test's source.
    pub(crate) made_at: String,
    /// As it was started, for messages.
    pub(crate) command: String,
    pub(crate) handle: ProcessHandle,
    pub(crate) log: std::sync::Arc<Log>,
    pub(crate) home: Home,
    pub(crate) cookie: Cookie,
    pub(crate) port: Option<u16>,
    /// Where it was seen to listen at its port, on the loopback.
    pub(crate) address: OnceLock<IpAddr>,
    /// Given back when everything else has ended.
    pub(crate) lease: Mutex<Option<Lease>>,
    pub(crate) ledger: Ledger,
    pub(crate) record: RecordId,
    pub(crate) started: Instant,
    /// The counters of kills for want of memory when it was started.
    pub(crate) oom: OomCounters,
    /// How long a wait for its log may take that says no time.
    pub(crate) wait: Duration,
    pub(crate) life: Watched<Life>,
    /// The process that started it. A child forked without an exec has a copy, and must not end it for its parent.
    pub(crate) owner: u32,
}

/// `Open ⇄ Closing → Closed`: back where an end was given up halfway, or has failed.
pub(crate) struct Life {
    pub(crate) phase: Phase,
    /// The test has waited for its end, so that it is no surprise.
    pub(crate) may_be_dead: bool,
    /// How its end was first noticed: after how long.
    pub(crate) ended_after: Option<Duration>,
    /// Its end was begun, so that it may have got a signal of ours.
    pub(crate) may_be_signalled: bool,
}

pub(crate) enum Phase {
    Open,
    Closing,
    /// With what it came to; an error's text where it had died before.
    Closed(Result<ServerEnd, String>),
}

impl Life {
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Open, may_be_dead: false, ended_after: None, may_be_signalled: false }
    }
}

impl Inner {
    /// False in a child that was forked without an exec.
    pub(crate) fn is_in_its_process(&self) -> bool {
        self.owner == std::process::id()
    }

    pub(crate) fn places(&self) -> Places<'_> {
        Places { port: self.port, home: &self.home }
    }

    pub(crate) fn part(&self, part: Part) -> PathBuf {
        self.home.part(part)
    }

    /// Where it is asked by HTTP; `None` for one without a port.
    pub(crate) fn url(&self) -> Option<String> {
        let address = self.address.get().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.port.map(|port| format!("http://{}", SocketAddr::new(address, port)))
    }

    /// Those that carry its cookie; none on a machine whose processes come and go faster than they can be looked at: the next look
    /// may see more.
    pub(crate) fn marked(&self) -> Vec<u32> {
        let marked = marked_by(&[self.cookie]).unwrap_or_default();
        marked.into_iter().map(|process| process.identity.pid()).collect()
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        format!("the server `{}` (pid {}, started at {})", self.command, self.handle.pid(), self.made_at)
    }

    /// The end of its log, as a failure shows it.
    pub(crate) fn shown_log(&self) -> String {
        self.log.catch_up();
        self.log.output().shown("log")
    }

    /// What the threads of its first process do, for one that is late: as further lines.
    pub(crate) fn shown_threads(&self) -> String {
        let lines = threads_of(&self.handle);
        if lines.is_empty() { lines } else { format!("\nits threads:{lines}") }
    }

    /// How it ended and when, for messages; it has ended.
    pub(crate) fn how_it_ended(&self) -> String {
        let after = self.life.update(|life| *life.ended_after.get_or_insert_with(|| self.started.elapsed()));
        let status = self
            .handle
            .exit_status()
            .map_or_else(|| "in a way that nobody was told".into(), |status| format!("by {status}"));
        let death = self.handle.exit_status().map(|status| self.death(status));
        let cause = death.filter(Death::says_more_than_its_status).map(|death| format!("; cause of death: {death}"));
        let cause = cause.unwrap_or_default();
        format!("{status}, {} after its start{cause}", humantime::format_duration(rounded(after)))
    }

    /// Of what it has died, which has ended so.
    pub(crate) fn death(&self, status: ExitStatus) -> Death {
        self.log.catch_up();
        let facts = Facts::new(status).pid(self.handle.pid()).output(self.log.output().text());
        let facts = facts.oom(self.oom.clone(), self.oom.again()).core_pattern(CorePattern::read());
        let facts = match self.life.peek(|life| life.may_be_signalled) {
            true => facts.killed(KillReason::Other("its guard has closed it".into()), self.handle.sent()),
            false => facts,
        };
        classify(&facts)
    }
}

/// What a process's threads do, each in a line of its own, or nothing for one that has ended.
pub(crate) fn threads_of(process: &ProcessHandle) -> String {
    let states = waiting::of_all_threads_of(process.pid()).unwrap_or_default();
    // What was read is its own only if its number was not free meanwhile.
    if !process.is_alive() {
        return String::new();
    }
    states.lines().map(|line| format!("\n    {line}")).collect()
}

/// To milliseconds: nobody reads more.
pub(crate) fn rounded(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
