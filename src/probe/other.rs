//! Another process as what is looked at: held by its pidfd and its open directory in /proc, with its tree.
//!
//! What it was asked stays about *this* process: from its reaping on the directory answers "no such process", whoever has the
//! number next. A program that execs or renames itself is still itself.

use crate::error::{Error, Result};
use crate::probe::children::{Child, Children};
use crate::probe::descriptors::{Depth, Descriptor, Descriptors};
use crate::probe::ended::Ended;
use crate::probe::memory::{Memory, peak_of, private_of};
use crate::probe::threads::{Threads, listing};
use crate::process::cookie::Cookie;
use crate::process::handle::{ProcessHandle, read_stat, reader};
use crate::process::identity::Ticks;
use crate::process::stat::{Stat, Times};
use crate::process::summary::ProcessSummary;
use crate::process::tree::{self, is_gone};
use crate::sys::{self, ProcDir, ProcReader};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A process that is not this one.
#[derive(Debug)]
pub(crate) struct Other {
    handle: ProcessHandle,
    directory: ProcDir,
    summary: ProcessSummary,
    cookie: Option<Cookie>,
    /// The kernel sessions that it or its tree has led, with their leaders' start: what has lost its parent is still found by them.
    led: Mutex<BTreeMap<u32, Ticks>>,
}

/// A panic leaves nothing half done: what it remembers is read anew with each look. So a test may catch one around its options.
impl RefUnwindSafe for Other {}
impl UnwindSafe for Other {}

impl Other {
    /// # Errors
    ///
    /// If it has ended, or /proc does not show it.
    pub(crate) fn open(handle: &ProcessHandle) -> Result<Self> {
        Self::hold(handle).map_err(|cause| {
            let hint = "look at it while it lives, and let this user read /proc";
            Error::os(format!("look at {}", handle.identity()), hint, cause)
        })
    }

    fn hold(handle: &ProcessHandle) -> io::Result<Self> {
        let opened = ProcDir::open(handle.pid()).and_then(|directory| {
            let stat = parsed(directory.read_short("stat", &mut [0; 1024])?)?;
            Ok((directory, stat))
        });
        // Only if it lives now is the directory this process's, and not one's who has its number by now.
        if !handle.is_alive() {
            return Err(io::Error::other("it has ended"));
        }
        let (directory, stat) = opened?;
        if stat.started != handle.identity().started {
            return Err(io::Error::other("/proc shows another process by its number"));
        }
        let mut reader = reader().map_err(io::Error::other)?;
        let summary = ProcessSummary::read(&mut reader, handle.identity(), &stat);
        Ok(Self { handle: handle.clone(), directory, summary, cookie: None, led: Mutex::default() })
    }

    pub(crate) fn marked(mut self, cookie: Cookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// The same process, looked at by others.
    pub(crate) fn handle(&self) -> &ProcessHandle {
        &self.handle
    }

    pub(crate) fn directory(&self) -> &ProcDir {
        &self.directory
    }

    /// As it was when it was taken hold of.
    pub(crate) fn summary(&self) -> &ProcessSummary {
        &self.summary
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        (!self.handle.is_alive()).then(|| Ended::of(&self.handle, &self.directory))
    }

    pub(crate) fn descriptors(&self, depth: Depth) -> io::Result<Descriptors> {
        let mut open = Vec::with_capacity(64);
        self.directory.each_descriptor(|number, stat| open.push(Descriptor::new(number, stat)))?;
        // Nothing is open at all where its first thread has ended and others run: then the kernel shows none.
        if open.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its directory in /proc shows no open descriptor"));
        }
        Ok(Descriptors::of_other(open, depth, |number| self.fdinfo(number)))
    }

    pub(crate) fn fdinfo(&self, number: i32) -> Option<String> {
        let mut buffer = Vec::new();
        let content = self.directory.read(&format!("fdinfo/{number}"), &mut buffer).ok()?;
        Some(String::from_utf8_lossy(content).into_owned())
    }

    pub(crate) fn threads(&self) -> io::Result<Threads> {
        Threads::of("its directory in /proc shows no thread", || {
            listing(self.directory.threads()?, |id| {
                match self.directory.read_short(&format!("task/{id}/stat"), &mut [0; 1024]) {
                    Ok(content) => parsed(content).map(|stat| (!stat.is_reaped()).then_some(stat)),
                    Err(cause) if is_gone(&cause) => Ok(None),
                    Err(cause) => Err(cause),
                }
            })
        })
    }

