//! A small terminal server: interactive programs on pseudo-terminals, by HTTP on this machine's own address.
//!
//! ```text
//! cargo run --example terminal_server -- --port 0
//! ```
//!
//! It is a server as one would test with this crate, and knows nothing of it. It keeps its promises, until it is told
//! to break one: `--help` lists what it can be made to leak, and how it can be made to fail.

#[cfg(unix)]
#[path = "mod.rs"]
mod terminal_server;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    use std::env::args_os;
    let arguments = args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    terminal_server::cli::main(arguments, args_os().collect())
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("this server needs a Unix");
    ExitCode::FAILURE
}
