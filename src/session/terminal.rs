//! The terminal of a session as a test uses it: what was printed, and a way to type.

use crate::error::{BoxError, Error, Result};
use crate::event::track::Track;
use crate::process::pump::Pump;
use crate::session::command::{CommandOutput, Running};
use crate::session::finder::Finder;
use crate::session::future::BoxFuture;
use crate::session::instead::Who;
use crate::session::ring::Ring;
use crate::session::spec::WindowSize;
use crate::session::text::{last_lines, strip};
use crate::watched::Watched;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How many lines of output a failure shows.
const SHOWN_LINES: usize = 20;

/// The way to a session's terminal: what a backend implements to offer one.
pub trait TerminalInput: Send + Sync + 'static {
    /// Types. Ends when the terminal has taken all of it.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    fn write<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Gives the terminal another size; the program gets SIGWINCH.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    fn resize(&self, size: WindowSize) -> Result<(), BoxError>;

    /// The size that it has.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    fn size(&self) -> Result<WindowSize, BoxError>;

    /// The path of the device that its programs hold open, `/dev/pts/N`, if it is one: who still holds it after a kill
    /// is then named.
    fn device(&self) -> Option<Vec<u8>> {
        None
    }

    /// Closes our end, after the session's end. What is typed afterwards is an error.
    fn close(&self) {}
}

/// A session's terminal: a cheap handle.
#[derive(Clone)]
pub struct Terminal {
    input: Arc<dyn TerminalInput>,
    output: TerminalOutput,
}

/// Where a backend puts what a session prints. Keeps the newest bytes up to a cap and says how many it dropped.
#[derive(Clone)]
pub struct TerminalOutput {
    state: Arc<Watched<State>>,
}

impl fmt::Debug for TerminalOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerminalOutput").field("bytes", &self.end()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("output", &self.output).finish_non_exhaustive()
    }
}

pub(crate) struct State {
    pub(crate) ring: Ring,
    is_finished: bool,
    track: Option<Track>,
}

impl State {
    /// Lets it be filled, and records how much came.
    fn fill<R>(&mut self, fill: impl FnOnce(&mut Ring) -> R) -> R {
        let before = self.ring.end();
        let result = fill(&mut self.ring);
        self.came_since(before);
        result
    }

    fn came_since(&self, before: u64) {
        let bytes = usize::try_from(self.ring.end().saturating_sub(before)).unwrap_or(usize::MAX);
        if let Some(track) = self.track.as_ref().filter(|_| bytes > 0) {
            track.read(bytes);
        }
    }
}

impl TerminalOutput {
    /// `max_bytes` is how much of it is kept, at least 1.
    pub fn new(max_bytes: usize) -> Self {
        let ring = Ring::new(max_bytes.max(1));
        Self { state: Arc::new(Watched::new(State { ring, is_finished: false, track: None })) }
    }

    /// Adds what was printed.
    pub fn push(&self, bytes: &[u8]) {
        self.state.update(|state| state.fill(|ring| ring.push(bytes)));
    }

    /// Says that nothing more will come.
    pub fn finish(&self) {
        self.state.update(|state| state.is_finished = true);
    }

    /// For who reads straight into the ring.
    pub(crate) fn fill<R>(&self, fill: impl FnOnce(&mut Ring) -> R) -> R {
        self.state.update(|state| state.fill(fill))
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.state.peek(|state| state.is_finished)
    }

    pub(crate) async fn finished(&self) {
        self.state.wait(|state| state.is_finished.then_some(())).await;
    }

    fn end(&self) -> u64 {
        self.state.peek(|state| state.ring.end())
    }
}

/// What a session, or a server, has printed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Output {
    pub(crate) fn of(ring: &Ring) -> Self {
        Self { bytes: ring.since(0), dropped: ring.dropped() }
    }

    /// Of a log that another process has kept.
    pub(crate) fn of_text(text: String, dropped: u64) -> Self {
        Self { bytes: text.into_bytes(), dropped }
    }

    /// The last lines as a failure shows them, after what stands before them.
    pub(crate) fn shown(&self, what: &str) -> String {
        let lines = last_lines(&self.bytes, SHOWN_LINES);
        if lines.is_empty() {
            return "; it has printed nothing".to_owned();
        }
        let dropped = match self.dropped {
            0 => String::new(),
            bytes => format!(", after {bytes} bytes that were dropped"),
        };
        format!("; the last lines of its {what}{dropped}:\n{}", lines.trim_end())
    }

    /// As text: escape sequences removed, lines ended by `\n`, bytes that are no UTF-8 replaced by U+FFFD.
    pub fn text(&self) -> String {
        strip(&self.bytes)
    }

    /// As it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes before these were dropped, because more was printed than is kept.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped
    }
}

impl Terminal {
    /// A terminal made of a way to type and of the place where its backend puts what is printed.
    pub fn new(input: impl TerminalInput, output: TerminalOutput) -> Self {
        Self { input: Arc::new(input), output }
    }

    pub(crate) fn from_parts(input: Arc<dyn TerminalInput>, output: TerminalOutput) -> Self {
        Self { input, output }
    }

    pub(crate) fn input(&self) -> &dyn TerminalInput {
        &*self.input
    }

    pub(crate) fn output_state(&self) -> &TerminalOutput {
        &self.output
    }

    pub(crate) fn output(&self) -> Output {
        self.output.state.peek(|state| Output::of(&state.ring))
    }

    pub(crate) fn record(&self, track: Track) {
        self.output.state.update(|state| {
            state.track = Some(track);
            state.came_since(0);
        });
    }

