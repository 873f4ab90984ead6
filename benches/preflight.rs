//! A preflight: who has the port, who else runs the program, who works in the state directory?
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `preflight/processes` | a check of a port in use, a program and a state directory, with all that is always looked at | one raw pass: `stat`, and the links of all descriptors, of every process |
//! | `preflight/machine` | a check of the machine alone | the same pass |
//!
//! The processes are real and asleep, and each has some descriptors.

mod floor;

use floor::harness::Harness;
use std::fs;
use std::hint::black_box;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use termleash::server::{CheckItem, CheckOutcome, Preflight};

fn main() {
    let Some(harness) = Harness::from_args() else { return };
    let _crowd = Crowd::of(harness.size(200, 2));
    let listener = TcpListener::bind("127.0.0.1:0").expect("take any port");
    let port = listener.local_addr().expect("it has an address").port();
    let state = tempfile::tempdir().expect("make a directory");

    let processes = Preflight::new().port(port).program("cat").state_directory(state.path());
    let name = "preflight/processes";
    if harness.wants(name) {
        let ours = || {
            timed(|| {
                let list = processes.check();
                let of_port =
                    list.items().iter().find(|check| check.what == CheckItem::Port).expect("it was asked for");
                assert_eq!(of_port.outcome, CheckOutcome::Failed);
            })
        };
        harness.report(name, harness.turns(61, ours, || timed(raw_pass)), 1.5);
    }
    let machine = Preflight::new();
    let name = "preflight/machine";
    if harness.wants(name) {
        let ours = || timed(|| assert_eq!(machine.check().items().len(), 4));
        harness.report(name, harness.turns(61, ours, || timed(raw_pass)), 1.5);
    }
}

fn timed<T>(act: impl FnOnce() -> T) -> Duration {
    let begin = Instant::now();
    black_box(act());
    begin.elapsed()
}

/// By descriptors of directories and buffers of its own: nothing is resolved twice, nothing allocated for each.
fn raw_pass() -> usize {
    use rustix::fs::{Mode, OFlags, RawDir, openat, readlinkat_raw};
    use std::mem::MaybeUninit;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags | OFlags::DIRECTORY, Mode::empty()).expect("open /proc");
    let mut seen = 0;
    let mut content = [0; 1024];
    let mut target = [const { MaybeUninit::<u8>::uninit() }; 4096];
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 4096];
    for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        let name = name.to_string_lossy();
        if let Ok(stat) = openat(&proc, format!("{name}/stat"), flags, Mode::empty()) {
            seen += rustix::io::read(&stat, &mut content).unwrap_or(0);
        }
        let Ok(open) = openat(&proc, format!("{name}/fd"), flags | OFlags::DIRECTORY, Mode::empty()) else { continue };
        let mut entries = RawDir::new(&open, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            if entry.file_name().to_bytes()[0].is_ascii_digit()
                && let Ok((found, _)) = readlinkat_raw(&open, entry.file_name(), &mut target[..])
            {
                seen += found.len();
            }
        }
    }
    seen
}

/// Processes that sleep until this is dropped.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(count: usize) -> Self {
        Self((0..count).map(|_| Command::new("sleep").arg("1000").spawn().expect("start a process")).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
        }
        for process in &mut self.0 {
            let _ = process.wait();
        }
    }
}
