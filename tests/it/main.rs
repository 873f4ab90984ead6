//! Tests of the library as its users see it, in one binary; what owns the whole process has a file of its own beside.

#![cfg(target_os = "linux")]

mod support;

mod bad_input;
mod bystanders;
mod model;
mod shapes;
mod traps;
