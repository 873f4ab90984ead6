//! Backends for real servers: tmux, one that speaks HTTP, closures; and keepers that follow their recipes.

#![cfg(all(target_os = "linux", feature = "tokio"))]

#[cfg(feature = "http")]
#[path = "backends/answers.rs"]
mod answers;
mod children;
#[path = "backends/clients.rs"]
mod clients;
#[path = "backends/closures.rs"]
mod closures;
#[cfg(feature = "http")]
#[path = "backends/http.rs"]
mod http;
#[path = "backends/keepers.rs"]
mod keepers;
#[cfg(feature = "http")]
#[path = "backends/masters.rs"]
mod masters;
#[cfg(all(feature = "http", feature = "pty"))]
mod on_example;
#[path = "backends/scarce.rs"]
mod scarce;
#[path = "ledgers/scene.rs"]
#[allow(dead_code, reason = "shared by binaries that each need another part")]
mod scene;
#[path = "backends/sentinels.rs"]
mod sentinels;
#[cfg(feature = "http")]
#[path = "backends/server.rs"]
mod server;
#[cfg(feature = "http")]
#[path = "backends/spoiled.rs"]
mod spoiled;
#[path = "backends/stale.rs"]
mod stale;
#[path = "backends/tmux.rs"]
mod tmux;
