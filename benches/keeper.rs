//! Keeper, ledger and isolated tests: what it costs that nothing outlives a test.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `keeper/start`, `…/500MB` | how much longer a creation takes that starts a keeper | `posix_spawn` of this program, not waited for |
//! | `announce`, `…/beside` | one record of a creation, in an isolated test and beside a test process | one bare append |
//! | `isolated/empty` | an empty `termleash::isolated` | this program started twice, to before and into its `main` |
//! | `isolated/test` | an empty `termleash::test` | the same |
//! | `sweep/100` | from the death of a test with 100 sessions to the runner's verdict | signal all, reap all, close all, one raw cookie pass |
//!
//! None of this has a function of its own that a user could call, so each is taken from what has one. A keeper that has
//! died is replaced by the next creation: a creation with a dead keeper, less one with a living keeper, is a start. A
//! creation in a process whose ledger has no place, taken from one in a process whose ledger has, leaves the two records
//! of a creation (announced, identified); the floor appends the same two lines to a file beside it.

mod floor;

use floor::environ::EnvironPass;
use floor::harness::Harness;
use floor::program::{self, Program};
use floor::session::{self, POLITE, Recipe};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::process::{getpid, kill_process, pidfd_open, pidfd_send_signal, waitid};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use termleash::session::FakeBackend;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, tracker::SessionGuard};
use tokio::runtime::Runtime;

/// The records of a creation.
const RECORDS: [&str; 2] = ["announced", "identified"];
/// The arguments by which a program comes to the call that is measured.
const TEST: &str = "role:test";
const SWEEP: &str = "role:sweep";

fn main() {
    if program::is_to_end() {
        return;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // As libtest is asked for one test, which it runs on its first thread if it may have one only.
        ["--exact", EMPTY, .., "--test-threads=1"] => isolated(EMPTY),
        ["--exact", name, ..] => on_a_tests_thread(name, || isolated(name)),
        [TEST] => empty_test(),
        [SWEEP, count, path] => die_with_sessions(count.parse().expect("a number"), path.as_ref()),
        _ => measure(),
    }
}

fn measure() {
    let Some(harness) = Harness::from_args() else { return };
    session::raise_descriptor_limit();
    keeper_start(&harness, "keeper/start");
    announce(&harness, "announce", "auto");
    announce(&harness, "announce/beside", "never");
    // A test's thread is one test's; libtest's own work is not what is measured.
    empty(&harness, "isolated/empty", || on_a_tests_thread(EMPTY, || timed(|| isolated(EMPTY))));
    empty(&harness, "isolated/test", || timed(empty_test));
    sweep(&harness, harness.size(100, 5));
    let name = "keeper/start/500MB";
    if harness.wants(name) {
        let ballast = vec![1u8; harness.size(500 << 20, 1 << 20)];
        keeper_start(&harness, name);
        std::hint::black_box(ballast);
    }
}

/// What is behind `--exact`.
const EMPTY: &str = "empty";
const CREATE: &str = "create";

fn isolated(name: &str) {
    match name {
        EMPTY => termleash::isolated(|| ()),
        CREATE => termleash::isolated(answer),
        _ => panic!("there is no part `{name}`"),
    }
}

/// libtest names each test's thread after the test.
fn on_a_tests_thread<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, act).expect("a thread");
        thread.join().expect("it passes")
    })
}

fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

fn empty_test() {
    termleash::options().name("empty").rerun_with([TEST]).run(async |_| Ok(()));
}

/// A helper without a server, in a current-thread runtime.
struct Helper {
    runtime: Runtime,
    helper: SessionTestHelper,
}

impl Helper {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
        Self { runtime, helper: SessionTestHelper::new(FakeBackend::new()) }
    }

    fn create(&self) -> SessionGuard {
        self.runtime.block_on(self.helper.create_tracked_session("bash")).expect("create a session")
    }

    fn close(&self, guard: SessionGuard) {
        self.runtime.block_on(guard.close()).expect("close the session");
    }

    /// How long a creation takes.
    fn time_a_creation(&self) -> Duration {
        let begin = Instant::now();
        let guard = self.create();
        let took = begin.elapsed();
        self.close(guard);
        took
    }
}

