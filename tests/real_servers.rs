//! termleash on real terminal servers: tmux, VibeTunnel and GNU screen, each started by the test with a home or a socket of its own.
//!
//! Where a server is missing its tests are listed as ignored, with the reason and the command that installs it. The standard
//! harness decides that when it compiles, so this has another one. With `CI` set a missing server is
//! an error, and a build without the feature `http` still none.

#[cfg(target_os = "linux")]
#[path = "real_servers/trials.rs"]
mod trials;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    trials::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
