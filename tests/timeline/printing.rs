//! A backend whose sessions have a terminal that is nobody's.

use termleash::session::{
    BoxError, BoxFuture, Created, FakeBackend, SessionBackend, SessionId, SessionSpec, SessionState, Terminal,
    TerminalInput, TerminalOutput, WindowSize,
};

/// Its sessions print what is pushed here, and take what is typed.
pub(crate) struct Printing(pub(crate) FakeBackend, pub(crate) TerminalOutput);

impl SessionBackend for Printing {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        Ok(self.0.create(spec).await?.with_terminal(Terminal::new(Nowhere, self.1.clone())))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.0.kill(id).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        self.0.state(id).await
    }
}

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
