//! The floor under every proof of death: one pass over the environment of each process, looking for a cookie.
//!
//! One descriptor for `/proc` is kept, each environment is opened relative to it and read to its end into one buffer.

use memchr::memmem;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, open, openat, seek};
use rustix::io::read;
use std::mem::MaybeUninit;

/// How the name of each session's variable begins.
pub(crate) const PREFIX: &str = "TERMLEASH_S_";

pub(crate) struct EnvironPass {
    proc: OwnedFd,
    listing: Vec<MaybeUninit<u8>>,
    environ: Vec<u8>,
    search: memmem::Finder<'static>,
}

/// What a pass saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) processes: usize,
    pub(crate) marked: usize,
}

impl EnvironPass {
    pub(crate) fn new() -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = open("/proc", flags, Mode::empty()).expect("open /proc");
        Self {
            proc,
            listing: vec![MaybeUninit::uninit(); 32 << 10],
            environ: vec![0; 64 << 10],
            search: memmem::Finder::new(PREFIX),
        }
    }

    pub(crate) fn run(&mut self) -> Seen {
        seek(&self.proc, SeekFrom::Start(0)).expect("rewind /proc");
        let mut seen = Seen::default();
        let mut listing = RawDir::new(&self.proc, &mut self.listing);
        while let Some(entry) = listing.next() {
            let entry = entry.expect("list /proc");
            let name = entry.file_name().to_bytes();
            if !name[0].is_ascii_digit() {
                continue;
            }
            seen.processes += 1;
            let mut path = [0; 32];
            path[..name.len()].copy_from_slice(name);
            path[name.len()..][..8].copy_from_slice(b"/environ");
            let path = &path[..name.len() + 8];
            // A process may end between its listing and its reading.
            let Ok(file) = openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { continue };
            let length = read_to_end(&file, &mut self.environ);
            seen.marked += usize::from(self.search.find(&self.environ[..length]).is_some());
        }
        seen
    }
}

fn read_to_end(file: &OwnedFd, buffer: &mut Vec<u8>) -> usize {
    let mut length = 0;
    loop {
        // Fails for a zombie, which has no environment any more.
        length += read(file, &mut buffer[length..]).unwrap_or(0);
        // The kernel fills the buffer while there is something, so one that is not full holds it all.
        if length < buffer.len() {
            return length;
        }
        buffer.resize(2 * length, 0);
    }
}
