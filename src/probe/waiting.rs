//! What threads wait for: what a report says of a body that does not end.

use crate::probe::item::printable;
use crate::process::stat::Stat;
use crate::sys::ProcReader;
use std::fmt;
use std::io;

/// The letter of field 3 of `stat` in words (proc_pid_stat(5)).
pub(crate) fn state_name(state: u8) -> &'static str {
    match state {
        b'R' => "running",
        b'S' => "sleeping",
        b'D' => "waiting for a device, and not to be interrupted",
        b'Z' => "dead, and not reaped",
        b'T' => "stopped",
        b't' => "stopped by a debugger",
        b'X' | b'x' => "dead",
        b'I' => "idle",
        _ => "in a state unknown to us",
    }
}

/// Whose threads. Our own are read by way of /proc/self, which is right also where this /proc knows us by another number.
#[derive(Clone, Copy)]
enum Whose {
    Ours,
    Of(u32),
}

impl Whose {
    fn threads(self, reader: &mut ProcReader) -> io::Result<Vec<u32>> {
        match self {
            Self::Ours => reader.own_threads(),
            Self::Of(pid) => reader.threads(pid),
        }
    }

    fn read<'a>(self, reader: &'a mut ProcReader, id: u32, file: &str) -> io::Result<&'a [u8]> {
        let file = format!("task/{id}/{file}");
        match self {
            Self::Ours => reader.read_own(&file),
            Self::Of(pid) => reader.read(pid, &file),
        }
    }

    fn thread(self, reader: &mut ProcReader, id: u32) -> Option<String> {
        let stat = Stat::parse(self.read(reader, id, "stat").ok()?)?;
        let mut text = state_name(stat.state).to_owned();
        // The function of the kernel that it sleeps in; `0` while it runs, or where that is kept secret.
        if let Ok(place) = self.read(reader, id, "wchan")
            && !place.is_empty()
            && place != b"0"
        {
            text += &format!(" in {}", printable(place));
        }
        Some(text)
    }

    fn all(self) -> io::Result<Vec<Waiting>> {
        let mut reader = ProcReader::new()?;
        let mut all = Vec::new();
        for id in self.threads(&mut reader)? {
            let Ok(name) = self.read(&mut reader, id, "comm") else { continue };
            let name = printable(name.trim_ascii_end());
            all.extend(self.thread(&mut reader, id).map(|what| Waiting { id, name, what }));
        }
        all.sort_unstable_by_key(|waiting| waiting.id);
        Ok(all)
    }
}

/// One thread and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) what: String,
}

/// One line of a report.
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread `{}` (tid {}): {}", self.name, self.id, self.what)
    }
}

/// What one of our own threads waits for: `sleeping in futex_do_wait`; `None` for one that has ended.
pub(crate) fn of_thread(reader: &mut ProcReader, id: u32) -> Option<String> {
    Whose::Ours.thread(reader, id)
}

/// The same of another process's thread; the caller holds that process.
pub(crate) fn of_thread_of(reader: &mut ProcReader, pid: u32, id: u32) -> Option<String> {
    Whose::Of(pid).thread(reader, id)
}

/// All threads of this process.
pub(crate) fn of_all_threads() -> io::Result<Vec<Waiting>> {
    Whose::Ours.all()
}

/// All threads of another process, which the caller holds: its number alone may mean another one by now.
///
/// # Errors
///
/// `ENOENT` if there is no such process. Where the kernel sleeps for a process that we may not trace is left out.
pub(crate) fn of_all_threads_of(pid: u32) -> io::Result<Vec<Waiting>> {
    Whose::Of(pid).all()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_for_a_channel_sleeps_and_ours_runs() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("a-waiter".into());
        let thread = thread.spawn(move || stopped.recv().unwrap_or_default()).unwrap();
        let found = |name: &str| of_all_threads().unwrap().into_iter().find(|waiting| waiting.name == name);
        while !found("a-waiter").is_some_and(|waiting| waiting.what.starts_with("sleeping")) {
            std::thread::yield_now();
        }
        let own = of_all_threads().unwrap().into_iter().filter(|waiting| waiting.what.starts_with("running")).count();
        assert!(own > 0);
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn another_process_shows_its_threads_until_it_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let look = || of_all_threads_of(child.id()).unwrap();
        let is_asleep =
            |all: &[Waiting]| all.len() == 1 && all[0].name == "sleep" && all[0].what.starts_with("sleeping in ");
        while !is_asleep(&look()) {
            std::thread::yield_now();
        }
        let id = child.id();
        assert_eq!(look()[0].id, id);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of_all_threads_of(id).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn by_number_we_look_as_we_do_by_self() {
        // Other tests' threads come and go.
        let own = crate::sys::own_thread();
        let found = |all: Vec<Waiting>| all.into_iter().find(|waiting| waiting.id == own).unwrap();
        let (by_self, by_number) =
            (found(of_all_threads().unwrap()), found(of_all_threads_of(crate::sys::own_pid()).unwrap()));
        assert_eq!((by_self.name, by_self.what), (by_number.name, by_number.what));
    }
}