    /// Its whole tree: its children and theirs, dead ones that nobody has reaped among them; and what has left the tree but
    /// carries the mark or is in a kernel session that the tree has led.
    pub(crate) fn tree(&self) -> io::Result<Children> {
        let mut reader = ProcReader::new()?;
        let (mut found, mut led) = (Vec::new(), self.led.lock());
        let own = parsed(self.directory.read_short("stat", &mut [0; 1024])?)?;
        note_leader(&mut led, self.handle.pid(), &own);
        self.walk(&mut reader, vec![self.handle.pid()], &mut found, &mut led)?;
        self.find_lost(&mut reader, &mut found, &mut led)?;
        found.sort_unstable_by_key(|child: &Child| child.pid);
        Ok(Children::of_other(found))
    }

    /// What is left of the tree of a process that has ended, as far as it can be known.
    pub(crate) fn left_behind(&self) -> io::Result<Children> {
        let mut found = Vec::new();
        self.find_lost(&mut ProcReader::new()?, &mut found, &mut self.led.lock())?;
        Ok(Children::of_other(found))
    }

    /// Adds what is below these.
    fn walk(
        &self,
        reader: &mut ProcReader,
        mut next: Vec<u32>,
        found: &mut Vec<Child>,
        led: &mut BTreeMap<u32, Ticks>,
    ) -> io::Result<()> {
        while let Some(parent) = next.pop() {
            let children = match tree::children(reader, parent) {
                Ok(children) => children,
                // It ends at this moment, and its children are others' by now.
                Err(cause) if is_gone(&cause) && parent != self.handle.pid() => continue,
                Err(cause) => return Err(cause),
            };
            for pid in children {
                let is_known = |found: &[Child]| found.iter().any(|child| child.pid == pid);
                if pid == sys::own_pid() || is_known(found) {
                    continue;
                }
                match read_stat(reader, pid) {
                    // The number may be another's since the list was read.
                    Ok(stat) if stat.parent != parent || stat.is_reaped() => {}
                    Ok(stat) => {
                        note_leader(led, pid, &stat);
                        found.push(Child { pid, started: stat.started, is_zombie: stat.is_dead() });
                        if !stat.is_dead() {
                            next.push(pid);
                        }
                    }
                    Err(cause) if is_gone(&cause) => {}
                    Err(cause) => return Err(cause),
                }
            }
        }
        Ok(())
    }

    /// Adds what has lost its parent, by the mark and by the kernel sessions: one getsid(2) for each process that there is, and
    /// with a mark one read.
    fn find_lost(
        &self,
        reader: &mut ProcReader,
        found: &mut Vec<Child>,
        led: &mut BTreeMap<u32, Ticks>,
    ) -> io::Result<()> {
        if led.is_empty() && self.cookie.is_none() {
            return Ok(());
        }
        // Whoever has the number of a leader that has ended may have begun another session by it.
        led.retain(|leader, started| {
            let is_known = *leader == self.handle.pid() || found.iter().any(|child| child.pid == *leader);
            is_known || read_stat(reader, *leader).map_or(true, |stat| stat.started == *started)
        });
        let mut seen: BTreeMap<u32, bool> = led.keys().map(|session| (*session, false)).collect();
        for pid in reader.pids()? {
            let session = sys::session_of(pid).filter(|session| led.contains_key(session));
            if let Some(is_seen) = session.and_then(|session| seen.get_mut(&session)) {
                *is_seen = true;
            }
            let is_known = pid == self.handle.pid() || found.iter().any(|child| child.pid == pid);
            if is_known || pid == sys::own_pid() {
                continue;
            }
            let is_marked = session.is_none() && self.is_marked(reader, pid);
            if session.is_none() && !is_marked {
                continue;
            }
            let Ok(stat) = read_stat(reader, pid) else { continue };
            let since =
                session.and_then(|session| led.get(&session)).copied().unwrap_or(self.handle.identity().started);
            if stat.is_dead() || stat.started < since {
                continue;
            }
            found.push(Child { pid, started: stat.started, is_zombie: false });
            self.walk(reader, vec![pid], found, led)?;
        }
        // A session without a process is over, and its number free.
        led.retain(|session, _| seen.get(session).copied().unwrap_or(true));
        Ok(())
    }

