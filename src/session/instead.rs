//! What a session does instead of what was waited for: its leader, and who has its terminal.

use crate::probe::waiting;
use crate::process::handle::{ProcessHandle, reader};
use crate::process::stat::Stat;
use crate::sys;
use std::fmt;

/// A session, as far as a message that names it must know it.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) id: &'a str,
    pub(crate) leader: Option<&'a ProcessHandle>,
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id)
    }
}

impl Who<'_> {
    /// For the end of a sentence; empty where nobody is known, or it has ended.
    pub(crate) fn instead(self) -> String {
        self.leader.and_then(instead).unwrap_or_default()
    }
}

fn instead(leader: &ProcessHandle) -> Option<String> {
    let stat = Stat::parse(reader().ok()?.read(leader.pid(), "stat").ok()?)?;
    let mut text = format!("; its leader is {}", process(leader.pid())?);
    // The terminal's foreground group, by its first process, of this very session.
    let front = stat.foreground.filter(|front| *front != leader.pid() && sys::session_of(*front) == Some(stat.session));
    if let Some(front) = front.and_then(process) {
        text += &format!("; in the foreground is {front}");
    }
    // What was read is its own only if its number was not free meanwhile.
    leader.is_alive().then_some(text)
}

/// Its main thread: that of a program with many is the one that people look at first.
fn process(pid: u32) -> Option<String> {
    let states = waiting::of_all_threads_of(pid).ok()?;
    let main = states.threads().iter().find(|thread| thread.id == pid)?;
    let more = states.threads().len().saturating_sub(1);
    let more = if more > 0 { format!(", beside {more} more threads") } else { String::new() };
    let no_stacks = states.no_stacks().map(|why| format!(" (stack not available: {why})")).unwrap_or_default();
    Some(format!("`{}` (pid {pid}), {}{no_stacks}{more}", main.name, main.doing()))
}
