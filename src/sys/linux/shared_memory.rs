//! Memory that two processes have: one writes into it, and the other reads when the first has died.

#![expect(
    unsafe_code,
    reason = "mapped memory, handed out as atomics, which are all that may be written by others, too"
)]

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

/// A file without a name, of so many words, that nobody can make shorter: whoever has it mapped would be killed by SIGBUS.
///
/// # Errors
///
/// Those of memfd_create(2), as where a filter of system calls forbids it.
pub(crate) fn create_shared(words: usize) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = super::numbers::above_standard(rustix::fs::memfd_create("termleash-timeline", flags)?)?;
    rustix::fs::ftruncate(&file, bytes(words))?;
    rustix::fs::fcntl_add_seals(&file, seals())?;
    Ok(file)
}

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

fn bytes(words: usize) -> u64 {
    words as u64 * 8
}

/// What stands in such a file now; nothing where it could not be read.
pub(crate) fn read_shared(file: BorrowedFd<'_>, words: usize) -> Vec<u64> {
    let mut content = vec![0; words * 8];
    let mut read = 0;
    while read < content.len() {
        match rustix::io::pread(file, &mut content[read..], read as u64) {
            Ok(0) => return Vec::new(),
            Ok(count) => read += count,
            Err(Errno::INTR) => {}
            Err(_) => return Vec::new(),
        }
    }
    content.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default())).collect()
}

/// Maps one for as long as this process lives. Beside it stands a word that is 1 in this process and 0 in every copy of it (fork(2)).
///
/// # Errors
///
/// If it is no such file, and before Linux 4.14, which cannot tell a copy.
pub(crate) fn map_shared(file: OwnedFd, words: usize) -> io::Result<(&'static [AtomicU64], &'static AtomicU64)> {
    let is_of_size = u64::try_from(rustix::fs::fstat(&file)?.st_size) == Ok(bytes(words));
    if !is_of_size || !rustix::fs::fcntl_get_seals(&file)?.contains(seals()) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let length = words * 8;
    // SAFETY: new memory at an address of the kernel's choice. It is never unmapped, its file never gets shorter, and it is used as atomics
    // only, which bear that another process writes, too. Its address is a multiple of the page size, and zeroed words are valid.
    unsafe {
        let mark = rustix::mm::mmap_anonymous(ptr::null_mut(), size_of::<AtomicU64>(), access, MapFlags::PRIVATE)?;
        if let Err(cause) = rustix::mm::madvise(mark, size_of::<AtomicU64>(), Advice::LinuxWipeOnFork) {
            let _ = rustix::mm::munmap(mark, size_of::<AtomicU64>());
            return Err(cause.into());
        }
        let is_ours: &'static AtomicU64 = &*mark.cast();
        is_ours.store(1, std::sync::atomic::Ordering::Relaxed);
        let start = rustix::mm::mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file.as_fd(), 0)?;
        Ok((std::slice::from_raw_parts(start.cast(), words), is_ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_is_written_is_read_by_descriptor_and_nothing_else_is_mapped() {
        let file = create_shared(600).unwrap();
        let (words, is_ours) = map_shared(file.try_clone().unwrap(), 600).unwrap();
        words[0].store(7, Ordering::Relaxed);
        words[599].store(9, Ordering::Relaxed);
        let read = read_shared(file.as_fd(), 600);
        assert_eq!((read.len(), read[0], read[599], read[1]), (600, 7, 9, 0));
        assert_eq!(is_ours.load(Ordering::Relaxed), 1);
        assert!(rustix::fs::ftruncate(&file, 8).is_err(), "it could be made shorter");

        assert!(map_shared(file, 700).is_err());
        let null = OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/null").unwrap());
        assert!(read_shared(null.as_fd(), 600).is_empty());
        assert!(map_shared(null, 600).is_err());
    }

    #[test]
    fn a_copy_of_the_process_knows_that_it_is_one() {
        let (_, is_ours) = map_shared(create_shared(600).unwrap(), 600).unwrap();
        // SAFETY: the child loads one word and exits.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(is_ours.load(Ordering::Relaxed) as i32);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            status
        };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    }
}
