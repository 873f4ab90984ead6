//! Of what processes die, each cause provoked for real, and told apart from those that it looks like; and what core files and
//! crash reports say.

#![cfg(target_os = "linux")]

#[cfg(feature = "tokio")]
mod children;
mod dead;
#[cfg(feature = "tokio")]
#[path = "causes/everywhere.rs"]
mod everywhere;
#[cfg(feature = "tokio")]
#[path = "causes/late.rs"]
mod late;
#[path = "causes/reports.rs"]
mod reports;
#[cfg(feature = "tokio")]
#[path = "causes/sessions.rs"]
mod sessions;
#[path = "causes/victims.rs"]
mod victims;