fn keeper_start(harness: &Harness, name: &str) {
    if !harness.wants(name) {
        return;
    }
    let helper = Helper::new();
    helper.time_a_creation();
    let stopped = Program::stopped();
    let ours = || {
        let pid = keeper_at_rest();
        let keeper = pidfd_open(pid, PidfdFlags::empty()).expect("hold the keeper");
        pidfd_send_signal(&keeper, Signal::KILL).expect("kill the keeper");
        waitid(WaitId::PidFd(keeper.as_fd()), WaitIdOptions::EXITED).expect("await its death");
        let with = helper.time_a_creation();
        keeper_at_rest();
        with.saturating_sub(helper.time_a_creation())
    };
    let floor = || {
        let begin = Instant::now();
        let started = stopped.start();
        let took = begin.elapsed();
        started.wait();
        took
    };
    harness.report(name, harness.turns(201, ours, floor), 1.5);
}

/// The keeper of this process, once it waits for our end.
fn keeper_at_rest() -> Pid {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "this process has no keeper at rest");
        std::thread::sleep(Duration::from_millis(2));
        let children = std::fs::read_to_string("/proc/thread-self/children").expect("our children");
        let keeper = children.split_ascii_whitespace().find(|pid| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("stat").contains("(termleash-keep) S") && read("wchan").contains("poll")
        });
        if let Some(pid) = keeper.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw) {
            return pid;
        }
    }
}

fn announce(harness: &Harness, name: &str, isolation: &str) {
    if !harness.wants(name) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("ledgers");
    // Nothing becomes a directory below a file.
    File::create(directory.path().join("file")).expect("a file");
    let nowhere = directory.path().join("file/ledgers");
    // Several, since two processes of one program differ by as much as a record takes.
    let start = |isolation: &str, ledger: &Path| -> Vec<Creator> {
        (0..harness.size(5, 1)).map(|_| Creator::start(isolation, ledger)).collect()
    };
    // An isolated one knows that there is none; another would look for the place each time.
    let (mut with, mut without) = (start(isolation, &place), start("auto", &nowhere));
    let repeats = harness.size(100, 2);
    let lines = lines_of_a_creation(&once_ledger_is_there(&mut with[0], &place));
    let bare = File::options().append(true).create(true).open(place.join("bare")).expect("a file beside it");
    let each = |creators: &mut [Creator]| creators.iter_mut().map(|creator| creator.create(repeats)).sum::<Duration>();
    let records = repeats * u32::try_from(lines.len()).expect("two");
    let ours = || each(&mut with).saturating_sub(each(&mut without)) / (records * harness.size(5, 1));
    let floor = || {
        let begin = Instant::now();
        for _ in 0..repeats {
            for line in &lines {
                assert_eq!((&bare).write(line.as_bytes()).expect("append"), line.len());
            }
        }
        begin.elapsed() / records
    };
    harness.report(name, harness.turns(101, ours, floor), 3.0);
    std::fs::remove_file(place.join("bare")).expect("remove the file");
    with.into_iter().chain(without).for_each(Creator::end);
}

fn once_ledger_is_there(creator: &mut Creator, place: &Path) -> PathBuf {
    creator.create(1);
    let found = std::fs::read_dir(place).expect("list the ledgers").map(|entry| entry.expect("an entry").path());
    found.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "ledger")).expect("a ledger")
}

/// The records of a creation, as they stand in a ledger.
fn lines_of_a_creation(ledger: &Path) -> Vec<String> {
    let content = std::fs::read_to_string(ledger).expect("read the ledger");
    let last = |kind| content.lines().rfind(|line| line.contains(kind)).expect("a creation");
    RECORDS.map(|kind| format!("{}\n", last(kind))).into()
}

/// A process of this program that creates sessions when asked to.
struct Creator {
    process: Child,
    channel: UnixStream,
}

impl Creator {
    fn start(isolation: &str, ledger: &Path) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a channel");
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", CREATE]).stdin(OwnedFd::from(theirs));
        command.env("TERMLEASH_ISOLATE", isolation).env("TERMLEASH_LEDGER", ledger).env("TERMLEASH_TIMEOUT", "1h");
        Self { process: command.spawn().expect("start again"), channel: ours }
    }

    /// How long it takes for so many.
    fn create(&mut self, count: u32) -> Duration {
        self.channel.write_all(&count.to_ne_bytes()).expect("ask");
        let mut nanos = [0; 8];
        self.channel.read_exact(&mut nanos).expect("an answer");
        Duration::from_nanos(u64::from_ne_bytes(nanos))
    }

    fn end(mut self) {
        drop(self.channel);
        assert!(self.process.wait().expect("its end").success());
    }
}

