//! Why a body does not go on, for the one who has to mend it.

use crate::probe::locks;
use std::fmt::Write;
use std::time::Duration;

/// The test function has not come to its call.
pub(crate) fn before_the_call(body: u32, limit: Duration) -> String {
    let mut text = format!(
        "it did not come to `termleash::test` within {}. What stands outside of the closure runs in two processes, in the \
         test process first, which holds what it has taken there",
        humantime::format_duration(limit)
    );
    if let Some(lock) = locks::waits_for(body) {
        let path = lock.path.map_or_else(|| "a file".into(), |path| format!("{}", path.display()));
        let _ = write!(text, "; the second waits for the {} on {path}", lock.kind);
        if let Some(holder) = lock.holder {
            let _ = write!(text, ", which process {holder} holds");
        }
    }
    text += ": take locks, ports and the like inside of the closure, or run this test with `options().in_process()`";
    text
}

/// Its own watchdog did not end it.
pub(crate) fn in_the_call(timeout: Duration) -> String {
    format!(
        "it did not end within its deadline of {}, nor did its own watchdog end it",
        humantime::format_duration(timeout)
    )
}

/// Its clean-up is over, and it does not say what it came to.
pub(crate) fn at_its_judgement(limit: Duration) -> String {
    format!(
        "it did not report within {} after its clean-up: something blocks it, such as a thread of the test's that holds standard \
         output locked",
        humantime::format_duration(limit)
    )
}

/// It has reported, and does not end.
pub(crate) fn after_the_call(limit: Duration) -> String {
    format!(
        "it did not end within {} after its report: what stands behind the closure in the test function, or runs at the \
         end of the process, does not return",
        humantime::format_duration(limit)
    )
}
