//! What it costs to watch limits.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `limits/sample/20` | one sample of a tree of 20 processes | its raw reads in a bare loop |
//! | `limits/test/empty` | an empty isolated test with every limit of the keeper's | the same without a limit |
//! | `limits/idle/100` | what the keeper's threads run in the time in which 100 sessions idle within limits | a hundredth of that time |
//! | `limits/forks` | how many children a shell has started when it is ended, that starts one after the other | its limit |
//! | `limits/growth` | what a session has that grows by 100 MB each second, when it is ended | its limit |

mod floor;

use floor::harness::{Harness, Medians};
use floor::tree::RawTree;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::panic::catch_unwind;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use termleash::SessionSpec;
use termleash::process::ProcessHandle;
use termleash::testing::{Limits, TreeSampler};

const CHILDREN: usize = 19;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [LIMITED] => empty(true),
        [UNLIMITED] => empty(false),
        [IDLE, count, path] => idle(count.parse().expect("a number"), path),
        [GROWTH] => grow(),
        [FORKS, path] => fork(path),
        _ => measure(),
    }
}

fn measure() {
    let Some(harness) = Harness::from_args() else { return };
    let name = "limits/test/empty";
    if harness.wants(name) {
        harness.report(name, harness.turns(201, || timed(|| empty(true)), || timed(|| empty(false))), 1.1);
    }
    let name = "limits/idle/100";
    if harness.wants(name) {
        let count: usize = harness.size(100, 3);
        let file = tempfile::NamedTempFile::new().expect("a file");
        idle(count, file.path().to_str().expect("a path of ours"));
        let told = std::fs::read_to_string(file.path()).expect("what the body wrote");
        let (ran, time) = told.trim().split_once(' ').expect("two numbers");
        let [ran, floor] = [ran, time].map(|nanos| Duration::from_nanos(nanos.parse().expect("a number")));
        harness.report(name, Medians { ours: ran, floor: floor / 100 }, 1.0);
    }
    let name = "limits/growth";
    if harness.wants(name) {
        let told = catch_unwind(grow).expect_err("it goes over its limit");
        let told = told.downcast_ref::<String>().expect("a text");
        let (_, had) = told.split_once("it had ").expect("it says what it had");
        let had: f64 = had.split(' ').next().and_then(|had| had.parse().ok()).expect("a number of MiB");
        let limit = (GROWTH_LIMIT >> 20) as f64;
        harness.line(name, format!("{had}MiB"), format!("{limit}MiB"), had / limit, 1.5);
    }
    let name = "limits/forks";
    if harness.wants(name) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a path of ours").to_owned();
        catch_unwind(|| fork(&path)).expect_err("it goes over its limit");
        let had = file.as_file().metadata().expect("it is open").len();
        harness.line(name, had, FORKS_LIMIT, had as f64 / FORKS_LIMIT as f64, 1.5);
    }
    sample(&harness);
}

const LIMITED: &str = "role:limited";
const UNLIMITED: &str = "role:unlimited";
const IDLE: &str = "role:idle";
const GROWTH: &str = "role:growth";
const FORKS: &str = "role:forks";
const FORKS_LIMIT: usize = 200;
const GROWTH_LIMIT: u64 = 64 << 20;

fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

fn limits() -> Limits {
    let limits = Limits::new().max_memory(256 << 20).max_processes(100).max_descriptors(1000);
    limits.wall_time(Duration::from_secs(600)).max_test_memory(8 << 30)
}

fn empty(is_limited: bool) {
    let (limits, role) = if is_limited { (limits(), LIMITED) } else { (Limits::new(), UNLIMITED) };
    termleash::options().name("empty").limits(limits).rerun_with([role]).run(async |_| Ok(()));
}

/// Writes into the file how long the keeper has run, and in what time.
fn idle(count: usize, path: &str) {
    let options = termleash::options().name("idle").limits(limits()).rerun_with([IDLE, &count.to_string(), path]);
    options.run_blocking(|t| {
        for _ in 0..count {
            t.blocking().create_tracked_session("cat")?.keep();
        }
        let keeper = std::os::unix::process::parent_id();
        // Until it has seen them.
        std::thread::sleep(Duration::from_secs(1));
        let (ran, begin) = (run_by(keeper), Instant::now());
        std::thread::sleep(Duration::from_secs(if count < 10 { 1 } else { 10 }));
        let told = format!("{} {}", (run_by(keeper) - ran).as_nanos(), begin.elapsed().as_nanos());
        Ok(std::fs::write(path, told)?)
    });
}

/// The time that all threads of a process have run: the first field of each one's schedstat, in nanoseconds.
fn run_by(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let of = |task: std::fs::DirEntry| -> Option<u64> {
        std::fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(of).sum())
}

fn grow() {
    let script = "for (1..60) { push @x, \"x\" x 10_000_000; select undef, undef, undef, 0.1 } sleep 1000";
    let options = termleash::options().name("growth").limits(Limits::new().max_memory(GROWTH_LIMIT));
    options.rerun_with([GROWTH]).run(async move |t| {
        let session = t.session(SessionSpec::new("perl").arg("-e").arg(script)).await?;
        session.wait_for_exit().await?;
        Ok(())
    });
}

/// Each child is a byte in the file.
fn fork(path: &str) {
    let script = "i=0; while [ $i -lt 1000 ]; do sleep 1000 & printf x >> $F; i=$((i + 1)); done; sleep 1000";
    let options = termleash::options().name("forks").limits(Limits::new().max_processes(FORKS_LIMIT));
    options.rerun_with([FORKS, path]).run(async move |t| {
        let session = t.session(SessionSpec::shell(script).env("F", path)).await?;
        session.wait_for_exit().await?;
        Ok(())
    });
}

fn sample(harness: &Harness) {
    let name = "limits/sample/20";
    if harness.wants(name) {
        let script = format!("for i in $(seq {CHILDREN}); do sleep 1000 & echo $!; done; read line; kill $(jobs -p)");
        let mut command = Command::new("bash");
        let mut root =
            command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash");
        let lines = BufReader::new(root.stdout.as_mut().expect("a pipe")).lines();
        let mut pids: Vec<u32> =
            lines.take(CHILDREN).map(|line| line.expect("a line").parse().expect("a number")).collect();
        pids.insert(0, root.id());
        let mut sampler = TreeSampler::of(&ProcessHandle::open(root.id()).expect("it lives")).expect("it lives");
        let mut raw = RawTree::of(&pids);
        let ours = || {
            let begin = Instant::now();
            let usage = sampler.sample().expect("it can be sampled");
            let took = begin.elapsed();
            assert_eq!(usage.processes, CHILDREN + 1);
            took
        };
        let floor = || {
            let begin = Instant::now();
            let seen = black_box(raw.look());
            let took = begin.elapsed();
            assert!(seen > 20 * CHILDREN);
            took
        };
        harness.report(name, harness.turns(2001, ours, floor), 1.5);
        drop(root.stdin.take());
        root.wait().expect("it is our child");
    }
}
