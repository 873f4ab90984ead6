//! The timeline of one test as a file of its own.

use crate::error::{Error, Result};
use crate::event::Timeline;
use crate::named_file::write_new;
use std::path::{Path, PathBuf};

/// Writes it to a new file in a directory, which is made if it is missing: `<test>-<pid>.json`, or with a number behind that where there is one
/// already.
///
/// # Errors
///
/// If it could not be written, with the cause; then there is no half of it.
pub(crate) fn write(directory: &Path, timeline: &Timeline, pid: u32) -> Result<PathBuf> {
    let (test, text) = (timeline.test.as_deref().unwrap_or_default(), timeline.to_json() + "\n");
    write_new(directory, "", test, pid, text.as_bytes()).map_err(|cause| {
        let what = format!("write the timeline of the test into {}", directory.display());
        Error::os(what, "make the directory that TERMLEASH_TIMELINES names writable, or unset it", cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(test: &str) -> Timeline {
        Timeline { test: Some(test.into()), ..Timeline::default() }
    }

    #[test]
    fn its_file_has_the_whole_name() {
        let top = tempfile::tempdir().unwrap();
        let path = write(&top.path().join("made"), &of("a/b"), 7).unwrap();
        assert_eq!(path, top.path().join("made/a_b-7.json"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(Timeline::from_json(&text).unwrap().test.as_deref(), Some("a/b"));
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
