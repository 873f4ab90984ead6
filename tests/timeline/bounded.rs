//! However much goes through a session, its timeline stays as small, and its sums are right.

use crate::children::alone;
use termleash::session::{
    BoxError, BoxFuture, Created, FakeBackend, SessionBackend, SessionId, SessionSpec, SessionState, Terminal,
    TerminalInput, TerminalOutput, WindowSize,
};
use termleash::{SessionTestHelper, block_on};

const WRITES: u64 = 100_000;
const MIB: usize = 1 << 20;

/// Its sessions print what is pushed here, and take what is typed.
struct Printing(FakeBackend, TerminalOutput);

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

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this process has some");
    statm.split(' ').nth(1).expect("a field").parse::<usize>().expect("pages") * 4096
}

#[test]
fn a_gigabyte_read_and_a_hundred_thousand_writes_take_no_more_memory() {
    let Some(ran) = alone(&[]) else {
        let output = TerminalOutput::new(4096);
        let helper = SessionTestHelper::new(Printing(FakeBackend::new(), output.clone()));
        return block_on(async {
            let session = helper.create_tracked_session("sh").await.unwrap();
            let part = vec![b'x'; MIB];
            let go = async |writes: u64, parts: usize| {
                for _ in 0..writes {
                    session.write(b"seven b").await.unwrap();
                }
                (0..parts).for_each(|_| output.push(&part));
            };
            go(1000, 16).await;
            let before = resident_bytes();
            go(WRITES - 1000, 1024 - 16).await;
            let grown = resident_bytes().saturating_sub(before);
            let timeline = helper.timeline();
            let line = &timeline.sessions[0];
            assert_eq!((line.wrote.bytes, line.wrote.times), (7 * WRITES, WRITES));
            assert_eq!((line.read.bytes, line.read.times), (1 << 30, 1024));
            assert!(timeline.moments.len() <= 1024 && timeline.to_json().len() < MIB, "{}", timeline.moments.len());
            assert!(grown < 4 * MIB, "it has grown by {grown} bytes");
            session.close().await.unwrap();
        });
    };
    ran.passed();
}
