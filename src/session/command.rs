//! Running one command in a shell that is there already: how it is typed, and how its output is found again.
//!
//! The command is typed between two `printf`s that print marks no person and no other program prints: an escape
//! sequence with the number of this command. What is *typed* spells the escape as `\033`, so the terminal's echo of
//! it, wrapped and repainted as a line editor likes, never looks like a mark: everything before the first mark is
//! echo, and what is between the marks is the command's output.

use crate::error::{Error, Result};
use crate::session::text::strip;
use once_cell::sync::Lazy;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// A terminal in its usual mode drops what is beyond 4,095 bytes of a line (termios(3), "Canonical mode").
const LONGEST_LINE: usize = 4_095;

/// A private number after `ESC ]`, since terminals ignore operating system commands that they do not know, and what no
/// log of an earlier run that a command may print contains.
static OSC: Lazy<String> = Lazy::new(|| format!("5151;{:09x}", Uuid::new_v4().as_u64_pair().1 & ((1 << 36) - 1)));

/// An error in a special builtin, which `eval` is, ends the whole line in a POSIX shell, and with it our second mark.
/// `command` takes that away from it; zsh's `command` means something else, and its `builtin` does it.
const BUILTIN: &str = r#"termleash_run=command; [ -z "${ZSH_VERSION-}" ] || termleash_run=builtin"#;

/// What a command printed, and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    bytes: Vec<u8>,
    text: String,
    status: i32,
    dropped: u64,
}

impl CommandOutput {
    /// What it printed as text: without escape sequences and without the last line's end. A terminal has one stream,
    /// so what it wrote to standard error is here too, where it was written.
    pub fn stdout(&self) -> &str {
        &self.text
    }

    /// The bytes as they came from the terminal, which ends lines with `\r\n`.
    pub fn raw(&self) -> &[u8] {
        &self.bytes
    }

    /// The shell's `$?` after it: 0 to 255, 128 and the signal's number for one that a signal ended.
    pub fn status(&self) -> i32 {
        self.status
    }

    /// True if the status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// How many bytes of it were dropped, because it printed more than the session keeps.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped
    }
}

/// One command on its way.
pub(crate) struct Running {
    begin: Vec<u8>,
    end: Vec<u8>,
    /// What is to be typed.
    pub(crate) line: String,
    /// Position of the first byte of output, once the first mark was seen.
    output_from: Option<u64>,
    /// Position up to which marks were looked for.
    seen: u64,
    asked_at: u64,
}

impl Running {
    /// `position` is the end of the session's output at this moment.
    ///
    /// # Errors
    ///
    /// If the command contains a NUL, or is too long for a terminal's line.
    pub(crate) fn new(command: &str, position: u64) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if command.contains('\0') {
            return Err(Error::invalid(format!("the command {command:?} contains a NUL, which no shell can read")));
        }
        let osc = OSC.as_str();
        // The number is an argument: in the text of the typed line the mark is not there in one piece.
        let line = format!(
            " {BUILTIN}; printf '\\033]{osc};%s\\007' b{number}; $termleash_run {}; \
             printf '\\033]{osc};%s;%d\\007' e{number} \"$?\"\r",
            evaluated(command)
        );
        if line.len() > LONGEST_LINE {
            return Err(Error::invalid(format!(
                "the command is {} bytes long with its quoting, and a terminal's line holds {LONGEST_LINE}: \
                 write it to a file and run that",
                line.len()
            )));
        }
        Ok(Self {
            begin: format!("\x1b]{osc};b{number}\x07").into_bytes(),
            end: format!("\x1b]{osc};e{number};").into_bytes(),
            line,
            output_from: None,
            seen: position,
            asked_at: position,
        })
    }

    /// Where the next look begins: a mark may have come in two pieces.
    pub(crate) fn look_from(&self) -> u64 {
        self.seen
    }

    /// Looks at the output from [`look_from`](Self::look_from) on, which begins at `position` (later than asked for
    /// if the session dropped some); the command's output is given if its end is there. `kept` fetches what the
    /// session still has from a position on, and says where that begins.
    pub(crate) fn look(
        &mut self,
        position: u64,
        bytes: &[u8],
        kept: impl FnOnce(u64) -> (u64, Vec<u8>),
    ) -> Option<CommandOutput> {
        if self.output_from.is_none()
            && let Some(at) = memchr::memmem::find(bytes, &self.begin)
        {
            self.output_from = Some(position + (at + self.begin.len()) as u64);
        }
        let Some((at, status)) = self.find_end(bytes) else {
            let longest = self.begin.len().max(self.end.len() + "255\x07".len());
            self.seen = (position + bytes.len() as u64).saturating_sub(longest as u64).max(self.seen.min(position));
            return None;
        };
        let end = position + at as u64;
        // A first mark that was dropped before it was seen took some of the output with it.
        let from = self.output_from.unwrap_or(self.asked_at);
        let (start, mut output) = kept(from);
        output.truncate(end.saturating_sub(start) as usize);
        let text = strip(&output);
        Some(CommandOutput {
            text: text.strip_suffix('\n').unwrap_or(&text).to_owned(),
            bytes: output,
            status,
            dropped: start.saturating_sub(from),
        })
    }

    /// Where the last mark begins, and the status that it carries.
    fn find_end(&self, bytes: &[u8]) -> Option<(usize, i32)> {
        let at = memchr::memmem::find(bytes, &self.end)?;
        let rest = &bytes[at + self.end.len()..];
        let status = &rest[..memchr::memchr(0x07, rest)?];
        Some((at, std::str::from_utf8(status).ok()?.parse().ok()?))
    }
}

