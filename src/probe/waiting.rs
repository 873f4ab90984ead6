//! What threads wait for: what a report says of a body that does not end.

use crate::probe::item::printable;
use crate::process::death::{ThreadState, ThreadStates};
use crate::process::stat::Stat;
use crate::sys::{ProcReader, waiting_call};
use std::io;

/// Deeper ones are not shown.
const MOST_FRAMES: usize = 8;

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

    /// Its state, and the function of the kernel that it sleeps in.
    fn state(self, reader: &mut ProcReader, id: u32) -> Option<(&'static str, Option<String>)> {
        let stat = Stat::parse(self.read(reader, id, "stat").ok()?)?;
        // `0` while it runs, or where that is kept secret.
        let place = self.read(reader, id, "wchan").ok().filter(|place| !place.is_empty() && *place != b"0");
        Some((state_name(stat.state), place.map(printable)))
    }

    fn thread(self, reader: &mut ProcReader, id: u32) -> Option<ThreadState> {
        let name = printable(self.read(reader, id, "comm").ok()?.trim_ascii_end());
        let (state, waits_in) = self.state(reader, id)?;
        // Where it sleeps only: a call that is under way is no news, and the reader's own is that of reading.
        let call = self.read(reader, id, "syscall").ok().and_then(call_in).filter(|_| waits_in.is_some());
        let state = state.to_owned();
        Some(ThreadState { name, id, state, waits_in, call, stack: Vec::new() })
    }

    fn all(self) -> io::Result<ThreadStates> {
        let mut reader = ProcReader::new()?;
        let mut all = ThreadStates::default();
        for id in self.threads(&mut reader)? {
            let Some(mut thread) = self.thread(&mut reader, id) else { continue };
            match self.read(&mut reader, id, "stack").map(frames) {
                Ok(stack) if thread.waits_in.is_some() => thread.stack = stack,
                Ok(_) => {}
                // It has ended since.
                Err(_) if self.read(&mut reader, id, "stat").is_err() => {}
                Err(cause) => all.no_stacks = Some(why_no_stacks(&cause)),
            }
            all.threads.push(thread);
        }
        all.threads.sort_unstable_by_key(|thread| thread.id);
        Ok(all)
    }
}

fn why_no_stacks(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "the kernel shows them to root only (CAP_SYS_ADMIN)".to_owned(),
        io::ErrorKind::NotFound => "this kernel does not keep them (CONFIG_STACKTRACE)".to_owned(),
        _ => cause.to_string(),
    }
}

/// Out of `/proc/PID/task/TID/syscall`: `0 0x3 …` is a read of descriptor 3; `running` and `-1 …` are none.
fn call_in(content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (name, takes_descriptor) = waiting_call(words.next()?.parse().ok()?)?;
    let descriptor = || i32::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    Some(match takes_descriptor.then(descriptor).flatten() {
        Some(number) => format!("`{name}` of descriptor {number}"),
        None => format!("`{name}`"),
    })
}

/// Out of `/proc/PID/task/TID/stack`: `[<0>] pipe_read+0x5/0x90`, without how each call enters the kernel.
fn frames(content: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    let name = |line: &str| line.split_whitespace().nth(1)?.split('+').next().map(str::to_owned);
    let is_entry = |name: &String| ["do_syscall", "entry_", "el0", "invoke_sys"].iter().any(|at| name.starts_with(at));
    text.lines().filter_map(name).take_while(|name| !is_entry(name)).take(MOST_FRAMES).collect()
}

fn in_words((state, place): (&'static str, Option<String>)) -> String {
    place.map_or_else(|| state.to_owned(), |place| format!("{state} in {place}"))
}

/// What one of our own threads waits for: `sleeping in futex_do_wait`; `None` for one that has ended.
pub(crate) fn of_thread(reader: &mut ProcReader, id: u32) -> Option<String> {
    Whose::Ours.state(reader, id).map(in_words)
}

/// The same of another process's thread; the caller holds that process.
pub(crate) fn of_thread_of(reader: &mut ProcReader, pid: u32, id: u32) -> Option<String> {
    Whose::Of(pid).state(reader, id).map(in_words)
}

/// All threads of this process.
pub(crate) fn of_all_threads() -> io::Result<ThreadStates> {
    Whose::Ours.all()
}

/// All threads of another process, which the caller holds: its number alone may mean another one by now.
///
/// # Errors
///
/// `ENOENT` if there is no such process. Where the kernel sleeps for a process that we may not trace is left out.
pub(crate) fn of_all_threads_of(pid: u32) -> io::Result<ThreadStates> {
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
        let found = |name: &str| of_all_threads().unwrap().threads.into_iter().find(|thread| thread.name == name);
        while found("a-waiter").is_none_or(|thread| thread.state != "sleeping") {
            std::thread::yield_now();
        }
        let own = of_all_threads().unwrap().threads.into_iter().filter(|thread| thread.state == "running").count();
        assert!(own > 0);
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn another_process_shows_its_threads_until_it_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let look = || of_all_threads_of(child.id()).unwrap();
        let is_asleep = |all: &ThreadStates| match &all.threads[..] {
            [one] => one.name == "sleep" && one.state == "sleeping" && one.waits_in.is_some(),
            _ => false,
        };
        while !is_asleep(&look()) {
            std::thread::yield_now();
        }
        let id = child.id();
        let (found, states) = (look().threads[0].clone(), look());
        assert_eq!(found.id, id);
        assert!(found.call.is_some_and(|call| call.ends_with("nanosleep`")), "a child's may be asked for");
        // Root sees it; others are told why not.
        assert_ne!(found.stack.is_empty(), states.no_stacks.is_none(), "{states:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of_all_threads_of(id).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn by_number_we_look_as_we_do_by_self() {
        // Other tests' threads come and go.
        let own = crate::sys::own_thread();
        let found = |all: ThreadStates| all.threads.into_iter().find(|thread| thread.id == own).unwrap();
        let (by_self, by_number) =
            (found(of_all_threads().unwrap()), found(of_all_threads_of(crate::sys::own_pid()).unwrap()));
        assert_eq!((by_self.name, by_self.state), (by_number.name, by_number.state));
    }

    #[test]
    fn calls_and_stacks_are_read_as_the_kernel_writes_them() {
        assert_eq!(call_in(b"running\n"), None);
        assert_eq!(call_in(b"-1 0x7ffc 0x7fc3\n"), None);
        let read = format!("{} 0x3 0x7f0f8facd000 0x20000 0x22 0x0 0x0 0x7ffe 0x7f0f\n", libc::SYS_read);
        assert_eq!(call_in(read.as_bytes()).as_deref(), Some("`read` of descriptor 3"));
        let wait = format!("{} 0xffffffffffffffff 0x0\n", libc::SYS_wait4);
        assert_eq!(call_in(wait.as_bytes()).as_deref(), Some("`wait4`"));
        let stack =
            b"[<0>] hrtimer_nanosleep+0x74/0xf0\n[<0>] common_nsleep+0x30/0x60\n[<0>] do_syscall_64+0x71/0x280\n\
                      [<0>] entry_SYSCALL_64_after_hwframe+0x76/0x7e\n";
        assert_eq!(frames(stack), ["hrtimer_nanosleep", "common_nsleep"]);
        assert_eq!(frames(b""), Vec::<String>::new());
        let why = |kind| why_no_stacks(&io::Error::from(kind));
        assert!(why(io::ErrorKind::PermissionDenied).contains("root only"));
        assert!(why(io::ErrorKind::NotFound).contains("CONFIG_STACKTRACE"));
    }
}
