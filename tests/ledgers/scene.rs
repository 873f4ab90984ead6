//! What every test of this binary has: a ledger of its own, victims, bystanders, and a sweep in a process of its own.
//!
//! A victim is this very test run again, in a role; everything that a test starts carries the scene's number in its command line
//! or environment, by which it is found, and ended by process id if a test fails.

use serde_json::{Value, json};
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use termleash::process::ProcessHandle;

/// Which part a process plays; none in the test itself.
const ROLE: &str = "LEDGERS_ROLE";
/// The number that all of a scene carry.
const NUMBER: &str = "LEDGERS_NUMBER";
/// Where its processes leave notes for each other.
const NOTES: &str = "LEDGERS_NOTES";
/// A busy machine is slow, and some of what is waited for are hundreds of sweeps.
const PATIENCE: Duration = Duration::from_secs(80);

/// In a process that plays a part.
pub(crate) struct Me {
    pub(crate) role: String,
    number: String,
    notes: PathBuf,
}

impl Me {
    /// How long the `which`th sleeper sleeps: for ever, and so that it is found.
    pub(crate) fn nap(&self, which: u32) -> String {
        format!("{}{which:02}", self.number)
    }

    pub(crate) fn note(&self, name: &str, text: impl ToString) {
        // Whole, or not there.
        let path = self.notes.join(name);
        std::fs::write(path.with_extension("part"), text.to_string()).unwrap();
        std::fs::rename(path.with_extension("part"), path).unwrap();
    }

