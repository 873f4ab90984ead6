//! Tests of the library as its users see it, in one binary; what owns the whole process has a file of its own beside.

#![cfg(target_os = "linux")]

mod checked;
#[path = "../children/mod.rs"]
mod children;
#[path = "../seen/mod.rs"]
mod seen;
mod support;

mod bad_input;
mod bystanders;
mod commands;
mod dead_server;
mod drops;
mod hidden;
mod hostile;
mod model;
mod runtimes;
mod sentinels;
mod servers;
mod shapes;
mod surroundings;
mod talking;
mod traps;
