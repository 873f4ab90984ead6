//! The beginning of a name: what a recorder keeps of one.

/// Bytes of a name.
pub(crate) const LONGEST_NAME: usize = 40;

/// The beginning of a name, in place.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; LONGEST_NAME],
    length: usize,
}

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let text = whole(text, LONGEST_NAME);
        let mut bytes = [0; LONGEST_NAME];
        bytes[..text.len()].copy_from_slice(text);
        Self { bytes, length: text.len() }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.as_bytes()).into_owned()
    }
}

/// So many bytes at most, and no half of a character.
pub(crate) fn whole(text: &str, most: usize) -> &[u8] {
    let length = (0..=text.len().min(most)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text.as_bytes()[..length]
}
