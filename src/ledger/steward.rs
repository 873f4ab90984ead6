//! Asking for the steward of a server that a whole run shares: the test process starts it, since a body's own children end with
//! the body.

use crate::error::{Error, Result};
use crate::ledger::client;
use crate::ledger::keepers;
use crate::ledger::message::StewardStart;
use once_cell::sync::OnceCell;
use std::io;

type Ask = fn(&StewardStart) -> io::Result<()>;

/// How a body asks its test process.
static ASK: OnceCell<Ask> = OnceCell::new();

/// Says how.
pub(crate) fn ask_by(ask: Ask) {
    let _ = ASK.set(ask);
}

/// Has one started: by this process, or by the test process that a body belongs to. Whether it is there is seen at its name.
pub(crate) fn ask_for(start: &StewardStart) -> Result<()> {
    let Some(ask) = client::body().and_then(|_| ASK.get()) else { return keepers::start_steward(start) };
    ask(start).map_err(|cause| Error::os("ask the test process for a shared server", "", cause))
}
