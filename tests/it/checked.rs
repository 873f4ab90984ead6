//! Our own tests under our own leak check.
//!
//! Where a test has its process for itself (cargo-nextest, a binary of one test, a process that a test runs for itself)
//! whatever it leaves fails it. Beside other tests a difference may be theirs: then it is told, and passes.

#![allow(dead_code, reason = "shared by several binaries, and not each of them needs all of it")]

use std::time::Duration;
use termleash::testing::TestOptions;
use termleash::{LeakCheck, assert_no_leaks, options};

/// Longer than anything takes on a busy machine, races apart: every wait of a test has an end of its own.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// For what `#[tokio::test]` would run.
#[track_caller]
pub(crate) fn checked(body: impl AsyncFnOnce()) {
    run(options().timeout(LIMIT), None, body);
}

/// For what `#[tokio::test(flavor = "multi_thread")]` would run, with so many workers.
#[track_caller]
pub(crate) fn checked_on(workers: usize, body: impl AsyncFnOnce()) {
    run(options().timeout(LIMIT), Some(workers), body);
}

/// For a test that is not async, or makes the runtimes that it needs.
#[track_caller]
pub(crate) fn checked_blocking(body: impl FnOnce()) {
    run_blocking(options().timeout(LIMIT), body);
}

/// For the only test of its process, where every difference is its own; it may say how else it runs.
#[track_caller]
pub(crate) fn checked_alone(body: impl FnOnce()) {
    run_blocking(options().timeout(LIMIT).exclusive(), body);
}

/// The check without the frame, for the only test of its process: nothing of ours runs beside the body, which counts
/// threads itself.
#[track_caller]
pub(crate) fn checked_without_frame(body: impl FnOnce()) {
    let check = LeakCheck::new().exclusive();
    body();
    assert_no_leaks!(check);
}

#[track_caller]
pub(crate) fn run_blocking(options: TestOptions, body: impl FnOnce()) {
    // The first runtime of a process opens two sockets that stay. Without this feature the check has none to open them by.
    #[cfg(not(feature = "tokio"))]
    drop(tokio::runtime::Builder::new_current_thread().enable_all().build());
    options.run_blocking(|_| {
        body();
        Ok(())
    });
}

#[cfg(feature = "tokio")]
#[track_caller]
pub(crate) fn run(options: TestOptions, workers: Option<usize>, body: impl AsyncFnOnce()) {
    use termleash::testing::Flavor;
    let flavor = workers.map_or(Flavor::CurrentThread, Flavor::MultiThread);
    options.flavor(flavor).run(async |_| {
        body().await;
        Ok(())
    });
}

/// Without that feature a body gets no runtime, and the tests need one: it is theirs.
#[cfg(not(feature = "tokio"))]
#[track_caller]
pub(crate) fn run(options: TestOptions, workers: Option<usize>, body: impl AsyncFnOnce()) {
    use tokio::runtime::Builder;
    let make = || match workers {
        None => Builder::new_current_thread().enable_all().build().unwrap(),
        Some(workers) => Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap(),
    };
    run_blocking(options, || make().block_on(body()));
}
