//! The hard limit on what a body may allocate: whom it holds, whom it does not, and what is said of a body that came to it.
//!
//! What is allocated here is never touched: `RLIMIT_DATA` counts it, and the machine does not.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;
#[path = "hard_limit/hungry.rs"]
mod hungry;

use children::alone;
use rustix::process::{Resource, getrlimit};
use std::hint::black_box;
use std::time::Duration;
use termleash::server::ServerGuard;
use termleash::session::{CommandApi, CommandBackend};
use termleash::testing::Limits;
use termleash::{SessionSpec, SessionTestHelper, options};

/// More than a test program has mapped when it begins, with its threads.
const LIMIT: u64 = 192 << 20;
const BLOCK: usize = 16 << 20;
/// More than the limit, and no more than what a test may ask for if nobody keeps it.
const BLOCKS: usize = 20;

fn limited() -> Limits {
    Limits::new().max_body_memory(LIMIT)
}

/// Aborts at the limit.
fn allocate_too_much() {
    black_box((0..BLOCKS).map(|_| Vec::<u8>::with_capacity(BLOCK)).collect::<Vec<_>>());
}

/// Whether it would.
fn may_allocate_too_much() -> bool {
    let mut block = Vec::<u8>::new();
    let given = block.try_reserve_exact(BLOCK * BLOCKS).is_ok();
    black_box(block);
    given
}

/// What a shell says of its own.
fn soft_limit() -> String {
    getrlimit(Resource::Data).current.map_or("unlimited".into(), |bytes| (bytes / 1024).to_string())
}

#[test]
fn a_body_at_its_hard_limit_is_told_with_the_limit_as_the_cause() {
    let Some(ran) = alone(&[]) else {
        return options().limits(limited()).run(async |t| {
            t.session("sh").await?.keep();
            allocate_too_much();
            Ok(())
        });
    };
    ran.failed().says(&[
        "memory allocation of 16777216 bytes failed",
        "crashed: its process was ended by signal 6 (SIGABRT)",
        "cause of death: out of memory: it came to its hard limit, 192.0 MiB on what it may allocate",
        "memory allocation of 16777216 bytes failed`",
        "containment: a process of its own below a keeper",
    ]);
}

#[test]
fn the_variable_limits_a_part_too() {
    let Some(ran) = alone(&[("TERMLEASH_BODY_MEMORY", "192MiB")]) else {
        return termleash::isolated(allocate_too_much);
    };
    ran.failed().says(&["it came to its hard limit, 192.0 MiB"]);
}

#[test]
fn an_allocation_that_fails_without_a_limit_is_no_limits() {
    let Some(ran) = alone(&[]) else {
        return termleash::test(async |_| {
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; BLOCK]>());
        });
    };
    ran.failed().says(&["cause of death: out of memory: an allocation of 16.0 MiB failed"]).does_not_say("hard limit");
}

/// More than the address space has, as a length that was read wrongly asks for.
#[test]
fn an_allocation_that_nothing_could_satisfy_is_no_limits() {
    let Some(ran) = alone(&[]) else {
        return options().limits(limited()).run(async |_| {
            black_box(Vec::<u8>::with_capacity(black_box(isize::MAX as usize)));
            Ok(())
        });
    };
    ran.failed().says(&["cause of death: out of memory: an allocation of", "failed"]).does_not_say("hard limit");
}

/// Neither an allocation that fails after the closure.
#[test]
fn the_limit_holds_for_the_closure_alone() {
    let Some(ran) = alone(&[]) else {
        let before = soft_limit();
        assert!(may_allocate_too_much());
        options().limits(limited()).run(async |t| {
            assert!(!may_allocate_too_much());
            t.defer(async || {
                assert!(may_allocate_too_much());
                println!("deferred without it");
                Ok(())
            });
            Ok(())
        });
        assert!(may_allocate_too_much());
        assert_eq!(soft_limit(), before);
        options().limits(limited()).run(async |t| {
            t.defer(async || std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; BLOCK]>()));
            Ok(())
        });
        return;
    };
    ran.failed().says(&["deferred without it", "an allocation of 16.0 MiB failed"]).does_not_say("hard limit");
}

#[test]
fn each_call_has_its_own() {
    let Some(ran) = alone(&[]) else {
        let call = |limits: Limits, is_limited: bool| {
            options().limits(limits).run_blocking(|_| {
                assert_eq!(may_allocate_too_much(), !is_limited);
                Ok(())
            });
        };
        call(limited(), true);
        call(Limits::new(), false);
        call(Limits::new().max_body_memory(1 << 30), false);
        call(limited(), true);
        return;
    };
    ran.passed();
}

