//! Accuracy: how often the checks are right, and who else would have been.
//!
//! First a table: each case of the corpus, what is expected, what our check says, and what people use today says of the
//! same body in a process without any check of ours.
//!
//! | column | it fails a test if |
//! |---|---|
//! | `termleash` | the verdict is a failure |
//! | `descriptors` | more are open after the body than before it |
//! | `resident` | resident memory has grown by more than 1 MiB: without that tolerance nearly every test fails |
//! | `nextest` | cargo-nextest says LEAK: the test has ended, and somebody holds its output |
//!
//! Of rounds, both counts are taken before the first and after the eighteenth. The lines `accuracy/tool` sum it up.
//!
//! Then, quiet and with every core kept busy, `accuracy LOAD recall=… false_alarms=…`: over all leaks of exact kinds, and
//! over so many clean checks and hunts. A clean check is repeated in its process; a clean hunt has one of its own, since what
//! a process does for the first time is what looks like a leak. Leaks of bytes stand by themselves.
//!
//! At last `accuracy/source SOURCE BYTES found=…`: of the leaks of bytes, each of which leaks so many in a round, those that are found where
//! memory is known by that source; and what clean rounds are called there. `-- accuracy/source` prints these alone.

use corpus::allocator::Source;
use corpus::child::{self, Counted, Seen};
use corpus::{Case, Expected, USUAL_BYTES, all};
use floor::harness::Harness;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[path = "../tests/corpus/mod.rs"]
#[expect(dead_code, reason = "some of it is for the test `corpus`")]
mod corpus;
mod floor;

/// How much resident memory may grow where people compare it.
const TOLERANCE: u64 = 1 << 20;
/// Clean checks and hunts that are to pass under each load.
const CHECKS: usize = 2_000;
const HUNTS: usize = 100;
/// So often each leak of bytes is hunted by each source, and each clean round.
const BY_SOURCE: usize = 20;
/// What leaks in a round. Less than the gate of 1 KiB is no leak.
const LEAKED: [usize; 5] = [2 << 10, USUAL_BYTES, 16 << 10, 64 << 10, 256 << 10];
/// So many in one process, so that a process's start is not most of the work.
const IN_A_PROCESS: usize = 20;

fn main() -> ExitCode {
    if child::is_one() {
        return ExitCode::SUCCESS;
    }
    let Some(harness) = Harness::from_args() else { return ExitCode::SUCCESS };
    let cases: Vec<&Case> = all().filter(|case| harness.wants(case.name)).collect();
    // A quick run is no measurement, and most of a case is waiting.
    let workers = harness.size(1, 2 * cores());

    if !cases.is_empty() {
        of_all(&harness, workers, &cases);
    }
    if harness.wants("accuracy/source") {
        let cases: Vec<&Case> = all().collect();
        Source::ALL.into_iter().for_each(|source| by_source(source, workers, &cases, harness.size(BY_SOURCE, 0)));
    }
    ExitCode::SUCCESS
}

fn of_all(harness: &Harness, workers: usize, cases: &[&Case]) {
    let first = side_by_side(workers, cases, |case| (seen(case, 1), counted(case)));
    table(cases, &first, nextest().as_ref());
    for load in ["quiet", "busy"] {
        let spinners = Spinners::start(if load == "busy" { cores() } else { 0 });
        let (checks, hunts) = (harness.size(CHECKS, 0), harness.size(HUNTS, 0));
        measure(load, workers, cases, checks, hunts);
        drop(spinners);
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// What is said of a case so many times; what could not be run is told, and counts as nothing said.
fn seen(case: &Case, times: usize) -> Vec<Seen> {
    child::check(case, times).unwrap_or_else(|why| {
        eprintln!("{why}");
        Vec::new()
    })
}

fn counted(case: &Case) -> Option<[Counted; 2]> {
    child::count(case).map_err(|why| eprintln!("{why}")).ok()
}

/// Does this for each with so many threads, and answers in order.
fn side_by_side<T: Sync, R: Send>(workers: usize, work: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(work.len())));
    let run = || {
        while let Some((index, one)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, work.get(at)?)))
        {
            let result = act(one);
            done.lock().expect("no worker panics with it").push((index, result));
        }
    };
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(run))));
    let mut done = done.into_inner().expect("no worker panics with it");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How often a tool was right.
#[derive(Default)]
struct Score {
    leaks: usize,
    found: usize,
    clean: usize,
    false_alarms: usize,
}