/// The command as an argument of `eval`, so that an open quote or bracket is the command's own error and not a shell
/// that waits for the rest. What a line editor would take as a key (tabs, escapes, line ends, and bytes above 127
/// where the locale has none) is spelled out for `printf %b`.
fn evaluated(command: &str) -> String {
    let is_plain = command.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_plain {
        return format!("eval '{}'", command.replace('\'', r"'\''"));
    }
    let mut spelled = String::with_capacity(command.len() * 2);
    for byte in command.bytes() {
        match byte {
            b'\\' => spelled.push_str(r"\\"),
            b'\'' => spelled.push_str(r"'\''"),
            b' '..=b'~' => spelled.push(byte.into()),
            _ => {
                let _ = write!(spelled, r"\0{byte:03o}");
            }
        }
    }
    format!(r#"eval "$(printf %b '{spelled}')""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(running: &mut Running, bytes: &[u8]) -> Option<CommandOutput> {
        let all = bytes.to_vec();
        running.look(0, bytes, |from| (from, all[from as usize..].to_vec()))
    }

    #[test]
    fn the_echo_is_not_the_output() {
        let mut running = Running::new("echo hi", 0).unwrap();
        let (begin, end) =
            (String::from_utf8(running.begin.clone()).unwrap(), String::from_utf8(running.end.clone()).unwrap());
        let echo = running.line.replace('\r', "\r\n");
        assert_eq!(finish(&mut running, format!("$ {echo}").as_bytes()), None);
        let output =
            finish(&mut running, format!("$ {echo}{begin}\x1b[1mhi\x1b[m\r\n{end}3\x07$ ").as_bytes()).unwrap();
        assert_eq!((output.stdout(), output.status(), output.dropped_bytes()), ("hi", 3, 0));
        assert_eq!(output.raw(), b"\x1b[1mhi\x1b[m\r\n");
    }

    #[test]
    fn marks_that_come_byte_by_byte_are_found() {
        let mut running = Running::new("x", 0).unwrap();
        let all = [&b"noise"[..], &running.begin, b"out\r\n", &running.end, b"0\x07"].concat();
        for length in 1..=all.len() {
            let from = running.look_from() as usize;
            let found = running.look(from as u64, &all[from..length], |at| (at, all[at as usize..].to_vec()));
            assert_eq!(found.is_some(), length == all.len(), "{length}");
            if let Some(output) = found {
                assert_eq!(output.stdout(), "out");
            }
        }
    }

    #[test]
    fn quotes_and_keys_are_spelled_harmlessly() {
        assert_eq!(evaluated("echo 'a b'"), r"eval 'echo '\''a b'\'''");
        assert_eq!(evaluated("a\tb\n\\é"), r#"eval "$(printf %b 'a\0011b\0012\\\0303\0251')""#);
    }

    #[test]
    fn what_a_line_cannot_hold_is_refused() {
        assert!(Running::new(&"x".repeat(5_000), 0).err().unwrap().to_string().contains("write it to a file"));
        assert!(Running::new("a\0", 0).err().unwrap().is_invalid_input());
    }
}
