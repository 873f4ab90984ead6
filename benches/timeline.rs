//! The timeline: what it costs to record a write or a read, beside the write itself.
//!
//! | line | ours | floor |
//! |---|---|---|
//! | `timeline/record` | `push` of a byte into a tracked session's output, which records it | the same, of no session |
//! | `timeline/write` | write(2) of a byte to a terminal, and such a `push` | write(2) of a byte, and a `push` of no session |
//!
//! A write and a read are recorded by the same code; only of a read there is a way in that does nothing else. There is no goal.

mod floor;
#[path = "../tests/timeline/printing.rs"]
mod printing;

use floor::harness::Harness;
use floor::session::{RawSession, Recipe, await_rest};
use printing::Printing;
use std::time::{Duration, Instant};
use termleash::session::{FakeBackend, TerminalOutput};
use termleash::{SessionTestHelper, block_on};

const NO_GOAL: f64 = f64::INFINITY;

fn main() {
    let Some(harness) = Harness::from_args() else { return };
    let recorded = TerminalOutput::new(4096);
    let helper = SessionTestHelper::new(Printing(FakeBackend::new(), recorded.clone()));
    block_on(helper.create_tracked_session("sh")).expect("create a session").keep();
    let alone = TerminalOutput::new(4096);
    let repeats = harness.size(20_000, 1);
    if harness.wants("timeline/record") {
        let medians =
            harness.turns(101, || each(repeats, || recorded.push(b"x")), || each(repeats, || alone.push(b"x")));
        harness.report("timeline/record", medians, NO_GOAL);
    }
    if harness.wants("timeline/write") {
        let mut raw = Recipe::shell("stty raw -echo; cat > /dev/null; :").spawn();
        await_rest([raw.pid()]);
        let write = |raw: &RawSession| assert_eq!(rustix::io::write(&raw.master, b"x"), Ok(1));
        let both = |output: &TerminalOutput| {
            each(repeats, || {
                write(&raw);
                output.push(b"x");
            })
        };
        let medians = harness.turns(31, || both(&recorded), || both(&alone));
        harness.report("timeline/write", medians, NO_GOAL);
        raw.hang_up();
        raw.reap();
    }
    assert!(helper.timeline().sessions[0].read.bytes > 0, "it is recorded");
    block_on(helper.kill_tracked_sessions()).expect("clear up");
}

/// The time of one of many.
fn each(repeats: u32, mut act: impl FnMut()) -> Duration {
    let begin = Instant::now();
    for _ in 0..repeats {
        act();
    }
    begin.elapsed() / repeats
}
