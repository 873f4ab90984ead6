//! One case in a process of its own, so that whatever differs is the case's: this program again, with a private argument.
//!
//! The child prints a line of JSON for each time that the case was run.

use super::allocator::Source;
use super::scene::Scene;
use super::{Body, Case, Expected, Round, Setting, USUAL_BYTES, all};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use termleash::LeakCheck;
use termleash::leak::{Gauge, HuntReport, Kind, LeakHunt, LeakReport, Level, Verdict};

const ARGUMENT: &str = "--one-case-of-the-corpus";
/// A leak stays however long one waits, so the least that is sensible will do.
const LEAKS_SETTLE: Duration = Duration::from_millis(300);
/// A child that hangs ends itself.
const AT_MOST: Duration = Duration::from_secs(300);
/// As many rounds as a look at memory takes, for what people compare before and after.
const ROUNDS_COUNTED: usize = 18;

/// What a check or a hunt said of a case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) verdict: Verdict,
    /// It fails at the usual level.
    pub(crate) is_failure: bool,
    /// What was found, with what is thought of each.
    items: Vec<(Kind, Verdict)>,
    /// Which series have leaked.
    series: Vec<Gauge>,
    /// Which are told, and pass.
    told: Vec<Gauge>,
    /// The report as a person reads it.
    pub(crate) text: String,
}

impl Seen {
    pub(crate) fn is_as(&self, expected: Expected) -> bool {
        let has = |kind, verdict| self.verdict == verdict && self.items.contains(&(kind, verdict));
        match expected {
            Expected::Leaks(kind) => has(kind, Verdict::Leaked),
            Expected::Replaced(kind) => has(kind, Verdict::Interfered),
            Expected::Suspicious(kind) => has(kind, Verdict::Suspicious),
            Expected::Told(gauge) => !self.is_failure && self.told.contains(&gauge),
            Expected::Undecided => matches!(self.verdict, Verdict::Suspicious | Verdict::Inconclusive),
            Expected::Grows(gauge) => self.verdict == Verdict::Leaked && self.series.contains(&gauge),
            // Only a hunt may say "once" or "more rounds".
            Expected::Clean => !self.is_failure && self.items.is_empty(),
        }
    }

    fn of_check(report: &LeakReport) -> Self {
        let items = report.findings.iter().map(|finding| (finding.item().kind, finding.verdict)).collect();
        let is_failure = report.is_failure();
        let (series, told) = (Vec::new(), Vec::new());
        Self { verdict: report.verdict, is_failure, items, series, told, text: report.to_string() }
    }

    fn of_hunt(report: &HuntReport) -> Self {
        let called = |verdict| {
            let series = report.series.iter().filter(move |series| series.verdict == verdict);
            series.map(|series| series.gauge).collect()
        };
        let (series, told) = (called(Verdict::Leaked), called(Verdict::Suspicious));
        let (is_failure, items) = (report.is_failure(), Vec::new());
        Self { verdict: report.verdict, is_failure, items, series, told, text: report.to_string() }
    }
}

/// What people count before and after a test.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) descriptors: usize,
    pub(crate) resident: u64,
}

impl Counted {
    pub(super) fn now() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        Self { descriptors, resident: kilobytes * 1024 }
    }
}

/// Does what the private argument asks for; false if there is none.
pub(crate) fn is_one() -> bool {
    let mut arguments = std::env::args().skip_while(|argument| argument != ARGUMENT).skip(1);
    let Some(task) = arguments.next() else { return false };
    if task == "spin" {
        spin();
        return true;
    }
    let name = arguments.next().unwrap();
    let mut number = || arguments.next().unwrap().parse::<usize>().unwrap();
    let (times, bytes) = (number(), number());
    let case = all().find(|case| case.name == name).unwrap();
    thread::spawn(|| {
        thread::sleep(AT_MOST);
        eprintln!("the case takes longer than {AT_MOST:?}");
        std::process::exit(3);
    });
    match task.as_str() {
        "check" => (0..times).for_each(|_| tell(&checked(case, bytes))),
        "count" => (0..times).for_each(|_| tell(&counted(case))),
        other => panic!("no such task: {other}"),
    }
    // What has leaked, such as a thread, is not waited for.
    std::process::exit(0)
}

fn tell(what: &impl Serialize) {
    println!("{}", serde_json::to_string(what).unwrap());
}

/// Keeps a core busy until it is killed, or its parent is gone.
fn spin() {
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        (0..1_000_000_u64).for_each(|number| {
            std::hint::black_box(number);
        });
    }
}

fn rounds(case: &Case, bytes: usize) -> Round {
    match case.body {
        Body::Rounds(rounds) => rounds(),
        Body::Bytes(rounds) => rounds(bytes),
        Body::Once(_) | Body::Task(_) => panic!("`{}` has no rounds", case.name),
    }
}

fn checked(case: &'static Case, bytes: usize) -> Seen {
    match case.setting {
        Setting::Shared => thread::spawn(move || checked_here(case, bytes)).join().unwrap(),
        Setting::Alone | Setting::Paranoid => checked_here(case, bytes),
    }
}

