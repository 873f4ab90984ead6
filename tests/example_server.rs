//! The example server keeps its promises when it is honest, and breaks just the one that it is told to break.

#![cfg(all(target_os = "linux", feature = "pty", feature = "tokio"))]

#[path = "example_server/child.rs"]
mod child;
mod children;
#[path = "example_server/client.rs"]
mod client;
#[path = "example_server/faults.rs"]
mod faults;
#[path = "example_server/honest.rs"]
mod honest;
#[path = "example_server/leaks.rs"]
mod leaks;
mod seen;
#[path = "example_server/stopping.rs"]
mod stopping;
#[path = "../examples/terminal_server/mod.rs"]
mod terminal_server;
