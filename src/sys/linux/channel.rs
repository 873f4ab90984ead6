//! A channel between two processes of this program: whole messages over a stream socket.

use super::numbers::above_standard;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// A message longer than this is none of ours.
const LONGEST: usize = 64 << 20;

/// One end. Descriptors of it are closed by exec unless they are passed on.
pub(crate) struct Channel {
    fd: OwnedFd,
    /// What has come and is not a whole message yet.
    pending: Vec<u8>,
}

impl Channel {
    /// Both ends of a new one.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Self::over(above_standard(one)?), Self::over(above_standard(other)?)))
    }

    /// An end that this process was started with.
    pub(crate) fn over(fd: OwnedFd) -> Self {
        Self { fd, pending: Vec::new() }
    }

    /// Its number, to pass it on.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// What to wait for.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends one message, however long the other end takes to read it.
    ///
    /// # Errors
    ///
    /// `EPIPE` if the other end is closed; no signal comes then.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        // In one piece: most are short, and each write wakes the reader.
        let whole = [&length.to_ne_bytes()[..], message].concat();
        let mut rest = &whole[..];
        while !rest.is_empty() {
            match send(&self.fd, rest, SendFlags::NOSIGNAL) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        Ok(())
    }

    /// False if so much is unread at the other end that a message might have to wait for that: then three quarters of the
    /// socket's room may be taken (unix(7)).
    pub(crate) fn has_room(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::OUT)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// The next message; `None` if there is no whole one within `limit`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` once the other end is closed, by whoever had it.
    pub(crate) fn receive(&mut self, limit: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !super::supervise::wait_for(&[self.fd()], rest)?[0] {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(None);
                }
                continue;
            }
            let mut buffer = [0; 4096];
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    /// A whole message of what has come.
    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = self.pending.first_chunk::<{ size_of::<u32>() }>() else { return Ok(None) };
        let length = u32::from_ne_bytes(*length) as usize;
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let end = size_of::<u32>() + length;
        if self.pending.len() < end {
            return Ok(None);
        }
        let message = self.pending[size_of::<u32>()..end].to_vec();
        self.pending.drain(..end);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::soon;

    #[test]
    fn messages_arrive_whole_in_order_and_then_the_end() {
        let (one, mut other) = Channel::pair().unwrap();
        let long = vec![7; 1 << 20];
        let sender = std::thread::spawn({
            let long = long.clone();
            move || {
                one.send(b"").unwrap();
                one.send(&long).unwrap();
                one.send(b"last").unwrap();
            }
        });
        let mut next = || other.receive(Some(Duration::from_secs(60)));
        assert_eq!(next().unwrap().unwrap(), b"");
        assert_eq!(next().unwrap().unwrap(), long);
        assert_eq!(next().unwrap().unwrap(), b"last");
        assert_eq!(next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        sender.join().unwrap();
    }

    #[test]
    fn half_a_message_is_waited_for_and_nonsense_is_an_error() {
        let (one, mut other) = Channel::pair().unwrap();
        assert!(other.receive(Some(Duration::ZERO)).unwrap().is_none());
        send(&one.fd, &[9, 0, 0, 0, b'x'], SendFlags::NOSIGNAL).unwrap();
        assert!(other.receive(Some(Duration::from_millis(5))).unwrap().is_none());
        send(&one.fd, b"xxxxxxxx", SendFlags::NOSIGNAL).unwrap();
        assert_eq!(other.receive(Some(Duration::ZERO)).unwrap().unwrap(), b"xxxxxxxxx");
        send(&one.fd, &[255; 8], SendFlags::NOSIGNAL).unwrap();
        assert_eq!(other.receive(None).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(other);
        // A child that another test starts at this moment has it, too, until its exec.
        soon("its end", || one.send(b"x").is_err_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe));
    }
}
