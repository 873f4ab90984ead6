//! The name that a server gives a session, refused where it could mean more than one.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longer ids are refused: no server makes them, and they go into URLs and command lines.
const LONGEST: usize = 256;

/// The id of a session, as its server knows it.
///
/// Ids come from servers and go into URLs and command lines, so what could climb a path, look like an option or be
/// read as a pattern in the middle of one is refused: the empty id, `.`, `..`, a leading `-`, the characters `/`,
/// `\` and `%`, white space, control characters, characters that are invisible or turn the direction of text, and
/// more than 256 bytes.
///
/// ```
/// use termleash::session::SessionId;
///
/// assert_eq!(SessionId::new("$2")?.as_str(), "$2");
/// for hostile in ["", "..", "-rf", "a/b", "a b", "%2e", "a\n"] {
///     assert!(SessionId::new(hostile).is_err());
/// }
/// # Ok::<(), termleash::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// # Errors
    ///
    /// [`Error::is_invalid_input`] if the id is hostile, as listed above.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        fn inner(id: String) -> Result<SessionId> {
            match objection(&id) {
                None => Ok(SessionId(id)),
                Some(why) => Err(Error::invalid(format!(
                    "the session id {id:.80?} {why}: it would not be safe in a URL or a command line; \
                     give the server's own id of the session, not its name or title"
                ))),
            }
        }
        inner(id.into())
    }

    /// The id as the server gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn objection(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        return Some("is empty");
    }
    if id == "." || id == ".." {
        return Some("means a directory");
    }
    if id.starts_with('-') {
        return Some("looks like an option");
    }
    if id.len() > LONGEST {
        return Some("is longer than 256 bytes");
    }
    id.chars().find_map(|char| match char {
        '/' | '\\' => Some("contains a path separator"),
        '%' => Some("contains a percent sign"),
        _ if char.is_whitespace() => Some("contains white space"),
        _ if char.is_control() => Some("contains a control character"),
        // Zero-width, direction marks, separators, the byte-order mark: two ids that look alike.
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            Some("contains an invisible character")
        }
        _ => None,
    })
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Pads as a table asks for.
        f.pad(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

impl TryFrom<&str> for SessionId {
    type Error = Error;

    fn try_from(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl TryFrom<String> for SessionId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self> {
        Self::new(id)
    }
}

/// A borrowed id is as good as an owned one.
impl From<&SessionId> for SessionId {
    fn from(id: &SessionId) -> Self {
        id.clone()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_of_real_servers_are_accepted() {
        for id in
            ["$2", "pty-1", "3f2b8c1e-8f61-4c55-9d4f-0c4a3a7f9d11", "@1.%2".split('%').next().unwrap(), "söhne", "a=b"]
        {
            assert_eq!(SessionId::new(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn hostile_ids_are_refused_with_the_reason() {
        for (id, why) in [
            ("", "is empty"),
            (".", "means a directory"),
            ("..", "means a directory"),
            ("-t", "looks like an option"),
            ("../x", "path separator"),
            ("a\\b", "path separator"),
            ("a%2fb", "percent"),
            ("a b", "white space"),
            ("a\u{a0}b", "white space"),
            ("a\0", "control"),
            ("a\x1b[2J", "control"),
            ("a\u{202e}b", "invisible"),
        ] {
            let error = SessionId::new(id).unwrap_err();
            assert!(error.is_invalid_input() && error.to_string().contains(why), "{id:?}: {error}");
            assert!(!error.to_string().contains(['\0', '\x1b']), "the message must not carry the attack");
        }
        assert!(SessionId::new("x".repeat(257)).is_err());
    }

    #[test]
    fn a_hostile_id_cannot_come_in_by_deserialisation() {
        assert!(serde_json::from_str::<SessionId>("\"../x\"").is_err());
        let id = SessionId::new("a-1").unwrap();
        assert_eq!(serde_json::from_str::<SessionId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_one_harmless_word(id in "\\PC{0,20}|[ -~]{0,20}") {
            if let Ok(id) = SessionId::new(id) {
                let id = id.as_str();
                prop_assert!(!id.is_empty() && !id.starts_with('-') && id != "." && id != "..");
                prop_assert!(!id.contains(['/', '\\', '%', '\0', '\n', ' ']));
            }
        }
    }
}
