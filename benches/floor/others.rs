//! The raw reads that a look at another process cannot do without, in plain system calls.

#![expect(unsafe_code, reason = "a floor is plain system calls")]

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// What is read, and from where.
pub(crate) struct Others {
    pid: u32,
    root: i32,
}

/// How much was seen.
pub(crate) struct Seen {
    pub(crate) descriptors: usize,
    pub(crate) children: usize,
}

impl Others {
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid, root: open(libc::AT_FDCWD, c"/proc", libc::O_DIRECTORY) }
    }

    /// Its descriptors, threads, memory, and its children's own children and states.
    pub(crate) fn look(&self) -> Seen {
        let mut buffer = vec![0_u8; 32 << 10];
        let own = open(self.root, &text(format!("{}", self.pid)), libc::O_DIRECTORY);
        read(own, c"stat", &mut buffer);
        read(own, c"cmdline", &mut buffer);
        let listing = open(own, c"fd", libc::O_DIRECTORY);
        let mut descriptors = 0;
        each(listing, &mut buffer, |name| {
            let mut found = MaybeUninit::<libc::statx>::zeroed();
            let (flags, mask) = (libc::AT_STATX_DONT_SYNC, libc::STATX_TYPE | libc::STATX_INO);
            // SAFETY: the name ends with a NUL and the pointer is to a statx of ours.
            descriptors +=
                usize::from(unsafe { libc::statx(listing, name.as_ptr(), flags, mask, found.as_mut_ptr()) } == 0);
        });
        close(listing);
        let tasks = open(own, c"task", libc::O_DIRECTORY);
        let mut threads = Vec::new();
        each(tasks, &mut buffer, |name| threads.push(name.to_owned()));
        close(tasks);
        for thread in &threads {
            read(own, &text(format!("task/{}/stat", thread.to_string_lossy())), &mut buffer);
        }
        read(own, c"statm", &mut buffer);
        let children = self.children(self.pid, &mut buffer);
        for child in &children {
            read(self.root, &text(format!("{child}/stat")), &mut buffer);
            assert!(self.children(*child, &mut buffer).is_empty(), "a child of a child");
        }
        close(own);
        Seen { descriptors, children: children.len() }
    }

    fn children(&self, pid: u32, buffer: &mut [u8]) -> Vec<u32> {
        let mut found = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the path ends with a NUL and the pointer is to a stat of ours.
        let status = unsafe { libc::fstatat(self.root, text(format!("{pid}/task")).as_ptr(), found.as_mut_ptr(), 0) };
        assert_eq!(status, 0, "stat its threads");
        let length = read(self.root, &text(format!("{pid}/task/{pid}/children")), buffer);
        let list = String::from_utf8_lossy(&buffer[..length]);
        list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

fn text(path: String) -> CString {
    CString::new(path).expect("a path without a NUL")
}

fn open(at: i32, path: &CStr, flags: i32) -> i32 {
    // SAFETY: the path ends with a NUL.
    let fd = unsafe { libc::openat(at, path.as_ptr(), flags | libc::O_CLOEXEC) };
    assert!(fd >= 0, "open {path:?}");
    fd
}

fn close(fd: i32) {
    // SAFETY: it is ours and not used again.
    unsafe { libc::close(fd) };
}

fn read(at: i32, path: &CStr, buffer: &mut [u8]) -> usize {
    let fd = open(at, path, 0);
    // SAFETY: the buffer is ours and as long as said.
    let length = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    close(fd);
    usize::try_from(length).expect("it can be read")
}

/// The names that begin with a digit.
fn each(directory: i32, buffer: &mut [u8], mut visit: impl FnMut(&CStr)) {
    loop {
        // SAFETY: the buffer is ours and as long as said.
        let length = unsafe { libc::syscall(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), buffer.len()) };
        let length = usize::try_from(length).expect("it can be listed");
        if length == 0 {
            return;
        }
        let mut at = 0;
        while at < length {
            // d_ino and d_off take 16 bytes, d_reclen two, d_type one; then comes the name.
            let record = usize::from(u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]));
            let name = CStr::from_bytes_until_nul(&buffer[at + 19..at + record]).expect("a name ends with a NUL");
            if name.to_bytes()[0].is_ascii_digit() {
                visit(name);
            }
            at += record;
        }
    }
}
