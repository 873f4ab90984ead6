//! Servers that all tests of a real run of cargo-nextest share.
//!
//! Where cargo-nextest is missing these are listed as ignored, with the command that installs it. With `CI` set they run, and
//! fail. The standard harness decides that when it compiles, so this has another one.

#[cfg(target_os = "linux")]
#[path = "shared/runs.rs"]
mod runs;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    runs::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
