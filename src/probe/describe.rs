//! What a person reads of an item: links, addresses, command lines. Dear, so asked only for what differs.

use crate::probe::children::Child;
use crate::probe::descriptors::Descriptor;
use crate::probe::item::{Item, Kind, printable};
use crate::probe::target::Target;
use crate::probe::threads::Thread;
use crate::probe::waiting;
use crate::process::handle::{ProcessHandle, read_stat};
use crate::process::identity::Ticks;
use crate::process::summary::ProcessSummary;
use crate::sys::{self, FileStat, ProcReader, SocketNames};
use std::time::Duration;

/// The meanings of the type bits, inode(7).
const SOCKET: u32 = 0o140_000;
const REGULAR: u32 = 0o100_000;
const BLOCK: u32 = 0o060_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const FIFO: u32 = 0o010_000;

/// The name of a pidfd whose process has ended and is reaped.
pub(crate) const GONE: &str = "of a process that is gone";

/// A descriptor that is open; what it was if it has been closed since.
pub(crate) fn descriptor(target: &Target, reader: &mut ProcReader, found: &Descriptor) -> Item {
    let number = found.number;
    let link = target.link(reader, number).map(|link| printable(&link)).unwrap_or_default();
    let mut item = Item::new(Kind::Descriptor, String::new(), u32::try_from(number).ok());
    if let Some(terminal) = found.stat.terminal {
        item.kind = Kind::PtyMaster;
        item.which = Some(format!("of /dev/pts/{terminal}"));
        return item;
    }
    if let Some(anonymous) = link.strip_prefix("anon_inode:") {
        anonymous_file(target, reader, anonymous, &mut item);
        return item;
    }
    item.kind = match found.stat.mode {
        SOCKET => Kind::Socket,
        FIFO => Kind::Pipe,
        DIRECTORY => Kind::Directory,
        CHARACTER if link.starts_with("/dev/pts/") => Kind::PtySlave,
        CHARACTER | BLOCK => Kind::Device,
        REGULAR if link.starts_with("/memfd:") => Kind::Memfd,
        REGULAR => Kind::File,
        _ => Kind::Descriptor,
    };
    match item.kind {
        Kind::Socket => socket(target.socket(number, found.stat.inode), &mut item),
        Kind::Pipe => {
            // Both ends have one inode; how it was opened tells them apart.
            let end =
                if access(target, reader, number).is_some_and(|flags| flags & 0o3 == 0) { "read" } else { "write" };
            item.name = if link.starts_with('/') { link } else { String::new() };
            item.which = Some(format!("{end} end, inode {}", found.stat.inode));
        }
        Kind::PtySlave => item.which = Some(link),
        _ => item.name = link,
    }
    item
}

/// What is known of a descriptor that is not open any more.
pub(crate) fn closed_descriptor(stat: &FileStat) -> String {
    let what = match stat.mode {
        _ if stat.terminal.is_some() => "a pty master",
        SOCKET => "a socket",
        FIFO => "a pipe end",
        DIRECTORY => "a directory",
        REGULAR => "a file",
        CHARACTER | BLOCK => "a device",
        _ => "an anonymous file",
    };
    format!("{what} (inode {})", stat.inode)
}

fn anonymous_file(target: &Target, reader: &mut ProcReader, name: &str, item: &mut Item) {
    item.kind = match name.trim_matches(['[', ']']) {
        "eventpoll" => Kind::Epoll,
        "eventfd" => Kind::Eventfd,
        "timerfd" => Kind::Timerfd,
        "signalfd" => Kind::Signalfd,
        "inotify" => Kind::Inotify,
        "pidfd" => Kind::Pidfd,
        other => {
            other.clone_into(&mut item.name);
            Kind::Descriptor
        }
    };
    if item.kind == Kind::Pidfd {
        let number = item.number.unwrap_or_default();
        let pid = fdinfo(target, reader, number, "Pid:").and_then(|pid| pid.parse::<i64>().ok());
        item.which = match pid {
            // What proc_pid_fdinfo(5) says of a process that has been reaped.
            Some(-1) => {
                item.name = GONE.into();
                None
            }
            Some(pid) => Some(format!("of pid {pid}")),
            None => None,
        };
    }
}

fn socket(names: Option<SocketNames>, item: &mut Item) {
    let Some(mut names) = names else { return };
    for name in [&mut names.local, &mut names.remote].into_iter().flatten() {
        *name = printable(name.as_bytes());
    }
    item.name = match (&names.remote, &names.local) {
        (Some(remote), _) => format!("{} to {remote}", names.kind),
        (None, Some(local)) => format!("{} at {local}", names.kind),
        (None, None) => names.kind.into(),
    };
    item.state = names.state.map(str::to_owned);
    if names.remote.is_some() {
        item.which = names.local.map(|local| format!("from {local}"));
    }
}

/// The `flags` of fdinfo, open(2).
fn access(target: &Target, reader: &mut ProcReader, number: i32) -> Option<u32> {
    u32::from_str_radix(&fdinfo(target, reader, u32::try_from(number).ok()?, "flags:")?, 8).ok()
}

fn fdinfo(target: &Target, reader: &mut ProcReader, number: u32, field: &str) -> Option<String> {
    let text = target.fdinfo(reader, number)?;
    text.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
}

pub(crate) fn thread(target: &Target, reader: &mut ProcReader, found: &Thread) -> Item {
    let mut item = Item::new(Kind::Thread, printable(found.name.as_bytes()), Some(found.id));
    item.age = Some(age(found.started));
    item.state = target.thread_state(reader, found.id);
    item
}

/// A process of a tree: what it holds of terminals, and whose child it is where that is not who is looked at.
pub(crate) fn descendant(reader: &mut ProcReader, found: &Child, of: u32) -> Item {
    let mut item = child(reader, found);
    if let Ok(stat) = read_stat(reader, found.pid)
        && stat.parent != of
    {
        item.notes.push(format!("it is a child of pid {}", stat.parent));
    }
    let mut terminals = reader.descriptor_targets(found.pid).unwrap_or_default();
    terminals.retain(|target| target.starts_with(b"/dev/pts/"));
    terminals.sort_unstable();
    terminals.dedup();
    item.notes.extend(terminals.iter().map(|terminal| format!("it has {} open", printable(terminal))));
    item
}

pub(crate) fn child(reader: &mut ProcReader, found: &Child) -> Item {
    let kind = if found.is_zombie { Kind::Zombie } else { Kind::Process };
    let mut item = Item::new(kind, String::new(), Some(found.pid));
    item.age = Some(age(found.started));
    if let Ok(stat) = read_stat(reader, found.pid) {
        // One that is not there any more is described by what it was.
        let identity = ProcessHandle::open_with(reader, found.pid).map(|(handle, _)| handle.identity());
        item.name = match identity {
            Ok(identity) => ProcessSummary::read(reader, identity, &stat).command,
            Err(_) => format!("[{}]", printable(stat.name.as_bytes())),
        };
        item.state = Some(waiting::state_name(stat.state).into());
    }
    item
}

/// How long ago something started: to 10 ms, which is what the kernel keeps.
fn age(started: Ticks) -> Duration {
    Duration::from_millis(sys::now_ticks().saturating_sub(started) * 10)
}
