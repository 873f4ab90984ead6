//! Which directories and files are taken for ledgers, and which are not.

use super::*;
use crate::ledger::record::Record;
use crate::ledger::record::parse;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use tempfile::{TempDir, tempdir};

/// A place for a directory, which is not there yet.
fn place() -> (TempDir, PathBuf) {
    let parent = tempdir().unwrap();
    let path = parent.path().join("ledgers");
    (parent, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The error of opening it is a refusal that names the path, the cause and what to do.
#[track_caller]
fn refuses(path: &Path, cause: &str) {
    for error in [Directory::open(path).err(), Directory::open_existing(path).err()] {
        let error = error.expect("it was taken");
        let text = error.to_string();
        assert!(error.is_refused(), "{text}");
        let shown = without_slash(path).display().to_string();
        assert!(text.contains(&shown) && text.contains(cause) && text.contains("TERMLEASH_LEDGER"), "{text}");
    }
}

#[track_caller]
fn refuses_run(directory: &Directory, name: &str, cause: &str) {
    let error = directory.open_run(name).err().expect("it was taken");
    let text = error.to_string();
    assert!(error.is_refused() && text.contains(name) && text.contains(cause), "{text}");
}

#[test]
fn it_is_made_for_this_user_alone_and_the_last_one_out_removes_it() {
    let (_parent, path) = place();
    assert!(Directory::open_existing(&path).unwrap().is_none());
    let directory = Directory::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    let run = Uuid::now_v7();
    let name = Directory::name_of(run);
    let file = directory.create_run(run).unwrap();
    assert_eq!(mode(&path.join(&name)), 0o600);
    file.append(&Record::Kept).unwrap();
    fs::write(path.join("notes"), "").unwrap();
    let other = Directory::open_existing(&path).unwrap().unwrap();
    assert_eq!(other.list().unwrap().concat(), name);
    let read = other.open_run(&name).unwrap().unwrap().read_all().unwrap();
    assert_eq!(parse(&read).records, [Record::Kept]);
    other.remove(&name).unwrap();
    other.remove(&name).unwrap();
    assert!(other.open_run(&name).unwrap().is_none() && !file.is_still_linked().unwrap());
    directory.remove_if_empty().unwrap();
    assert!(path.exists(), "it was not empty");
    fs::remove_file(path.join("notes")).unwrap();
    directory.remove_if_empty().unwrap();
    assert!(!path.exists());
    other.remove_if_empty().unwrap();
    assert!(other.list().unwrap().is_empty());
}

#[test]
fn a_run_is_created_once() {
    let (_parent, path) = place();
    let (directory, run) = (Directory::open(&path).unwrap(), Uuid::now_v7());
    directory.create_run(run).unwrap();
    let error = directory.create_run(run).err().unwrap();
    assert!(error.to_string().contains(&Directory::name_of(run)) && error.raw_os_error().is_some(), "{error}");
}

#[test]
fn a_directory_that_was_removed_meanwhile_is_made_again() {
    let (_parent, path) = place();
    let directory = Directory::open(&path).unwrap();
    Directory::open(&path).unwrap().remove_if_empty().unwrap();
    assert!(!path.exists());
    let run = Uuid::now_v7();
    directory.create_run(run).unwrap();
    assert_eq!(directory.list().unwrap(), [Directory::name_of(run)]);
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn runs_that_come_and_go_at_once_do_not_trip_each_other() {
    let (_parent, path) = place();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let run = Uuid::now_v7();
                    let directory = Directory::open(&path).unwrap();
                    let file = directory.create_run(run).unwrap();
                    assert!(file.is_still_linked().unwrap());
                    directory.remove(&Directory::name_of(run)).unwrap();
                    directory.remove_if_empty().unwrap();
                }
            });
        }
    });
    assert!(!path.exists());
}

#[test]
fn a_directory_that_took_its_place_is_neither_written_to_nor_removed() {
    let (parent, path) = place();
    let directory = Directory::open(&path).unwrap();
    let aside = parent.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    let run = Uuid::now_v7();
    directory.create_run(run).unwrap();
    assert!(aside.join(Directory::name_of(run)).exists());
    directory.remove(&Directory::name_of(run)).unwrap();
    directory.remove_if_empty().unwrap();
    assert!(path.exists() && aside.exists());
}

