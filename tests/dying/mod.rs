//! Runs that die: this very program again as a runner, in a place of its own, and what is left of it.

// Each binary uses a part of this.
#![allow(dead_code, reason = "shared by binaries that each need another part")]

pub(crate) mod bystanders;
#[path = "../children/mod.rs"]
mod children;
pub(crate) mod processes;
pub(crate) mod race;

pub(crate) use children::Ran;
use processes::{Carrier, Pinned, body_of, end_carriers, keeper_of, until_none};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Says what a process of this program is to do: absent in the one that tests.
const PART: &str = "TEST_PART";
/// What each process of a run carries: an argument of `sleep` that nobody else has, which a cleared environment leaves.
const MARK: &str = "TEST_MARK";
/// Takes the version 2 control groups out of sight, in a mount namespace.
const WITHOUT_GROUPS: &str = "umount -a -t cgroup2; exec \"$@\"";
/// How long a run may take to be cleaned up, on a busy machine.
pub(crate) const CLEAN_WITHIN: Duration = Duration::from_secs(12);

/// What this process is to do, and with which mark.
pub(crate) fn part() -> Option<(String, String)> {
    Some((std::env::var(PART).ok()?, std::env::var(MARK).ok()?))
}

/// How long a test that looks for a race goes on.
pub(crate) fn race_time() -> Duration {
    let seconds = std::env::var("TERMLEASH_RACE_SECONDS").map_or(1, |text| text.parse().expect("whole seconds"));
    Duration::from_secs(seconds)
}

/// Where a run happens, and everything that belongs to it.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) mark: String,
    pub(crate) has_groups: bool,
    variables: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new(has_groups: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("1000.7{:07}{number:06}", std::process::id());
        let directory = tempfile::Builder::new().prefix("tl").tempdir().expect("a directory");
        Self { directory, mark, has_groups, variables: Vec::new() }
    }

    pub(crate) fn with(mut self, variables: &[(&str, &str)]) -> Self {
        self.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.path("ledger")
    }

    /// The names of the ledgers in it, each that of a run.
    pub(crate) fn runs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.ledger()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_suffix(".ledger")?.to_owned())).collect()
    }

    /// This very program again, to do a part of this very test. What it prints goes into the file of that name.
    pub(crate) fn command(&self, part: &str) -> Command {
        let test = std::thread::current().name().expect("libtest names its threads").to_owned();
        self.command_for(part, &["--exact", &test, "--nocapture", "--test-threads=1"])
    }

    pub(crate) fn command_for(&self, part: &str, arguments: &[&str]) -> Command {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = if self.has_groups {
            Command::new(program)
        } else {
            let mut command = Command::new("unshare");
            if !rustix::process::geteuid().is_root() {
                command.args(["--user", "--map-root-user"]);
            }
            command.args(["--mount", "sh", "-c", WITHOUT_GROUPS, "sh"]).arg(program);
            command
        };
        command.args(arguments).env(PART, part).env(MARK, &self.mark).env("TERMLEASH_LEDGER", self.ledger());
        command.env("RUST_BACKTRACE", "0").env("NO_COLOR", "1").env_remove("NEXTEST_EXECUTION_MODE");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = File::create(self.path(part)).expect("a file");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("another descriptor")).stderr(output);
        command
    }

    pub(crate) fn start(&self, part: &str) -> Runner {
        Runner { child: self.command(part).spawn().expect("run this program again") }
    }

    /// The same for a program whose harness names no thread.
    pub(crate) fn start_for(&self, part: &str, arguments: &[&str]) -> Runner {
        Runner { child: self.command_for(part, arguments).spawn().expect("run this program again") }
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self, part: &str) -> Ran {
        self.ended(self.start(part), part)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&self, mut runner: Runner, part: &str) -> Ran {
        let Some(status) = runner.ends_within(Duration::from_secs(60)) else {
            panic!("the {part} does not end:\n{}", self.said(part));
        };
        Ran { status, text: self.said(part) }
    }

    /// Keeps a copy of the ledgers, for a test that fails.
    pub(crate) fn note_ledgers(&self) {
        for run in self.runs() {
            let _ = std::fs::copy(self.ledger().join(format!("{run}.ledger")), self.path(&format!("copy of {run}")));
        }
    }

    pub(crate) fn said(&self, part: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(part)).unwrap_or_default()).into_owned()
    }

    /// Nobody of the run lives, but for what is excused; how long after `start` that came true.
    #[track_caller]
    pub(crate) fn empties(&self, start: Instant, is_excused: impl Fn(&Carrier) -> bool) -> Duration {
        match until_none(&self.mark, start, CLEAN_WITHIN, is_excused) {
            Ok(took) => took,
            Err(left) => panic!("survivors: {left:#?}\nledgers: {:?}\n{}", self.runs(), self.all_said()),
        }
    }

    /// There is no ledger, nor a directory for them.
    #[track_caller]
    pub(crate) fn has_no_ledger(&self, start: Instant) {
        while self.ledger().exists() {
            if start.elapsed() > CLEAN_WITHIN {
                let runs = self.runs();
                let texts = runs.iter().map(|run| {
                    std::fs::read_to_string(self.ledger().join(format!("{run}.ledger"))).unwrap_or_default()
                });
                panic!("ledgers are left: {runs:?}\n{}\n{}", texts.collect::<String>(), self.all_said());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn all_said(&self) -> String {
        let files = std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        let files = files.filter_map(|file| Some((file.file_name(), std::fs::read(file.path()).ok()?)));
        files.map(|(name, text)| format!("--- {}:\n{}\n", name.display(), String::from_utf8_lossy(&text))).collect()
    }
}

/// Only a test that fails leaves somebody.
impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            end_carriers(&self.mark);
        }
    }
}

/// A child of the test's.
pub(crate) struct Runner {
    child: Child,
}

impl Runner {
    pub(crate) fn of(child: Child) -> Self {
        Self { child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Held; its number is its own for as long as nobody has waited for it.
    pub(crate) fn hold(&self) -> Pinned {
        Pinned::open(self.child.id()).expect("it was not waited for")
    }

    pub(crate) fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return Some(status);
            }
            if start.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its keeper and body, once they are there; `None` if it ends before.
    pub(crate) fn keeper_and_body(&mut self) -> Option<(Pinned, Pinned)> {
        while self.child.try_wait().expect("it is our child").is_none() {
            if let Some(keeper) = keeper_of(self.pid())
                && let Some(body) = body_of(keeper.pid)
            {
                return Some((keeper, body));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        None
    }
}

/// A runner that nobody waits for would stay a zombie; one that lives belongs to a test that has failed.
impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers that look random, the same again for the same seed.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the time; the seed is printed, for a test that fails.
    pub(crate) fn new() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970");
        let seed = u64::from(now.subsec_nanos()) ^ now.as_secs() << 20 | 1;
        println!("seed {seed}");
        Self(seed)
    }

    pub(crate) fn of(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // Xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
