//! A small terminal server: interactive programs on pseudo-terminals, by HTTP on this machine's own address.
//!
//! ```text
//! cargo run --example terminal_server -- --port 0
//! ```
//!
//! It is a server as one would test with this crate, and knows nothing of it. It keeps its promises, until it is told
//! to break one: `--help` lists what it can be made to leak, and how it can be made to fail.

#[path = "mod.rs"]
mod terminal_server;

use std::env::args_os;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    terminal_server::cli::main(arguments, args_os().collect())
}
