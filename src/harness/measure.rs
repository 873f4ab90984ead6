//! How much the test's own process uses at one moment, for its timeline.

use crate::event::Sample;
use crate::event::recorder::Recorder;
use crate::ledger::keepers::is_keeper;
use crate::process::tree;
use crate::sys::{self, ProcReader};

/// What can be had without opening a descriptor: the body may be looking at its own meanwhile.
pub(crate) fn take(recorder: &Recorder) {
    recorder.sample(now());
}

/// With the child processes, before and after a body.
pub(crate) fn take_all(recorder: &Recorder) {
    let mut sample = now();
    sample.processes = children();
    recorder.sample(sample);
}

fn now() -> Sample {
    Sample {
        memory: sys::resident_bytes().ok(),
        descriptors: sys::count_descriptors().ok().flatten().map(|count| count as u64),
        processor: sys::own_processor_time(),
        ..Sample::default()
    }
}

fn children() -> Option<u64> {
    if !sys::has_children().ok()? {
        return Some(0);
    }
    let mut reader = ProcReader::new().ok()?;
    let children = tree::children(&mut reader, sys::own_pid()).ok()?;
    Some(children.into_iter().filter(|pid| !is_keeper(*pid)).count() as u64)
}
