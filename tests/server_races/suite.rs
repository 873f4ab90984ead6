//! A suite with sessions of several shapes on a server that others use. It waits until it is let go, or killed.

use crate::on_example::backend;
use std::path::PathBuf;
use std::time::Duration;
use termleash::SessionSpec;

pub(crate) const URL: &str = "TEST_URL";
pub(crate) const READY: &str = "TEST_READY";
pub(crate) const GO: &str = "TEST_GO";

/// Whatever outlives its leader; `MARK` is told apart by its argument.
const SHAPES: [&str; 4] = [
    "exec sleep MARK",
    "trap '' HUP TERM; sleep MARK & sleep MARK; :",
    "setsid sleep MARK & exec sleep MARK",
    "nohup sleep MARK >/dev/null 2>&1 & exec sleep MARK",
];
/// So many `sleep` they come to.
pub(crate) const SLEEPERS: usize = 7;

fn path(name: &str) -> PathBuf {
    std::env::var_os(name).expect("it is said").into()
}

pub(crate) fn run(mark: &str) {
    termleash::test(async |t| {
        let helper = t.helper_on(backend(std::env::var(URL)?));
        for shape in SHAPES {
            helper.create_tracked_session(SessionSpec::shell(shape.replace("MARK", mark))).await?.keep();
        }
        std::fs::write(path(READY), "")?;
        while !path(GO).exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    });
}