impl Score {
    /// Counts one answer, and says it in a word.
    fn count(&mut self, is_leak: bool, is_alarm: Option<bool>) -> &'static str {
        let Some(is_alarm) = is_alarm else { return "-" };
        if is_leak {
            self.leaks += 1;
            self.found += usize::from(is_alarm);
        } else {
            self.clean += 1;
            self.false_alarms += usize::from(is_alarm);
        }
        match (is_leak, is_alarm) {
            (true, true) => "found",
            (true, false) => "missed",
            (false, true) => "FALSE ALARM",
            (false, false) => "passes",
        }
    }

    fn recall(&self) -> f64 {
        if self.leaks == 0 { 1.0 } else { self.found as f64 / self.leaks as f64 }
    }
}

const TOOLS: [&str; 4] = ["termleash", "descriptors", "resident", "nextest"];

/// What our check says of a case, and what is counted before and after it.
type Both = (Vec<Seen>, Option<[Counted; 2]>);

fn table(cases: &[&Case], first: &[Both], nextest: Result<&BTreeSet<String>, &String>) {
    let [ours, descriptors, resident, leaky] = TOOLS;
    println!(
        "{:<48} {:<22} {:<22} {ours:<12} {descriptors:<12} {resident:<12} {leaky}",
        "case", "expected", "verdict of termleash"
    );
    let mut scores: [Score; 4] = Default::default();
    for (case, (seen, counted)) in cases.iter().zip(first) {
        let is_leak = case.is_leak();
        let seen = seen.first();
        let verdict = seen.map_or("could not be run".into(), |seen| seen.verdict.to_string());
        let descriptors = counted.map(|[before, after]| after.descriptors > before.descriptors);
        let resident = counted.map(|[before, after]| after.resident > before.resident + TOLERANCE);
        let answers = [
            // Found is what is called by its kind.
            seen.map(|seen| if is_leak { seen.is_as(case.expected) } else { seen.is_failure }),
            descriptors,
            resident,
            nextest.ok().map(|leaky| leaky.contains(&case.path())),
        ];
        let mut words = scores.iter_mut().zip(answers).map(|(score, answer)| score.count(is_leak, answer));
        let words: [_; 4] = std::array::from_fn(|_| words.next().unwrap_or("-"));
        let [ours, descriptors, resident, leaky] = words;
        println!(
            "{:<48} {:<22} {verdict:<22} {ours:<12} {descriptors:<12} {resident:<12} {leaky}",
            case.name,
            case.expected.to_string()
        );
    }
    if let Err(why) = nextest {
        println!("nextest: {why}");
    }
    for (tool, score) in TOOLS.iter().zip(scores) {
        let Score { leaks, found, clean, false_alarms } = score;
        if leaks + clean > 0 {
            println!("accuracy/tool {tool:<12} found={found}/{leaks} false_alarms={false_alarms}/{clean}");
        }
    }
}

/// One line of what counts, and lines of what it is made of.
fn measure(load: &str, workers: usize, cases: &[&Case], checks: usize, hunts: usize) {
    let (leaks, clean): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.is_leak());
    let is_hunt = |case: &&&Case| case.is_hunt();
    let times = |wanted: usize, of: usize| wanted.div_ceil(of.max(1)).max(1);
    let of_checks = times(checks, clean.len() - clean.iter().filter(is_hunt).count());
    let of_hunts = times(hunts, clean.iter().filter(is_hunt).count());

    let mut work: Vec<(&Case, usize)> = leaks.iter().map(|case| (*case, 1)).collect();
    for case in &clean {
        if case.is_hunt() {
            work.extend((0..of_hunts).map(|_| (*case, 1)));
        } else {
            let starts = (0..of_checks).step_by(IN_A_PROCESS);
            work.extend(starts.map(|start| (*case, IN_A_PROCESS.min(of_checks - start))));
        }
    }
    let (mut exact, mut bytes) = (Score::default(), Score::default());
    let (mut of_checks, mut of_hunts) = (Score::default(), Score::default());
    for ((case, times), seen) in work.iter().zip(side_by_side(workers, &work, |(case, times)| seen(case, *times))) {
        // A child that has said nothing has found nothing and passed nothing.
        let is_alarm = |seen: &Seen| if case.is_leak() { seen.is_as(case.expected) } else { seen.is_failure };
        let silent = std::iter::repeat_n(!case.is_leak(), times - seen.len());
        for alarm in seen.iter().map(is_alarm).chain(silent) {
            let part = if case.is_hunt() { &mut of_hunts } else { &mut of_checks };
            part.count(case.is_leak(), Some(alarm));
            if case.is_exact() { &mut exact } else { &mut bytes }.count(case.is_leak(), Some(alarm));
        }
        for wrong in seen.iter().filter(|seen| is_alarm(seen) != case.is_leak()) {
            eprintln!("{load}: {} ({}) was called wrongly:\n{}", case.name, case.expected, wrong.text);
        }
    }
    for (name, part) in [("checks", of_checks), ("hunts", of_hunts)] {
        let Score { leaks, found, clean, false_alarms } = part;
        println!("accuracy/{name:<6} {load:<5} found={found}/{leaks} false_alarms={false_alarms}/{clean}");
    }
    println!("accuracy/bytes  {load:<5} found={}/{}", bytes.found, bytes.leaks);
    let missed = if exact.recall() < 1.0 || exact.false_alarms > 0 { " MISSED" } else { "" };
    let Score { clean, false_alarms, .. } = exact;
    println!("accuracy {load} recall={:.3} false_alarms={false_alarms}/{clean}{missed}", exact.recall());
}

