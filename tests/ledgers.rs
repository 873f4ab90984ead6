//! The ledger and whoever reads it: keepers beside a test process, sweeps, hostile and broken files, places that fail.

#![cfg(all(target_os = "linux", feature = "tokio"))]

#[path = "ledgers/beside.rs"]
mod beside;
#[path = "ledgers/elsewhere.rs"]
mod elsewhere;
#[path = "ledgers/homes.rs"]
mod homes;
#[path = "ledgers/hostile.rs"]
mod hostile;
#[path = "ledgers/kept.rs"]
mod kept;
#[path = "ledgers/many.rs"]
mod many;
#[path = "ledgers/places.rs"]
mod places;
#[path = "ledgers/remote.rs"]
mod remote;
#[path = "ledgers/scene.rs"]
mod scene;