fn checked_here(case: &Case, bytes: usize) -> Seen {
    let mut scene = Scene::new();
    let begin = |scene: &mut Scene| {
        let level = if case.setting == Setting::Paranoid { Level::Paranoid } else { Level::Fail };
        let mut check = LeakCheck::new().level(level);
        if case.is_leak() {
            check = check.settle_within(LEAKS_SETTLE);
        }
        let check = Arc::new(check);
        scene.is_watched_by(&check);
        check
    };
    match case.body {
        Body::Once(body) => {
            let check = begin(&mut scene);
            body(&mut scene);
            Seen::of_check(&check.find_blocking().unwrap())
        }
        Body::Task(body) => super::scene::runtime().block_on(async {
            let check = begin(&mut scene);
            body(&mut scene).await;
            let seen = Seen::of_check(&check.find().await.unwrap());
            // What it keeps may need the runtime to end.
            drop(scene);
            seen
        }),
        Body::Rounds(_) | Body::Bytes(_) => super::scene::runtime().block_on(async {
            let mut round = rounds(case, bytes);
            let hunt = LeakHunt::new().exclusive().level(Level::Fail);
            let report = hunt.run(async |number| {
                round(number).await;
                Ok(())
            });
            Seen::of_hunt(&report.await.unwrap())
        }),
    }
}

/// The body and nothing else: what it keeps is never dropped. In a test that has no check, what leaks is not ended either.
pub(crate) fn plain(case: &Case) {
    let mut scene = Scene::new();
    match case.body {
        Body::Once(body) => body(&mut scene),
        Body::Task(body) => {
            let runtime = super::scene::runtime();
            runtime.block_on(body(&mut scene));
            std::mem::forget(runtime);
        }
        Body::Rounds(_) | Body::Bytes(_) => {
            let runtime = super::scene::runtime();
            let mut round = rounds(case, USUAL_BYTES);
            runtime.block_on(async {
                for number in 0..ROUNDS_COUNTED {
                    round(number).await;
                }
            });
            std::mem::forget((runtime, round));
        }
    }
    std::mem::forget(scene);
}

/// Counts before and after, as in a test that does so by itself.
fn counted(case: &Case) -> [Counted; 2] {
    let mut scene = Scene::new();
    match case.body {
        Body::Once(body) => {
            let before = Counted::now();
            body(&mut scene);
            [scene.last_counted().unwrap_or(before), Counted::now()]
        }
        Body::Task(body) => super::scene::runtime().block_on(async {
            let before = Counted::now();
            body(&mut scene).await;
            let counted = [before, Counted::now()];
            drop(scene);
            counted
        }),
        Body::Rounds(_) | Body::Bytes(_) => super::scene::runtime().block_on(async {
            let mut round = rounds(case, USUAL_BYTES);
            let before = Counted::now();
            for number in 0..ROUNDS_COUNTED {
                round(number).await;
            }
            [before, Counted::now()]
        }),
    }
}

/// This program, to run one case so many times.
fn one_case(task: &str, source: Source) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([source.argument(), ARGUMENT]).arg(task).stdin(Stdio::null()).stderr(Stdio::inherit());
    // What is said to the runner of this program would be taken as said to the child.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["TERMLEASH_", "NEXTEST", "RUST_TEST_"].iter().any(|start| text.starts_with(start)) || text == "CI" {
            command.env_remove(&name);
        }
    }
    command
}

fn run<T: DeserializeOwned>(mut command: Command, case: &Case, times: usize, bytes: usize) -> Result<Vec<T>, String> {
    let numbers = [times, bytes].map(|number| number.to_string());
    let output = command.arg(case.name).args(numbers).output().map_err(|cause| cause.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Result<Vec<T>, _> = text.lines().map(serde_json::from_str).collect();
    match told {
        Ok(told) if output.status.success() && told.len() == times => Ok(told),
        _ => Err(format!("{}: the child ended with {}; it said:\n{text}", case.name, output.status)),
    }
}

/// What our checks say of a case, run so many times in one process.
pub(crate) fn check(case: &Case, times: usize) -> Result<Vec<Seen>, String> {
    run(one_case("check", Source::Malloc), case, times, USUAL_BYTES)
}

/// The same in a process whose memory is known from there; what leaks bytes leaks so many in a round.
pub(crate) fn check_by(source: Source, case: &Case, times: usize, bytes: usize) -> Result<Vec<Seen>, String> {
    run(one_case("check", source), case, times, bytes)
}

/// What people count before and after it.
pub(crate) fn count(case: &Case) -> Result<[Counted; 2], String> {
    run(one_case("count", Source::Malloc), case, 1, USUAL_BYTES).map(|mut told| told.remove(0))
}

/// A process that keeps a core busy; it ends when this one does, at the latest.
pub(crate) fn spinner() -> Command {
    one_case("spin", Source::Malloc)
}
