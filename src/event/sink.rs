//! What is told as it happens to whoever listens: progress, and what clean-up could not say by a return value.

use crate::error::{Error, Result};
use crate::event::timeline::Timeline;
use once_cell::sync::OnceCell;
use std::fmt;
use std::panic::Location;

/// One thing that happened. New kinds may come with any release.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A session was created and is tracked.
    #[non_exhaustive]
    Created {
        /// The session's id.
        id: String,
        /// Where in the test.
        at: &'static Location<'static>,
    },
    /// A session's end is proven.
    #[non_exhaustive]
    Gone {
        /// The session's id.
        id: String,
    },
    /// A [`test`](crate::test()) has ended, its leak check and all, whether it passed or not. It is told in the process of the test; of one
    /// whose process died, in the one that had started that.
    #[non_exhaustive]
    TestEnded {
        /// What happened in it, and when.
        timeline: Box<Timeline>,
    },
    /// Something that nobody waits for has something to say: a guard or a helper that was dropped, a ledger that cannot be
    /// written, a keeper that has died.
    #[non_exhaustive]
    Warning {
        /// What has happened, such as what was left and where it was made, and what to write instead.
        text: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Created { id, at } => write!(f, "created session `{id}` at {at}"),
            Event::Gone { id } => write!(f, "session `{id}` is gone"),
            Event::TestEnded { timeline } => {
                let name = timeline.test.as_deref().unwrap_or_default();
                write!(f, "test `{name}` has ended after {:.3?}", timeline.lasted)
            }
            Event::Warning { text } => f.write_str(text),
        }
    }
}

type Sink = Box<dyn Fn(&Event) + Send + Sync>;

static SINK: OnceCell<Sink> = OnceCell::new();

/// Sends every event of this process to `sink` from now on, instead of warnings to standard error.
///
/// The sink is called on whichever thread something happens on and must not block.
///
/// # Errors
///
/// If a sink is set already: there is one per process, as there is one standard error.
pub fn listen(sink: impl Fn(&Event) + Send + Sync + 'static) -> Result<()> {
    SINK.set(Box::new(sink))
        .map_err(|_| Error::invalid("an event sink is set already: there is one for the whole process"))
}

pub(crate) fn emit(event: Event) {
    if emit_to_listener(&event) {
        return;
    }
    if let Event::Warning { text } = event {
        eprintln!("termleash: {text}");
    }
}

/// For what is told by other means too, such as a panic; false if nobody listens.
pub(crate) fn emit_to_listener(event: &Event) -> bool {
    SINK.get().map(|sink| sink(event)).is_some()
}

/// The same for what costs something to make.
pub(crate) fn emit_if_heard(event: impl FnOnce() -> Event) {
    if let Some(sink) = SINK.get() {
        sink(&event());
    }
}

pub(crate) fn warn(text: impl Into<String>) {
    emit(Event::Warning { text: text.into() });
}
