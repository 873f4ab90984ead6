//! What this process has: descriptors, children, memory. Read so that a look that finds nothing costs next to nothing.

#![expect(unsafe_code, reason = "descriptors by number, and what rustix lacks: waitid for all, mallinfo2")]

use super::procfs;
use crate::sys::FileStat;
use once_cell::sync::OnceCell;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The device number of /dev/ptmx, `5:2` (devices.txt of the kernel).
const PTMX: u64 = libc::makedev(5, 2);

/// What is open at this number; `None` if nothing is.
///
/// # Errors
///
/// Those of fstat(2) but `EBADF`: a file on a network may be stale.
pub(crate) fn stat_descriptor(number: RawFd) -> io::Result<Option<FileStat>> {
    // SAFETY: the number may be closed by others at any time, which fstat answers with EBADF; it is not kept.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    match rustix::fs::fstat(fd) {
        Ok(found) => Ok(Some(file_stat(&found, fd))),
        Err(rustix::io::Errno::BADF) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

fn file_stat(found: &Stat, fd: BorrowedFd<'_>) -> FileStat {
    let is_ptmx = found.st_rdev == PTMX && FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    FileStat {
        device: found.st_dev,
        inode: found.st_ino,
        // Its permissions may change while it is open.
        mode: found.st_mode & libc::S_IFMT,
        special: found.st_rdev,
        // All masters share one inode; their number tells them apart.
        terminal: if is_ptmx { terminal_number(fd) } else { None },
    }
}

/// The N of the /dev/pts/N that belongs to a master: `TIOCGPTN`.
fn terminal_number(fd: BorrowedFd<'_>) -> Option<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGPTN writes one unsigned int; the descriptor is open or EBADF is the answer.
    let status = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGPTN as _, &raw mut number) };
    (status == 0).then_some(number)
}

/// How many descriptors are open, without a listing: the size of /proc/self/fd. `None` before Linux 6.2, where it is 0.
pub(crate) fn count_descriptors() -> io::Result<Option<usize>> {
    let size = rustix::fs::statat(procfs::root()?, "self/fd", AtFlags::empty())?.st_size;
    Ok(usize::try_from(size).ok().filter(|count| *count > 0))
}

/// How many threads this process has, by the number of links of their directory: no listing.
pub(crate) fn count_threads() -> io::Result<usize> {
    let links = rustix::fs::statat(procfs::root()?, "self/task", AtFlags::empty())?.st_nlink;
    Ok(usize::try_from(links.saturating_sub(2)).unwrap_or(usize::MAX))
}

/// The numbers of all descriptors, ascending but for the kernel's whim, without the one that the listing itself needs.
pub(crate) fn list_descriptors() -> io::Result<Vec<RawFd>> {
    let mut numbers = Vec::with_capacity(64);
    let listing = procfs::each_entry("self/fd", |name| {
        numbers.extend(procfs::number(name).and_then(|number| RawFd::try_from(number).ok()));
    })?;
    // Something is mounted over it: an empty list would be taken for a clean process for ever.
    let Some(own) = numbers.iter().position(|number| *number == listing) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/self/fd does not show what it is read by"));
    };
    numbers.remove(own);
    Ok(numbers)
}

/// True if this process has a child, dead or alive, also one made by clone(2) with another signal than SIGCHLD. Nothing is
/// reaped.
pub(crate) fn has_children() -> io::Result<bool> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: the pointer is to a siginfo_t of ours.
    if unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        cause if cause.raw_os_error() == Some(libc::ECHILD) => Ok(false),
        cause => Err(cause),
    }
}

static STATM: OnceCell<OwnedFd> = OnceCell::new();
static STATUS: OnceCell<OwnedFd> = OnceCell::new();

/// Resident bytes of this process: the second field of /proc/self/statm, kept open, so one call and no path.
pub(crate) fn resident_bytes() -> io::Result<u64> {
    let mut buffer = [0; 128];
    let text = read_kept(&STATM, "self/statm", &mut buffer)?;
    let pages = text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.map(|pages| pages * rustix::param::page_size() as u64).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The most that was resident at any time, in bytes, of the whole process; never reset by us. `VmHWM` of /proc/self/status:
/// getrusage(2) is cheaper, and counts what ran in this process before its exec, such as a big cargo.
pub(crate) fn peak_bytes() -> io::Result<u64> {
    let mut buffer = [0; 4096];
    let text = read_kept(&STATUS, "self/status", &mut buffer)?;
    let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
    let kibibytes = field.and_then(|field| field.trim().parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How much private writable memory is mapped, touched or not, in bytes: what `RLIMIT_DATA` counts, `VmData` of /proc/self/status.
pub(crate) fn data_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let field = text.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix("kB"));
    let kibibytes = field.and_then(|field| field.trim().parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// One read of a file that stays open.
fn read_kept<'a>(kept: &OnceCell<OwnedFd>, path: &str, buffer: &'a mut [u8]) -> io::Result<&'a str> {
    let file = kept.get_or_try_init(|| {
        rustix::fs::openat(procfs::root()?, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
    })?;
    let length = rustix::io::pread(file, &mut *buffer, 0)?;
    std::str::from_utf8(&buffer[..length]).map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))
}

/// The part of `struct mallinfo2` (malloc.h of glibc 2.33) that is asked for, with all its fields for its size.
#[repr(C)]
struct Mallinfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// Bytes that the C allocator has handed out and not got back, with what its threads have put aside to hand out again, which
/// grows by tens of KiB over some dozens of rounds of the same work; `None` where it cannot say: musl, glibc before 2.33.
/// A global allocator that does not use malloc(3) is not seen.
pub(crate) fn heap_bytes() -> Option<u64> {
    static FUNCTION: OnceCell<Option<extern "C" fn() -> Mallinfo2>> = OnceCell::new();
    // SAFETY: wherever the symbol exists it is this function.
    let function = FUNCTION.get_or_init(|| unsafe { std::mem::transmute::<*mut c_void, _>(symbol(c"mallinfo2")) });
    let info = (*function)?();
    Some((info.uordblks + info.hblkhd) as u64)
}

/// Gives free pages of the heap back, so that what stays resident is in use; false where the allocator cannot. It takes up
/// to 120 ms on a fragmented heap of 500 MB.
pub(crate) fn trim_heap() -> bool {
    static FUNCTION: OnceCell<Option<extern "C" fn(usize) -> c_int>> = OnceCell::new();
    // SAFETY: wherever the symbol exists it is this function.
    let function = FUNCTION.get_or_init(|| unsafe { std::mem::transmute::<*mut c_void, _>(symbol(c"malloc_trim")) });
    function.is_some_and(|trim| trim(0) != 0)
}

/// Looked up at run time: linking against it would tie every test binary to that libc.
fn symbol(name: &std::ffi::CStr) -> *mut c_void {
    // SAFETY: a lookup in the libraries that are loaded already.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// The kernel's id of the calling thread.
pub(crate) fn own_thread() -> u32 {
    rustix::thread::gettid().as_raw_pid().cast_unsigned()
}

/// True on the thread that the process began with.
pub(crate) fn is_main_thread() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}
