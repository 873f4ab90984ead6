//! The raw reads that a sample of a known tree cannot do without, in plain system calls.

#![expect(unsafe_code, reason = "a floor is plain system calls")]

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// Each process with its directory and its open `statm`.
pub(crate) struct RawTree {
    members: Vec<(u32, i32, i32)>,
    buffer: Vec<u8>,
}

impl RawTree {
    pub(crate) fn of(pids: &[u32]) -> Self {
        let open_all = |pid: &u32| {
            let directory = open(libc::AT_FDCWD, &text(format!("/proc/{pid}")), libc::O_DIRECTORY);
            (*pid, directory, open(directory, c"statm", 0))
        };
        Self { members: pids.iter().map(open_all).collect(), buffer: vec![0; 16 << 10] }
    }

    /// Its children, memory, descriptors and processor time; answers with the sum of all bytes read.
    pub(crate) fn look(&mut self) -> usize {
        let mut seen = 0;
        for (pid, directory, statm) in &self.members {
            let mut found = MaybeUninit::<libc::stat>::zeroed();
            for name in [c"task", c"fd"] {
                // SAFETY: the path ends with a NUL and the pointer is to a stat of ours.
                seen += usize::from(unsafe { libc::fstatat(*directory, name.as_ptr(), found.as_mut_ptr(), 0) } == 0);
            }
            let children = open(*directory, &text(format!("task/{pid}/children")), 0);
            let (to, length) = (self.buffer.as_mut_ptr().cast(), self.buffer.len());
            // SAFETY: the buffer is ours and as long as said, and the descriptor is not used again once it is closed.
            seen += usize::try_from(unsafe { libc::read(children, to, length) }).expect("it can be read");
            // SAFETY: as above.
            unsafe { libc::close(children) };
            // SAFETY: as above.
            seen += usize::try_from(unsafe { libc::pread(*statm, to, length, 0) }).expect("it can be read");
            let mut time = MaybeUninit::<libc::timespec>::zeroed();
            let clock = (!pid.cast_signed()) << 3 | 2;
            // SAFETY: the pointer is to a timespec of ours.
            seen += usize::from(unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } == 0);
        }
        seen
    }
}

impl Drop for RawTree {
    fn drop(&mut self) {
        for (_, directory, statm) in &self.members {
            // SAFETY: they are ours and not used again.
            unsafe { libc::close(*directory) };
            // SAFETY: as above.
            unsafe { libc::close(*statm) };
        }
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
