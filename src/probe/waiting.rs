//! What threads wait for: what a report says of a body that does not end.

use crate::probe::item::printable;
use crate::process::stat::Stat;
use crate::sys::ProcReader;
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

/// `sleeping in futex_do_wait`; `None` for a thread that has ended.
pub(crate) fn of_thread(reader: &mut ProcReader, id: u32) -> Option<String> {
    let stat = Stat::parse(reader.read_own(&format!("task/{id}/stat")).ok()?)?;
    let mut text = state_name(stat.state).to_owned();
    // The function of the kernel that it sleeps in; `0` while it runs, or where that is kept secret.
    if let Ok(place) = reader.read_own(&format!("task/{id}/wchan"))
        && !place.is_empty()
        && place != b"0"
    {
        text += &format!(" in {}", printable(place));
    }
    Some(text)
}

/// One thread and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) what: String,
}

/// All threads of this process.
pub(crate) fn of_all_threads() -> io::Result<Vec<Waiting>> {
    let mut reader = ProcReader::new()?;
    let mut all = Vec::new();
    for id in reader.own_threads()? {
        let Ok(name) = reader.read_own(&format!("task/{id}/comm")) else { continue };
        let name = printable(name.trim_ascii_end());
        all.extend(of_thread(&mut reader, id).map(|what| Waiting { id, name, what }));
    }
    all.sort_unstable_by_key(|waiting| waiting.id);
    Ok(all)
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
}
