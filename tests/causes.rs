//! Of what processes die, each cause provoked for real, and told apart from those that it looks like; and what core files and
//! crash reports say.

#![cfg(target_os = "linux")]

mod dead;
#[path = "causes/reports.rs"]
mod reports;
#[path = "causes/victims.rs"]
mod victims;
