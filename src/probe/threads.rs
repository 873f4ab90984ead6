//! Which threads this process has, by id and start time.
//!
//! A joined thread is listed for up to some milliseconds after its join (147 of 20,000, at worst 3.5 ms), so whoever
//! compares gives them time.

use crate::probe::own_threads;
use crate::process::identity::Ticks;
use crate::process::stat::Stat;
use crate::sys::ProcReader;
use std::collections::BTreeMap;
use std::io;

/// How often they are listed again because one that was listed has ended meanwhile.
const MOST_LISTINGS: usize = 20;

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
        Self::of("/proc/self/task does not show the thread that reads it", || {
            let ids = reader.own_threads()?;
            listing(ids, |id| read(&mut reader, id))
        })
    }

    /// Those of any process, as one listing after the other has them.
    pub(crate) fn of(why_none: &'static str, list: impl FnMut() -> io::Result<Listing>) -> io::Result<Self> {
        let mut running = all_that_stay(list)?;
        // Something is mounted over it: an empty list would be taken for a clean process for ever.
        if running.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, why_none));
        }
        running.sort_unstable_by_key(|thread| thread.id);
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

/// What one listing has, and whether nobody in it has ended meanwhile.
pub(crate) type Listing = (Vec<Thread>, bool);

/// The kernel goes from one thread to the next, and where the one that it stands on ends, it ends the listing: then those that
/// follow are missing though they stay. So they are listed again; if that finds no end, each that stays is in one of the listings.
fn all_that_stay(mut list: impl FnMut() -> io::Result<Listing>) -> io::Result<Vec<Thread>> {
    let mut all = BTreeMap::new();
    for _ in 0..MOST_LISTINGS {
        let (running, is_complete) = list()?;
        if is_complete {
            return Ok(running);
        }
        all.extend(running.into_iter().map(|thread| (thread.id, thread)));
    }
    Ok(all.into_values().collect())
}

/// Reads of each that was listed; `stat` has none of one that has ended.
pub(crate) fn listing(ids: Vec<u32>, mut stat: impl FnMut(u32) -> io::Result<Option<Stat>>) -> io::Result<Listing> {
    let (mut running, mut is_complete) = (Vec::new(), true);
    for id in ids {
        match stat(id)? {
            Some(stat) if stat.is_dead() => {}
            Some(stat) => running.push(Thread { id, started: stat.started, name: stat.name }),
            None => is_complete = false,
        }
    }
    Ok((running, is_complete))
}

/// `None` for one that has ended. The first thread of a process stays as a zombie for as long as others run.
fn read(reader: &mut ProcReader, id: u32) -> io::Result<Option<Stat>> {
    let content = match reader.read_own(&format!("task/{id}/stat")) {
        Ok(content) => content,
        Err(cause) if crate::process::tree::is_gone(&cause) => return Ok(None),
        Err(cause) => return Err(cause),
    };
    let stat = Stat::parse(content)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the `stat` of a thread is malformed"))?;
    Ok((!stat.is_reaped()).then_some(stat))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Sender, channel};

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
    fn they_are_listed_until_nobody_ends_meanwhile_and_nobody_is_lost_if_that_never_comes() {
        let thread = |id| Thread { id, started: 1, name: "x".into() };
        let ids = |threads: Vec<Thread>| threads.into_iter().map(|thread| thread.id).collect::<Vec<_>>();
        let mut listings = vec![(vec![thread(1), thread(3)], true), (vec![thread(1), thread(2)], false)];
        let complete = all_that_stay(|| Ok(listings.pop().unwrap())).unwrap();
        assert_eq!(ids(complete), [1, 3], "the complete one, and nothing of those before");
        let mut looks = 0;
        let never = all_that_stay(|| {
            looks += 1;
            Ok((vec![thread(1), thread(2 + looks % 2)], false))
        });
        assert_eq!((ids(never.unwrap()), looks), (vec![1, 2, 3], MOST_LISTINGS as u32));
    }

    #[test]
    fn one_that_stays_is_listed_while_others_end() {
        for _ in 0..20 {
            let (end, over) = (AtomicBool::new(false), AtomicBool::new(false));
            std::thread::scope(|scope| {
                let (send, receive) = channel();
                let start = |until| {
                    let send = send.clone();
                    scope.spawn(move || wait_for(until, &send));
                    receive.recv().unwrap()
                };
                for _ in 0..4 {
                    start(&end);
                }
                let stays = start(&over);
                end.store(true, Ordering::Relaxed);
                let lists_it = || Threads::capture().unwrap().running.iter().any(|thread| thread.id == stays);
                let missed = (0..15).filter(|_| !lists_it()).count();
                over.store(true, Ordering::Relaxed);
                assert_eq!(missed, 0);
            });
        }
    }

    /// Tells its id, and ends when it is told to.
    fn wait_for(end: &AtomicBool, send: &Sender<u32>) {
        send.send(crate::sys::own_thread()).unwrap();
        while !end.load(Ordering::Relaxed) {
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
