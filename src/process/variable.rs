//! A server's own mark on the processes of a session: a variable that it sets to the session's id.

use memchr::memmem;
use uuid::Uuid;

/// `NAME=<id>` in the environment of what a session runs, where the id is one that is never given again.
///
/// A server that counts its sessions hands out the same id after a restart, so that a stranger's session would carry the
/// mark of ours. Only an id that is a UUID made of chance or time counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionVariable {
    /// As it stands in the environment.
    entry: Vec<u8>,
}

impl SessionVariable {
    /// `None` if the name is none, or the id could be another session's some day.
    pub(crate) fn new(name: &str, id: &str) -> Option<Self> {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_name && is_never_given_again(id)).then(|| Self { entry: format!("{name}={id}").into_bytes() })
    }

    /// Whether the content of a `/proc/PID/environ` has exactly this entry.
    pub(crate) fn is_in(&self, environ: &[u8]) -> bool {
        memmem::find_iter(environ, &self.entry).any(|position| {
            let begins = position == 0 || environ[position - 1] == 0;
            begins && environ.get(position + self.entry.len()).is_none_or(|next| *next == 0)
        })
    }
}

/// True for a UUID in its usual form that is made of chance or time (RFC 9562: versions 1, 4, 6 and 7). One that is made of a
/// name is the same for the same name, and those of all zeros and all ones are anybody's.
pub(crate) fn is_never_given_again(id: &str) -> bool {
    // The other forms that are parsed have other lengths.
    let uuid = if id.len() == 36 { Uuid::try_parse(id).ok() } else { None };
    uuid.is_some_and(|uuid| {
        matches!(uuid.get_version_num(), 1 | 4 | 6 | 7) && uuid.get_variant() == uuid::Variant::RFC4122
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d";

    #[test]
    fn it_is_found_as_a_whole_entry_only() {
        let variable = SessionVariable::new("SERVER_ID", ID).unwrap();
        let entry = format!("SERVER_ID={ID}");
        for environ in [
            entry.clone(),
            format!("{entry}\0A=b\0"),
            format!("A=b\0{entry}\0"),
            format!("A=b\0{entry}"),
            format!("X{entry}\0{entry}\0"),
        ] {
            assert!(variable.is_in(environ.as_bytes()), "{environ:?}");
        }
        for environ in [
            String::new(),
            format!("X{entry}\0"),
            format!("A={entry}\0"),
            format!("{entry}0\0"),
            format!("SERVER_ID=x{ID}\0"),
            entry.to_uppercase(),
            entry[..entry.len() - 1].to_owned(),
        ] {
            assert!(!variable.is_in(environ.as_bytes()), "{environ:?}");
        }
    }

    #[test]
    fn an_id_that_may_be_given_again_is_no_mark() {
        for id in [
            "",
            "1",
            "$0",
            "build",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            // Made of a name.
            "6fa459ea-ee8a-3ca4-894e-db77e160355e",
            "886313e1-3b8a-5372-9b90-0c9aee199e5d",
            // Another variant.
            "9b2e6a1c-4f0d-4b7a-cc3e-5d6f7a8b9c0d",
            "9b2e6a1c4f0d4b7a8c3e5d6f7a8b9c0d",
            "{9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d}",
            "urn:uuid:9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d",
            "9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0x",
            "9b2e6a1c4-f0d-4b7a-8c3e-5d6f7a8b9c0d",
        ] {
            assert!(SessionVariable::new("NAME", id).is_none(), "{id}");
        }
        for id in [
            ID,
            &ID.to_uppercase(),
            "01920000-0000-7000-8000-000000000001",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "1ec9414c-232a-6b00-b3c8-9e6bdeced846",
        ] {
            assert!(SessionVariable::new("NAME", id).is_some(), "{id}");
        }
        for name in ["", "A=B", "A\0", "a b"] {
            assert!(SessionVariable::new(name, ID).is_none(), "{name:?}");
        }
    }
}
