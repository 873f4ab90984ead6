//! The thread that looks.

use crate::catch::panic_of;
use crate::error::Error;
use crate::event::Sample;
use crate::keeper::descendants::GRACE;
use crate::keeper::patience::{Patience, TICK};
use crate::keeper::sweep::{sweep, until};
use crate::keeper::watch::at_once;
use crate::keeper::watch::ending::Endings;
use crate::keeper::watch::notice::Notice;
use crate::keeper::watch::pace::{LONGEST, Looks, SHORTEST, at_rest, births};
use crate::keeper::watch::session::Session;
use crate::keeper::watch::whole::Whole;
use crate::ledger::breach::Exceeded;
use crate::ledger::file::RunFile;
use crate::ledger::following::Following;
use crate::ledger::message::LedgerAt;
use crate::ledger::record::{BODY_RECORD, Record, RecordId};
use crate::ledger::replay::{Open, Replayed};
use crate::ledger::swept::Swept;
use crate::limits::Limits;
use crate::process::handle::reader;
use crate::process::identity::ProcessIdentity;
use crate::process::tree::is_gone;
use crate::process::usage::Usage;
use crate::sys::{self, LastPid, ProcReader};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a ledger is read that grows, at least.
const FOLLOW_EVERY: Duration = Duration::from_millis(20);

/// How often processes are looked for that have lost their parent, at most.
const LOST_EVERY: Duration = Duration::from_millis(20);

/// What was killed has no memory any more by then, as a rule. What has is not waited for: others grow meanwhile.
const MOSTLY_DIES_WITHIN: Duration = Duration::from_millis(20);

/// The thread, for as long as the run lasts.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    notices: Receiver<Notice>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Held for as long as a look takes.
    asked: Mutex<Asked>,
    /// Those that a look has begun.
    endings: Endings,
    is_over: AtomicBool,
}

/// What the call that is running asks for.
struct Asked {
    limits: Limits,
    /// Which of the run's calls.
    call: u32,
}

impl Watcher {
    /// Begins to keep these limits; `None` if none of them is the keeper's.
    ///
    /// # Errors
    ///
    /// Why they are not kept, in words.
    pub(crate) fn start(
        ledger: &LedgerAt,
        runner: ProcessIdentity,
        body: ProcessIdentity,
        limits: &Limits,
    ) -> Result<Option<Self>, String> {
        if !limits.need_a_keeper() {
            return Ok(None);
        }
        let shared = Arc::new(Shared {
            asked: Mutex::new(Asked { limits: limits.clone(), call: 0 }),
            endings: Endings::default(),
            is_over: AtomicBool::new(false),
        });
        let (told, notices) = channel();
        let watch = Watch::begin(ledger, (runner, body), Arc::clone(&shared), told)?;
        let thread = std::thread::Builder::new().name("termleash-limits".into()).spawn(move || watch.run());
        let thread = thread.map_err(|cause| format!("no thread could be started for it: {cause}"))?;
        Ok(Some(Self { shared, notices, thread: Some(thread) }))
    }

    /// The next call of the run has these. No look by the former ones is under way when it returns.
    pub(crate) fn set(&self, limits: &Limits) {
        let mut asked = self.shared.asked.lock();
        asked.limits.clone_from(limits);
        asked.call += 1;
        drop(asked);
        self.wake();
    }

    /// Waits for a look that is under way, and for what is being ended: that is told when this returns.
    pub(crate) fn settle(&self) {
        drop(self.shared.asked.lock());
        self.shared.endings.wait();
    }

    pub(crate) fn notice(&self) -> Option<Notice> {
        self.notices.try_recv().ok()
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Nothing is signalled by it any more when this returns; answers with what was seen last.
    pub(crate) fn stop(mut self) -> Vec<Notice> {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.wake();
        let has_panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        self.shared.endings.wait();
        let panicked = || Notice::NotKept("the keeper's thread that looks at them has panicked".into());
        self.notices.try_iter().chain(has_panicked.then(panicked)).collect()
    }
}

/// The thread's own.
struct Watch {
    shared: Arc<Shared>,
    told: Sender<Notice>,
    reader: ProcReader,
    last_pid: LastPid,
    runner: ProcessIdentity,
    body: ProcessIdentity,
    /// Which of the calls was running at the last look.
    call: u32,
    following: Following,
    /// For what the keeper writes itself.
    file: RunFile,
    clock: Patience,
    sessions: BTreeMap<RecordId, Session>,
    /// Those that no tree can be had of.
    unseen: BTreeMap<RecordId, ProcessIdentity>,
    whole: Whole,
    is_failure_told: bool,
    /// The kernel's last number at the last look, and when that was.
    births: (u32, Instant),
    /// The kernel's last number when orphans were looked for, and when they may be again.
    lost: (Looks, Instant),
}

impl Watch {
    fn begin(
        ledger: &LedgerAt,
        (runner, body): (ProcessIdentity, ProcessIdentity),
        shared: Arc<Shared>,
        told: Sender<Notice>,
    ) -> Result<Self, String> {
        let now = Instant::now();
        let opened = |cause: Error| format!("the ledger, by which sessions are known, cannot be read: {cause}");
        let following = Following::of(ledger).map_err(opened)?;
        let (_, _, file) = ledger.open().map_err(opened)?;
        // Each process that is looked at is held by two descriptors.
        let _ = sys::raise_descriptor_limit(u64::MAX);
        Ok(Self {
            shared,
            told,
            reader: reader().map_err(|cause| cause.to_string())?,
            last_pid: LastPid::open().map_err(|cause| format!("/proc/loadavg cannot be opened: {cause}"))?,
            runner,
            body,
            call: 0,
            following,
            file,
            clock: Patience::new(),
            sessions: BTreeMap::new(),
            unseen: BTreeMap::new(),
            whole: Whole::of(body, now),
            is_failure_told: false,
            lost: (Looks::default(), now),
            births: (0, now),
        })
    }

    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while !shared.is_over.load(Ordering::SeqCst) {
            self.clock.tick(&[self.runner.pid(), self.body.pid()]);
            let asked = shared.asked.lock();
            if std::mem::replace(&mut self.call, asked.call) != asked.call {
                // What another call has had is not this one's.
                self.whole = Whole::of(self.body, Instant::now());
            }
            let wait = match self.look(&asked.limits) {
                Ok(wait) => wait,
                Err(cause) => {
                    self.fail(&cause);
                    LONGEST
                }
            };
            drop(asked);
            std::thread::park_timeout(wait.clamp(SHORTEST, LONGEST));
        }
    }

