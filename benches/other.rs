//! What a look at another process costs.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `probe/other/500+20` | a snapshot of a process with 500 descriptors and 20 children | the same reads in a bare loop |

mod floor;

use floor::harness::Harness;
use floor::others::Others;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use termleash::leak::{Level, Resource, Snapshot};
use termleash::process::ProcessHandle;

/// Says that this process is what is looked at.
const SUBJECT: &str = "BENCH_SUBJECT";
const DESCRIPTORS: usize = 500;
const CHILDREN: usize = 20;

fn main() {
    if std::env::var_os(SUBJECT).is_some() {
        return be_looked_at();
    }
    let Some(harness) = Harness::from_args() else { return };
    let name = "probe/other/500+20";
    if harness.wants(name) {
        let mut subject = start();
        let process = ProcessHandle::open(subject.id()).expect("it lives");
        let others = Others::of(subject.id());
        let ours = || {
            let begin = Instant::now();
            let seen = Snapshot::of_process(&process, Level::Fail).expect("it lives");
            let took = begin.elapsed();
            let [(_, descriptors), _, children] = seen.counts();
            assert!(descriptors >= Some(DESCRIPTORS), "{descriptors:?}");
            assert_eq!(children, (Resource::Processes, Some(CHILDREN)));
            took
        };
        let floor = || {
            let begin = Instant::now();
            let seen = black_box(others.look());
            let took = begin.elapsed();
            assert!(seen.descriptors >= DESCRIPTORS);
            assert_eq!(seen.children, CHILDREN);
            took
        };
        harness.report(name, harness.turns(301, ours, floor), 1.5);
        drop(subject.stdin.take());
        subject.wait().expect("it is our child");
    }
}

fn start() -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env(SUBJECT, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start this program again");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it is ready");
    child
}

/// Until the end of its input.
fn be_looked_at() {
    let files: Vec<File> = (0..DESCRIPTORS).map(|_| File::open("/dev/null").expect("open a file")).collect();
    let sleeper = || {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start sleep")
    };
    let mut children: Vec<Child> = (0..CHILDREN).map(|_| sleeper()).collect();
    println!();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    for child in &mut children {
        child.kill().and_then(|()| child.wait()).expect("it is our child");
    }
    drop(files);
}
