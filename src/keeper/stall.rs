//! Why a body does not go on, for the one who has to mend it.

use std::time::Duration;

/// The test function has not come to its call.
pub(crate) fn before_the_call(body: u32, limit: Duration) -> String {
    let mut text = format!(
        "it did not come to `termleash::test` within {}. What stands outside of the closure runs in two processes, in the \
         test process first, which holds what it has taken there",
        humantime::format_duration(limit)
    );
    text += ": take locks, ports and the like inside of the closure, or run this test with `options().in_process()`";
    with_threads(text, body)
}

/// Its own watchdog did not end it.
pub(crate) fn in_the_call(body: u32, timeout: Duration) -> String {
    let text = format!(
        "it did not end within its deadline of {}, nor did its own watchdog end it",
        humantime::format_duration(timeout)
    );
    with_threads(text, body)
}

/// It has reported, and does not end.
pub(crate) fn after_the_call(body: u32, limit: Duration) -> String {
    let text = format!(
        "it did not end within {} after its report: what stands behind the closure in the test function, or runs at the \
         end of the process, does not return",
        humantime::format_duration(limit)
    );
    with_threads(text, body)
}

fn with_threads(text: String, _body: u32) -> String {
    text
}
