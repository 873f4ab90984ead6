//! The raw reads that a leak check cannot do without, in plain system calls.

#![expect(unsafe_code, reason = "a floor is plain system calls")]

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// What a clean check verifies, and the files that it keeps open.
pub(crate) struct Reads {
    root: i32,
    statm: i32,
    status: i32,
    baseline: Vec<(i32, u64, u64)>,
    threads: Vec<u32>,
    buffer: Vec<u8>,
}

impl Reads {
    /// Takes the baseline.
    pub(crate) fn new() -> Self {
        let root = open(libc::AT_FDCWD, c"/proc", libc::O_DIRECTORY);
        let statm = open(root, c"self/statm", 0);
        let status = open(root, c"self/status", 0);
        let mut reads =
            Self { root, statm, status, baseline: Vec::new(), threads: Vec::new(), buffer: vec![0; 32 << 10] };
        reads.baseline = reads.full_scan();
        reads.threads = reads.list("self/task");
        reads
    }

    /// How many descriptors are open.
    pub(crate) fn count(&self) -> usize {
        let mut found = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the path ends with a NUL and the pointer is to a stat of ours.
        let status = unsafe { libc::fstatat(self.root, c"self/fd".as_ptr(), found.as_mut_ptr(), 0) };
        assert_eq!(status, 0, "stat /proc/self/fd");
        // SAFETY: filled by the call.
        usize::try_from(unsafe { found.assume_init() }.st_size).unwrap_or(0)
    }

    /// One fstat for each descriptor of the baseline.
    pub(crate) fn verify(&self) {
        assert_eq!(self.count(), self.baseline.len(), "as many as before");
        for (number, device, inode) in &self.baseline {
            assert_eq!(stat(*number), Some((*device, *inode)), "the same as before");
        }
    }

    /// One fstat for each number until as many are found as there are.
    pub(crate) fn full_scan(&self) -> Vec<(i32, u64, u64)> {
        let count = self.count();
        let mut found = Vec::with_capacity(count);
        let mut number = 0;
        while found.len() < count {
            found.extend(stat(number).map(|(device, inode)| (number, device, inode)));
            number += 1;
        }
        found
    }

    pub(crate) fn statm(&mut self) -> usize {
        // SAFETY: the buffer is as long as said.
        let read = unsafe { libc::pread(self.statm, self.buffer.as_mut_ptr().cast(), 128, 0) };
        usize::try_from(read).expect("read statm")
    }

    fn threads(&mut self) {
        let listed = self.list("self/task");
        for thread in listed {
            let path = format!("self/task/{thread}/stat\0");
            let file = open(self.root, CStr::from_bytes_until_nul(path.as_bytes()).expect("it ends with one"), 0);
            // SAFETY: the buffer is as long as said, and the descriptor is ours.
            unsafe {
                assert!(libc::read(file, self.buffer.as_mut_ptr().cast(), self.buffer.len()) > 0, "read a stat");
                libc::close(file);
            }
        }
    }

    fn list(&mut self, path: &str) -> Vec<u32> {
        let path = format!("{path}\0");
        let directory =
            open(self.root, CStr::from_bytes_until_nul(path.as_bytes()).expect("it ends with one"), libc::O_DIRECTORY);
        let mut names = Vec::new();
        loop {
            let (start, length) = (self.buffer.as_mut_ptr(), self.buffer.len());
            // SAFETY: the buffer is as long as said.
            let read = unsafe { libc::syscall(libc::SYS_getdents64, directory, start, length) };
            let Some(read) = usize::try_from(read).ok().filter(|read| *read > 0) else { break };
            let mut at = 0;
            while at < read {
                // struct linux_dirent64, getdents(2): the length at byte 16, the name from byte 19 on.
                let length = usize::from(u16::from_ne_bytes([self.buffer[at + 16], self.buffer[at + 17]]));
                let name = CStr::from_bytes_until_nul(&self.buffer[at + 19..]).expect("it ends with one");
                names.extend(name.to_str().ok().and_then(|name| name.parse::<u32>().ok()));
                at += length;
            }
        }
        // SAFETY: the descriptor is ours.
        unsafe { libc::close(directory) };
        names
    }

    fn children() {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        // SAFETY: the pointer is to a siginfo_t of ours.
        unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
    }

    fn peak(&mut self) {
        // SAFETY: the buffer is as long as said.
        assert!(unsafe { libc::pread(self.status, self.buffer.as_mut_ptr().cast(), 4096, 0) } > 0, "read status");
    }

    /// All that a clean check reads.
    pub(crate) fn clean_check(&mut self) {
        self.verify();
        self.threads();
        Self::children();
        self.statm();
        self.peak();
    }

    /// All that a baseline and a clean check after it read.
    pub(crate) fn baseline_and_check(&mut self) {
        self.baseline = self.full_scan();
        self.threads();
        Self::children();
        self.statm();
        self.clean_check();
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        // SAFETY: the descriptors are ours.
        unsafe {
            libc::close(self.statm);
            libc::close(self.status);
            libc::close(self.root);
        }
    }
}

fn open(at: i32, path: &CStr, flags: i32) -> i32 {
    // SAFETY: the path ends with a NUL.
    let file = unsafe { libc::openat(at, path.as_ptr(), flags | libc::O_RDONLY | libc::O_CLOEXEC) };
    assert!(file >= 0, "open {path:?}");
    file
}

fn stat(number: i32) -> Option<(u64, u64)> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the pointer is to a stat of ours, filled if the answer is 0.
    unsafe { (libc::fstat(number, found.as_mut_ptr()) == 0).then(|| found.assume_init()) }
        .map(|stat| (stat.st_dev, stat.st_ino))
}
