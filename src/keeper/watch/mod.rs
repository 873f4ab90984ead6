//! Limits that a body which hangs or thrashes could not keep: a thread of the keeper's looks at the sessions' trees from outside.
//!
//! ```text
//!  ledger ──followed──► session: leader held, tree sampled ──► over? ──no──► due again: pace
//!                                                                └─yes─► looked at exactly ─► ended alone, by the rule ─► told
//!  what descends from the keeper: whole ──► over? ──yes──► told, with what lives and how big it is
//! ```
//! `at_once` ends what would go on to grow, `ending` has that done beside the watcher, which goes on to look, and `heed` is what the keeper
//! does about what is told.
//!
//! It signals nothing but what the ledger has as one session, by that session's own marks; see [`sweep`](crate::keeper::sweep).

mod at_once;
mod ending;
pub(crate) mod heed;
mod notice;
mod pace;
mod session;
mod watcher;
mod whole;
