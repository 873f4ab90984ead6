//! One record of a run's file: a line of its own, with a checksum of its own.
//!
//! ```text
//! <crc32 of the json, 8 hexadecimal digits> <json>\n
//! ```
//!
//! Each line stands alone. What a full disk cut short, or somebody wrote into the file, costs that line and none of its
//! neighbours, and is never taken for a record.

use crate::ledger::home::Home;
use crate::ledger::recipe::Recipe;
use crate::process::cgroup::CgroupMark;
use crate::process::cookie::Cookie;
use crate::process::identity::{ProcessIdentity, Ticks};
use serde::{Deserialize, Serialize, Serializer};
use std::io;
use uuid::Uuid;

/// The number of a session's records in their book.
pub(crate) type RecordId = u64;

/// The format that this release writes.
pub(crate) const FORMAT: u32 = 1;
/// The record of an isolated test's own process; those of its sessions follow.
pub(crate) const BODY_RECORD: RecordId = 0;
/// A text for a person is cut after so many characters. What names something is never cut: it could name another thing.
const LONGEST_TEXT: usize = 512;
/// A record with more bytes is refused, before it fills a disk.
const LONGEST_RECORD: usize = 64 << 10;
/// The same with its checksum and what ends it.
pub(crate) const LONGEST_LINE: usize = LONGEST_RECORD + 16;
/// Most lines are shorter than this many bytes.
const USUAL_LINE: usize = 512;

/// What the file of a run says, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Record {
    /// Whose run it is; the first of a file.
    Run {
        format: u32,
        run: Uuid,
        /// The test process, whose death makes the others worth reading.
        owner: ProcessIdentity,
        user: u32,
        /// The test's, or the program's.
        #[serde(serialize_with = "cut")]
        name: String,
        /// How long a creation that was in flight at the owner's death may still bear a session.
        create_within_ms: u64,
        since: Ticks,
    },
    /// Who watches the run; one more if it had to be started anew.
    Keeper { identity: ProcessIdentity },
    /// Before anybody is asked to create the session.
    Announced {
        id: RecordId,
        /// `None` for a session that was made by other means and handed to us.
        cookie: Option<Cookie>,
        since: Ticks,
        #[serde(serialize_with = "cut")]
        label: String,
        /// Where in the test's source.
        #[serde(serialize_with = "cut")]
        made_at: String,
        recipe: Recipe,
        /// Of a server: the directory that was made for it, and goes with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<Home>,
    },
    /// What came to be known of it since. What is `None` is not said, and takes nothing back.
    Identified {
        id: RecordId,
        leader: Option<ProcessIdentity>,
        /// Of a session that was handed over: its leader's start, in place of the announcement's time.
        since: Option<Ticks>,
        /// The server's id of it.
        session: Option<String>,
        /// The server that has made it, where that is known: its id means nothing to another.
        server: Option<ProcessIdentity>,
        /// The variable in which the server tells the session its id.
        variable: Option<String>,
    },
    /// The session's end is proven, or the test has taken it out of our hands.
    Forgotten { id: RecordId },
    /// A leaf of cgroup v2 that holds the run's body and its sessions, by its absolute path.
    Cgroup { group: CgroupMark },
    /// The keeper ends a session, which this process leads, because it went over a limit.
    Breached {
        leader: ProcessIdentity,
        #[serde(serialize_with = "cut")]
        what: String,
    },
    /// The run is kept for debugging.
    Kept,
    /// Somebody asks that a run that is kept be ended.
    Sweep,
}

fn cut<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((at, _)) => serializer.collect_str(&format_args!("{}…", &text[..at])),
        None => serializer.serialize_str(text),
    }
}