#[test]
fn what_is_more_than_the_limit_before_it_is_set_is_named_with_the_limit() {
    let Some(ran) = alone(&[]) else {
        let held = black_box(Vec::<u8>::with_capacity(BLOCK * BLOCKS));
        return options().limits(limited()).run(async |_| {
            println!("it runs");
            drop(held);
            Ok(())
        });
    };
    ran.failed().says(&["was not run: its process has 3", "MiB of data mapped", "and may have 192.0 MiB"]);
    ran.says(&["TERMLEASH_BODY_MEMORY"]).does_not_say("it runs");
}

#[test]
fn the_test_process_is_not_limited_and_that_is_said() {
    let Some(ran) = alone(&[("TERMLEASH_BODY_MEMORY", "192MiB")]) else {
        return options().in_process().run(async |_| {
            assert!(may_allocate_too_much());
            Err("its own failure".into())
        });
    };
    let why =
        "the hard limit of 192.0 MiB on what the test may allocate is not kept: the test runs in the test process";
    ran.failed().says(&[why, "failed: its own failure", why, "containment: in the test process"]);
}

/// A program that ends by the limit before it has run an instruction, if it begins under it.
#[test]
fn sessions_servers_and_clients_never_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = hungry::program(directory.path(), 2 * LIMIT);
    let path = std::env::join_paths([directory.path(), "/no/such".as_ref(), "/usr/bin".as_ref(), "/bin".as_ref()]);
    let (hungry, path) = (program.to_str().unwrap(), path.unwrap().into_string().unwrap());
    let Some(ran) = alone(&[("HUNGRY", hungry), ("PATH", &path)]) else {
        let before = soft_limit();
        return options().limits(limited()).run(async |t| {
            let hungry = std::env::var("HUNGRY")?;
            // Under it, it does end so.
            assert_ne!(std::process::Command::new(&hungry).status().ok().and_then(|status| status.code()), Some(42));

            let session = t.session(&*hungry).await?;
            assert_eq!(session.wait_for_exit().await?.code(), Some(42));
            let shell = t.session("sh").await?;
            assert_eq!(shell.run("ulimit -Sd").await?.stdout(), before);
            assert_eq!(shell.run("ls /proc/self/fd").await?.stdout().split_whitespace().count(), 4);
            let spec = SessionSpec::shell("pwd").current_dir("/usr");
            let elsewhere = t.session(spec).await?;
            elsewhere.wait_for_text("/usr").await?;

            let script = "\"$HUNGRY\"; echo \"$? $(ulimit -Sd) $(readlink /proc/$$/fd/0)\"; exec sleep 1000";
            let server = ServerGuard::command("sh").args(["-c", script]).env("HUNGRY", &hungry);
            let server = server.without_port().ready_line(format!("42 {before} /dev/null")).start().await?;
            server.close().await?;

            let api = CommandApi::new("hungry").create(["x"]).kill(["x"]).state(["x"]);
            let helper = SessionTestHelper::new(CommandBackend::new(api));
            let error = helper.create_tracked_session("sh").await.unwrap_err();
            assert!(error.to_string().contains("42"), "{error}");
            let api = CommandApi::new("no-such-client").create(["x"]).kill(["x"]).state(["x"]);
            let helper = SessionTestHelper::new(CommandBackend::new(api));
            let error = helper.create_tracked_session("sh").await.unwrap_err();
            assert!(error.to_string().contains("No such file"), "{error}");
            Ok(())
        });
    };
    ran.passed();
}

/// They are started by code that is not ours, and get the old one as soon as they are there.
#[cfg(feature = "pty")]
#[test]
fn a_session_on_another_pty_system_gets_the_old_one_back() {
    let Some(ran) = alone(&[]) else {
        let before = soft_limit();
        return options().limits(limited()).run(async |_| {
            let backend = termleash::PtyBackend::with_system(portable_pty::native_pty_system());
            let helper = SessionTestHelper::new(backend);
            let shell = helper.create_tracked_session("sh").await?;
            assert_eq!(shell.run("ulimit -Sd").await?.stdout(), before);
            shell.close().await?;
            Ok(())
        });
    };
    ran.passed();
}

/// Its watchdog was there before.
#[test]
fn a_body_that_blocks_at_its_limit_is_told_at_its_deadline() {
    let Some(ran) = alone(&[]) else {
        let body = |_: &termleash::testing::Scope| {
            let mut taken = Vec::with_capacity(10_000);
            let mut size = BLOCK;
            while size >= 1 << 20 {
                let mut block = Vec::<u8>::new();
                match block.try_reserve_exact(size) {
                    Ok(()) => taken.push(block),
                    Err(_) => size /= 2,
                }
            }
            let _taken = black_box(taken);
            loop {
                std::thread::park();
            }
        };
        return options().limits(limited()).timeout(Duration::from_secs(1)).run_blocking(body);
    };
    ran.failed().says(&["did not end within its deadline of 1s, and blocks its thread", "containment: "]);
}
