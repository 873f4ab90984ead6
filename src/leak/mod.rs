//! Leaks: what is there after a test and was not there before.
//!
//! ```text
//!  Snapshot::capture ─► Diff::between ─► Diff::ignoring ─► settle          four steps, plain data between them
//!                          └─► LeakReport, with a Verdict                  LeakCheck = the loop around them
//!  LeakHunt = the same over many rounds: series ─► stats ─► verdict        for what one test does not show
//! ```
//!
//! [`LeakCheck`] is what a test uses; the steps are for those who need another loop:
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use std::time::Duration;
//! use termleash::leak::{Diff, Ignore, Kind, Level, Snapshot, prime, settle};
//!
//! prime();
//! let before = Snapshot::capture(Level::Fail);
//! let log = std::fs::File::open("/dev/null")?;
//!
//! let look = || Diff::between(&before, &Snapshot::capture(Level::Fail)).ignoring(&[Ignore::path("/dev/null")]);
//! let (left, settled) = termleash::block_on(settle(Duration::from_secs(2), look));
//! // The runtime that `block_on` makes is there while it looks, and the file is ignored.
//! assert!(left.items().all(|item| item.kind != Kind::Device));
//! println!("{} looks", settled.looks);
//! # drop(log);
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```

pub(crate) mod activity;
pub(crate) mod breathing;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod difference;
pub(crate) mod hooks;
pub(crate) mod hunt;
pub(crate) mod hunt_report;
pub(crate) mod hunting;
pub(crate) mod ignore;
pub(crate) mod judging;
mod long_look;
pub(crate) mod quiet;
pub(crate) mod references;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod sample;
pub(crate) mod self_test;
pub(crate) mod series;
pub(crate) mod settle;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod verdict;

#[doc(inline)]
pub use crate::probe::attribution::{Attribution, Reason};
pub(crate) use crate::probe::describe::GONE;
#[doc(inline)]
pub use crate::probe::heap::named::{HeapFrame, HeapProfile, HeapSite};
#[doc(inline)]
pub use crate::probe::heap::sampling::HeapSampling;
#[doc(inline)]
pub use crate::probe::heap::scope::{HeapScope, HeapScopeStats};
#[doc(inline)]
pub use crate::probe::heap::stats::{HeapAmount, HeapStats};
#[doc(inline)]
pub use crate::probe::heap::top::{HeapFile, HeapTop};
#[doc(inline)]
pub use crate::probe::item::{Item, Kind, Resource};
#[doc(inline)]
pub use crate::probe::memory::Memory;
#[doc(inline)]
pub use crate::probe::prime::prime;
#[doc(inline)]
pub use crate::settings::Level;
#[doc(inline)]
pub use crate::sys::counting::CountingAlloc;
pub use check::LeakCheck;
pub use diff::Diff;
pub use hunt::LeakHunt;
pub use hunt_report::{Confidence, HuntReport, QuietWindows, Series};
pub use ignore::{Ignore, Ignored};
pub(crate) use references::MustDrop;
pub use report::{Finding, LeakReport};
pub use sample::{Gauge, MemorySource};
pub use self_test::SelfTest;
pub(crate) use series::sparkline;
pub use settle::{Settled, settle};
pub use snapshot::{NotLookedAt, Snapshot};
pub use verdict::Verdict;
