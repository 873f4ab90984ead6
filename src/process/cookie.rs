//! The mark that a session's processes carry in their environment.

use memchr::memmem;
use once_cell::sync::{Lazy, OnceCell};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// What every cookie's variable begins with; 16 hexadecimal digits follow.
const PREFIX: &str = "TERMLEASH_S_";

/// A mark for one session: a variable of its own, `TERMLEASH_S_<16 hexadecimal digits>=<run id>`.
///
/// Each session has its own *variable*, not its own value of a common one: a session in which a nested test suite
/// runs then keeps its outer mark beside the inner one, and both suites find what is theirs.
///
/// It is found in the environment that /proc shows, the one that a process had at its exec, unless it has written over
/// that memory, as daemons do that set their title. `env -i`, `sudo` and a daemon that cleans its environment drop it, and a long-lived daemon hands it on to what it starts for others. So a cookie alone never
/// decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cookie {
    session: u64,
    run: Uuid,
}

impl Cookie {
    pub(crate) fn new() -> Self {
        // The last eight bytes of a v4 UUID: two of their bits are fixed, 62 are random.
        Self { session: Uuid::new_v4().as_u64_pair().1, run: run_id() }
    }

    /// The variable's name.
    pub fn name(&self) -> String {
        format!("{PREFIX}{:016x}", self.session)
    }

    /// The variable's value: the id of this run of the test process.
    pub fn value(&self) -> String {
        self.run.simple().to_string()
    }

    /// All cookies in the content of a `/proc/PID/environ`. What is not exactly of our form is none.
    pub(crate) fn find_all(environ: &[u8]) -> impl Iterator<Item = Self> {
        static FINDER: Lazy<memmem::Finder<'static>> = Lazy::new(|| memmem::Finder::new(PREFIX));
        FINDER.find_iter(environ).filter_map(|position| {
            // Only at the beginning of an entry: `X=TERMLEASH_S_…` is a value of somebody's.
            let begins = position == 0 || environ[position - 1] == 0;
            begins.then(|| Self::parse(&environ[position + PREFIX.len()..])).flatten()
        })
    }

    /// Reads `<16 digits>=<32 digits>` up to the entry's NUL, or the end.
    fn parse(entry: &[u8]) -> Option<Self> {
        let entry = &entry[..memchr::memchr(0, entry).unwrap_or(entry.len())];
        let (session, run) = (entry.get(..16)?, entry.get(17..49)?);
        if entry.len() != 49 || entry[16] != b'=' || !session.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let session = u64::from_str_radix(std::str::from_utf8(session).ok()?, 16).ok()?;
        Some(Self { session, run: Uuid::try_parse_ascii(run).ok()? })
    }
}

/// One id for all sessions of this process; v7, so that runs sort by time.
static RUN: OnceCell<Uuid> = OnceCell::new();

/// The id of this process's run.
pub(crate) fn run_id() -> Uuid {
    *RUN.get_or_init(Uuid::now_v7)
}

/// Makes this process one of a run that another has begun; before its first cookie.
pub(crate) fn join_run(run: Uuid) {
    let _ = RUN.set(run);
}

/// True for a variable that a session may inherit although it is one of ours: the cookie of an outer suite.
pub(crate) fn is_cookie_name(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// As it stands in the environment, `NAME=value`.
impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name(), self.value())
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environ(entries: &[&str]) -> Vec<u8> {
        entries.iter().flat_map(|entry| [entry.as_bytes(), b"\0"].concat()).collect()
    }

    #[test]
    fn is_found_among_others_and_beside_another() {
        let (outer, inner) = (Cookie::new(), Cookie::new());
        let environ = environ(&["PATH=/bin", &outer.to_string(), "A=b", &inner.to_string()]);
        assert_eq!(Cookie::find_all(&environ).collect::<Vec<_>>(), [outer, inner]);
        assert_ne!(outer.name(), inner.name());
    }

    #[test]
    fn is_not_found_where_it_is_not_exactly_itself() {
        let cookie = Cookie::new();
        let (name, value) = (cookie.name(), cookie.value());
        for entry in [
            format!("X={cookie}"),
            format!("X{cookie}"),
            format!("{name}="),
            format!("{name}={value}0"),
            format!("{name}0={value}"),
            format!("{name} {value}"),
            name[..20].to_owned(),
        ] {
            assert_eq!(Cookie::find_all(&environ(&[&entry])).count(), 0, "{entry}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_environ(bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0usize..70) {
            let cookie = Cookie::new().to_string();
            let mut environ = cookie.as_bytes()[..cut.min(cookie.len())].to_vec();
            environ.extend(bytes);
            let _ = Cookie::find_all(&environ).count();
        }
    }
}
