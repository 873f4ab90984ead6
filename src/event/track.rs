//! One session's place in a recorder, for whoever has something to record of it.

use crate::event::moment::{Step, Way, What};
use crate::event::recorder::Recorder;
use std::sync::Arc;

#[derive(Clone)]
pub(crate) struct Track {
    recorder: Arc<Recorder>,
    number: u32,
}

impl Track {
    /// Of a session that is announced.
    pub(crate) fn announced(recorder: &Arc<Recorder>, label: &str) -> Self {
        Self { recorder: Arc::clone(recorder), number: recorder.add(label) }
    }

    /// It has this id from now on.
    pub(crate) fn created(&self, id: &str) {
        self.recorder.rename(self.number, id);
        self.add(What::Created);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.recorder.flow(self.number, Way::Write, bytes);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.recorder.flow(self.number, Way::Read, bytes);
    }

    pub(crate) fn resized(&self, rows: u16, cols: u16) {
        self.add(What::Resized { rows, cols });
    }

    pub(crate) fn kill(&self, step: Step, pid: Option<u32>, was_delivered: bool) {
        self.add(What::Kill { step, pid, was_delivered });
    }

    pub(crate) fn add(&self, what: What) {
        self.recorder.step(Some(self.number), what);
    }
}
