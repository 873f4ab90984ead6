//! Descriptors: none is held, and what stands for a borrowed one is none.

use super::poller::Pollable;
use super::refusal::unsupported;
use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;

/// Empty by a field that is private, so that the code that takes one is not known to be unreachable.
#[derive(Debug)]
pub(crate) struct OwnedFd(Infallible);

impl OwnedFd {
    /// There is none.
    pub(crate) fn never(&self) -> ! {
        match self.0 {}
    }
}

/// Can be made, since standard input and standard error are there; nothing can be done with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BorrowedFd<'a>(PhantomData<&'a ()>);

pub(crate) trait AsFd {
    fn as_fd(&self) -> BorrowedFd<'_>;
}

pub(crate) trait AsRawFd {
    fn as_raw_fd(&self) -> i32;
}

impl BorrowedFd<'_> {
    pub(crate) fn try_clone_to_owned(&self) -> io::Result<OwnedFd> {
        unsupported()
    }
}

impl AsFd for OwnedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.never()
    }
}

impl AsRawFd for OwnedFd {
    fn as_raw_fd(&self) -> i32 {
        self.never()
    }
}

impl AsFd for io::Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd(PhantomData)
    }
}

impl AsFd for io::Stderr {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd(PhantomData)
    }
}

impl Pollable for OwnedFd {}
