//! Where the timeline of every test goes: to a listener, and as a file to the directory that `TERMLEASH_TIMELINES` names.

use crate::event::{Event, Timeline, emit_if_heard, warn};
use crate::report::timeline_file;
use std::path::Path;

/// Of a test that is over, whose body is, or was, the process with this id.
pub(crate) fn tell(timeline: &Timeline, directory: Option<&Path>, pid: u32) {
    emit_if_heard(|| Event::TestEnded { timeline: Box::new(timeline.clone()) });
    if let Some(Err(cause)) = directory.map(|directory| timeline_file::write(directory, timeline, pid)) {
        warn(cause.to_string());
    }
}
