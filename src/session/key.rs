//! Keys as a terminal sends them.

/// A key that a terminal turns into bytes; the program's line discipline turns some of them into signals.
///
/// ```
/// use termleash::session::Key;
///
/// assert_eq!(Key::CtrlC, Key::ctrl('c').unwrap());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// Interrupts the foreground program: SIGINT, unless it reads keys itself.
    CtrlC,
    /// End of input, on an empty line: a shell exits.
    CtrlD,
    /// Stops the foreground program: SIGTSTP.
    CtrlZ,
    /// SIGQUIT.
    CtrlBackslash,
    /// Ends a line: a carriage return.
    Enter,
    /// Escape.
    Escape,
    /// Tab.
    Tab,
    /// Backspace: DEL, as terminals of today send it.
    Backspace,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Cursor right.
    Right,
    /// Cursor left.
    Left,
    /// Any other control character, by its byte.
    Control(u8),
}

impl Key {
    /// Ctrl with a letter or one of `@ [ \ ] ^ _`; `None` for what has no control character.
    pub fn ctrl(key: char) -> Option<Self> {
        let byte = u8::try_from(key.to_ascii_uppercase()).ok().filter(|byte| (b'@'..=b'_').contains(byte))?;
        Some(match byte - b'@' {
            3 => Self::CtrlC,
            4 => Self::CtrlD,
            26 => Self::CtrlZ,
            28 => Self::CtrlBackslash,
            13 => Self::Enter,
            27 => Self::Escape,
            9 => Self::Tab,
            control => Self::Control(control),
        })
    }

    /// What an xterm sends, cursor keys in their normal mode.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::CtrlC => b"\x03",
            Self::CtrlD => b"\x04",
            Self::CtrlZ => b"\x1a",
            Self::CtrlBackslash => b"\x1c",
            Self::Enter => b"\r",
            Self::Escape => b"\x1b",
            Self::Tab => b"\t",
            Self::Backspace => b"\x7f",
            Self::Up => b"\x1b[A",
            Self::Down => b"\x1b[B",
            Self::Right => b"\x1b[C",
            Self::Left => b"\x1b[D",
            Self::Control(byte) => std::slice::from_ref(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_the_letters_less_64() {
        for (letter, byte) in [('@', 0), ('a', 1), ('C', 3), ('d', 4), ('z', 26), ('[', 27), ('_', 31)] {
            assert_eq!(Key::ctrl(letter).unwrap().bytes(), [byte]);
        }
        assert!(Key::ctrl('1').is_none() && Key::ctrl('é').is_none());
    }
}
