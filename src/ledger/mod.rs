//! The ledger: the book of a run's sessions, in memory and on disk.
//!
//! `book` is what the tracker writes into: who is announced, who is identified; forgotten when gone. Its records also
//! go to a file of the run, so that somebody can end the sessions of a test process that is dead: `record` is one line
//! of that file, with `recipe`, how a server is asked to end a session; `replay` is what all lines together say; `file`
//! is the file, and `directory` the place of all files of this user.

mod book;
mod directory;
mod file;
mod recipe;
mod record;
mod replay;

pub(crate) use book::Ledger;
pub(crate) use record::RecordId;