impl Record {
    /// Its line, newline included, after what is to stand before it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is longer than any that makes sense.
    pub(crate) fn to_line(&self, before: &[u8]) -> io::Result<Vec<u8>> {
        // One buffer for it all: this is on the way of each session's creation.
        let mut line = Vec::with_capacity(USUAL_LINE);
        line.extend_from_slice(before);
        line.extend_from_slice(b"________ ");
        let begin = line.len();
        serde_json::to_writer(&mut line, self)?;
        let length = line.len() - begin;
        if length > LONGEST_RECORD {
            let what = format!("a record of {length} bytes is too long: at most {LONGEST_RECORD}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let sum = checksum(&line[begin..]);
        line[before.len()..][..sum.len()].copy_from_slice(&sum);
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a line without its newline.
    fn from_line(line: &[u8]) -> Option<Self> {
        let (sum, rest) = line.split_at_checked(8)?;
        let json = rest.strip_prefix(b" ")?;
        // As text, so that each record has one spelling.
        (checksum(json) == sum).then(|| serde_json::from_slice(json).ok()).flatten()
    }
}

/// As its digits.
fn checksum(json: &[u8]) -> [u8; 8] {
    let sum = crc32fast::hash(json);
    std::array::from_fn(|at| b"0123456789abcdef"[(sum >> (28 - 4 * at)) as usize & 15])
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) records: Vec<Record>,
    /// Lines that are no record: torn, altered, or of a kind that this release does not know.
    pub(crate) damaged: usize,
}

/// All records in the content of a file. A last line without its newline is not finished: whoever wrote it was told that
/// it failed.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some([]) => {}
            Some(line) => match Record::from_line(line) {
                Some(record) => parsed.records.push(record),
                None => parsed.damaged += 1,
            },
            None => parsed.damaged += 1,
        }
    }
    parsed
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::process::identity::BootId;
    use proptest::prelude::*;

    pub(crate) fn identity(pid: u32) -> ProcessIdentity {
        ProcessIdentity { pid, started: 1234, boot: BootId(u128::MAX - 5), pid_namespace: 4026531836 }
    }

    fn group(path: String) -> CgroupMark {
        CgroupMark { path: path.clone().into(), kernel_path: path }
    }

    pub(crate) fn announced(id: RecordId) -> Record {
        let (label, made_at) = ("bash \"x\"\n\u{1b}[1m".to_owned(), "tests/a.rs:3:9".to_owned());
        Record::Announced {
            id,
            cookie: Some(Cookie::new()),
            since: 12,
            label,
            made_at,
            recipe: Recipe::Own,
            home: None,
        }
    }

    /// One of each, the run first.
    pub(crate) fn samples() -> Vec<Record> {
        let secret_variable = Some("TOKEN".to_owned());
        let (url, method) = ("http://[::1]:1/sessions/{id}".to_owned(), "DELETE".to_owned());
        let auth_header = Some("Authorization: Bearer {secret}".to_owned());
        let recipes = [
            Recipe::Http { url, method, auth_header, secret_variable: secret_variable.clone() },
            Recipe::Command {
                program: "tmux".into(),
                arguments: vec!["{id}".into()],
                secret_variable,
                id_prefix: Some("$".into()),
                gone_texts: vec!["no server".into()],
                refused_text: Some("refused".into()),
                id_variable: Some("ID".into()),
                removed_variables: vec!["TMUX".into()],
            },
            Recipe::Unknown { backend: "Mine".into() },
        ];
        let (run, name) = (Uuid::now_v7(), "a::test".to_owned());
        let mut records = vec![
            Record::Run { format: FORMAT, run, owner: identity(7), user: 0, name, create_within_ms: 5000, since: 11 },
            Record::Keeper { identity: identity(8) },
            announced(1),
            Record::Identified {
                id: 1,
                leader: Some(identity(9)),
                since: Some(u64::MAX),
                session: Some("$2".into()),
                server: Some(identity(6)),
                variable: Some("S".into()),
            },
            Record::Identified { id: 1, leader: None, since: None, session: None, server: None, variable: None },
            Record::Forgotten { id: u64::MAX },
            Record::Cgroup { group: group("/user.slice/termleash-1".into()) },
            Record::Breached { leader: identity(9), what: "memory".into() },
            Record::Kept,
            Record::Sweep,
        ];
        records.extend((2..).zip(recipes).map(|(id, recipe)| Record::Announced {
            id,
            cookie: None,
            since: 13,
            label: String::new(),
            made_at: String::new(),
            recipe,
            home: Some(Home::sample()),
        }));
        records
    }

    pub(crate) fn bytes(records: &[Record]) -> Vec<u8> {
        records.iter().flat_map(|record| record.to_line(b"").unwrap()).collect()
    }

    #[test]
    fn every_kind_comes_back_as_it_was_on_a_line_of_its_own() {
        for record in samples() {
            let line = record.to_line(b"").unwrap();
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "{record:?}");
            assert_eq!(parse(&line), Parsed { records: vec![record], damaged: 0 });
        }
        let all = samples();
        assert_eq!(parse(&bytes(&all)), Parsed { records: all, damaged: 0 });
    }

    #[test]
    fn a_line_is_what_an_older_release_wrote() {
        let line = Record::Forgotten { id: 44 }.to_line(b"").unwrap();
        let json = r#"{"kind":"forgotten","id":44}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())));
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_a_long_name_is_refused() {
        let Record::Announced { id, cookie, since, made_at, .. } = announced(1) else { unreachable!() };
        let long = |label: String, recipe| {
            let made_at = made_at.clone();
            Record::Announced { id, cookie, since, label, made_at, recipe, home: None }
        };
        let parsed = parse(&long("é".repeat(600), Recipe::Own).to_line(b"").unwrap());
        assert_eq!(parsed.records, [long("é".repeat(512) + "…", Recipe::Own)]);
        let recipe = Recipe::Unknown { backend: "x".repeat(LONGEST_RECORD) };
        assert_eq!(long(String::new(), recipe).to_line(b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_kind_of_a_later_release_is_counted_and_skipped_and_a_field_of_one_is_not_minded() {
        let line = |json: &str| format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        let text = line(r#"{"kind":"dreamt","id":1}"#) + "\n" + &line(r#"{"kind":"forgotten","id":1,"why":"x"}"#);
        assert_eq!(parse(text.as_bytes()), Parsed { records: vec![Record::Forgotten { id: 1 }], damaged: 1 });
    }

    #[test]
    fn a_torn_line_costs_itself_only() {
        let all = samples();
        let mut torn = all[0].to_line(b"").unwrap();
        let half = all[1].to_line(b"").unwrap();
        torn.extend(&half[..half.len() / 2]);
        assert_eq!(parse(&torn), Parsed { records: vec![all[0].clone()], damaged: 1 });
        torn.push(b'\n');
        torn.extend(all[2].to_line(b"").unwrap());
        assert_eq!(parse(&torn), Parsed { records: vec![all[0].clone(), all[2].clone()], damaged: 1 });
    }

    #[test]
    fn wherever_a_file_is_cut_the_complete_records_before_are_kept() {
        let all = samples();
        let whole = bytes(&all);
        for end in 0..=whole.len() {
            let complete = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            let rest = usize::from(end > 0 && whole[end - 1] != b'\n');
            assert_eq!(parse(&whole[..end]), Parsed { records: all[..complete].to_vec(), damaged: rest }, "{end}");
        }
    }

    #[test]
    fn no_altered_bit_makes_a_record_and_none_costs_more_than_two() {
        let all = samples();
        let mut altered = bytes(&all);
        for (at, bit) in (0..altered.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            altered[at] ^= 1 << bit;
            let parsed = parse(&altered);
            assert!(parsed.records.len() + 2 >= all.len() && parsed.damaged > 0, "byte {at}, bit {bit}");
            let mut written = all.iter();
            let is_as_written = parsed.records.iter().all(|record| written.any(|one| one == record));
            assert!(is_as_written, "byte {at}, bit {bit}: {:?}", parsed.records);
            altered[at] ^= 1 << bit;
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400) {
            let mut bytes = bytes(&samples()[..2]);
            bytes.splice(at.min(bytes.len())..at.min(bytes.len()), noise.iter().copied());
            let _ = parse(&bytes);
            prop_assert!(parse(&noise).records.is_empty());
        }

        #[test]
        fn any_json_with_a_good_checksum_is_read_without_a_panic(json in "[\\[\\]{}\":,a-z0-9 ]{0,80}") {
            let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
            let parsed = parse(line.as_bytes());
            prop_assert_eq!(parsed.records.len() + parsed.damaged, 1);
        }

        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let record = Record::Cgroup { group: group(text) };
            prop_assert_eq!(parse(&record.to_line(b"").unwrap()).records, [record]);
        }
    }
}
