//! The example server as a process of its own, and what of it shows in /proc.

use super::client::{Client, PATIENCE};
pub(crate) use super::seen::lives;
use super::seen::stat;
use super::terminal_server::cli;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs::{read_dir, read_link, read_to_string};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio, exit};
use std::time::{Duration, Instant};

/// The arguments of the server that this process is to become.
const ARGUMENTS: &str = "EXAMPLE_SERVER_ARGUMENTS";

/// This is no test, but the server that tests start: this binary, again.
#[test]
fn serve() {
    if let Ok(arguments) = std::env::var(ARGUMENTS) {
        let again = std::env::args_os().collect();
        let code = cli::main(arguments.split_whitespace().map(String::from), again);
        exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
    }
}

pub(crate) struct ServerProcess {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) client: Client,
    /// What it had before the first request.
    pub(crate) at_rest: Counts,
}

/// What a process has, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) descriptors: usize,
    pub(crate) ptys: usize,
    pub(crate) threads: usize,
    pub(crate) living: usize,
    pub(crate) zombies: usize,
}

impl ServerProcess {
    pub(crate) fn start(arguments: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::serve", "--nocapture", "--test-threads=1"]).env(ARGUMENTS, arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let client = Client::new(&listening(&mut output));
        let at_rest = counts(child.id());
        Self { child, output, client, at_rest }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says once more where it listens.
    pub(crate) fn says_again_where(&mut self) -> String {
        listening(&mut self.output)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end that somebody else brought about.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        within(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends it as a user does, and says whether it ended well.
    pub(crate) fn end(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}");
    }

    pub(crate) fn counts(&self) -> Counts {
        counts(self.pid())
    }

    /// Its processor time in nanoseconds, and the page faults of children that it has waited for.
    pub(crate) fn activity(&self) -> (u64, u64) {
        let tasks = read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let time = tasks.map(|task| {
            let text = read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default()
        });
        (time.sum(), fields(self.pid()).expect("a living server")[8].parse().unwrap())
    }

    /// Memory of its own, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let text = read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with("Private_Dirty:")).expect("the line");
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Either it has ended, or its test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some((_, url)) = line.split_once("listening on ") {
            return url.trim().into();
        }
        line.clear();
    }
    panic!("the server ended before it listened");
}

/// Looks until it is true.
#[track_caller]
pub(crate) fn within(mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "it is not true after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Looks until it is this.
#[track_caller]
pub(crate) fn becomes<T: PartialEq + std::fmt::Debug>(mut look: impl FnMut() -> T, expected: T) {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen == expected {
            return;
        }
        assert!(Instant::now() < end, "after {PATIENCE:?} {seen:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn fields(pid: u32) -> Option<Vec<String>> {
    Some(stat(pid)?.split_whitespace().map(String::from).collect())
}

/// What its descriptors lead to.
pub(crate) fn descriptors(pid: u32) -> Vec<String> {
    let entries = read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    // The listing's own is gone by now.
    entries.filter_map(|path| Some(read_link(path).ok()?.to_string_lossy().into_owned())).collect()
}

pub(crate) fn children(pid: u32) -> BTreeSet<u32> {
    let pids = read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|child| fields(*child).is_some_and(|fields| fields[1] == pid.to_string())).collect()
}

pub(crate) fn counts(pid: u32) -> Counts {
    let (ptys, descriptors): (Vec<_>, Vec<_>) =
        descriptors(pid).into_iter().partition(|target| target.contains("/ptmx"));
    let (living, zombies): (Vec<_>, Vec<_>) = children(pid).into_iter().partition(|child| lives(*child));
    let threads = read_dir(format!("/proc/{pid}/task")).unwrap().count();
    Counts { descriptors: descriptors.len(), ptys: ptys.len(), threads, living: living.len(), zombies: zombies.len() }
}
