//! A new file that is named after a test: its timeline, the profile of its heap.

use std::fs::{File, create_dir_all, remove_file};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of a test's name in that of its file: with what stands around it that may have 255.
const LONGEST_NAME: usize = 160;
/// How many files there may be of one test and process: it makes one for each call of `termleash::test`, or for each hunt.
const MOST: u32 = 10_000;

/// Writes it into a directory, which is made if it is missing: `<kind><test>-<pid>.json`, or with a number behind that where there is one
/// already.
///
/// # Errors
///
/// If it could not be written; then there is no half of it.
pub(crate) fn write_new(directory: &Path, kind: &str, test: &str, pid: u32, content: &[u8]) -> io::Result<PathBuf> {
    create_dir_all(directory)?;
    let stem = format!("{kind}{}-{pid}", plain(test));
    for number in 1..=MOST {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let path = directory.join(format!("{stem}{number}.json"));
        // Never one that is there: process ids come again, and a link may lead anywhere.
        match File::create_new(&path) {
            Ok(mut file) => {
                return file.write_all(content).map(|()| path.clone()).inspect_err(|_| {
                    // A half of one says nothing.
                    let _ = remove_file(&path);
                });
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(cause),
        }
    }
    Err(io::Error::other(format!("there are {MOST} files of this test already")))
}

/// What every file system and shell takes as it is.
fn plain(test: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let plain = test.chars().map(|c| if is_plain(c) { c } else { '_' }).take(LONGEST_NAME).collect::<String>();
    // Neither hidden nor an option, nor a directory above.
    let plain = plain.trim_start_matches(['.', '-']);
    if plain.is_empty() { "test".into() } else { plain.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_name_of_a_file() {
        for (name, file) in [
            ("it::a_test", "it__a_test"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("--help", "help"),
            ("größe 5 µs\n", "gr__e_5__s_"),
            ("a\0b", "a_b"),
            ("…", "_"),
            ("", "test"),
            ("..", "test"),
        ] {
            assert_eq!(plain(name), file, "{name:?}");
        }
        assert_eq!(plain(&"x".repeat(5000)).len(), LONGEST_NAME);
        let longest = format!("termleash-heap-{}-{}-{MOST}.json", "x".repeat(LONGEST_NAME), u32::MAX);
        assert!(longest.len() < 255);
    }

    #[test]
    fn every_one_gets_a_file_and_nothing_that_is_there_is_written_over() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("made/for it");
        let write = |test, content: &str| write_new(&directory, "of-", test, 7, content.as_bytes()).unwrap();
        let paths = [("a/b", "1"), ("a:b", "2"), ("a/b", "3")].map(|(test, content)| write(test, content));
        let names = paths.each_ref().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(names, ["of-a_b-7.json", "of-a_b-7-2.json", "of-a_b-7-3.json"]);
        let read = paths.each_ref().map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(read, ["1", "2", "3"]);
        let refused = write_new(&paths[0], "", "a", 7, b"it").unwrap_err();
        assert!(refused.kind() != io::ErrorKind::NotFound, "{refused}");
    }
}
