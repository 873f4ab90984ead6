//! The ledger: the book of a run's sessions, in memory and on disk.
//!
//! `book` is what the tracker writes into: who is announced, who is identified; forgotten when gone. Its records also
//! go to a file of the run, so that somebody can end the sessions of a test process that is dead: `record` is one line
//! of that file, with `recipe`, how a server is asked to end a session; `replay` is what all lines together say, and
//! `following` reads them as they come; `breach` is a limit that a session went over; `file`
//! is the file, and `directory` the place of all files of this user; `home` is the directory that a server is given, and
//! `steward` how the process is asked for that holds a shared one. `client` writes for this process; `keepers` starts the process
//! that reads what was written, `listing` looks at all runs, `message` is what it is told and tells, and `containment` what that
//! comes to.

pub(crate) mod book;
pub(crate) mod breach;
pub(crate) mod client;
pub(crate) mod containment;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod following;
pub(crate) mod home;
pub(crate) mod keepers;
pub(crate) mod listing;
pub(crate) mod message;
pub(crate) mod path;
pub(crate) mod recipe;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod steward;
pub(crate) mod swept;

pub(crate) use book::Ledger;
pub use containment::Containment;
pub(crate) use record::RecordId;
