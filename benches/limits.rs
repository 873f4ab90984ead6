//! What it costs to watch limits.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `limits/sample/20` | one sample of a tree of 20 processes | its raw reads in a bare loop |

mod floor;

use floor::harness::Harness;
use floor::tree::RawTree;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;
use termleash::process::ProcessHandle;
use termleash::testing::TreeSampler;

const CHILDREN: usize = 19;

fn main() {
    let Some(harness) = Harness::from_args() else { return };
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
