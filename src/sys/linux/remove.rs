//! Removing a whole directory, and nothing that only looks as if it were in it.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

const ENTRIES: usize = 4 << 10;
/// Each level costs a descriptor.
const MOST_LEVELS: usize = 100;
/// A process that is about to end may make files while they are removed.
const MOST_TRIES: usize = 20;

/// Removes the directory of this name in `parent` with everything in it. Links are removed and not followed, and another
/// file system that is mounted in it is an error and not touched.
///
/// # Errors
///
/// `PermissionDenied` if it does not belong to `owner`; `NotADirectory` if it is none, a symbolic link included; `CrossesDevices`
/// for a mount, and for one that is a mount itself; those of unlinkat(2). What could be removed is removed.
pub(crate) fn remove_tree(parent: &Path, name: &str, owner: u32) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
    let top = open_below(parent.as_fd(), name.as_bytes())?;
    if rustix::fs::fstat(&top)?.st_uid != owner {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    empty(top.as_fd(), MOST_LEVELS)?;
    Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
}

/// A directory in another, on the same mount.
fn open_below(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    open_below_for(OFlags::RDONLY, directory, name)
}

fn open_below_for(access: OFlags, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let opened = match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
        // Linux before 5.6, or a filter of system calls: another mount of the same file system is not told apart then.
        Err(Errno::NOSYS | Errno::PERM) => {
            let opened = rustix::fs::openat(directory, name, flags, Mode::empty())?;
            let device = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|found| found.st_dev);
            if device(opened.as_fd())? == device(directory)? { Ok(opened) } else { Err(Errno::XDEV) }
        }
        opened => opened,
    };
    opened.map_err(|cause| match cause {
        Errno::LOOP => io::ErrorKind::NotADirectory.into(),
        cause => cause.into(),
    })
}

fn empty(directory: BorrowedFd<'_>, levels: usize) -> io::Result<()> {
    let mut failed = None;
    for _ in 0..MOST_TRIES {
        let names = names(directory)?;
        if names.is_empty() {
            return Ok(());
        }
        failed = None;
        for name in names {
            if let Err(cause) = remove_entry(directory, &name, levels) {
                failed = failed.or(Some(cause));
            }
        }
        if failed.as_ref().is_some_and(|cause| cause.kind() != io::ErrorKind::DirectoryNotEmpty) {
            break;
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::DirectoryNotEmpty.into()))
}

fn remove_entry(directory: BorrowedFd<'_>, (name, kind): &(Vec<u8>, FileType), levels: usize) -> io::Result<()> {
    let mut is_directory = *kind == FileType::Directory;
    if !is_directory {
        match rustix::fs::unlinkat(directory, &name[..], AtFlags::empty()) {
            // Replaced since, or a file system that does not say what it is.
            Err(Errno::ISDIR | Errno::PERM) => is_directory = true,
            Err(Errno::ACCESS) => {
                make_writable(directory)?;
                rustix::fs::unlinkat(directory, &name[..], AtFlags::empty())?;
            }
            Err(Errno::NOENT) | Ok(()) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    if !is_directory {
        return Ok(());
    }
    let Some(levels) = levels.checked_sub(1) else {
        return Err(io::Error::other("its directories are nested too deep"));
    };
    let below = match open_below(directory, name) {
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            make_passable(directory, name)?;
            open_below(directory, name)?
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    empty(below.as_fd(), levels)?;
    match rustix::fs::unlinkat(directory, &name[..], AtFlags::REMOVEDIR) {
        Err(Errno::ACCESS) => {
            make_writable(directory)?;
            rustix::fs::unlinkat(directory, &name[..], AtFlags::REMOVEDIR)?;
        }
        Err(Errno::NOENT) => {}
        removed => removed?,
    }
    Ok(())
}

/// One that cannot be opened can be changed by its owner: held first, so that it is not somebody's directory that a link leads
/// to by now, then by way of /proc, since fchmod(2) takes no descriptor that only holds.
fn make_passable(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let held = open_below_for(OFlags::PATH, directory, name)?;
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), Mode::RWXU)?)
}

/// One whose owner has taken the right away from itself.
fn make_writable(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fchmod(directory, Mode::RWXU)?)
}

fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, FileType)>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = match rustix::fs::openat(directory, ".", flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            make_writable(directory)?;
            rustix::fs::openat(directory, ".", flags, Mode::empty())?
        }
        opened => opened?,
    };
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; ENTRIES];
    let mut entries = RawDir::new(&listing, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn uid() -> u32 {
        super::super::own_uid()
    }

    #[test]
    fn everything_in_it_goes_and_nothing_that_a_link_leads_to() {
        let place = tempfile::tempdir().unwrap();
        let (top, other) = (place.path().join("tl-x"), place.path().join("other"));
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("theirs"), "x").unwrap();
        fs::write(top.join("a/b/file"), "x").unwrap();
        symlink(&other, top.join("a/link")).unwrap();
        symlink(other.join("theirs"), top.join("a/b/link")).unwrap();
        fs::hard_link(other.join("theirs"), top.join("hard")).unwrap();
        fs::create_dir(top.join("closed")).unwrap();
        fs::write(top.join("closed/file"), "x").unwrap();
        fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(place.path(), "tl-x", uid()).unwrap();
        assert!(!top.exists() && other.join("theirs").exists());
    }

    /// As when a process replaces the directory by a link between the look at it and the change.
    #[test]
    fn a_link_changes_the_mode_of_nothing() {
        let place = tempfile::tempdir().unwrap();
        let mode = |name| fs::metadata(place.path().join(name)).unwrap().permissions().mode() & 0o777;
        for name in ["own", "theirs"] {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::set_permissions(place.path().join(name), fs::Permissions::from_mode(0o050)).unwrap();
        }
        symlink(place.path().join("theirs"), place.path().join("link")).unwrap();
        let directory = fs::File::open(place.path()).unwrap();
        let refused = make_passable(directory.as_fd(), b"link").unwrap_err();
        assert_eq!((refused.kind(), mode("theirs")), (io::ErrorKind::NotADirectory, 0o050));
        make_passable(directory.as_fd(), b"own").unwrap();
        assert_eq!(mode("own"), 0o700);
    }

    #[test]
    fn what_is_no_directory_of_ours_stays() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("real")).unwrap();
        fs::write(place.path().join("real/file"), "x").unwrap();
        symlink(place.path().join("real"), place.path().join("link")).unwrap();
        fs::write(place.path().join("file"), "x").unwrap();
        let kind = |name, owner| remove_tree(place.path(), name, owner).unwrap_err().kind();
        assert_eq!(kind("link", uid()), io::ErrorKind::NotADirectory);
        assert_eq!(kind("file", uid()), io::ErrorKind::NotADirectory);
        assert_eq!(kind("none", uid()), io::ErrorKind::NotFound);
        assert_eq!(kind("real", uid() + 1), io::ErrorKind::PermissionDenied);
        assert!(place.path().join("real/file").exists() && place.path().join("link").exists());
    }
}
