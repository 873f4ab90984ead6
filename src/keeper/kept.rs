//! A run that is kept for debugging: nothing is ended before somebody asks for it.

use crate::backoff::pause;
use crate::keeper::begin::{Begun, Held, Ledger};
use crate::keeper::descendants;
use crate::ledger::message::{LedgerAt, Start};
use crate::ledger::record::{Record, parse};
use crate::sys;
use std::fmt::Write;
use std::time::Duration;

/// How often it is looked whether somebody has asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a person does with it.
pub(crate) fn how_to(start: &Start, begun: &Begun) -> String {
    let body = begun.body.pid();
    let mut text = format!(
        "kept by TERMLEASH_KEEP: the test process of `{}` is pid {body} and waits; look at it with `gdb -p {body}` or in \
         /proc/{body}",
        start.name
    );
    for process in descendants::living_below(body) {
        let _ = write!(text, "\n    {process}");
    }
    match &start.ledger {
        LedgerAt::File { directory, name } => {
            let _ = write!(
                text,
                "\n    to end it all: call `termleash::sweep()`, or remove {}",
                directory.join(name).display()
            );
        }
        LedgerAt::Nowhere { .. } => {
            let _ = write!(text, "\n    to end it all: `kill -KILL {body}`; there is no ledger to ask by");
        }
    }
    text
}

/// Until its ledger is removed, or asks for the end.
pub(crate) fn wait(ledger: &Ledger) {
    let Some(Held { file, .. }) = &ledger.open else { return wait_for_children() };
    loop {
        pause(LOOK_EVERY);
        while sys::reap_any().is_some() {}
        let _ = file.touch();
        let is_asked = file.read_all().is_ok_and(|bytes| parse(&bytes).records.contains(&Record::Sweep));
        if is_asked || !file.is_still_linked().unwrap_or(true) {
            return;
        }
    }
}

/// Without a ledger: until all have ended.
fn wait_for_children() {
    while !descendants::living().is_empty() {
        pause(LOOK_EVERY);
    }
}