    /// Told once; it is tried again.
    fn fail(&mut self, cause: &io::Error) {
        if !std::mem::replace(&mut self.is_failure_told, true) {
            let _ =
                self.told.send(Notice::NotKept(format!("the keeper could not look at the test's processes: {cause}")));
        }
    }

    /// Looks at what is due, and answers with when something is again.
    fn look(&mut self, limits: &Limits) -> io::Result<Duration> {
        self.follow()?;
        let last_pid = self.last_pid.read()?;
        let exceeded = self.look_at_sessions(limits, last_pid)?;
        let is_killed = exceeded.iter().any(|(_, exceeded)| !matches!(exceeded, Exceeded::WallTime { .. }));
        for (id, exceeded) in exceeded {
            self.end(id, exceeded);
        }
        if is_killed {
            // What is about to be gone is not held against the whole test.
            self.shared.endings.wait_within(MOSTLY_DIES_WITHIN);
        }
        let now = Instant::now();
        if let Some(limit) = limits.test_memory
            && now >= self.whole.due
        {
            let over = self.whole.look(&mut self.reader, limit, self.following.run(), last_pid)?;
            // Nobody listens to a keeper that is about to end.
            let _ = over.map(|notice| self.told.send(notice));
        }
        Ok(self.next(limits, last_pid))
    }

    /// Answers with those that are over a limit.
    fn look_at_sessions(&mut self, limits: &Limits, last_pid: u32) -> io::Result<Vec<(RecordId, Exceeded)>> {
        let now = Instant::now();
        let is_pressed =
            |session: &Session| births(session.last_pid, last_pid) >= session.spare_births(&limits.session);
        let is_any_pressed = self.sessions.values().any(is_pressed);
        let members = self.members(last_pid, now, is_any_pressed)?;
        let mut exceeded = Vec::new();
        for (id, pids) in &members {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            session.last_pid = last_pid;
            let found = session.too_many(&mut self.reader, &limits.session, pids);
            exceeded.extend(found.map(|exceeded| (*id, exceeded)));
        }
        if exceeded.is_empty() && self.sessions.values().any(|session| now >= session.due) {
            let (count, clock) = (self.sessions.len(), self.clock.used());
            let mut failed = None;
            // Those that will be soon, too: what is done for all is done once.
            for (id, session) in self.sessions.iter_mut().filter(|(_, session)| now >= session.soon) {
                session.last_pid = last_pid;
                let found = session.take_in(members.get(id));
                match found.and_then(|()| session.look(&mut self.reader, &limits.session, clock, (count, last_pid))) {
                    Ok(found) => exceeded.extend(found.map(|exceeded| (*id, exceeded))),
                    // The others are looked at all the same.
                    Err(cause) => {
                        session.look_later(now);
                        failed = Some(cause);
                    }
                }
            }
            let _ = self.told.send(Notice::Sample(self.sample()));
            failed.iter().for_each(|cause| self.fail(cause));
        }
        Ok(exceeded)
    }

    /// What the sessions used together when they were last looked at.
    fn sample(&self) -> Sample {
        let mut all = Usage::default();
        for usage in self.sessions.values().filter_map(Session::usage) {
            all.memory += usage.memory;
            all.processes += usage.processes;
            all.descriptors += usage.descriptors;
            all.processor += usage.processor;
        }
        Sample {
            at: sys::monotonic(),
            memory: Some(all.memory),
            descriptors: Some(all.descriptors),
            processes: Some(all.processes as u64),
            processor: Some(all.processor),
        }
    }

