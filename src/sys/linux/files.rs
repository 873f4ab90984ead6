//! Files in a directory that is held by descriptor, so that a path that somebody replaced leads nowhere else.

use crate::sys::FileFacts;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

/// Where directory entries land: about 60 of names with 40 bytes.
const ENTRIES: usize = 4 << 10;

/// Opens one, to make and find files in it.
///
/// # Errors
///
/// `NotADirectory` also if the path's last part is a symbolic link.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?.into())
}

/// For this user alone.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::mkdir(path, Mode::RWXU)?)
}

/// What is open.
pub(crate) fn file_facts(file: &File) -> io::Result<FileFacts> {
    Ok(facts(&rustix::fs::fstat(file)?))
}

fn facts(found: &Stat) -> FileFacts {
    let kind = FileType::from_raw_mode(found.st_mode);
    FileFacts {
        device: found.st_dev,
        inode: found.st_ino,
        is_directory: kind == FileType::Directory,
        is_regular: kind == FileType::RegularFile,
        owner: found.st_uid,
        permissions: found.st_mode & 0o7777,
        links: found.st_nlink as usize,
    }
}

/// What a path leads to.
pub(crate) fn facts_of(path: &Path) -> io::Result<FileFacts> {
    Ok(facts(&rustix::fs::stat(path)?))
}

/// Major and minor number of a device.
pub(crate) fn device_numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// What a path is, a link as such.
pub(crate) fn facts_of_link(path: &Path) -> io::Result<FileFacts> {
    Ok(facts(&rustix::fs::lstat(path)?))
}

/// A new file for this user alone, to append to and to read.
///
/// # Errors
///
/// `AlreadyExists` whatever it is that has the name, also a link that leads nowhere. `NotFound` if the directory itself is
/// removed.
pub(crate) fn create_in(directory: &File, name: &str) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// A file to append to and to read. Never waits: a fifo is opened without another end, and told by its facts.
///
/// # Errors
///
/// `InvalidInput` if it is a symbolic link, a directory, a socket, or the file of a device without its device.
pub(crate) fn open_in(directory: &File, name: &str) -> io::Result<File> {
    let flags = OFlags::APPEND | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        Err(cause @ (Errno::LOOP | Errno::ISDIR | Errno::NXIO)) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, io::Error::from(cause)))
        }
        Err(cause) => Err(cause.into()),
    }
}

/// Removes a name; who has the file open has it still.
pub(crate) fn remove_in(directory: &File, name: &str) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
}

/// The names in a directory that are UTF-8; none if it is removed.
pub(crate) fn names_in(directory: &File) -> io::Result<Vec<String>> {
    // Opened anew each time: a shared descriptor has one position, and two may look at once.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; ENTRIES];
    let mut entries = RawDir::new(&directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."));
                names.extend(name.map(String::from));
            }
            // One that is removed can still be opened, but not be listed.
            Err(Errno::NOENT) => break,
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(names)
}

/// The number of a file's descriptor.
pub(crate) fn number_of(file: &File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}
