//! Where a test's body runs: in a process of its own, unless something speaks against it.

use crate::harness::name;
use crate::ledger::client;
use crate::settings::{Isolation, Settings};
use crate::sys;

/// Where a call of this process is to run.
pub(crate) enum Place {
    /// In this process, and why.
    Here(String),
    /// In a process that is started for it.
    Apart(Again),
    /// This process is the one that was started.
    Body,
}

/// How the program comes to a call again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) arguments: Vec<String>,
    /// By a test's name: then it begins with the first call of a test function, and comes to a later one only by going on.
    pub(crate) is_by_name: bool,
}

/// What a test may say about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) is_in_process: bool,
    /// By which arguments the program comes to this call again, if not by libtest's.
    pub(crate) arguments: Option<Vec<String>>,
}

/// Decides.
pub(crate) fn place(wish: &Wish, settings: &Settings) -> Place {
    let here = |why: &str| Place::Here(why.to_owned());
    if client::body().is_some() {
        return Place::Body;
    }
    if wish.is_in_process {
        return here("it asked for that by `in_process()`");
    }
    if settings.isolation == Isolation::Never {
        return here("TERMLEASH_ISOLATE is `never`");
    }
    if !sys::IS_COMPLETE {
        return here("a process for each test needs Linux");
    }
    if cfg!(miri) {
        return here("it runs under miri");
    }
    if let Some(tracer) = sys::tracer() {
        return Place::Here(format!("it is traced by process {tracer}, a debugger or strace"));
    }
    if let Some(arguments) = &wish.arguments {
        return Place::Apart(Again { arguments: arguments.clone(), is_by_name: false });
    }
    match name::of_thread() {
        Some(name) => Place::Apart(Again { arguments: libtest_arguments(&name), is_by_name: true }),
        None => here("its thread has no test's name, by which it could be run again; see `rerun_with`"),
    }
}

/// What makes libtest run this test alone, whatever was asked of it the first time. What the test prints is captured by the
/// first process.
fn libtest_arguments(name: &str) -> Vec<String> {
    ["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"].map(str::to_owned).to_vec()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use crate::harness::{isolated, options};
    use crate::ledger::client;

    #[test]
    fn a_unit_test_runs_apart_too() {
        options().run(async |t| {
            assert!(client::body().is_some());
            assert_eq!(t.name(), "harness::isolate::tests::a_unit_test_runs_apart_too");
            Ok(())
        });
        isolated(|| assert!(client::body().is_some()));
    }
}
