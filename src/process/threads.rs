//! What is seen of a process whose main thread has ended while others run.

use crate::process::tree;
use crate::sys::ProcReader;
use std::io;

/// What the threads of a process show of its environment.
#[derive(Debug, PartialEq)]
pub(crate) enum Shown {
    /// All of them have one memory, so that one is enough.
    Environ(Vec<u8>),
    /// None of them has a memory any more, or shows it.
    Nothing,
    /// They came and went faster than they could be listed.
    Unknown,
}

/// How often threads are listed again because one that was listed has ended meanwhile.
const MOST_LISTINGS: usize = 20;

/// What the other threads show of a process whose main thread has ended; nothing for one that is dead.
pub(crate) fn shown_by_threads(reader: &mut ProcReader, pid: u32) -> Shown {
    let reader = std::cell::RefCell::new(reader);
    let environ = |thread: u32| {
        let mut reader = reader.borrow_mut();
        match reader.read(pid, &format!("task/{thread}/environ")) {
            Ok(environ) => Ok(environ.to_vec()),
            // A zombie has no memory either, and the kernel says the same of it as of one that is gone.
            Err(cause) if tree::is_gone(&cause) => {
                reader.read(pid, &format!("task/{thread}/stat")).map(|_| Vec::new()).map_err(|_| cause)
            }
            Err(cause) => Err(cause),
        }
    };
    shown_by(|| reader.borrow_mut().threads(pid), environ)
}

/// The kernel ends a listing where the thread that it stands on ends: those that follow are missing, and may be all that is left
/// of a process. So they are listed until none of those that were listed has gone meanwhile.
fn shown_by(list: impl Fn() -> io::Result<Vec<u32>>, environ: impl Fn(u32) -> io::Result<Vec<u8>>) -> Shown {
    for _ in 0..MOST_LISTINGS {
        let threads = match list() {
            Ok(threads) => threads,
            Err(cause) if tree::is_gone(&cause) => return Shown::Nothing,
            Err(_) => return Shown::Unknown,
        };
        let mut is_any_gone = false;
        for thread in threads {
            match environ(thread) {
                // Without a memory it is about to end, and was not gone when it was listed.
                Ok(environ) if environ.is_empty() => {}
                Ok(environ) => return Shown::Environ(environ),
                Err(cause) => is_any_gone |= tree::is_gone(&cause),
            }
        }
        if !is_any_gone {
            return Shown::Nothing;
        }
    }
    Shown::Unknown
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// However often it is looked at: a zombie that nobody reaps must not keep every look from its end.
    #[test]
    fn a_zombie_shows_nothing_and_that_is_known() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let mut reader = crate::process::handle::reader().unwrap();
        while !crate::process::handle::read_stat(&mut reader, child.id()).unwrap().is_dead() {
            std::thread::yield_now();
        }
        assert_eq!(shown_by_threads(&mut reader, child.id()), Shown::Nothing);
        child.wait().unwrap();
        assert_eq!(shown_by_threads(&mut reader, child.id()), Shown::Nothing);
    }

    /// Thread 1 is a zombie, 2 ends while it is listed, and 3, which is not listed then, stays.
    #[test]
    fn a_thread_that_ends_in_a_listing_hides_no_other() {
        let gone = || Err(io::Error::from_raw_os_error(2));
        let environ = |thread: u32| match thread {
            1 => Ok(Vec::new()),
            3 => Ok(b"A=1".to_vec()),
            _ => gone(),
        };
        let listings = Cell::new(0);
        let list = |last: &'static [u32]| {
            listings.set(0);
            let listings = &listings;
            move || {
                listings.set(listings.get() + 1);
                Ok(if listings.get() < 3 { vec![1, 2] } else { last.to_vec() })
            }
        };
        assert_eq!(shown_by(list(&[1, 3]), environ), Shown::Environ(b"A=1".to_vec()));
        assert_eq!((shown_by(list(&[1]), environ), listings.get()), (Shown::Nothing, 3));
        assert_eq!((shown_by(list(&[1, 2]), environ), listings.get()), (Shown::Unknown, MOST_LISTINGS));
        assert_eq!(shown_by(|| Err(io::Error::from_raw_os_error(3)), environ), Shown::Nothing);
        assert_eq!(shown_by(|| Err(io::Error::other("none")), environ), Shown::Unknown);
    }
}
