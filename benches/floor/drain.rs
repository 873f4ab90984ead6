//! The floor under a session's output: a plain loop of `read` until the terminal's other side is closed.

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};

/// As much as any read from a terminal returns, and to spare.
const BUFFER: usize = 64 << 10;

/// Reads one terminal to its end and returns how many bytes came.
pub(crate) fn drain(master: &OwnedFd) -> u64 {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    while let Some(length) = read_some(master, &mut buffer) {
        total += length;
    }
    total
}

/// Reads all terminals to their ends, as each has something, on this one thread.
pub(crate) fn drain_all(masters: &[&OwnedFd]) -> u64 {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("create an epoll");
    for (index, master) in masters.iter().enumerate() {
        epoll::add(&ready, master, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)
            .expect("add a terminal to the epoll");
    }
    let mut events = Vec::with_capacity(masters.len());
    let mut buffer = vec![0; BUFFER];
    let (mut total, mut open) = (0, masters.len());
    while open > 0 {
        epoll::wait(&ready, rustix::buffer::spare_capacity(&mut events), None).expect("wait for output");
        for event in events.drain(..) {
            let master = masters[event.data.u64() as usize];
            match read_some(master, &mut buffer) {
                Some(length) => total += length,
                None => {
                    epoll::delete(&ready, master).expect("take a terminal out of the epoll");
                    open -= 1;
                }
            }
        }
    }
    total
}

/// None at the end, which a terminal's master tells as EIO.
fn read_some(master: &OwnedFd, buffer: &mut [u8]) -> Option<u64> {
    match read(master, buffer) {
        Ok(0) | Err(Errno::IO) => None,
        Ok(length) => Some(length as u64),
        Err(error) => panic!("failed to read from a terminal: {error}"),
    }
}