/// The other side of it: standard input goes both ways.
fn answer() {
    let mut channel = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().expect("the channel"));
    let helper = Helper::new();
    let mut count = [0; 4];
    while channel.read_exact(&mut count).is_ok() {
        let begin = Instant::now();
        let guards: Vec<_> = (0..u32::from_ne_bytes(count)).map(|_| helper.create()).collect();
        let took = u64::try_from(begin.elapsed().as_nanos()).expect("not centuries");
        helper.runtime.block_on(helper.helper.kill_tracked_sessions()).expect("kill all sessions");
        drop(guards);
        channel.write_all(&took.to_ne_bytes()).expect("answer");
    }
}

fn empty(harness: &Harness, name: &str, ours: impl FnMut() -> Duration) {
    if !harness.wants(name) {
        return;
    }
    let (stopped, ended) = (Program::stopped(), Program::ended());
    let floor = || {
        timed(|| {
            stopped.start().wait();
            ended.start().wait();
        })
    };
    harness.report(name, harness.turns(101, ours, floor), 1.3);
}

fn sweep(harness: &Harness, count: usize) {
    let name = format!("sweep/{count}");
    if !harness.wants(&name) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("death");
    let (recipe, mut pass) = (Recipe::shell(POLITE), EnvironPass::new());
    // The body's death is no news here.
    std::panic::set_hook(Box::new(|_| {}));
    let ours = || {
        let failed = catch_unwind(AssertUnwindSafe(|| die_with_sessions(count, &path))).expect_err("the body dies");
        let now = program::clock();
        let verdict = failed.downcast_ref::<String>().expect("a verdict in words");
        assert!(verdict.contains("signal 9") || verdict.contains("SIGKILL"), "{verdict}");
        let (died, leaders) = read_death(&path);
        assert_eq!(leaders.len(), count);
        let alive: Vec<_> = leaders.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
        assert!(alive.is_empty(), "{alive:?}: {verdict}");
        Duration::from_nanos(now - died)
    };
    let floor = || {
        let sessions: Vec<_> = (0..count).map(|_| recipe.spawn()).collect();
        session::await_rest(sessions.iter().map(session::RawSession::pid));
        let begin = Instant::now();
        session::kill_all(sessions);
        pass.run();
        begin.elapsed()
    };
    let medians = harness.turns(21, ours, floor);
    let _ = std::panic::take_hook();
    harness.report(&name, medians, 1.3);
}

/// An isolated test that opens sessions and kills itself, with a note of when, and of its sessions' leaders.
fn die_with_sessions(count: usize, path: &Path) {
    let arguments = [SWEEP.to_owned(), count.to_string(), path.display().to_string()];
    termleash::options().name("sweep").rerun_with(arguments).run(async |_| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        let mut guards = Vec::new();
        for _ in 0..count {
            guards.push(helper.create_tracked_session(SessionSpec::shell(POLITE)).await?);
        }
        let leaders: Vec<u32> = guards.iter().filter_map(|guard| guard.leader_pid()).collect();
        session::await_rest(leaders.iter().copied());
        let note = File::create(path)?;
        note.write_all_at(&leaders.iter().flat_map(|pid| pid.to_ne_bytes()).collect::<Vec<_>>(), 8)?;
        note.write_all_at(&program::clock().to_ne_bytes(), 0)?;
        kill_process(getpid(), Signal::KILL)?;
        Ok(())
    });
}

/// When it died, and who led its sessions.
fn read_death(path: &Path) -> (u64, Vec<u32>) {
    let note = std::fs::read(path).expect("the body's note");
    let (when, leaders) = note.split_first_chunk::<8>().expect("a time");
    let leaders = leaders.chunks_exact(4).map(|pid| u32::from_ne_bytes([pid[0], pid[1], pid[2], pid[3]]));
    (u64::from_ne_bytes(*when), leaders.collect())
}
