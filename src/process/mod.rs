//! Processes: which one is which, who may get a signal, how sessions end.
//!
//! ```text
//!  identity ─► handle ─► scan, tree ─► rule ─► kill          cookie marks, pump waits, policy and summary are data
//!                            └──► listening: whose a port is       exit ─► death: of what, and how that is known
//!  limit: what the kernel keeps of this process      memory_group: where its memory is accounted      usage: what a tree uses
//! ```

pub(crate) mod cgroup;
pub(crate) mod claim;
pub(crate) mod cookie;
pub(crate) mod dead;
pub mod death;
pub(crate) mod exit;
pub(crate) mod handle;
pub(crate) mod identity;
pub(crate) mod kill;
pub(crate) mod limit;
pub(crate) mod listening;
pub(crate) mod memory_group;
pub(crate) mod policy;
pub(crate) mod pump;
pub(crate) mod rule;
pub(crate) mod scan;
pub(crate) mod stage;
pub(crate) mod stat;
pub(crate) mod summary;
pub(crate) mod threads;
pub(crate) mod tree;
pub(crate) mod usage;
pub(crate) mod variable;

pub use cookie::Cookie;
pub use death::{CauseOfDeath, Death, Evidence};
pub use exit::ExitStatus;
pub use handle::ProcessHandle;
pub use identity::{BootId, ProcessIdentity};
pub use limit::raise_descriptor_limit;
pub use policy::{KillAction, KillPolicy, KillStep, Suspect};
pub use rule::Refusal;
pub use scan::marked_by;
pub use summary::ProcessSummary;