    fn next(&mut self, limits: &Limits, last_pid: u32) -> Duration {
        let now = Instant::now();
        let (before, at) = std::mem::replace(&mut self.births, (last_pid, now));
        let mut next = FOLLOW_EVERY;
        // As fast as processes are born on this machine, whosoever they are.
        let rate = births(before, last_pid) as f64 / now.duration_since(at).as_secs_f64().max(1e-6);
        for session in self.sessions.values() {
            let used = births(session.last_pid, last_pid);
            let spare = session.spare_births(&limits.session).saturating_sub(used);
            next = next.min(Duration::try_from_secs_f64(spare as f64 / (2.0 * rate)).unwrap_or(next));
        }
        let dues = self.sessions.values().map(|session| session.due);
        for due in dues.chain(limits.test_memory.map(|_| self.whole.due)) {
            next = next.min(due.saturating_duration_since(now));
        }
        if limits.session.wall_time.is_some() { next.min(TICK) } else { next }
    }

    /// Takes in the sessions that are new, and forgets those that are over.
    fn follow(&mut self) -> io::Result<()> {
        let (clock, now) = (self.clock.used(), Instant::now());
        let Some(run) = self.following.look()? else { return Ok(()) };
        self.sessions.retain(|id, session| run.open.get(id).is_some_and(|open| open.leader == Some(session.leader())));
        self.unseen.retain(|id, _| run.open.contains_key(id));
        let mut failed = None;
        for (id, open) in &run.open {
            let is_a_session = *id != BODY_RECORD && open.home.is_none();
            let Some(leader) = open.leader.filter(|_| is_a_session) else { continue };
            if self.sessions.contains_key(id) || self.unseen.get(id) == Some(&leader) {
                continue;
            }
            match Session::of(leader, clock, now) {
                Ok(session) => drop(self.sessions.insert(*id, session)),
                // It has ended by now, or is hidden from us.
                Err(cause) if is_gone(&cause) || cause.kind() == io::ErrorKind::Other => {
                    self.unseen.insert(*id, leader);
                }
                // It is tried again.
                Err(cause) => failed = Some(cause),
            }
        }
        if let Some(cause) = failed {
            self.fail(&cause);
        }
        Ok(())
    }

    /// The members of the kernel sessions that leaders of ours lead, by one getsid(2) for each process that there is: it finds what has
    /// lost its parent, and counts what forks faster than each process can be looked at. Nothing where nobody was born since the last
    /// time, or that was a moment ago and nothing presses.
    fn members(&mut self, last_pid: u32, now: Instant, is_pressed: bool) -> io::Result<BTreeMap<RecordId, Vec<u32>>> {
        let (before, not_before) = self.lost;
        let mut members: BTreeMap<RecordId, Vec<u32>> = BTreeMap::new();
        if before.are_done(last_pid) || (now < not_before && !is_pressed) {
            return Ok(members);
        }
        let leads = |(id, session): (&RecordId, &Session)| session.leads().map(|leader| (leader, *id));
        let leaders: BTreeMap<u32, RecordId> = self.sessions.iter().filter_map(leads).collect();
        if leaders.is_empty() {
            return Ok(members);
        }
        for pid in self.reader.pids()? {
            if let Some(id) = sys::session_of(pid).and_then(|leader| leaders.get(&leader)) {
                members.entry(*id).or_default().push(pid);
            }
        }
        self.lost.0.note(last_pid);
        self.lost.1 = now + at_rest(LOST_EVERY, now.elapsed(), 5);
        Ok(members)
    }

    /// Ends this session and no other.
    fn end(&mut self, id: RecordId, exceeded: Exceeded) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.unseen.insert(id, session.leader());
        // As it is now: it may have ended by itself, or been forgotten by its test, which is about to end it.
        let Some(run) = self.following.look().ok().flatten().and_then(|run| run.only(id)) else { return };
        let Some(open) = run.open.get(&id).cloned() else { return };
        // Before it dies, so that whoever asks of what it has died finds it.
        let _ = self.file.append(&Record::Breached { leader: session.leader(), what: exceeded.to_string() });
        let (at, told) = (sys::monotonic(), self.told.clone());
        self.shared.endings.begin(move || {
            let mut swept = Swept::default();
            if let Some(why) = panic_of(|| swept = swept_of(&run, &open, exceeded)) {
                swept.undone.push(format!("the keeper's thread that was to end it has panicked: {why}"));
            }
            let _ = told.send(Notice::Breach(Box::new(session.breach(at, &open, exceeded, swept))));
        });
    }
}

/// Ends the one session of this run, and answers with what that came to.
fn swept_of(run: &Replayed, open: &Open, exceeded: Exceeded) -> Swept {
    let now = sys::now_ticks();
    if let Exceeded::WallTime { .. } = exceeded {
        return sweep(run, now, GRACE);
    }
    // It would go on to grow.
    let killed = at_once::kill(open, &run.mark(open, Some(until(run, now))));
    let mut swept = sweep(run, now, Duration::ZERO);
    swept.ended.splice(0..0, killed.unwrap_or_default());
    swept
}
