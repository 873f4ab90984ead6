//! Where the heap profile of a test that fails is written, and under which name.
//!
//! In `TERMLEASH_PROFILES`; else in `tmp` of cargo's target directory, where cargo has the files of integration tests; else in the directory
//! for temporary files.

use crate::error::{Error, Result};
use crate::named_file::write_new;
use crate::probe::heap::named::HeapProfile;
use crate::settings::Settings;
use std::path::{Path, PathBuf};

/// Writes it for this test into a file of its own, and says where.
pub(crate) fn write_for(test: &str, profile: &HeapProfile) -> Result<PathBuf> {
    let directory = directory(Settings::from_env()?.profiles);
    let dhat = profile.to_dhat();
    write_new(&directory, "termleash-heap-", test, std::process::id(), dhat.as_bytes()).map_err(|cause| {
        let what = format!("write the heap profile of `{test}` into `{}`", directory.display());
        Error::os(what, "make room there, or set TERMLEASH_PROFILES to a directory that this user can write to", cause)
    })
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
