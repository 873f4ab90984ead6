//! What the benches compare with: the same work in plain system calls, and the harness that takes turns.
//!
//! A floor does what any honest solution has to do, no less and no more, and nothing of it comes from the crate.

// Each bench is a crate of its own and uses a part of this.
#![allow(dead_code, reason = "shared by benches that each need another part")]

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
compile_error!("the benches need Linux with glibc, whose posix_spawn can close all descriptors");

pub(crate) mod drain;
pub(crate) mod environ;
pub(crate) mod harness;
pub(crate) mod others;
pub(crate) mod program;
pub(crate) mod reads;
pub(crate) mod session;
pub(crate) mod tree;
