//! The timeline of one test as a file of its own.

use crate::error::{Error, Result};
use crate::event::Timeline;
use std::fs::{File, create_dir_all, remove_file};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of a test's name in that of its file: file systems take 255 in all.
const LONGEST_NAME: usize = 160;
/// How many files of one test and process there may be: it makes one for each call of `termleash::test`.
const MOST: u32 = 10_000;

/// Writes it to a new file in a directory, which is made if it is missing: `<test>-<pid>.json`, or with a number behind that where there is one
/// already.
///
/// # Errors
///
/// If it could not be written, with the cause; then there is no half of it.
pub(crate) fn write(directory: &Path, timeline: &Timeline, pid: u32) -> Result<PathBuf> {
    let name = safe(timeline.test.as_deref().unwrap_or_default());
    let failed = |path: &Path, cause: io::Error| {
        let what = format!("write the timeline of the test to {}", path.display());
        Error::os(what, "make the directory that TERMLEASH_TIMELINES names writable, or unset it", cause)
    };
    create_dir_all(directory).map_err(|cause| failed(directory, cause))?;
    for number in 1..=MOST {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let path = directory.join(format!("{name}-{pid}{number}.json"));
        match File::create_new(&path) {
            Ok(mut file) => {
                let written = file.write_all(format!("{}\n", timeline.to_json()).as_bytes());
                return written.map(|()| path.clone()).map_err(|cause| {
                    let _ = remove_file(&path);
                    failed(&path, cause)
                });
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(failed(&path, cause)),
        }
    }
    Err(failed(directory, io::Error::other(format!("there are {MOST} files of this test already"))))
}

/// What every file system and shell takes as it is; the whole name stands in the file.
fn safe(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let plain = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(LONGEST_NAME).collect::<String>();
    // Neither hidden nor an option, nor a directory above.
    let plain = plain.trim_start_matches(['.', '-']);
    if plain.is_empty() { "test".into() } else { plain.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(test: &str) -> Timeline {
        Timeline { test: Some(test.into()), ..Timeline::default() }
    }

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
            assert_eq!(safe(name), file, "{name:?}");
        }
        assert_eq!(safe(&"x".repeat(5000)).len(), LONGEST_NAME);
    }

    #[test]
    fn every_one_gets_a_file_and_none_is_written_over() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("made/for it");
        let paths = ["a/b", "a:b", "a/b"].map(|name| write(&directory, &of(name), 7).unwrap());
        let names = paths.each_ref().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(names, ["a_b-7.json", "a_b-7-2.json", "a_b-7-3.json"]);
        for (path, name) in paths.iter().zip(["a/b", "a:b", "a/b"]) {
            let text = std::fs::read_to_string(path).unwrap();
            assert_eq!(Timeline::from_json(&text).unwrap().test.as_deref(), Some(name));
        }
    }

    #[test]
    fn what_cannot_be_written_says_why_and_what_to_do() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let text = write(&file, &of("a"), 7).unwrap_err().to_string();
        assert!(text.contains("a file") && text.contains("TERMLEASH_TIMELINES"), "{text}");
    }
}
