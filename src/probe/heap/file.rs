//! Where the heap profile of a test that fails is written, and under which name.
//!
//! In `TERMLEASH_PROFILES`; else in `tmp` of cargo's target directory, where cargo has the files of integration tests; else in the directory
//! for temporary files.

use crate::error::{Error, Result};
use crate::probe::heap::named::HeapProfile;
use crate::settings::Settings;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longer names of tests are cut: with what stands around it a file name may have 255 bytes.
const LONGEST_NAME: usize = 150;
/// A process that has written so many has written enough.
const MOST_FILES: usize = 1000;

/// Writes it for this test into a file of its own, and says where.
pub(crate) fn write_for(test: &str, profile: &HeapProfile) -> Result<PathBuf> {
    let directory = directory(Settings::from_env()?.profiles);
    write_into(&directory, test, profile).map_err(|cause| {
        let what = format!("write the heap profile of `{test}` into `{}`", directory.display());
        Error::os(what, "make room there, or set TERMLEASH_PROFILES to a directory that this user can write to", cause)
    })
}

fn write_into(directory: &Path, test: &str, profile: &HeapProfile) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let stem = format!("termleash-heap-{}-{}", plain(test), std::process::id());
    let mut last = io::ErrorKind::AlreadyExists.into();
    for number in 1..=MOST_FILES {
        let name = if number == 1 { format!("{stem}.json") } else { format!("{stem}-{number}.json") };
        let path = directory.join(name);
        // Never one that is there: process ids come again, and a link may lead anywhere.
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                return match file.write_all(profile.to_dhat().as_bytes()) {
                    Ok(()) => Ok(path),
                    Err(cause) => {
                        // A half of one says nothing.
                        let _ = std::fs::remove_file(&path);
                        Err(cause)
                    }
                };
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => last = cause,
            Err(cause) => return Err(cause),
        }
    }
    Err(last)
}

/// As part of a file's name on every system.
fn plain(test: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let one = |c| if is_plain(c) { c } else { '_' };
    test.replace("::", ".").chars().map(one).take(LONGEST_NAME).collect()
}

fn directory(setting: Option<PathBuf>) -> PathBuf {
    let program = || std::env::current_exe().ok();
    setting.or_else(|| target_of(&program()?)).unwrap_or_else(std::env::temp_dir)
}

/// `tmp` of the target directory that cargo has built this program in. Cargo names it to the compiler of an integration test, and nobody
/// when that runs; but it keeps a lock in the directory of a profile, which stands in that of the target, or one below for another system.
fn target_of(program: &Path) -> Option<PathBuf> {
    let profile = program.ancestors().skip(1).find(|above| above.join(".cargo-lock").is_file())?;
    let mut above = profile.ancestors().skip(1).take(2).map(|above| above.join("tmp"));
    // Cargo makes it for integration tests only.
    above.clone().find(|place| place.is_dir()).or_else(|| above.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_file_of_its_own_by_a_name_that_every_system_takes() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("made/for/it");
        let profile = HeapProfile::default();
        let names: Vec<String> = ["my::tests::it_leaks", "my::tests::it_leaks", "a/../b: c", &"ä".repeat(400)]
            .map(|test| write_into(&directory, test, &profile).unwrap())
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .into();
        let pid = std::process::id();
        let expected = [
            format!("termleash-heap-my.tests.it_leaks-{pid}.json"),
            format!("termleash-heap-my.tests.it_leaks-{pid}-2.json"),
            format!("termleash-heap-a_.._b__c-{pid}.json"),
            format!("termleash-heap-{}-{pid}.json", "_".repeat(150)),
        ];
        assert_eq!(names, expected);
        for name in names {
            let text = std::fs::read_to_string(directory.join(name)).unwrap();
            assert!(text.contains("\"dhatFileVersion\":2"), "{text}");
        }
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join(format!("termleash-heap-x-{}.json", std::process::id()));
        std::fs::write(&victim, "mine").unwrap();
        let written = write_into(place.path(), "x", &HeapProfile::default()).unwrap();
        assert_ne!(written, victim);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
        let refused = write_into(&victim, "x", &HeapProfile::default()).unwrap_err();
        assert!(refused.kind() != io::ErrorKind::NotFound, "{refused}");
    }

    #[test]
    fn the_users_word_holds_and_else_cargos_directory() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("target/debug/deps/it-0123");
        assert_eq!(target_of(&program), None, "no build is marked there");
        let target = place.path().join("target");
        for profile in ["debug", "x86_64-unknown-linux-musl/release"] {
            std::fs::create_dir_all(target.join(profile)).unwrap();
            std::fs::write(target.join(profile).join(".cargo-lock"), "").unwrap();
        }
        assert_eq!(target_of(&program), Some(target.join("tmp")), "it will be made");
        std::fs::create_dir(target.join("tmp")).unwrap();
        assert_eq!(target_of(&program), Some(target.join("tmp")));
        let other = target.join("x86_64-unknown-linux-musl/release/deps/it-0123");
        assert_eq!(target_of(&other), Some(target.join("tmp")));
        assert_eq!(directory(Some(place.path().into())), place.path());
    }
}