#[test]
fn a_link_a_file_and_a_fifo_in_its_place_are_refused() {
    let (parent, path) = place();
    let real = parent.path().join("real");
    Directory::open(&real).unwrap();
    symlink(&real, &path).unwrap();
    refuses(&path, "symbolic link");
    refuses(&path.join(""), "symbolic link");
    refuses(&path.join("."), "symbolic link");
    fs::remove_file(&path).unwrap();
    symlink(parent.path().join("nowhere"), &path).unwrap();
    refuses(&path, "symbolic link");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    refuses(&path, "no directory");
    fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    refuses(&path, "no directory");
}

#[test]
fn one_that_others_can_use_is_refused_and_left_as_it_is() {
    let (_parent, path) = place();
    fs::create_dir(&path).unwrap();
    for open in [0o701, 0o710, 0o750, 0o777, 0o1777] {
        set_mode(&path, open);
        refuses(&path, "chmod 700");
        assert_eq!(mode(&path), open);
    }
    set_mode(&path, 0o700);
    Directory::open(&path).unwrap();
}

#[test]
fn one_of_another_user_is_refused() {
    let (_parent, path) = place();
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o700);
    // Only root can give it away; to anybody else the root directory is another user's.
    if chown(&path, Some(12345), None).is_ok() {
        refuses(&path, "user 12345");
    } else {
        refuses(Path::new("/"), "user 0");
    }
}

#[test]
fn without_a_parent_it_is_not_made() {
    let (_parent, path) = place();
    let error = Directory::open(&path.join("deeper")).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("deeper") && text.contains("No such file") && text.contains("TERMLEASH_LEDGER"), "{text}");
    assert!(!path.exists());
}

#[test]
fn what_is_no_file_of_our_own_with_one_name_is_no_ledger() {
    let (parent, path) = place();
    let directory = Directory::open(&path).unwrap();
    let at = |name: &str| path.join(name);
    let foreign = parent.path().join("foreign");
    fs::write(&foreign, "").unwrap();
    symlink(&foreign, at("link.ledger")).unwrap();
    fs::hard_link(&foreign, at("hard.ledger")).unwrap();
    mknodat(CWD, at("fifo.ledger"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.ledger")).unwrap();
    fs::create_dir(at("directory.ledger")).unwrap();
    for name in ["link", "fifo", "socket", "directory"] {
        refuses_run(&directory, &format!("{name}.ledger"), "no regular file");
    }
    refuses_run(&directory, "hard.ledger", "2 names");
    fs::write(at("theirs.ledger"), "").unwrap();
    if chown(at("theirs.ledger"), Some(12345), None).is_ok() {
        refuses_run(&directory, "theirs.ledger", "user 12345");
    }
    assert_eq!(directory.list().unwrap().len(), 6);
    for name in ["", "x", "../real.ledger", "/x.ledger", "a/b.ledger", "a\0.ledger"] {
        assert!(directory.open_run(name).err().unwrap().is_invalid_input());
        assert!(directory.remove(name).unwrap_err().is_invalid_input());
    }
}

#[test]
fn the_place_is_the_setting_or_the_run_time_directory_or_that_for_temporary_files() {
    let runtime = tempdir().unwrap();
    let temporary = Path::new("/tmp");
    let fallback = temporary.join(format!("termleash-{}", sys::own_uid()));
    let chosen = |runtime: &Path| choose(None, Some(runtime.into()), temporary);
    assert_eq!(choose(Some(Path::new("/a/b")), Some(runtime.path().into()), temporary), Path::new("/a/b"));
    assert_eq!(choose(None, None, temporary), fallback);
    set_mode(runtime.path(), 0o755);
    assert_eq!(chosen(runtime.path()), runtime.path().join("termleash"));
    set_mode(runtime.path(), 0o775);
    assert_eq!(chosen(runtime.path()), fallback);
    set_mode(runtime.path(), 0o700);
    let link = runtime.path().join("link");
    symlink(runtime.path(), &link).unwrap();
    for unfit in [link.as_path(), &runtime.path().join("missing"), Path::new("relative"), Path::new("")] {
        assert_eq!(chosen(unfit), fallback, "{}", unfit.display());
    }
    assert!(choose(None, None, Path::new("relative")).is_absolute());
}