    /// Waits for the test's word.
    pub(crate) fn wait_for(&self, name: &str) {
        until(name, || self.notes.join(name).exists().then_some(()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.notes.join(name)
    }
}

pub(crate) struct Scene {
    directory: TempDir,
    pub(crate) number: String,
    pub(crate) ledger: PathBuf,
    test: String,
    outputs: AtomicU32,
}

/// One of the scene's processes, and its output.
pub(crate) struct Actor {
    pub(crate) child: Child,
    output: PathBuf,
}

impl Scene {
    /// `None` in a process that plays a part, when it has played it.
    pub(crate) fn new(play: impl FnOnce(&Me)) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let test = std::thread::current().name().expect("libtest names its threads").to_owned();
        if let Ok(role) = std::env::var(ROLE) {
            let variable = |name| std::env::var(name).expect("it was started by a scene");
            let me = Me { role, number: variable(NUMBER), notes: variable(NOTES).into() };
            match me.role.as_str() {
                "sweeper" => sweep(&me),
                _ => play(&me),
            }
            return None;
        }
        let number = format!("1000.0{:07}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("l");
        Some(Self { directory, number, ledger, test, outputs: AtomicU32::new(0) })
    }

    /// A number of no other scene, whether of this process or of one beside it.
    pub(crate) fn serial(&self) -> u64 {
        self.number["1000.0".len()..].parse().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn nap(&self, which: u32) -> String {
        format!("{}{which:02}", self.number)
    }

    /// This test again, in a role, after words that prepare its surroundings.
    pub(crate) fn command(&self, before: &[&str], role: &str, variables: &[(&str, &str)]) -> Command {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = match before {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.args(["--exact", &self.test, "--nocapture", "--test-threads=1", "--include-ignored"]);
        command.env(ROLE, role).env(NUMBER, &self.number).env(NOTES, self.directory.path());
        command.env("TERMLEASH_LEDGER", &self.ledger).env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
        command.env_remove("NEXTEST_EXECUTION_MODE").env_remove("TERMLEASH_KEEP").env_remove("TERMLEASH_ISOLATE");
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        command
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Actor {
        let output = self.path(&format!("output-{}", self.outputs.fetch_add(1, Ordering::Relaxed)));
        // A file: whoever holds a pipe of a dead victim open would be waited for.
        let file = File::create(&output).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Actor { child, output }
    }

    pub(crate) fn start(&self, role: &str, variables: &[(&str, &str)]) -> Actor {
        self.spawn(self.command(&[], role, variables))
    }

    /// A process that has only a plain helper, with a keeper beside it once it has a session.
    pub(crate) fn in_process(&self, role: &str) -> Actor {
        self.start(role, &[("TERMLEASH_ISOLATE", "never")])
    }

    /// What `termleash::sweep` says in a process of its own.
    pub(crate) fn sweep(&self) -> String {
        let (status, text) = self.start("sweeper", &[]).end();
        assert!(status.success(), "{status}:\n{text}");
        let (_, report) = text.split_once("<report>\n").unwrap_or_else(|| panic!("there is no report:\n{text}"));
        report.split_once("\n</report>").unwrap().0.to_owned()
    }

    pub(crate) fn noted(&self, name: &str) -> String {
        until(name, || std::fs::read_to_string(self.path(name)).ok())
    }

    pub(crate) fn note(&self, name: &str) {
        std::fs::write(self.path(name), "").unwrap();
    }

    /// The living processes of the scene, this one left out.
    pub(crate) fn living(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        for pid in pids() {
            let read = |file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let (line, environment) = (read("cmdline"), read("environ"));
            let is_of_scene = [&line, &environment]
                .iter()
                .any(|bytes| bytes.windows(self.number.len()).any(|window| window == self.number.as_bytes()));
            if is_of_scene && !line.is_empty() && pid != std::process::id() {
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    pub(crate) fn keepers(&self) -> Vec<u32> {
        let living = self.living().into_iter();
        living.filter(|(_, line)| line.starts_with("termleash-keeper")).map(|(pid, _)| pid).collect()
    }

    /// Returns when it is dead, which takes longer than to vanish from a list.
    pub(crate) fn kill_the_keeper(&self) -> u32 {
        let keeper = until("the keeper", || ProcessHandle::open(*self.keepers().first()?).ok());
        kill(keeper.pid());
        until("the keeper's end", || (!keeper.is_alive()).then_some(()));
        keeper.pid()
    }

    /// The process that sleeps so long, once it does.
    pub(crate) fn sleeper(&self, which: u32) -> u32 {
        let nap = self.nap(which);
        let is_it = |line: &str| line.starts_with("sleep ") && line.trim_end().ends_with(&nap);
        until(&nap, || self.living().into_iter().find(|(_, line)| is_it(line)).map(|(pid, _)| pid))
    }

    /// Waits for them.
    pub(crate) fn sleepers(&self, which: RangeInclusive<u32>) -> Vec<ProcessHandle> {
        which.map(|which| ProcessHandle::open(self.sleeper(which)).unwrap()).collect()
    }

    /// Waits until the scene's processes are these.
    #[track_caller]
    pub(crate) fn only_these_stay(&self, pids: &[u32]) {
        let start = Instant::now();
        loop {
            let left: Vec<_> = self.living().into_iter().filter(|(pid, _)| !pids.contains(pid)).collect();
            if left.is_empty() {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "they are still there: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let missing: Vec<_> = pids.iter().filter(|pid| ProcessHandle::open(**pid).is_err()).collect();
        assert!(missing.is_empty(), "{missing:?} are gone");
    }

    /// No process, no ledger, no directory of ledgers.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        self.only_these_stay(&[]);
        assert!(!self.ledger.exists(), "{:?} is left", self.ledgers());
    }

    pub(crate) fn ledgers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.ledger).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for _ in 0..20 {
            let living = self.living();
            if living.is_empty() {
                break;
            }
            living.iter().for_each(|(pid, _)| kill(*pid));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Actor {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its end by itself, and what it has printed.
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.text());
            }
            if start.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("it does not end:\n{}", self.text());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap()).into_owned()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn sweep(me: &Me) {
    let rounds = std::env::var("LEDGERS_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        if rounds > 1 {
            me.wait_for(&format!("round-{round}"));
        }
        let report = termleash::sweep().unwrap();
        println!("<report>\n{report}\n</report>");
        if rounds > 1 {
            me.note(&format!("swept-{round}-{}", std::process::id()), report);
        }
    }
}

pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process that nobody may touch, of any kind.
pub(crate) struct Bystander {
    child: Child,
    pub(crate) handle: ProcessHandle,
}

impl Bystander {
    pub(crate) fn new(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let handle = ProcessHandle::open(child.id()).unwrap();
        Self { child, handle }
    }

    /// A sleeper of this scene, after words that change it.
    pub(crate) fn sleeps(scene: &Scene, before: &[&str], which: u32, variables: &[(&str, &str)]) -> Self {
        let words: Vec<&str> = before.iter().copied().chain(["sleep"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(scene.nap(which)).envs(variables.iter().copied());
        let bystander = Self::new(command);
        // It has become what it is to be.
        scene.sleeper(which);
        bystander
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn identity(&self) -> Value {
        json!(self.handle.identity())
    }

    /// A signal of any kind that we send ends it.
    #[track_caller]
    pub(crate) fn lives(&self) {
        assert!(self.handle.is_alive(), "{} was signalled", self.handle.pid());
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The identity of a process that was, and is no more.
pub(crate) fn somebody_dead() -> Value {
    let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let identity = json!(ProcessHandle::open(child.id()).unwrap().identity());
    child.kill().unwrap();
    child.wait().unwrap();
    identity
}

/// A record's line, with its checksum.
pub(crate) fn line(record: &Value) -> String {
    let json = record.to_string();
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))
}

/// The records of a ledger.
pub(crate) fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(&line[9..]).unwrap()).collect()
}