/// One line for each amount, and one of false alarms. Each hunt has a process of its own, but for those that count to the byte.
fn by_source(source: Source, workers: usize, cases: &[&Case], times: usize) {
    let (runs, each) = if source == Source::Counted { (usize::from(times > 0), times) } else { (times, 1) };
    let score = |cases: &[&Case], bytes: usize| {
        let work: Vec<&Case> = cases.iter().flat_map(|case| std::iter::repeat_n(*case, runs)).collect();
        let hunt = |case: &&Case| {
            child::check_by(source, case, each, bytes).unwrap_or_else(|why| {
                eprintln!("{why}");
                Vec::new()
            })
        };
        let mut score = Score::default();
        for (case, seen) in work.iter().zip(side_by_side(workers, &work, hunt)) {
            let is_leak = case.is_leak();
            let alarm = |seen: &Seen| if is_leak { seen.is_as(case.expected_by(source)) } else { seen.is_failure };
            let silent = std::iter::repeat_n(!is_leak, each - seen.len());
            for alarm in seen.iter().map(alarm).chain(silent) {
                score.count(is_leak, Some(alarm));
            }
            for wrong in seen.iter().filter(|seen| alarm(seen) && !is_leak) {
                eprintln!("{source}: {} was called wrongly:\n{}", case.name, wrong.text);
            }
        }
        score
    };
    let grows = |case: &&&Case| matches!(case.expected_by(source), Expected::Grows(_));
    let leaks: Vec<&Case> = cases.iter().filter(|case| case.is_of_bytes()).filter(grows).copied().collect();
    for bytes in LEAKED {
        let Score { leaks, found, .. } = score(&leaks, bytes);
        println!("accuracy/source {source:<8} {:>3} KiB a round found={found}/{leaks}", bytes >> 10);
    }
    let clean = |case: &&&Case| case.is_hunt() && case.expected == Expected::Clean;
    let clean: Vec<&Case> = cases.iter().filter(clean).copied().collect();
    let Score { clean, false_alarms, .. } = score(&clean, USUAL_BYTES);
    println!("accuracy/source {source:<8} false_alarms={false_alarms}/{clean}");
}

/// Processes that keep cores busy until this is dropped.
struct Spinners {
    processes: Vec<Child>,
}

impl Spinners {
    fn start(count: usize) -> Self {
        let spin = |_| child::spinner().stdout(Stdio::null()).spawn().expect("start a process");
        Self { processes: (0..count).map(spin).collect() }
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Which cases cargo-nextest calls leaky when it runs their bodies as tests; or why nobody knows.
fn nextest() -> Result<BTreeSet<String>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut version = Command::new(&cargo);
    let has = version.args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    if !has {
        return Err("not installed".into());
    }
    let mut run = Command::new(&cargo);
    run.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).env("CORPUS_PLAIN", "1").stdin(Stdio::null());
    run.args(["nextest", "run", "--test", "corpus", "--no-fail-fast", "--color", "never"]);
    run.args(["--show-progress", "none", "--status-level", "leak", "--final-status-level", "none"]);
    let output = run.output().map_err(|cause| format!("it could not be started: {cause}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("it ended with {}; it said:\n{text}", output.status));
    }
    let leaky = text.lines().filter(|line| line.trim_start().starts_with("LEAK"));
    Ok(leaky.filter_map(|line| line.split_whitespace().next_back()).map(str::to_owned).collect())
}
