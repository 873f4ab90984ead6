//! Which threads this process has, by id and start time.
//!
//! A joined thread is listed for up to some milliseconds after its join (147 of 20,000, at worst 3.5 ms), so whoever
//! compares gives them time.

use crate::probe::own_threads;
use crate::process::identity::Ticks;
use crate::process::stat::Stat;
use crate::sys::ProcReader;
use std::io;

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) id: u32,
    pub(crate) started: Ticks,
    /// At most 15 bytes of the name that it was given.
    pub(crate) name: String,
}

impl Thread {
    /// A thread may change its name, so that says nothing about which one it is.
    fn is_same(&self, other: &Self) -> bool {
        (self.id, self.started) == (other.id, other.started)
    }
}

/// All threads at one moment, by ascending id.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    running: Vec<Thread>,
}

impl Threads {
    pub(crate) fn capture() -> io::Result<Self> {
        let mut reader = ProcReader::new()?;
        let mut running = Vec::new();
        for id in reader.own_threads()? {
            // It may have ended since the listing.
            running.extend(read(&mut reader, id)?);
        }
        // Something is mounted over it: an empty list would be taken for a clean process for ever.
        if running.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "/proc/self/task does not show the thread that reads it",
            ));
        }
        running.sort_unstable_by_key(|thread: &Thread| thread.id);
        Ok(Self { running })
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn contains(&self, thread: &Thread) -> bool {
        let index = self.running.binary_search_by_key(&thread.id, |known| known.id);
        index.is_ok_and(|index| self.running[index].is_same(thread))
    }

    /// Those that were not there before, but for what this crate runs beside a test.
    pub(crate) fn new_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Thread> {
        self.running.iter().filter(|thread| !before.contains(thread) && !own_threads::contains(thread.id))
    }
}

fn read(reader: &mut ProcReader, id: u32) -> io::Result<Option<Thread>> {
    let content = match reader.read_own(&format!("task/{id}/stat")) {
        Ok(content) => content,
        Err(cause) if crate::process::tree::is_gone(&cause) => return Ok(None),
        Err(cause) => return Err(cause),
    };
    let stat = Stat::parse(content)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the `stat` of a thread is malformed"))?;
    Ok((!stat.is_dead()).then_some(Thread { id, started: stat.started, name: stat.name }))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_that_runs_is_new_by_its_name_and_one_that_ended_is_not() {
        let before = Threads::capture().unwrap();
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("a-new-thread".into());
        let thread = thread.spawn(move || stopped.recv().unwrap_or_default()).unwrap();
        // A new thread has its maker's name until it gives itself its own.
        let is_there = || {
            let now = Threads::capture().unwrap();
            now.new_since(&before).any(|thread| thread.name == "a-new-thread")
        };
        while !is_there() {
            std::thread::yield_now();
        }
        drop(stop);
        thread.join().unwrap();
        while is_there() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_reused_id_is_another_thread() {
        let thread = |started| Thread { id: 7, started, name: "x".into() };
        let (before, after) = (Threads { running: vec![thread(1)] }, Threads { running: vec![thread(2)] });
        assert_eq!(after.new_since(&before).count(), 1);
        assert_eq!(after.new_since(&after).count(), 0);
    }
}
