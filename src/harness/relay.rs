//! The body's output, printed again by the test's own thread, so that libtest captures it as this test's.

use crate::sys::{self, AsFd as _, BorrowedFd, OwnedFd};
use std::io::Write;

/// How much is kept of what is printed around the body's own part: shown only if that is all there is.
const MOST_AROUND: usize = 16 << 10;
/// How much of a stream is printed at once, at least all that a pipe holds (/proc/sys/fs/pipe-max-size): what goes on printing
/// without end must not keep anybody from hearing how the test ended.
const MOST_AT_ONCE: usize = 1 << 20;

/// The reading ends.
pub(crate) struct Relay {
    output: Stream,
    errors: Stream,
    /// libtest's own lines, and what the function prints outside of the closure, which the runner's copy prints, too.
    around: Stream,
    kept: Vec<u8>,
    /// What was printed last, of all streams.
    last: String,
    /// libtest has announced the test as one that is to panic.
    expects_panic: bool,
    is_mute: bool,
}

/// The writing ends, to be passed on.
pub(crate) struct Ends {
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
    pub(crate) around: OwnedFd,
}

struct Stream {
    /// `None` once everybody has closed the other end.
    fd: Option<OwnedFd>,
    /// The beginning of a character whose rest has not come.
    pending: Vec<u8>,
}

impl Relay {
    pub(crate) fn new() -> std::io::Result<(Self, Ends)> {
        let [(output, to_output), (errors, to_errors), (around, to_around)] =
            [sys::pipe()?, sys::pipe()?, sys::pipe()?];
        let stream = |fd| Stream { fd: Some(fd), pending: Vec::new() };
        let relay = Self {
            output: stream(output),
            errors: stream(errors),
            around: stream(around),
            kept: Vec::new(),
            last: String::new(),
            expects_panic: false,
            is_mute: false,
        };
        Ok((relay, Ends { output: to_output, errors: to_errors, around: to_around }))
    }

    /// What to wait for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.output, &self.errors, &self.around].into_iter().filter_map(|stream| Some(stream.fd.as_ref()?.as_fd()))
    }

    /// Prints what has come, without waiting for more: whoever outlives the body may hold a pipe open for ever.
    pub(crate) fn print(&mut self) {
        let is_mute = self.is_mute;
        let last = &mut self.last;
        self.output.take(|text| {
            keep_end(last, text);
            if !is_mute {
                print!("{text}")
            }
        });
        self.errors.take(|text| {
            keep_end(last, text);
            if !is_mute {
                eprint!("{text}")
            }
        });
        let before = self.kept.len();
        let kept = &mut self.kept;
        self.around.take(|text| {
            keep_end(last, text);
            kept.extend_from_slice(text.as_bytes());
        });
        // Mostly nothing has come: it is the body's own part that prints.
        if kept.len() > before {
            self.expects_panic |= String::from_utf8_lossy(kept).lines().any(announces_panic);
            let surplus = kept.len().saturating_sub(MOST_AROUND);
            kept.drain(..surplus);
        }
    }

    /// Prints to the end of what there is.
    pub(crate) fn finish(&mut self) {
        self.print();
        self.output.flush(|text| print!("{text}"));
        self.errors.flush(|text| eprint!("{text}"));
        flush();
    }

    /// Reads on, and prints nothing more: standard output may be closed, and a second panic would abort.
    pub(crate) fn mute(&mut self) {
        self.is_mute = true;
    }

    /// True for a test with `#[should_panic]`.
    pub(crate) fn expects_panic(&self) -> bool {
        self.expects_panic
    }

    /// What was printed last, for whoever asks of what the body has died.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// What was printed around the body's own part, without what libtest says of a run.
    pub(crate) fn around(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let lines = text.lines().filter_map(without_libtests).filter(|line| !line.is_empty());
        lines.map(|line| format!("    | {line}\n")).collect()
    }
}