    fn is_marked(&self, reader: &mut ProcReader, pid: u32) -> bool {
        let Some(cookie) = self.cookie else { return false };
        reader.read(pid, "environ").is_ok_and(|content| Cookie::find_all(content).any(|found| found == cookie))
    }

    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        self.directory.resident_bytes()
    }

    /// What grew since the baseline.
    pub(crate) fn memory_since(&self, before: u64) -> io::Result<Memory> {
        let mut buffer = Vec::new();
        let status = String::from_utf8_lossy(self.directory.read("status", &mut buffer)?).into_owned();
        let peak = peak_of(&status).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Memory { before, after: self.resident_bytes()?, peak, private: None })
    }

    /// As [`private_bytes`](crate::probe::memory::private_bytes).
    pub(crate) fn private_bytes(&self) -> io::Result<u64> {
        let mut buffer = Vec::new();
        let text = String::from_utf8_lossy(self.directory.read("smaps_rollup", &mut buffer)?).into_owned();
        private_of(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(crate) fn thread_count(&self) -> io::Result<usize> {
        self.directory.thread_count()
    }

    /// What it and its reaped children have cost until now.
    pub(crate) fn times(&self) -> io::Result<Times> {
        let mut buffer = [0; 1024];
        let content = self.directory.read_short("stat", &mut buffer)?;
        Times::parse(content).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn note_leader(led: &mut BTreeMap<u32, Ticks>, pid: u32, stat: &Stat) {
    if stat.session == pid {
        led.insert(pid, stat.started);
    }
}

fn parsed(content: &[u8]) -> io::Result<Stat> {
    Stat::parse(content).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its `stat` is malformed"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::backoff::soon;
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Child as Spawned, Command, Stdio};

    /// A shell that starts what it is to, prints a line, and waits for the end of its input; what it has started waits, too.
    fn server(command: &mut Command, script: &str) -> (Spawned, String) {
        let script = format!("exec 3<&0\n{script}\necho\nread line");
        let mut child = command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (child, line)
    }

    fn end(mut child: Spawned) {
        drop(child.stdin.take());
        child.wait().unwrap();
        // Until the last process that has it open ends.
        let _ = child.stdout.take().map(|mut output| output.read_to_end(&mut Vec::new()));
    }

    fn other(child: &Spawned) -> Other {
        Other::open(&ProcessHandle::open(child.id()).unwrap()).unwrap()
    }

    /// Loses its parent, and is nobody's child that we know.
    const LOST: &str = "(cat <&3 &)";

    #[test]
    fn what_has_lost_its_parent_is_found_by_the_kernel_session_that_the_process_leads() {
        let (leader, _) = server(Command::new("setsid").arg("sh"), LOST);
        let (plain, _) = server(&mut Command::new("sh"), LOST);
        let (of_leader, of_plain) = (other(&leader).tree().unwrap().len(), other(&plain).tree().unwrap().len());
        let left = other(&leader);
        left.tree().unwrap();
        end(leader);
        end(plain);
        assert_eq!((of_leader, of_plain), (1, 0));
        // What ends closes its output a moment before it is dead, and whoever adopts it may take its time to wait for it. A session
        // without a process is over.
        let is_over = || left.left_behind().unwrap().len() == 0 && left.led.lock().is_empty();
        soon("the end of what was left", is_over);
    }

    #[test]
    fn what_has_lost_its_parent_is_found_by_the_mark() {
        let (cookie, another) = (Cookie::new(), Cookie::new());
        let (child, _) = server(Command::new("sh").env(cookie.name(), cookie.value()), LOST);
        let (by_it, by_another) = (other(&child).marked(cookie), other(&child).marked(another));
        // In the middle of its exec it carries nothing.
        soon("the look by the mark", || by_it.tree().unwrap().len() == 1);
        let by_another = by_another.tree().unwrap().len();
        end(child);
        assert_eq!(by_another, 0);
    }

    #[test]
    fn the_whole_tree_is_found_and_not_what_has_its_number_in_another_session() {
        let (child, _) = server(&mut Command::new("sh"), "sh -c 'cat <&3 & wait' & setsid cat <&3 &");
        let process = other(&child);
        soon("its tree", || process.tree().unwrap().len() >= 3);
        let found = process.tree().unwrap().len();
        // A session whose number is another's by now: who leads it has started at another time.
        let own = crate::process::handle::read_stat(&mut ProcReader::new().unwrap(), child.id()).unwrap();
        process.led.lock().insert(own.session, own.started + 1);
        let with_another = process.tree().unwrap().len();
        end(child);
        assert_eq!((found, with_another), (3, 3));
    }

    #[test]
    fn what_is_read_is_this_process_and_nothing_once_it_is_reaped() {
        let (child, _) = server(&mut Command::new("sh"), "true");
        let process = other(&child);
        assert!(process.descriptors(Depth::Paranoid).unwrap().len() >= 4);
        assert_eq!((process.threads().unwrap().len(), process.thread_count().unwrap()), (1, 1));
        assert!(process.resident_bytes().unwrap() > 0 && process.private_bytes().unwrap() > 0);
        assert!(process.directory().processor_time().unwrap() > 0 && process.ended().is_none());
        let faults = process.times().unwrap().faults_of_reaped;
        assert!(faults == 0 || faults > 10, "{faults}");
        end(child);
        assert!(process.ended().is_some());
        assert!(process.descriptors(Depth::Usual).is_err() && process.threads().is_err() && process.tree().is_err());
        assert!(process.resident_bytes().is_err() && process.times().is_err());
    }
}
