//! Causes of death that take something of the machine: a memory controller, node, core files where they are written.
//!
//! What the machine has not is listed as ignored, with the reason.

#[cfg(target_os = "linux")]
mod dead;
#[cfg(target_os = "linux")]
#[path = "causes/here.rs"]
mod here;
#[cfg(target_os = "linux")]
#[path = "causes/memory_group.rs"]
mod memory_group;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    here::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
