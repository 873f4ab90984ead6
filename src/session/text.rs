//! A terminal's output as text: what a person would read, without the escape sequences that place and colour it.

use anstyle_parse::{DefaultCharAccumulator, Parser, Perform};

/// Bytes in, text out, in any pieces.
///
/// Escape sequences are removed; `\r\n` becomes a line's end, and so does a `\r` alone, with which progress bars write
/// a line anew; a backspace takes back a character; bytes that are no UTF-8 become U+FFFD.
#[derive(Default)]
pub(crate) struct Stripper {
    parser: Parser<DefaultCharAccumulator>,
    text: Text,
    /// The beginning of a character whose rest has not come yet, at most three bytes.
    begun: Vec<u8>,
}

#[derive(Default)]
struct Text {
    text: String,
    after_return: bool,
}

impl Stripper {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let joined = [&std::mem::take(&mut self.begun), bytes].concat();
        let mut rest = &joined[..];
        while let Err(cause) = std::str::from_utf8(rest) {
            let (valid, after) = rest.split_at(cause.valid_up_to());
            self.advance(valid);
            let Some(invalid) = cause.error_len() else {
                self.begun = after.to_vec();
                return;
            };
            self.advance("\u{fffd}".as_bytes());
            rest = &after[invalid..];
        }
        self.advance(rest);
    }

    fn advance(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.parser.advance(&mut self.text, *byte);
        }
    }

    /// The text so far; what is not drained stays.
    pub(crate) fn text(&self) -> &str {
        &self.text.text
    }

    /// Forgets all but the last `keep` bytes, or a few more.
    pub(crate) fn keep_last(&mut self, keep: usize) {
        let text = &mut self.text.text;
        let mut from = text.len().saturating_sub(keep);
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        text.drain(..from);
    }

    fn into_text(mut self) -> String {
        if !self.begun.is_empty() {
            self.advance("\u{fffd}".as_bytes());
        }
        self.text.end_return();
        self.text.text
    }
}

/// The text of a whole output.
pub(crate) fn strip(bytes: &[u8]) -> String {
    let mut stripper = Stripper::default();
    stripper.feed(bytes);
    stripper.into_text()
}

impl Text {
    fn end_return(&mut self) {
        if std::mem::take(&mut self.after_return) {
            self.text.push('\n');
        }
    }
}

impl Perform for Text {
    fn print(&mut self, char: char) {
        self.end_return();
        self.text.push(char);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.after_return = false;
                self.text.push('\n');
            }
            b'\r' => self.after_return = true,
            b'\t' => self.print('\t'),
            0x08 if !self.text.ends_with('\n') => drop(self.text.pop()),
            _ => {}
        }
    }
}

/// The last lines of an output, for a failure: at most `most`, empty ones at the end left out.
pub(crate) fn last_lines(bytes: &[u8], most: usize) -> String {
    let text = strip(bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let shown = &lines[lines.len().saturating_sub(most)..];
    shown.iter().map(|line| format!("  | {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_person_reads_stays() {
        for (bytes, text) in [
            (&b"\x1b[31mred\x1b[0m\r\n$ "[..], "red\n$ "),
            (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
            (b"10%\r20%\r\n", "10%\n20%\n"),
            (b"ab\x08c", "ac"),
            (b"caf\xc3\xa9 \xff!", "café \u{fffd}!"),
            (b"a\tb\x07", "a\tb"),
            (b"\x1b[?2004h$ \x1b[K", "$ "),
        ] {
            assert_eq!(strip(bytes), text);
        }
    }

    #[test]
    fn a_failure_shows_the_last_lines_only() {
        assert_eq!(last_lines(b"1\r\n2\r\n\x1b[1m3\x1b[m\r\n\r\n", 2), "  | 2\n  | 3\n");
        assert_eq!(last_lines(b"", 2), "");
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0usize..60) {
            let cut = cut.min(bytes.len());
            let mut stripper = Stripper::default();
            stripper.feed(&bytes[..cut]);
            stripper.feed(&bytes[cut..]);
            prop_assert_eq!(stripper.into_text(), strip(&bytes));
        }

        #[test]
        fn no_escape_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(!strip(&bytes).contains('\x1b'));
        }
    }
}
