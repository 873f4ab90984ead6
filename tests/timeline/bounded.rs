//! However much goes through a session, its timeline stays as small, and its sums are right.

use crate::children::alone;
use crate::printing::Printing;
use termleash::session::{FakeBackend, TerminalOutput};
use termleash::{SessionTestHelper, block_on};

const WRITES: u64 = 100_000;
const MIB: usize = 1 << 20;

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