/// Half of it is given up at once, so that a flood is not moved again and again.
fn keep_end(last: &mut String, text: &str) {
    last.push_str(text);
    if last.len() > 2 * MOST_AROUND {
        let from = (last.len() - MOST_AROUND..).find(|at| last.is_char_boundary(*at)).unwrap_or(last.len());
        last.drain(..from);
    }
}

/// As libtest writes it before it runs the one test, which runs on no other thread's behalf.
fn announces_panic(line: &str) -> bool {
    line.starts_with("test ") && line.contains(" - should panic ... ")
}

/// What a line says beside what libtest says; an error that a function returns stands behind the test's name.
fn without_libtests(line: &str) -> Option<&str> {
    if line.starts_with("running ") || line.starts_with("test result: ") {
        return None;
    }
    if line.starts_with("test ") { Some(line.split_once(" ... ")?.1) } else { Some(line) }
}

impl Stream {
    fn take(&mut self, mut tell: impl FnMut(&str)) {
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while let Some(fd) = self.fd.as_ref().filter(|_| taken <= MOST_AT_ONCE) {
            match sys::read_now(fd.as_fd(), &mut buffer) {
                Ok(None) => return,
                Ok(Some(0)) | Err(_) => self.fd = None,
                Ok(Some(count)) => {
                    taken += count;
                    self.pending.extend_from_slice(&buffer[..count]);
                    let whole = whole_characters(&self.pending);
                    tell(&String::from_utf8_lossy(&self.pending[..whole]));
                    self.pending.drain(..whole);
                }
            }
        }
    }

    fn flush(&mut self, mut tell: impl FnMut(&str)) {
        if !self.pending.is_empty() {
            tell(&String::from_utf8_lossy(&self.pending));
            self.pending.clear();
        }
    }
}

/// How many bytes can be shown: all but a character at the end that is not whole.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // No length: more bytes could make it whole.
        Err(cause) if cause.error_len().is_none() => cause.valid_up_to(),
        // Nonsense is shown as such; what stands after it may be cut.
        Err(cause) => {
            let after = cause.valid_up_to() + cause.error_len().unwrap_or(1);
            after + whole_characters(&bytes[after..])
        }
    }
}

/// The test process's own standard error, to be passed on for what nobody is to capture.
pub(crate) fn standard_error() -> std::io::Result<OwnedFd> {
    // A test may have closed it.
    std::io::stderr().as_fd().try_clone_to_owned().or_else(|_| sys::null())
}

/// In a body: where standard output and standard error go from now on.
pub(crate) fn turn_output(output: i32, errors: i32) {
    flush();
    for (from, to) in [(output, 1), (errors, 2)] {
        sys::redirect_number(from, to);
    }
}

/// Sends on what was printed and kept.
pub(crate) fn flush() {
    // There is nobody to tell that standard output is closed.
    let _ = std::io::stdout().flush();
    sys::flush_c_output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_waits_for_its_rest_and_nonsense_does_not() {
        let text = "a→b".as_bytes();
        assert_eq!(whole_characters(&text[..2]), 1);
        assert_eq!(whole_characters(&text[..3]), 1);
        assert_eq!(whole_characters(text), 5);
        assert_eq!(whole_characters(b"a\xffb"), 3);
        assert_eq!(whole_characters(b"a\xff\xe2\x86"), 2);
        assert_eq!(whole_characters(b""), 0);
    }

    #[test]
    fn the_end_of_a_flood_is_kept_whole() {
        let mut last = String::new();
        for number in 0..20_000 {
            keep_end(&mut last, &format!("é{number}\n"));
        }
        assert!(last.ends_with("é19998\né19999\n") && (MOST_AROUND - 1..=2 * MOST_AROUND).contains(&last.len()));
    }

    #[test]
    fn libtests_own_lines_are_not_shown() {
        let (mut relay, _ends) = Relay::new().unwrap();
        relay.kept =
            b"\nrunning 1 test\ntest x ... \nboom\n\ntest y ... Error: \"why\"\n\ntest result: FAILED. 0 passed\n"
                .to_vec();
        assert_eq!(relay.around(), "    | boom\n    | Error: \"why\"\n");
    }
}