    /// Records something, if anybody has asked for it.
    pub(crate) fn recorded(&self, record: impl FnOnce(&Track)) {
        self.output.state.peek(|state| state.track.as_ref().map(record));
    }

    pub(crate) fn clear(&self) {
        self.output.state.update(|state| state.ring.clear());
    }

    pub(crate) async fn write(&self, who: Who<'_>, bytes: &[u8], limit: Duration) -> Result<()> {
        let written = Pump::get()?.within(limit, self.input.write(bytes)).await;
        match written {
            Some(Ok(())) => {
                self.recorded(|track| track.wrote(bytes.len()));
                Ok(())
            }
            Some(Err(_)) if self.output.is_finished() => {
                Err(Error::session_ended(format!("failed to type into session `{who}`: it has ended")))
            }
            Some(Err(cause)) => Err(Error::backend(format!("failed to type into session `{who}`"), cause)),
            None => Err(Error::timeout(
                format!(
                    "typing {} bytes into session `{who}`: its program does not read them{}",
                    bytes.len(),
                    who.instead()
                ),
                limit,
            )),
        }
    }

    /// Waits for the text, in what is printed from the last clearing on; `over` ends when nothing more will come.
    pub(crate) async fn wait_for_text(
        &self,
        who: Who<'_>,
        wanted: &str,
        limit: Duration,
        over: impl Future<Output = Result<String>>,
    ) -> Result<()> {
        let mut finder = Finder::new(wanted);
        let appears = self.output.state.wait(|state| finder.finds(&state.ring).then_some(()));
        self.unless_over(who, (&format!("{wanted:?}"), " in the output of"), limit, appears, over).await
    }

    /// Types a command and waits for its end.
    pub(crate) async fn run(
        &self,
        who: Who<'_>,
        command: &str,
        limit: Duration,
        over: impl Future<Output = Result<String>>,
    ) -> Result<CommandOutput> {
        let mut running = Running::new(command, self.output.end())?;
        self.write(who, running.line.as_bytes(), limit).await?;
        let ends = self.output.state.wait(|state| {
            let ring = &state.ring;
            let from = running.look_from().max(ring.start());
            running.look(from, &ring.since(from), |at| (at.max(ring.start()), ring.since(at)))
        });
        self.unless_over(who, (&format!("the end of `{command}`"), " in"), limit, ends, over).await
    }

    /// Waits for the one unless the other or the deadline comes first, and then says what was printed last.
    async fn unless_over<T>(
        &self,
        who: Who<'_>,
        (what, place): (&str, &str),
        limit: Duration,
        wanted: impl Future<Output = T>,
        over: impl Future<Output = Result<String>>,
    ) -> Result<T> {
        let mut wanted = std::pin::pin!(wanted);
        let mut over = std::pin::pin!(over);
        let first = std::future::poll_fn(|context| {
            if let std::task::Poll::Ready(found) = wanted.as_mut().poll(context) {
                return std::task::Poll::Ready(Ok(found));
            }
            // The last output came before the end was told, so it is looked at once more.
            let std::task::Poll::Ready(how) = over.as_mut().poll(context) else { return std::task::Poll::Pending };
            std::task::Poll::Ready(match wanted.as_mut().poll(context) {
                std::task::Poll::Ready(found) => Ok(found),
                std::task::Poll::Pending => Err(how),
            })
        });
        match Pump::get()?.within(limit, first).await {
            Some(Ok(found)) => Ok(found),
            Some(Err(Err(cause))) => Err(cause),
            Some(Err(Ok(how))) => {
                let shown = self.shown();
                Err(Error::session_ended(format!("session `{who}` {how} before {what} came{shown}")))
            }
            None => {
                let what = format!("waiting for {what}{place} session `{who}`{}{}", who.instead(), self.shown());
                Err(Error::timeout(what, limit))
            }
        }
    }

    /// The end of the output as a failure shows it.
    pub(crate) fn shown(&self) -> String {
        self.output().shown("output")
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use std::task::{Context, Poll, Waker};

    struct Nowhere;

    impl TerminalInput for Nowhere {
        fn write<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
            Box::pin(async { Ok(()) })
        }

        fn resize(&self, _: WindowSize) -> Result<(), BoxError> {
            Ok(())
        }

        fn size(&self) -> Result<WindowSize, BoxError> {
            Err("it has none".into())
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_forgotten_does_not_begin_a_text_that_comes_later() {
        let output = TerminalOutput::new(100);
        let terminal = Terminal::new(Nowhere, output.clone());
        let mut found =
            std::pin::pin!(terminal.wait_for_text(Who { id: "x", leader: None }, "abcd", LONG, std::future::pending()));
        let mut is_there = || found.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        output.push(b"ab");
        assert!(!is_there());
        terminal.clear();
        output.push(b"cd");
        assert!(!is_there(), "the text was never there");
        output.push(b"ab");
        assert!(!is_there());
        output.push(b"cd");
        assert!(is_there(), "in two pieces it is");
    }

    /// The end may be noticed before the last output is looked at.
    #[test]
    fn what_came_just_before_the_end_is_found() {
        let output = TerminalOutput::new(100);
        let terminal = Terminal::new(Nowhere, output.clone());
        let over = std::future::poll_fn(|_| {
            output.push(b"last words");
            Poll::Ready(Ok("ended".to_owned()))
        });
        park_on(terminal.wait_for_text(Who { id: "x", leader: None }, "last words", LONG, over)).unwrap();
    }
}
