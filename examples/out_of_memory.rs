//! Three tests that use too much memory and fail of it in three ways: the test is ended, its process aborts, a session of it is ended. Each
//! says which one it was, of what, and where the memory came from.
//!
//! ```text
//! cargo run --features sites --example out_of_memory
//! ```
//!
//! Without limits the kernel would have chosen whom to kill, and nobody would know more than that. It needs perl, takes ten seconds and at
//! most 300 MB, and leaves nothing but the heap profile that it names.

use std::panic::{catch_unwind, set_hook, take_hook};
use std::process::ExitCode;
use std::time::Duration;
use termleash::SessionSpec;
use termleash::leak::{CountingAlloc, HeapSampling};
use termleash::testing::{Limits, TestOptions};

#[global_allocator]
static HEAP: CountingAlloc = CountingAlloc::new();

const MIB: u64 = 1 << 20;

type Test = fn(TestOptions);

/// What a test is called, the argument under which this program comes to it again, and the test.
const TESTS: [(&str, &str, Test); 3] = [
    ("a test whose cache is never emptied", "--cache", cache),
    ("a test that asks for too much at once", "--at-once", at_once),
    ("a test with a session that grows", "--session", session),
];

fn main() -> ExitCode {
    let again = std::env::args().nth(1);
    if let Some((name, argument, test)) = TESTS.iter().find(|(_, argument, _)| again.as_deref() == Some(argument)) {
        test(options(name, argument));
        return ExitCode::SUCCESS;
    }
    let mut table = format!("{:40} {}\n", "test", "why it failed");
    for (name, argument, test) in TESTS {
        println!("== {name}");
        // What it fails with is shown below.
        set_hook(Box::new(|_| ()));
        let ended = catch_unwind(|| test(options(name, argument)));
        let _ = take_hook();
        let text = match ended.map_err(|payload| payload.downcast::<String>()) {
            Err(Ok(text)) => *text,
            Err(Err(_)) => "it did not say why".into(),
            Ok(()) => {
                eprintln!("The test was not stopped: limits need Linux.");
                return ExitCode::FAILURE;
            }
        };
        println!("{text}\n");
        table += &format!("{name:40} {}\n", summary(&text));
    }
    print!("{table}");
    ExitCode::SUCCESS
}

fn options(name: &str, argument: &str) -> TestOptions {
    termleash::options().name(name).rerun_with([argument])
}

/// Goes over the soft limit of the test, while it blocks its thread: the test is ended, with what lives and the call sites of its heap.
fn cache(options: TestOptions) {
    options.limits(Limits::new().max_test_memory(100 * MIB)).run(async |_| {
        // One block in 64 KiB is looked at.
        let _sampling = HeapSampling::start(64 << 10)?;
        let mut cache = Vec::new();
        for page in 0..1000 {
            cache.push(fetch(page));
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
}

/// The first are more than the limit allows. The rest are empty: where no limit is kept, the example must not fill the machine.
#[inline(never)]
fn fetch(page: u32) -> Vec<u8> {
    if page < 120 { vec![1; MIB as usize] } else { Vec::new() }
}

/// Comes to the hard limit of its process: an allocation fails, and the process aborts.
fn at_once(options: TestOptions) {
    options.limits(Limits::new().max_body_memory(200 * MIB)).run(async |_| {
        let lines = vec![0u8; 500 * MIB as usize];
        println!("{} bytes", lines.len());
        Ok(())
    });
}

/// One session goes over its own limit, and is ended; the other one lives on.
fn session(options: TestOptions) {
    options.limits(Limits::new().max_memory(64 * MIB)).run(async |t| {
        let good = t.session("sh").await?;
        let script = "for (1..60) { push @x, \"x\" x 10_000_000; select undef, undef, undef, 0.1 }";
        let bad = t.session(SessionSpec::new("perl").arg("-e").arg(script)).await?;
        bad.wait_for_exit().await?;
        println!("the other session still answers: {}", good.run("echo yes").await?.stdout().trim());
        Ok(())
    });
}

/// The line that says it in short.
fn summary(text: &str) -> String {
    let says = |part: &str| text.lines().find_map(|line| line.split_once(part).map(|(_, rest)| rest.to_owned()));
    let over = |rest: String| format!("over {rest}");
    says("cause of death: ").or_else(|| says("went over ").map(over)).unwrap_or_else(|| "see above".into())
}
