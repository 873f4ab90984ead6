//! The keeper beside a test process: it knows sessions by the ledger alone, and acts when the process has died.

use crate::keeper::begin::{Ledger, MARK_EVERY};
use crate::keeper::descendants::GRACE;
use crate::keeper::{ending, kept, leftovers, sweep};
use crate::ledger::message::Start;
use crate::ledger::record::{Record, parse};
use crate::ledger::replay::Replayed;
use crate::process::tree::own_identity;
use crate::sys;

/// From the test process's first session to its end.
pub(crate) fn keep(start: &Start) {
    let _ = sys::close_standard_input();
    let Ok(mut ledger) = Ledger::hold(&start.ledger) else { return };
    if let Ok(identity) = own_identity() {
        ledger.append(&Record::Keeper { identity });
    }
    let others = leftovers::sweep_others(&ledger);
    if let Some(process) = ending::held(start.runner) {
        while !process.has_exited().unwrap_or(true) {
            let _ = sys::wait_for(&[process.fd()], Some(MARK_EVERY));
            ledger.mark_as_watched();
        }
    }
    let died = sys::now_ticks();
    if start.keeps {
        ledger.append(&Record::Kept);
        kept::wait(&ledger);
    }
    let Some(held) = &ledger.open else { return };
    let Ok(bytes) = held.file.read_all() else { return };
    let is_clean = match Replayed::new(parse(&bytes)) {
        Ok(replayed) => sweep::sweep(&replayed, died, start.grace.min(GRACE)).is_over(),
        Err(_) => true,
    };
    if is_clean {
        ledger.remove();
    }
    leftovers::wait_for(others);
}
